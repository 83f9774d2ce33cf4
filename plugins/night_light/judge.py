"""From luminosity to "it is dark": hysteresis, time, and the light of the lamp itself taken off. Pure."""

from __future__ import annotations

SETTLE_S = 1.0
"""A lamp and its relay take this long; a reading from within says nothing of either state."""


class Judge:
    """``dark`` is None until a first value was clearly dark or clearly light.

    A value below ``below`` for ``hold_s`` is dark, one above ``above`` for ``hold_s`` is light, and between them nothing
    changes; after each change it rests for ``dwell_s``, so that no fault of the sensor makes the lamp flicker.

    ``own`` is what the lamp adds at the sensor, in the sensor's unit: measured as the step at each switching, and never
    more than the least value seen while it is on, so a step that somebody else's lamp made is forgotten with it."""

    def __init__(self, below: float, above: float, hold_s: float, dwell_s: float, own: float = 0.0) -> None:
        self._below = below
        self._above = above
        self._hold_s = hold_s
        self._dwell_s = dwell_s
        self.own = own
        self.dark: bool | None = None
        self.ambient: float | None = None
        """The last value less ``own``; never below 0."""
        self._value: float | None = None
        self._lamp: bool | None = None
        self._moved_s = float("-inf")
        self._before: float | None = None
        """The last value before the lamp switched, until the step is measured."""
        self._since_s: float | None = None
        """Since when the opposite of ``dark`` is seen."""
        self._changed_s = float("-inf")

    def lamp(self, on: bool, t_s: float) -> None:
        """Where the lamp is, told again and again; a change is one that happened at ``t_s``."""
        if on == self._lamp:
            return
        if self._lamp is not None:
            self._before, self._moved_s = self._value, t_s
        self._lamp = on

    def feed(self, t_s: float, value: float) -> bool | None:
        """One value and its time in seconds; returns ``dark``."""
        if self._moved_s <= t_s < self._moved_s + SETTLE_S:
            return self.dark
        if self._before is not None:
            if t_s < self._moved_s:
                return self.dark  # taken before the lamp moved, come after it
            self.own = max(0.0, value - self._before if self._lamp else self._before - value)
            self._before = None
        if self._lamp:
            self.own = min(self.own, value)
        self._value = value
        self.ambient = max(0.0, value - self.own) if self._lamp else value
        seen = True if self.ambient < self._below else False if self.ambient > self._above else None
        if seen is None or seen == self.dark:
            self._since_s = None
        elif self.dark is None:
            self._change(seen, t_s)
        else:
            if self._since_s is None:
                self._since_s = t_s
            if t_s - self._since_s >= self._hold_s and t_s - self._changed_s >= self._dwell_s:
                self._change(seen, t_s)
        return self.dark

    def _change(self, dark: bool, t_s: float) -> None:
        self.dark, self._changed_s, self._since_s = dark, t_s, None
