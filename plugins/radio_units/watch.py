"""Sensors that are absent, frozen or lying, batteries that are empty (FAULTS B41 to B43). Pure, on stamps.

Frozen: the value stood still for 30 minutes and twice as long as it ever did before, in a sensor whose value was
seen to move (200 reports). A sensor with coarse steps has long still times of its own, so it is judged by those.
"""

from __future__ import annotations

LEARN_REPORTS = 200
FROZEN_S = 1800.0
FROZEN_REPORTS = 12
FROZEN_TIMES = 2
SPIKE_C = 5.0
"""A room does not change by more from one report to the next."""
SPIKE_AGREE_C = 2.0
SPIKE_S = 1800.0
POWER_ON_C = 85.0
"""What a DS18B20 says before its first conversion."""


class TemperatureWatch:
    """One temperature of one unit."""

    def __init__(self) -> None:
        self.frozen = False
        self._seen = 0
        self._longest = 0
        self._run = 0
        self._run_since_s = 0.0
        self._value: float | None = None
        self._good: tuple[float, float] | None = None
        self._doubted: float | None = None

    def judge(self, value: float, t_s: float) -> str | None:
        """The quality of a value: None is good."""
        self._count(value, t_s)
        if value == POWER_ON_C:
            return "sensor_error"
        good = self._good
        if good is not None and t_s - good[1] < SPIKE_S and abs(value - good[0]) > SPIKE_C and (
            self._doubted is None or abs(value - self._doubted) > SPIKE_AGREE_C
        ):
            self._doubted = value
            return "uncertain"
        self._good, self._doubted = (value, t_s), None
        return "uncertain" if self.frozen else None

    def _count(self, value: float, t_s: float) -> None:
        self._seen += 1
        if value != self._value:
            if not self.frozen:
                self._longest = max(self._longest, self._run)
            self._value, self._run, self._run_since_s, self.frozen = value, 1, t_s, False
            return
        self._run += 1
        self.frozen = (
            self._seen - self._run >= LEARN_REPORTS and t_s - self._run_since_s >= FROZEN_S
            and self._run >= max(FROZEN_REPORTS, FROZEN_TIMES * self._longest))


class BatteryWatch:
    """Low below ``low_v``, well again 0.1 V above it (a cold night's dip is told once)."""

    def __init__(self, low_v: float) -> None:
        self.low: bool | None = None
        self._low_v = low_v

    def judge(self, volt: float) -> bool:
        """True when ``low`` has changed (or is known for the first time)."""
        low = volt < self._low_v + (0.1 if self.low else 0.0)
        changed, self.low = low != self.low, low
        return changed
