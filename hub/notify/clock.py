"""The hub's clock may be wrong and be set right (B27): a small machine without a battery starts in the past, and what
has waited for a time of the wrong clock would wait for years, or all come at once.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable

from hub.store.alerts_db import AlertsDb

LEAST_US = 10_000_000
"""A smaller jump hurts nobody."""
NOTE_US = 60_000_000
"""How often the time is noted for the next process."""
SEEN = "clock_seen_us"


def steady_us() -> int:
    """Goes on whatever is done to the clock, also while the machine sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class Clock:
    def __init__(self, db: AlertsDb, steady: Callable[[], int] = steady_us) -> None:
        self._db = db
        self._steady = steady
        self._last: tuple[int, int] | None = None
        self._now: tuple[int, int] | None = None
        self._noted_us = 0

    def jump_us(self, now_us: int) -> int:
        """In the transaction: by how much the clock was set since the last call, else 0. After a start it is known only
        when the clock is behind what it once was."""
        steady = self._steady()
        if self._last is None:
            kept = self._db.meta(SEEN)
            by_us = min(0, now_us - struct.unpack("<q", kept)[0]) if kept is not None and len(kept) == 8 else 0
        else:
            by_us = (now_us - self._last[0]) - (steady - self._last[1])
        self._now = now_us, steady
        jumped = abs(by_us) >= LEAST_US
        if jumped or not 0 <= now_us - self._noted_us < NOTE_US:
            self._noted_us = now_us
            self._db.set_meta(SEEN, struct.pack("<q", now_us))
        return by_us if jumped else 0

    def keep(self) -> None:
        """The transaction is committed; of one that was not, the jump is seen again."""
        self._last = self._now
