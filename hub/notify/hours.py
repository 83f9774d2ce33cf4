"""Quiet hours and the daily digest in the house's zone. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hub.notify.settings import Notify, clock, hours


class Hours:
    def __init__(self, settings: Notify, zone: ZoneInfo) -> None:
        self.zone = zone
        self._quiet = hours(settings.quiet_hours) if settings.quiet_hours else None
        self._digest = clock(settings.digest_at, "digest_at")

    def quiet(self, t_us: int) -> bool:
        return self._quiet is not None and self._within(self._local(t_us).time())

    def _within(self, at: time) -> bool:
        assert self._quiet is not None
        first, last = self._quiet
        return first <= at < last if first < last else at >= first or at < last

    def digest_us(self, t_us: int) -> int:
        """The next digest after ``t_us``; one that would fall into quiet hours comes at their end."""
        now = self._local(t_us)
        at = self._at(now, self._digest)
        if self._quiet is not None and self._within(self._digest):
            at = self._at(now, self._quiet[1])
        while at <= now:
            at = self._at(at + timedelta(days=1), at.time())
        return round(at.timestamp() * 1e6)

    def _local(self, t_us: int) -> datetime:
        return datetime.fromtimestamp(t_us / 1e6, UTC).astimezone(self.zone)

    def _at(self, day: datetime, at: time) -> datetime:
        # through UTC: an hour that a change of clocks leaves out becomes one that exists
        return datetime.combine(day.date(), at, self.zone).astimezone(UTC).astimezone(self.zone)
