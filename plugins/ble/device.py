"""One named device: the strength at each receiver in windows, and what it says when it says something new. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median_low
from typing import Any

from .properties import FLAGS

MAX_RECEIVERS = 32
SAID_S = 10.0
"""A number that wanders (a voltage) is told at most so often."""
SAID_AGAIN_S = 60.0
"""And one that stands still, as a sign of life."""
FROZEN_S, FROZEN_PACKETS = 1200.0, 300
"""Radio is never still: the same strength for so long is a number that somebody repeats, not a measurement."""


class Window:
    """Packets of one device at one receiver."""

    __slots__ = ("_equal", "_last", "_since_s", "began_s", "last_s", "strengths", "told")

    def __init__(self) -> None:
        self.strengths: list[int] = []
        self.began_s = 0.0
        self.last_s = 0.0
        self.told = False
        """That it is frozen."""
        self._last: int | None = None
        self._equal = 0
        self._since_s = 0.0

    def add(self, rssi_dbm: int, t_s: float) -> None:
        if not self.strengths:
            self.began_s = t_s
        self.strengths.append(rssi_dbm)
        self.last_s = t_s
        if rssi_dbm != self._last:
            self._last, self._equal, self._since_s = rssi_dbm, 0, t_s
        self._equal += 1

    def over(self, now_s: float, interval_s: float) -> bool:
        return bool(self.strengths) and now_s - self.began_s >= interval_s

    @property
    def still_s(self) -> float:
        return self.last_s - self._since_s

    @property
    def frozen(self) -> bool:
        return self._equal >= FROZEN_PACKETS and self.still_s >= FROZEN_S

    def take(self) -> int:
        """The median, and a new window."""
        value = median_low(self.strengths)
        self.strengths.clear()
        return value


class Heard:
    """All about one named device."""

    def __init__(self) -> None:
        self.receivers: dict[str, str] = {}
        """Property -> receiver."""
        self.windows: dict[str, Window] = {}
        self._told: dict[str, tuple[float, Any]] = {}

    def news(self, values: dict[str, Any], t_s: float) -> Iterator[tuple[str, Any]]:
        """Those of ``values`` that are to be told."""
        for name, value in values.items():
            told_s, told = self._told.get(name, (float("-inf"), None))
            age_s = t_s - told_s
            if age_s >= SAID_AGAIN_S or (value != told and (age_s >= SAID_S or name in FLAGS or told is None)):
                self._told[name] = (t_s, value)
                yield name, value
