"""Once in a while it is closed and opened again, so that lime does not hold it: only when nobody notices. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta

from .settings import WaterValveConfig

US = 1_000_000
ARMED_US = 5 * US
"""It is kept that this closing is an exercise before it begins: a restart in the middle opens again."""
QUIET_US = 600 * US
REST_US = 10 * US


class Exercise:
    """``active``: from arming to the end. ``closes``: the valve is to be closed for it now."""

    def __init__(self, config: WaterValveConfig) -> None:
        self._config = config
        self._hold_us = round(config.travel_s * US) + REST_US
        self.began_us: int | None = None
        self.last: datetime | None = None
        """When it was fully closed the last time, for whatever reason."""

    @property
    def active(self) -> bool:
        return self.began_us is not None

    def closes(self, now_us: int) -> bool:
        return self.began_us is not None and now_us >= self.began_us + ARMED_US

    def tick(self, now_us: int, local: datetime | None, quiet_us: int | None) -> None:
        """``quiet_us``: since when no water flows and nothing leaks; None: it does, or nobody knows."""
        if self.began_us is not None:
            if quiet_us is None or now_us >= self.began_us + ARMED_US + self._hold_us:
                self.stop(local)
            return
        if not self._config.exercise_days or local is None:
            return
        if self.last is None:
            self.last = local
        first, end = self._config.exercise_hours
        due = local - self.last >= timedelta(days=self._config.exercise_days) and first <= local.hour < end
        if due and quiet_us is not None and now_us - quiet_us >= QUIET_US:
            self.began_us = now_us

    def stop(self, local: datetime | None) -> None:
        """It is over, or something else has become more important: the next one is due in ``exercise_days``."""
        if self.began_us is not None:
            self.began_us, self.last = None, local or self.last
