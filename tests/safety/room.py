"""A room, its heater and its thermometers. Times are microseconds, temperatures degrees Celsius."""

from __future__ import annotations

import math
import random

US = 1_000_000
HOUR_US = 3600 * US


class Room:
    """One mass of heat, a heater that is slow by ``lag_s``, weather, and windows.

    Each step is exact for constant input: the heater's and the room's exponential one after the other."""

    def __init__(self, rng: random.Random, now_us: int, cold: bool = False) -> None:
        self.outdoor_c = -10.0 if cold else rng.uniform(-12.0, 12.0)
        self.swing_c = 0.0 if cold else rng.uniform(0.0, 4.0)
        self.lift_c = rng.uniform(32.0, 40.0) if cold else rng.uniform(12.0, 38.0)
        """How much warmer than outdoors the heater makes it in the end."""
        self.tau_s = self.lift_c / rng.uniform(1.2, 5.0) * 3600
        self.lag_s = rng.choice((0.0, 60.0, 240.0))
        self.sun_c_h = 0.0 if cold else rng.uniform(0.0, 0.6)
        self.air_c = rng.uniform(12.0, 20.0) if cold else rng.uniform(10.0, 21.0)
        self.open_tau_s = rng.uniform(1200.0, 3600.0)
        self.open = False
        self.heats = False
        """The contact is closed and the heater is whole."""
        self._q = 0.0
        self._at_us = now_us

    def strong(self, rng: random.Random) -> None:
        """A heater that makes the room warmer also where it is as warm as wanted."""
        self.outdoor_c, self.lift_c = rng.uniform(2.0, 12.0), rng.uniform(36.0, 40.0)
        self.tau_s = self.lift_c / rng.uniform(3.0, 6.0) * 3600
        self.air_c = rng.uniform(15.0, 20.0)

    @property
    def rate_c_h(self) -> float:
        return self.lift_c / self.tau_s * 3600

    def outdoors(self, t_us: int) -> float:
        return self.outdoor_c + self.swing_c * math.sin(2 * math.pi * t_us / (24 * HOUR_US))

    def to(self, t_us: int) -> None:
        while self._at_us < t_us:
            step_s = min(60.0, (t_us - self._at_us) / US)
            aim = 1.0 if self.heats else 0.0
            if self.lag_s:
                before = self._q
                self._q = aim + (self._q - aim) * math.exp(-step_s / self.lag_s)
                q = (before + self._q) / 2
            else:
                q = self._q = aim
            tau = 1 / (1 / self.tau_s + (1 / self.open_tau_s if self.open else 0))
            sun = self.sun_c_h * max(0.0, math.sin(2 * math.pi * self._at_us / (24 * HOUR_US))) / 3600
            rest = self.outdoors(self._at_us) + (self.lift_c / self.tau_s * q + sun) * tau
            self.air_c = rest + (self.air_c - rest) * math.exp(-step_s / tau)
            self._at_us = min(t_us, self._at_us + math.ceil(step_s * US))


class Thermometer:
    """Noise, digits, an offset, and a body that is slower than the air."""

    def __init__(self, rng: random.Random, room: Room, interval_s: float, offset_c: float, lag_s: float) -> None:
        self._rng = rng
        self.interval_s = interval_s
        self.offset_c = offset_c
        self.lag_s = lag_s
        self.noise_c = rng.uniform(0.02, 0.05)
        self.body_c = room.air_c
        self._at_us: int | None = None

    def read(self, t_us: int, air_c: float) -> float:
        if self._at_us is not None and self.lag_s:
            self.body_c = air_c + (self.body_c - air_c) * math.exp(-(t_us - self._at_us) / US / self.lag_s)
        else:
            self.body_c = air_c
        self._at_us = t_us
        value = self.body_c + self.offset_c + self._rng.gauss(0.0, self.noise_c)
        return round(value / 0.0625) * 0.0625

    def week(self) -> dict[str, object]:
        """What control has learned of it: the longest run of one value in a day of a room that hardly changes."""
        longest = run = 0
        last = None
        for number in range(round(86_400 / self.interval_s)):
            air_c = 18.0 + 1.5 * math.sin(number * self.interval_s / 7000.0)
            value = round((air_c + self._rng.gauss(0.0, self.noise_c)) / 0.0625)
            run = run + 1 if value == last else 1
            longest, last = max(longest, run), value
        return {"days": [round(longest * self.interval_s * US)], "today": 0, "heard": 0}
