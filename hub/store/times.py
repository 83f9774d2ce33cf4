"""Where the samples of a boot lie in wall time. Pure.

A header that knows the boot's offset settles it. Without one the samples are placed by when they arrived, never in
the future, and where possible not before the boot that came earlier; they are flagged, and moved once when the offset
comes (B25, B26).
"""

from __future__ import annotations

from typing import NamedTuple

from agent.wire.records import ClockInfo

FLOOR_US = 1_577_836_800_000_000
"""2020-01-01: older than any sample can be. A clock that says less is not set (never 1970 in the store)."""
CEILING_US = 7_258_118_400_000_000
"""2200-01-01: what says more is not a time."""
STEP_US = 1_000
"""Offsets of one boot that differ by less are the same (slewing, rounding)."""


class Placed(NamedTuple):
    offset_us: int
    """Add it to boot-relative stamps."""
    known: bool
    """False: a guess, so the samples are flagged."""


def credible(offset_us: int | None, newest_us: int) -> bool:
    """True for an offset that puts the batch into a time that can be."""
    return offset_us is not None and FLOOR_US <= offset_us + newest_us <= CEILING_US


def place(clock: ClockInfo, known_us: int | None, guess_us: int | None, received_us: int, oldest_us: int,
          newest_us: int, earlier_end_us: int) -> Placed:
    """The offset for a batch whose stamps run from ``oldest_us`` to ``newest_us`` (CLOCK_BOOTTIME).

    ``known_us``: the boot's offset if another batch knew it; ``guess_us``: the guess so far; ``earlier_end_us``: the
    newest sample of the device's other boots, or 0."""
    if clock.offset_us is not None and credible(clock.offset_us, newest_us):
        return Placed(clock.offset_us, True)
    if known_us is not None:
        return Placed(known_us, True)
    # Nothing is newer than its arrival, and a running boot says when it sent: exact but for the way's delay.
    bound = received_us - max(newest_us, clock.sent_us if clock.sent_us is not None else newest_us)
    after_earlier = earlier_end_us + 1 - oldest_us
    if guess_us is None and earlier_end_us and after_earlier <= received_us - newest_us and (
        clock.sent_us is None or bound < after_earlier
    ):
        # The backlog of a boot that is over: right behind the one before is the one place that keeps its order and
        # can never be in the future.
        return Placed(after_earlier, False)
    return Placed(bound if guess_us is None else min(guess_us, bound), False)
