"""Does the heater do what its relay is told? From a probe contact, the power of its circuit, the room (B44, B47). Pure.

Told OFF, and yet it heats: E_RELAY_STUCK, within 5 min by probe or power, within 20 min by the room. Told ON, and no
contact or no power: E_RELAY_DEAD. Told ON, and the room gets no warmer by ``rise_c`` in half an hour: the sensor fell
off its wall, or nothing heats: E_NO_HEATING_RESPONSE, OFF, and tried again after 30, 60, 120, then 240 min; sooner when
the room cools in the pause as it did not before: then the heater is at work, and only too weak for the weather.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from agent.api import RelayState

from .sensors import MINUTE_US, US, Sensor
from .settings import RelayHeaterConfig

CONTACT_US = 30 * US
POWER_US = 120 * US
POWER_OLD_US = 300 * US
SETTLE_US = 20 * US
"""After an edge nothing is judged for so long: contacts bounce, meters average."""
LOOK_US = 10 * MINUTE_US
ROOM_US = 13 * MINUTE_US
LAG_US = 4 * MINUTE_US
LONG_US = 15 * MINUTE_US
LASTS_US = 60 * US
SLOPE_EVERY_US = 20 * US
SLOPE_C_H = 1.0
CLEAR_C_H = -0.2
"""It cools again: the contact has opened."""
RISE_C = 0.15
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


class Truth:
    """The relay against its probe, its power and the room's temperature."""

    def __init__(self, config: RelayHeaterConfig) -> None:
        self.config = config
        self.stuck = ""
        self.dead = ""
        self.power_w: float | None = None
        self._power_us = -1
        self._contact_since_us: int | None = None
        """Since when the contact is not what was told."""
        self._power_since_us: int | None = None
        self._room_stuck = False
        self._room_since_us: int | None = None
        self._closed_us = 0
        """When it last was known to heat though it was told OFF: a radiator warms on for a while after that, too."""
        self._sloped_us = 0
        self._heats_c_h = 0.0
        """Slope of the room while it heats, learned."""

    def power(self, t_us: int, watts: object, quality: str | None) -> None:
        if quality in (None, "good") and isinstance(watts, int | float) and not isinstance(watts, bool) \
                and abs(watts) < 1e6 and t_us > self._power_us:
            self.power_w, self._power_us = float(watts), t_us

    def draws(self, now_us: int) -> bool | None:
        """Whether the heater's circuit draws its power; None: nobody says."""
        if self.power_w is None or now_us - self._power_us > POWER_OLD_US:
            return None
        return abs(self.power_w) >= 0.3 * self.config.heater_w

    def look(self, now_us: int, state: RelayState, sensor: Sensor | None, setpoint_c: float) -> None:
        if state.on is None:
            return
        contact = self._contact(now_us, state)
        power = self._power(now_us, state)
        room = self._room(now_us, state, sensor, setpoint_c)
        told = "OFF" if not state.on else "ON"
        wrong = contact or power or room
        if not state.on and (contact or power or state.contact):
            self._closed_us = now_us
        if contact:
            text = f"told {told}, and its contact is {'closed' if state.contact else 'open'}"
        elif power:
            text = f"told {told}, and its circuit draws {self.power_w or 0:.0f} W"
        else:
            minutes = (now_us - state.since_us) / MINUTE_US
            text = f"told OFF {minutes:.0f} min ago, and the room gets warmer as if it heated"
        if not state.on:
            self.dead = ""
            if wrong or now_us - state.since_us >= SETTLE_US:
                self.stuck = (self.stuck or text) if wrong else ""
        else:
            self.dead = (self.dead or text) if contact or power else ""

    def _contact(self, now_us: int, state: RelayState) -> bool:
        if state.contact is None or state.contact == state.on:
            self._contact_since_us = None
            return False
        if self._contact_since_us is None:
            self._contact_since_us = now_us
        return now_us - max(self._contact_since_us, state.since_us) >= CONTACT_US

    def _power(self, now_us: int, state: RelayState) -> bool:
        draws = self.draws(now_us)
        if draws is None or draws == state.on or self._power_us < state.since_us + SETTLE_US:
            self._power_since_us = None
            return False
        if self._power_since_us is None:
            self._power_since_us = self._power_us
        return now_us - self._power_since_us >= POWER_US

    def _room(self, now_us: int, state: RelayState, sensor: Sensor | None, setpoint_c: float) -> bool:
        for_us = now_us - state.since_us
        if sensor is None or sensor.lost(now_us):
            self._room_stuck = False
            return False
        if state.on:
            self._room_stuck = False
        if now_us - self._sloped_us < SLOPE_EVERY_US:
            return self._room_stuck
        self._sloped_us = now_us
        if state.on:
            if for_us >= LOOK_US:
                slope = sensor.slope_c_h(now_us - LOOK_US)
                if slope is not None and slope > 0:
                    self._heats_c_h += (slope - self._heats_c_h) * 0.05
            return False
        if min(for_us, now_us - self._closed_us) < ROOM_US and not self._room_stuck:
            self._room_since_us = None
            return False
        from_us = max(state.since_us + LAG_US, now_us - LONG_US)
        trend, rise_c = sensor.trend(from_us), sensor.rise_c(from_us)
        if trend is None or rise_c is None:
            return self._room_stuck
        slope, doubt = trend
        if self._room_stuck:
            if slope <= CLEAR_C_H:  # what was before this says nothing any more
                self._room_stuck, self._room_since_us, self._closed_us = False, None, now_us
            return self._room_stuck
        # colder than it should be, it was told OFF for another reason, and a stove or the sun may warm it
        warm = sensor.value_c is not None and sensor.value_c >= setpoint_c
        if not warm or rise_c < RISE_C or slope < max(SLOPE_C_H, 0.4 * self._heats_c_h, 2.5 * doubt) \
                or not self._steady(from_us, now_us, sensor) or self.draws(now_us) is False:
            self._room_since_us = None
            return False
        if self._room_since_us is None:
            self._room_since_us = now_us
        # two samples at least must say so
        self._room_stuck = now_us - self._room_since_us >= max(LASTS_US, round(1.2 * US * sensor.config.interval_s))
        return self._room_stuck


    @staticmethod
    def _steady(from_us: int, now_us: int, sensor: Sensor) -> bool:
        """A thermometer that was moved, or lives again, jumps once; a heated room rises in both halves."""
        early, late = sensor.level_c(from_us), sensor.level_c(now_us)
        half = sensor.level_c((from_us + now_us) // 2)
        if early is None or half is None or late is None:
            return False
        return min(half - early, late - half) >= 0.1 * (late - early)


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
