"""Does the room get warmer while it heats (B44)? Pure.

ON, and no warmer by ``rise_c`` in half an hour: the sensor fell off its wall, or nothing heats: E_NO_HEATING_RESPONSE,
OFF, and tried again after 30, 60, 120, then 240 min; sooner when the room cools in the pause as it did not before: then
the heater is at work, and only too weak for the weather.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from .sensors import MINUTE_US, Sensor
from .settings import RelayHeaterConfig

WINDOW_US = 30 * MINUTE_US
PAUSE_LOOK_US = 12 * MINUTE_US
COOLS_C_H = 0.8
"""So much faster it must cool in a pause than while on: then the heater works and is only too weak to get on."""
SURE = 4.0
"""Standard errors between both slopes: a thermometer that hangs elsewhere is as noisy, and must not pass for a room."""
YOUNG_US = 5 * MINUTE_US
COOLING_US = tuple(minutes * MINUTE_US for minutes in (5, 10, 15))
TREND_US = 20 * MINUTE_US
WEAK_US = 24 * 60 * MINUTE_US
NOTHING_C = 0.1
CLEARLY = 3.0
"""So many times ``rise_c`` above where it stood still: it is not too weak any more."""
PAUSES_US = tuple(minutes * MINUTE_US for minutes in (30, 60, 120, 240))


class Response:
    """Does the room get warmer while it heats?

    A heater that is known to work, and only too weak for the weather, is told of once, not with every try."""

    def __init__(self, config: RelayHeaterConfig) -> None:
        self.config = config
        self.failed = ""
        """Why it pauses."""
        self.alarm = ""
        self.level = 0
        self.until_us = 0
        """It is not tried again before."""
        self.proven_us: int | None = None
        """When it last was seen to heat."""
        self._failed_us: int | None = None
        self._failed_by = ""
        self._failed_c = 0.0
        self._on_trend = (0.0, 0.0)
        self._weak_us: int | None = None
        """When it was last seen to work, though it got no warmer."""

    def restore(self, kept: Any, now_us: int) -> None:
        match kept:
            case {"level": int(level), "until_us": int(until_us)} if 0 < level <= len(PAUSES_US):
                self.level = level
                self.until_us = min(until_us, now_us + PAUSES_US[level - 1])
                self.failed = self.alarm = "it did not before the restart"
        match kept:
            case {"weak_us": int(weak_us)} if now_us - WEAK_US < weak_us <= now_us:
                self._weak_us = weak_us

    def look(self, now_us: int, on_since_us: int | None, sensor: Sensor | None, draws: bool | None = None,
             others: Sequence[Sensor] = ()) -> bool:
        """True: off with it, now. ``draws``: what the meter says."""
        if on_since_us is None or sensor is None or sensor.lost(now_us):
            return False
        ref_us = max(on_since_us, now_us - WINDOW_US)
        if now_us - on_since_us >= WINDOW_US:  # one that has just come back cannot tell; another one may
            sensor = next((one for one in (sensor, *others) if not one.lost(now_us) and one.times
                           and one.times[0] <= ref_us + YOUNG_US), sensor)
        ref, before_c, now_c = sensor.at(ref_us), sensor.level_c(ref_us), sensor.level_c(now_us)
        if ref is None or before_c is None or now_c is None:
            return False
        rise_c = now_c - before_c
        if rise_c < self.config.rise_c and now_us - on_since_us >= WINDOW_US:  # at first it goes on cooling
            rise_c = now_c - min(before_c, *(sensor.level_c(ref_us + late) or before_c for late in COOLING_US))
        if rise_c >= self.config.rise_c:
            if self.level:
                self._weak_us = now_us
            self.failed, self.level, self.proven_us = "", 0, now_us
            if self._weak_us is None or now_c >= self._failed_c + CLEARLY * self.config.rise_c:
                self.alarm = ""
            return False
        if now_us - on_since_us < WINDOW_US:
            return False
        text = f"{rise_c:+.2f} °C in {(now_us - ref[0]) / MINUTE_US:.0f} min of ON, {sensor.name}"
        self._fail(text, rise_c < NOTHING_C, now_us, draws)
        self._failed_by, self._failed_c = sensor.name, now_c
        self._on_trend = sensor.trend(now_us - TREND_US) or (rise_c * 2, math.inf)
        return True

    def _fail(self, text: str, nothing: bool, now_us: int, draws: bool | None) -> None:
        """Of a heater that worked within a day, and is only weak, nothing is said before it fails again and again."""
        known_weak = self._weak_us is not None and now_us - self._weak_us < WEAK_US
        if not known_weak or draws is False or self.level >= (2 if nothing else 3):
            self.alarm = self.alarm or text
        if draws:
            self._weak_us = now_us
        self.failed = text
        self.until_us = now_us + PAUSES_US[min(self.level, len(PAUSES_US) - 1)]
        self.level = min(self.level + 1, len(PAUSES_US))
        self._failed_us = now_us

    def enough(self, now_us: int) -> None:
        """It is as warm as wanted, and not in a pause: whatever it was, it is over."""
        if self.alarm and not self.level:
            self.alarm, self._weak_us = "", now_us

    def resting(self, now_us: int, sensor: Sensor) -> bool:
        """Whether it pauses. A pause is itself a question: a room that cools in it was heated before."""
        if now_us >= self.until_us:
            return False
        since_us = self._failed_us
        if since_us is None or now_us - since_us < PAUSE_LOOK_US or self._failed_by != sensor.name:
            return True
        trend = sensor.trend(since_us + MINUTE_US)
        if trend is None:
            return True
        slower, doubt = self._on_trend[0] - trend[0], math.hypot(self._on_trend[1], trend[1])
        if slower < max(COOLS_C_H, SURE * doubt):
            return True
        self.failed, self.level, self.until_us, self.proven_us, self._failed_us = "", 0, now_us, now_us, None
        self._weak_us = now_us
        return False

    def to_kept(self) -> dict[str, int] | None:
        kept = {"level": self.level, "until_us": self.until_us} if self.level else {}
        return kept | ({"weak_us": self._weak_us} if self._weak_us is not None else {}) or None
