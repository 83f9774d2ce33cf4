"""What a night light does, and the sentence that says why. Pure: readings and clocks come in, a wish goes out."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from .judge import Judge
from .modes import US, Mode, Word, rfc3339
from .settings import NightLightConfig
from .sun import Turn, is_up, next_turn

MINUTE_US = 60 * US
WAIT_S = 120.0
"""After the start the sensor may take so long before the sun is asked in its place."""
USABLE = (None, "estimated")
"""Qualities of a value that may decide; an "uncertain" one comes of a sensor that is frozen or at its end."""
MOST = 200_000.0


class Wish(NamedTuple):
    """``on`` is None while nothing says anything: it stays as it is."""

    on: bool | None
    source: str
    """sensor, sun, person or none"""
    why: str


class Lamp:
    """:meth:`light` takes values, :meth:`decide` says what is wanted; both on CLOCK_BOOTTIME in microseconds."""

    def __init__(self, config: NightLightConfig, now_us: int) -> None:
        self._config = config
        below, above = config.thresholds
        self.judge = Judge(below, above, config.hold_s, config.dwell_s)
        self.mode = Mode()
        self.rejected = 0
        self.began_us = now_us
        self._value_us: int | None = None
        self._turn: Turn | None = None
        self._turn_from_us = 0
        self._turn_until_us = 0
        self._unit = "%" if config.percent else "lx"

    # --- what comes in ----------------------------------------------------------------------------------------

    def light(self, value: object, quality: str | None, t_us: int) -> None:
        """A value of the sensor, good or not. What is no luminosity counts for nothing, as if it had not come."""
        good = isinstance(value, int | float) and not isinstance(value, bool) and quality in USABLE
        if not good or not math.isfinite(value) or not 0 <= value <= (100 if self._config.percent else MOST):  # type: ignore[arg-type,operator]
            self.rejected += 1
            return
        self._value_us = t_us
        self.judge.feed(t_us / US, float(value))  # type: ignore[arg-type]

    def lamp(self, on: bool, t_us: int) -> None:
        """Where the lamp is."""
        self.judge.lamp(on, t_us / US)

    def fresh(self, now_us: int) -> bool:
        return self._value_us is not None and now_us - self._value_us <= self._config.sensor_max_age_s * US

    # --- the decision -----------------------------------------------------------------------------------------

    def decide(self, now_us: int, wall_us: int | None) -> Wish:
        self.mode.tick(now_us, wall_us)
        if self.mode.word != "auto":
            until = self.mode.until(now_us, wall_us)
            end = until or f"{((self.mode.end_us or now_us) - now_us) / MINUTE_US:.0f} min from now"
            return Wish(self.mode.word == "on", "person", f"{self.mode.word.upper()} {self.mode.by}, until {end}")
        sensor = self._by_sensor(now_us)
        if sensor is not None:
            return sensor
        if self._config.sensor and self._value_us is None and now_us - self.began_us < WAIT_S * US:
            return Wish(None, "none", f"waiting for {self._config.sensor}")
        return self._by_sun(now_us, wall_us)

    def _by_sensor(self, now_us: int) -> Wish | None:
        judge, config = self.judge, self._config
        if not config.sensor or not self.fresh(now_us) or judge.dark is None:
            return None
        below, above = config.thresholds
        less = f" (without the lamp's own {judge.own:.3g})" if judge.own > 0 else ""
        if judge.dark:
            return Wish(True, "sensor", f"dark: it fell below {below:g} {self._unit} and is not above {above:g}{less}")
        return Wish(False, "sensor", f"light: it rose above {above:g} {self._unit} and is not below {below:g}{less}")

    def _by_sun(self, now_us: int, wall_us: int | None) -> Wish:
        lacks = "no sensor is set" if not self._config.sensor else f"{self._config.sensor} gives no good value"
        if self._config.latitude is None:
            return Wish(None, "none", f"{lacks} and no latitude is set: as it was")
        if wall_us is None:
            return Wish(None, "none", f"{lacks} and the clock is not known yet: as it was")
        night = self.night(wall_us)
        turn = self.turn(wall_us)
        end = "" if turn is None else f", the sun {'rises' if turn.rise else 'sets'} at {rfc3339(turn.t_us)}"
        return Wish(night, "sun", f"{'night' if night else 'day'} by the sun ({lacks}){end}")

    # --- the sun ----------------------------------------------------------------------------------------------

    def night(self, wall_us: int) -> bool:
        """Whether the sun is down, ``sun_offset_min`` after it set and before it rises."""
        offset_us = round(self._config.sun_offset_min * MINUTE_US)
        if offset_us < 0:
            return not self._up(wall_us + offset_us) or not self._up(wall_us - offset_us)
        return not self._up(wall_us - offset_us) and not self._up(wall_us + offset_us)

    def turn(self, wall_us: int) -> Turn | None:
        """The next sunrise or sunset within a day."""
        if self._config.latitude is None or self._config.longitude is None:
            return None
        if not self._turn_from_us <= wall_us < self._turn_until_us:
            self._turn = next_turn(wall_us, self._config.latitude, self._config.longitude)
            self._turn_from_us = wall_us
            self._turn_until_us = wall_us + 60 * MINUTE_US if self._turn is None else self._turn.t_us - US
        return self._turn

    def disagrees(self, now_us: int, wall_us: int | None) -> str | None:
        """Dark long before sunset, or light long before sunrise: the sensor is covered, or something shines on it."""
        config = self._config
        if wall_us is None or config.latitude is None or not self.fresh(now_us) or self.judge.dark is None:
            return None
        margin_us = round(config.sun_margin_min * MINUTE_US)
        # asked at three moments, so that it means "well before", also where the sun sets for an hour only
        ups = {self._up(wall_us + shift_us) for shift_us in (-margin_us, 0, margin_us)}
        if len(ups) > 1 or self.judge.dark != ups.pop():
            return None
        turn = self.turn(wall_us)
        ahead = "" if turn is None else f", {(turn.t_us - wall_us) / MINUTE_US:.0f} min before " + (
            "sunrise" if turn.rise else "sunset")
        if self.judge.dark:
            return f"{config.sensor} says dark{ahead}, while the sun is up: is the sensor covered or dirty?"
        return f"{config.sensor} says light{ahead}, while the sun is down: does a lamp shine on the sensor?"

    def _up(self, wall_us: int) -> bool:
        assert self._config.latitude is not None and self._config.longitude is not None
        return is_up(wall_us, self._config.latitude, self._config.longitude)

    # --- what a person wants ----------------------------------------------------------------------------------

    def force(self, word: Word, by: str, now_us: int, wall_us: int | None) -> None:
        """ON or OFF until the next sunrise or sunset (``sun_offset_min`` and all), or ``forced_h``; AUTO at once."""
        if word == "auto":
            self.mode.auto()
            return
        for_us = round(self._config.forced_h * 3600 * US)
        if wall_us is not None and self._config.latitude is not None:
            for_us = self._until_turn_us(wall_us) or for_us
        self.mode.force(word, by, now_us, wall_us, for_us)

    def _until_turn_us(self, wall_us: int) -> int | None:
        """Time to the next moment at which night by :meth:`night` begins or ends; None: not within a day."""
        night = self.night(wall_us)
        for minute in range(1, 24 * 60):
            if self.night(wall_us + minute * MINUTE_US) != night:
                before_us = (minute - 1) * MINUTE_US
                return next(ahead_us for ahead_us in range(before_us + US, before_us + MINUTE_US + US, US)
                            if self.night(wall_us + ahead_us) != night)
        return None

    # --- over a restart ---------------------------------------------------------------------------------------

    def kept(self) -> dict[str, Any]:
        return {"mode": self.mode.kept(), "steps": self.judge.steps}

    def restore(self, kept: object, now_us: int) -> None:
        if isinstance(kept, dict):
            self.mode.restore(kept.get("mode"), now_us)
            steps = kept.get("steps")
            if isinstance(steps, list):
                self.judge.restore(step for step in steps if isinstance(step, int | float) and 0 <= step <= MOST)
