"""How long a healthy thermometer says the very same value, learned day by day: what is longer is frozen (B42). Pure."""

from __future__ import annotations

from typing import Any

US = 1_000_000
MINUTE_US = 60 * US
FROZEN_US = 25 * MINUTE_US
STILL_US = 6 * 3600 * US
LEARN_US = 24 * 3600 * US
HEATED_US = 28 * MINUTE_US
WEEK = 7


class Runs:
    """The longest run of one value, day by day of listening."""

    def __init__(self) -> None:
        self._days: list[int] = []
        self._today = self._heard = 0

    def restore(self, kept: Any) -> None:
        match kept:
            case {"days": list(days), "today": int(today), "heard": int(heard)}:
                if all(isinstance(day, int) and 0 <= day < LEARN_US for day in days):
                    self._days, self._today, self._heard = days[-WEEK:], max(0, today), max(0, min(heard, LEARN_US))

    def add(self, run_us: int, t_us: int) -> None:
        self._today = max(self._today, run_us)
        self._heard += min(run_us, STILL_US)
        if self._heard >= LEARN_US:
            self._days = [*self._days, self._today][-WEEK:]
            self._today = self._heard = 0

    def limit_us(self) -> int:
        if not self._days:
            return STILL_US
        times = 3.0 if len(self._days) < 4 else 2.5 if len(self._days) < WEEK else 2.0
        return max(FROZEN_US, round(times * max(self._today, *self._days)))

    def heated_us(self) -> int:
        """Where it heats, twice as long as ever is enough."""
        return max(HEATED_US, 2 * max((self._today, *self._days), default=0)) if self._days else HEATED_US

    def to_kept(self) -> dict[str, Any] | None:
        """Changes seldom: in whole minutes. None: nothing yet."""
        if not self._days and self._heard < 3600 * US:
            return None
        return {"days": self._days, "today": self._today // MINUTE_US * MINUTE_US,
                "heard": self._heard // (60 * MINUTE_US) * 60 * MINUTE_US}
