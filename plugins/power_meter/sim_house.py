"""A house that does not exist: its load at any moment of any day, and its counters as the exact sum of it.

Everything follows from seed and wall time, so a simulator that was started anew goes on where the old one stopped.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

DAY_S = 86_400
MINUTES = 1440
#: Hours of the cheap tariff, 22:00 to 06:00, in minutes of the day (UTC: a simulator needs no time zone).
OFF_PEAK = (22 * 60, 6 * 60)
_GROWING_SINCE_DAY = 18_262  # 2020-01-01: so the counters look like those of a meter that has hung for years


@dataclass(frozen=True, slots=True)
class State:
    """One moment: W and VA per phase, V, A; energy in Wh per tariff, exact."""

    wall_s: float
    watts: tuple[float, ...]
    volts: tuple[float, ...]
    peak_wh: float
    off_peak_wh: float
    gas_m3: float

    @property
    def power_w(self) -> float:
        return sum(self.watts)

    @property
    def apparent_va(self) -> float:
        return self.power_w / 0.97

    @property
    def amps(self) -> tuple[float, ...]:
        return tuple(w / 0.97 / v for w, v in zip(self.watts, self.volts, strict=True))

    @property
    def import_wh(self) -> float:
        return self.peak_wh + self.off_peak_wh

    @property
    def off_peak(self) -> bool:
        return is_off_peak(int(self.wall_s % DAY_S) // 60)


def is_off_peak(minute: int) -> bool:
    return minute >= OFF_PEAK[0] or minute < OFF_PEAK[1]


class House:
    """``at(wall_s)`` is the state then. ``phases`` 1 or 3."""

    def __init__(self, seed: int = 0, phases: int = 1) -> None:
        self.phases = phases
        self._day = _day_curve(random.Random(seed))
        self._peak = [0.0]
        self._off_peak = [0.0]
        for minute, watts in enumerate(self._day):
            cheap = is_off_peak(minute)
            self._peak.append(self._peak[-1] + (0.0 if cheap else watts / 60))
            self._off_peak.append(self._off_peak[-1] + (watts / 60 if cheap else 0.0))
        self._seed = seed

    def at(self, wall_s: float) -> State:
        days, second = divmod(wall_s, DAY_S)
        days -= _GROWING_SINCE_DAY
        minute, part = int(second // 60), second % 60 / 3600
        watts = self._day[minute]
        cheap = is_off_peak(minute)
        peak = days * self._peak[-1] + self._peak[minute] + (0.0 if cheap else watts * part)
        off_peak = days * self._off_peak[-1] + self._off_peak[minute] + (watts * part if cheap else 0.0)
        # What is shown trembles by a hundredth and a few watts around what is counted, as on a real meter.
        tremble = random.Random(self._seed * 1_000_003 + int(wall_s))
        shown = watts * (1 + tremble.uniform(-0.01, 0.01)) + tremble.uniform(-6, 6)
        shares = (1.0,) if self.phases == 1 else (0.5, 0.3, 0.2)
        volts = tuple(232 + 3 * math.sin(wall_s / 1800 + n) + tremble.uniform(-0.5, 0.5) for n in range(self.phases))
        gas = days * 4.8 + 4.8 * (second // 3600) / 24
        return State(wall_s, tuple(shown * share for share in shares), volts, peak, off_peak, gas)


def _day_curve(rng: random.Random) -> list[float]:
    """Watts for each minute of a day: base load, a fridge, morning and evening, boiler at night, cooking."""
    curve = []
    for minute in range(MINUTES):
        hour = minute / 60
        watts = 140 + 60 * math.exp(-(((hour - 7.5) / 1.2) ** 2)) + 350 * math.exp(-(((hour - 20) / 2.2) ** 2))
        if minute % 48 < 17:
            watts += 95
        curve.append(watts)
    for start, length, watts in ((22 * 60 + 30, 150, 2200), (12 * 60 + 10, 35, 1800), (19 * 60 + 5, 45, 2600)):
        begin = start + rng.randrange(-15, 16)
        for minute in range(begin, begin + length + rng.randrange(-10, 11)):
            curve[minute % MINUTES] += watts
    for _ in range(rng.randrange(5, 10)):  # kettle, iron, washing machine
        begin, watts = rng.randrange(6 * 60, 22 * 60), rng.choice((900, 1500, 2000))
        for minute in range(begin, begin + rng.randrange(3, 12)):
            curve[minute % MINUTES] += watts
    return [watts * rng.uniform(0.95, 1.05) for watts in curve]
