"""The judge of a day, who knows nothing of how control decides.

Each limit has a worst figure, in its own unit, and violations as text. A limit without an occasion has none."""

from __future__ import annotations

from .alarm_checks import AlarmChecks
from .relay_checks import RelayChecks
from .room_checks import RoomChecks
from .verdict import Verdict


class Checker(RelayChecks, RoomChecks, AlarmChecks):
    def judge(self) -> Verdict:
        for check in (self._after_sample, self._after_death, self._unbroken, self._bogus, self._unfresh, self._starts,
                      self._minima, self._hot, self._cold, self._no_rise, self._absent, self._frozen, self._stuck,
                      self._dead, self._wolf):
            check()
        self.verdict.sensor_days = len(self.log.config.sensors) * (self.log.end_us - self.log.begin_us) / 86_400e6
        return self.verdict
