"""Reasons to pause that all end by themselves: an open window, a house that draws too much. Pure.

A pause lives in this process alone: after a restart there is none, until the window or the meter says so again.
"""

from __future__ import annotations

from .sensors import MINUTE_US, US, Sensor
from .settings import RelayHeaterConfig

FALL_US = 5 * MINUTE_US
AGAIN_C = 0.2
SHUT_US = 60 * US
REPEAT_US = 30 * MINUTE_US
"""So long after a pause by slope none begins."""
SHED_AFTER_US = 10 * US
CALM_US = 60 * US
MIN_SHED_US = 180 * US
LOAD_OLD_US = 60 * US
MARGIN = 0.05


class Window:
    """Open by how the room cools, or by a contact."""

    def __init__(self, config: RelayHeaterConfig, now_us: int) -> None:
        self.config = config
        self.open = False
        self.why = ""
        self.overdue = ""
        """A contact that is open for longer than a pause may last."""
        self._since_us = 0
        self._lowest_c = 0.0
        self._quiet_until_us = now_us + FALL_US
        self._contact = False
        self._contact_us: int | None = None

    def contact(self, t_us: int, value: object) -> None:
        """Anything that is no boolean is a contact that nobody knows: shut."""
        opened = value is True
        if opened and not self._contact:
            self._contact_us = t_us
        self._contact = opened

    def look(self, now_us: int, sensor: Sensor | None) -> None:
        self.overdue = ""
        if self._contact and self._contact_us is not None:
            for_us = now_us - self._contact_us
            if for_us < round(self.config.window_contact_pause_s * US):
                self.open, self.why = True, "its contact says so"
                self._since_us = self._contact_us
                self._quiet_until_us = now_us + REPEAT_US
            else:
                self.open, self.overdue = False, f"open for {for_us / MINUTE_US:.0f} min, heating again"
            return
        if self.open and self.why == "its contact says so":
            self.open = False
        if self.open:
            self._resume(now_us, sensor)
        elif sensor is not None and self.config.window_fall_c and now_us >= self._quiet_until_us:
            self._falls(now_us, sensor)

    def _resume(self, now_us: int, sensor: Sensor | None) -> None:
        ends = now_us - self._since_us >= round(self.config.window_pause_s * US)
        if sensor is None or sensor.lost(now_us) or sensor.value_c is None:
            ends = True
        else:
            self._lowest_c = min(self._lowest_c, sensor.value_c)
            ends = ends or (now_us - self._since_us >= SHUT_US and sensor.value_c >= self._lowest_c + AGAIN_C)
        if ends:
            self.open, self.why = False, ""
            self._quiet_until_us = now_us + REPEAT_US

    def _falls(self, now_us: int, sensor: Sensor) -> None:
        if sensor.lost(now_us) or sensor.value_c is None or sensor.good_us is None:
            return
        before = sensor.at(now_us - FALL_US)
        if before is None or not 0 < sensor.good_us - before[0] <= 2 * FALL_US:
            return
        fall_c = before[1] - sensor.value_c
        if fall_c >= self.config.window_fall_c * max(1.0, (sensor.good_us - before[0]) / FALL_US):
            self.open, self._since_us, self._lowest_c = True, now_us, sensor.value_c
            self.why = f"{fall_c:.1f} °C colder in {(sensor.good_us - before[0]) / MINUTE_US:.0f} min"

    def end_us(self) -> int | None:
        """When the pause is over at the latest."""
        if not self.open:
            return None
        pause_s = self.config.window_contact_pause_s if self._contact else self.config.window_pause_s
        return self._since_us + round(pause_s * US)


class Shedding:
    """Off while the house draws more than it may, on again when there is room for the heater."""

    def __init__(self, config: RelayHeaterConfig) -> None:
        self.config = config
        self.shed = False
        self.power_w: float | None = None
        self._heard_us = -1
        self._over_us: int | None = None
        self._calm_us: int | None = None
        self._since_us = 0

    def load(self, t_us: int, watts: object, quality: str | None) -> None:
        if quality in (None, "good") and isinstance(watts, int | float) and not isinstance(watts, bool) \
                and abs(watts) < 1e6 and t_us > self._heard_us:
            self.power_w, self._heard_us = float(watts), t_us

    def look(self, now_us: int) -> None:
        limit = self.config.load_limit_w
        if limit is None:
            return
        fresh = self.power_w is not None and now_us - self._heard_us <= LOAD_OLD_US
        power = self.power_w if fresh and self.power_w is not None else 0.0
        if not self.shed:
            if power <= limit:
                self._over_us = None
                return
            if self._over_us is None:
                self._over_us = now_us
            if now_us - self._over_us >= SHED_AFTER_US:
                self.shed, self._since_us, self._calm_us = True, now_us, None
            return
        if power + self.config.heater_w > limit * (1 - MARGIN):
            self._calm_us = None
            return
        if self._calm_us is None:
            self._calm_us = now_us
        if now_us - self._calm_us >= CALM_US and now_us - self._since_us >= MIN_SHED_US:
            self.shed, self._over_us = False, None
