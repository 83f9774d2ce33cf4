"""From luminosity to "it is dark": hysteresis, time, and the light of the lamp itself taken off. Pure."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterable

SETTLE_S = 1.0
"""A lamp and its relay take this long; a reading from within says nothing of either state."""
STEPS = 5


class Judge:
    """``dark`` is None until a first value was clearly dark or clearly light.

    A value below ``below`` for ``hold_s`` is dark, one above ``above`` for ``hold_s`` is light, and between them
    nothing changes; after each change it rests for ``dwell_s``, so that no fault of the sensor makes the lamp flicker.

    What the lamp itself adds at the sensor is the step at each switching, up to ``dwell_s`` after it where the sensor
    is slow; of the last five steps the middle one counts, so a curtain that was drawn at that moment does no harm for
    long. It is never more than the least value seen while the lamp is on."""

    def __init__(self, below: float, above: float, hold_s: float, dwell_s: float) -> None:
        self._below = below
        self._above = above
        self._hold_s = hold_s
        self._dwell_s = dwell_s
        self.dark: bool | None = None
        self.ambient: float | None = None
        """The last value less :attr:`own`; never below 0."""
        self._steps: deque[float] = deque(maxlen=STEPS)
        self._value: float | None = None
        self._lamp: bool | None = None
        self._moved_s = float("-inf")
        self._before: float | None = None
        """The last value before the lamp switched, while its step is measured."""
        self._step: float | None = None
        """The step so far."""
        self._least = float("inf")
        """The least value since the lamp is on."""
        self._since_s: float | None = None
        """Since when the opposite of ``dark`` is seen."""
        self._changed_s = float("-inf")

    @property
    def steps(self) -> list[float]:
        """To be kept over a restart."""
        return [round(step, 3) for step in self._steps]

    def restore(self, steps: Iterable[float]) -> None:
        self._steps.extend(steps)

    @property
    def own(self) -> float:
        """What the lamp adds at the sensor, in the sensor's unit."""
        steps = [*self._steps, *([] if self._step is None else [self._step])][-STEPS:]
        return min(statistics.median_low(steps), self._least) if steps else 0.0

    def lamp(self, on: bool, t_s: float) -> None:
        """Where the lamp is, told again and again; a change is one that happened at ``t_s``."""
        if on == self._lamp:
            return
        self._measured()
        if self._lamp is not None:
            self._before, self._moved_s = self._value, t_s
        self._lamp, self._least = on, float("inf")

    def _measured(self) -> None:
        if self._step is not None:
            self._steps.append(self._step)
        self._before = self._step = None

    def feed(self, t_s: float, value: float) -> bool | None:
        """One value and its time in seconds; returns ``dark``."""
        if t_s < self._moved_s + SETTLE_S:
            return self.dark  # of another light than now's, or of both
        if self._before is not None:
            if self._step is not None and t_s > self._moved_s + self._dwell_s:
                self._measured()
            else:
                step = value - self._before if self._lamp else self._before - value
                self._step = max(0.0, step, self._step or 0.0)
        if self._lamp and self._before is None:  # a slow sensor has seen the whole step by now
            self._least = min(self._least, value)
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
