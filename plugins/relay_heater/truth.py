"""Does the relay do what it is told? From a probe contact, the power of its circuit, the room (B47). Pure.

Told OFF, and yet it heats: E_RELAY_STUCK, within 5 min by probe or power, within 20 min by the room. Told ON, and no
contact or no power: E_RELAY_DEAD.
"""

from __future__ import annotations

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
                or not sensor.ramps(from_us) or self.draws(now_us) is False:
            self._room_since_us = None
            return False
        if self._room_since_us is None:
            self._room_since_us = now_us
        slow = sensor.config.interval_s > 120  # of few samples, two must say so
        lasts_us = round(1.2 * US * sensor.config.interval_s) if slow else LASTS_US
        self._room_stuck = now_us - self._room_since_us >= lasts_us
        return self._room_stuck
