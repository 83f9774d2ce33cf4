"""Equal intervals between pulses: what flows constantly at night. Pure."""

from __future__ import annotations

from collections import deque

EQUAL = 0.1
"""Relative difference of an interval from the mean of the equal ones."""
EQUAL_WINDOW_S, EQUAL_S, EQUAL_INTERVALS = 5 * 3600.0, 4 * 3600.0, 5
"""So much of the window must be equal intervals."""


class EqualIntervals:
    """Intervals between pulses that are equal, of the last hours. Other use makes intervals shorter and is passed over;
    a longer one shows that nothing flows constantly and begins anew."""

    def __init__(self) -> None:
        self._intervals: deque[tuple[float, float]] = deque()
        """(end, length)"""
        self._length_s = 0.0

    @property
    def since_s(self) -> float:
        end_s, length_s = self._intervals[0]
        return end_s - length_s

    def add(self, t_s: float, interval_s: float) -> None:
        while self._intervals and self._intervals[0][0] <= t_s - EQUAL_WINDOW_S:
            self._length_s -= self._intervals.popleft()[1]
        mean_s = self._length_s / len(self._intervals) if self._intervals else 0.0
        if interval_s > mean_s * (1 + EQUAL):
            self._intervals.clear()
            self._length_s = 0.0
        elif interval_s < mean_s * (1 - EQUAL):
            return
        self._intervals.append((t_s, interval_s))
        self._length_s += interval_s

    def flow_l_h(self, litres: float) -> float | None:
        """Of ``litres`` a pulse, once enough of the window is equal."""
        if len(self._intervals) < EQUAL_INTERVALS or self._length_s < EQUAL_S:
            return None
        return litres * 3600 * len(self._intervals) / self._length_s
