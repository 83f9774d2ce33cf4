"""Is it dark, and does the sensor still live? Pure: stamps in seconds in, answers out."""

from __future__ import annotations

FINE = 0.002
"""One count in five hundred of the value: so finely seen no light stands still for half an hour, no good lamp's either.
"""
FEWEST = 25
"""Samples; fewer may be the same by chance."""


class Dark:
    """Hysteresis in value and in time: below ``dark_below`` it gets dark, above ``light_above`` light, once that has
    held for ``hold_s``. A headlight or one wrong value changes nothing. The first value decides at once."""

    def __init__(self, dark_below: float, light_above: float, hold_s: float) -> None:
        self.dark: bool | None = None
        self._below, self._above, self._hold_s = dark_below, light_above, hold_s
        self._since_s: float | None = None

    def feed(self, t_s: float, value: float) -> bool:
        """Whether it is dark now."""
        if self.dark is None:
            self.dark = value < (self._below + self._above) / 2
            return self.dark
        if (value > self._above) if self.dark else (value < self._below):
            if self._since_s is None:
                self._since_s = t_s
            if t_s - self._since_s >= self._hold_s:
                self.dark, self._since_s = not self.dark, None
        else:
            self._since_s = None
        return self.dark


class Frozen:
    """B42: the very same value for too long.

    A converter that sees the light in steps below 0.2 % of it also sees clouds, flicker and its own noise: half an hour
    (``fine_s``) without a change is a dead one. In the dark, at full scale or in coarse percents nothing may change for
    a night: there the limit is ``still_s``. 0 switches a limit off."""

    def __init__(self, fine_s: float, still_s: float) -> None:
        self.frozen = False
        self.still_s = 0.0
        """For how long the value has been the same."""
        self._limits = fine_s, still_s
        self._value: float | None = None
        self._since_s = 0.0
        self._samples = 0

    def feed(self, t_s: float, value: float, step: float, saturated: bool = False) -> bool:
        if value != self._value:
            self._value, self._since_s, self._samples = value, t_s, 0
        self._samples += 1
        self.still_s = t_s - self._since_s
        fine = 0 < step <= FINE * value and not saturated
        limit_s = self._limits[0] if fine else self._limits[1]
        self.frozen = limit_s > 0 and self.still_s >= limit_s and self._samples >= FEWEST
        return self.frozen
