"""Is the line clean? While it is, every whole frame counts; while it is not, a value counts once it came twice in a
row, on a bad line three times. Pure.

The frame format has no checksum. A flipped bit in a value leaves a whole frame, but most flips hit the zeros behind the
message or a byte with a rule, so a bad line shows bad frames first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Any

WINDOW_FRAMES = 256
WINDOW_S = 3600.0
NEVER = 1 << 30
BAD_LINE = 12
"""More bad frames in the window than this: on such a line the same bit flips twice in a row."""


class Trust:
    def __init__(self) -> None:
        self.good = 0
        self.bad = 0
        self._bad_at: deque[tuple[int, float]] = deque(maxlen=WINDOW_FRAMES)
        self._last: dict[Hashable, tuple[Any, int]] = {}

    def frame(self) -> None:
        self.good += 1

    def garbage(self, t_s: float) -> None:
        """Before the first good frame it is only that the line was opened in the middle of one."""
        if self.good:
            self.bad += 1
            self._bad_at.append((self.good + self.bad, t_s))

    def noisy(self, t_s: float) -> bool:
        while self._bad_at and (self.good + self.bad - self._bad_at[0][0] >= WINDOW_FRAMES
                                or t_s - self._bad_at[0][1] > WINDOW_S):
            self._bad_at.popleft()
        return bool(self._bad_at)

    def believe(self, what: Hashable, value: Any, t_s: float) -> bool:
        """Whether ``value`` of ``what`` counts, after it came so often in a row."""
        before, times = self._last.get(what, (None, 0))
        times = times + 1 if before == value else 1
        self._last[what] = value, times
        if len(self._last) > 10_000:  # a noisy line invents addresses
            self._last.clear()
        return times >= self._needed(t_s)

    def _needed(self, t_s: float) -> int:
        """Times in a row; on a line with more bad frames than good ones nothing is believed."""
        if not self.noisy(t_s):
            return 1
        bad = len(self._bad_at)
        if bad <= BAD_LINE:
            return 2
        return 3 if 2 * bad <= min(WINDOW_FRAMES, self.good + self.bad) else NEVER

    @property
    def quality_pct(self) -> float:
        return round(100.0 * self.good / max(1, self.good + self.bad), 1)
