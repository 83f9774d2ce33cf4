"""Has anything become warmer since the boiler runs? Pure; times are CLOCK_BOOTTIME in microseconds.

After 4 h without a break guard wants to know; a boiler that shows nothing for half an hour is told much earlier."""

from __future__ import annotations

import math
from typing import Any

from .settings import BoilerDemandConfig

US = 1_000_000
COLDEST_C, HOTTEST_C = -30.0, 120.0


class Proof:
    """``heats`` is what the last run has shown; None before the first one has shown anything."""

    def __init__(self, config: BoilerDemandConfig) -> None:
        self._config = config
        self.heats: bool | None = None
        self.supply_c: float | None = None
        self._on_since_us: int | None = None
        self._base: dict[Any, float] = {}
        """The least value of each place in this run."""
        self._shown = False

    def running(self, on: bool, now_us: int) -> None:
        """What guard does."""
        if on and self._on_since_us is None:
            self._on_since_us, self._shown = now_us, False
            self._base.clear()
        elif not on:
            self._on_since_us = None

    def supply(self, value: object, quality: str | None, t_us: int) -> None:
        number = _temperature(value, quality)
        self.supply_c = number
        if number is None:
            return
        if self._during(t_us) and number >= self._config.supply_hot_c:
            self._show()
        self._warmer("supply", number, self._config.supply_rise_c, t_us)

    def room(self, heater: Any, value: object, quality: str | None, t_us: int) -> None:
        number = _temperature(value, quality)
        if number is not None:
            self._warmer(heater, number, self._config.room_rise_c, t_us)

    def _during(self, t_us: int) -> bool:
        return self._on_since_us is not None and t_us >= self._on_since_us

    def _warmer(self, place: Any, value: float, rise: float, t_us: int) -> None:
        if not self._during(t_us):
            return
        base = self._base[place] = min(value, self._base.get(place, value))
        if value - base >= rise - 1e-9:
            self._show()

    def _show(self) -> None:
        self._shown = self.heats = True

    def look(self, now_us: int) -> str | None:
        """What is wrong: ON for long and nothing became warmer. Nothing is where nothing measures."""
        if self._on_since_us is None or self._shown or not self._base:
            return None
        if now_us - self._on_since_us < self._config.no_response_min * 60 * US:
            return None
        self.heats = False
        return f"nothing became warmer in {self._config.no_response_min:g} min"


def _temperature(value: object, quality: str | None) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or quality not in (None, "estimated"):
        return None
    return float(value) if math.isfinite(value) and COLDEST_C <= value <= HOTTEST_C else None
