"""Local minutes, each exactly once, whatever clock and zone do. Pure.

The walker goes along the labels of the local clock (``2026-10-25 02:15``), not along UTC, and keeps which labels it
has been over. A step forward of the offset (spring, a zone further east) puts the labels that never were into one step;
a step back (autumn, a zone further west, a clock set back) finds labels that it has been over, and gives none of them
again. A jump forward of the clock itself leaves out what would come too late, and does not count it as done: were the
clock wrong and is set back, those labels still come.
"""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Any

EPOCH = datetime(1970, 1, 1)
US = 1_000_000
MINUTE_US = 60 * US
KEEP = 60
"""Stretches that are remembered; more come only of a clock that jumps again and again."""

Stretch = tuple[int, int]
"""Labels from the first (included) to the second (excluded), in minutes since 1970-01-01 00:00 of the local clock."""


def label_of(utc_us: int, zone: tzinfo) -> int:
    """The label that the local clock shows, without its seconds."""
    local = datetime.fromtimestamp(utc_us // US, zone).replace(tzinfo=None)
    return (local - EPOCH) // timedelta(minutes=1)


def moment(label: int) -> datetime:
    """The label as a naive local time."""
    return EPOCH + timedelta(minutes=label)


class Walker:
    """``late_s``: a label that is found later than this, by UTC, is left out."""

    def __init__(self, late_s: float = 60.0) -> None:
        self._late_us = round(late_s * US)
        self._been: list[Stretch] = []
        self._last_us: int | None = None
        self._last_label = 0

    def step(self, now_us: int, zone: tzinfo) -> list[Stretch]:
        """The labels that have come since the last step and never before."""
        here = label_of(now_us, zone)
        last_us, last = self._last_us, self._last_label
        self._last_us, self._last_label = now_us, here
        if last_us is None:
            first = here  # the very first look: this minute has begun without us, but it is not over
            self._mark(first, here + 1)
            return []
        steady = last_us <= now_us <= last_us + self._late_us  # else the clock jumped, or nobody looked for a while
        first = last + 1 if steady else label_of(now_us - self._late_us, zone) + 1
        fresh = self._missing(first, here + 1)
        self._mark(first, here + 1)
        return fresh

    def been(self, label: int) -> bool:
        """Its jobs are over: they do not come again when the clock shows it once more."""
        return any(a <= label < b for a, b in self._been)

    def _missing(self, begin: int, end: int) -> list[Stretch]:
        """What of a stretch was never walked."""
        found: list[Stretch] = []
        for a, b in self._been:
            if b <= begin or a >= end:
                continue
            if a > begin:
                found.append((begin, a))
            begin = max(begin, b)
        if begin < end:
            found.append((begin, end))
        return found

    def _mark(self, begin: int, end: int) -> None:
        if begin >= end:
            return
        merged: list[Stretch] = []
        for a, b in sorted([*self._been, (begin, end)]):
            if merged and a <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(merged[-1][1], b))
            else:
                merged.append((a, b))
        self._been = merged[-KEEP:]

    # --- over a restart -------------------------------------------------------------------------------------------

    def kept(self) -> dict[str, Any]:
        return {"been": [list(one) for one in self._been], "last_us": self._last_us, "last": self._last_label}

    def restore(self, kept: Any) -> None:
        """What :meth:`kept` gave; anything else is as if there were nothing."""
        match kept:
            case {"been": list() as been, "last_us": int() as last_us, "last": int() as last}:
                stretches = [(one[0], one[1]) for one in been
                             if isinstance(one, list) and len(one) == 2 and all(isinstance(n, int) for n in one)]
                self._been = sorted(stretches)[-KEEP:]
                self._last_us, self._last_label = last_us, last
