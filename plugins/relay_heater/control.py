"""State and readings -> wanted ON or OFF with one sentence why. Pure; CLOCK_BOOTTIME in microseconds, no wall clock.

What is asked here is only a wish: ``guard`` holds every limit of DESIGN section 9 once more, in its own process. The
order of :meth:`Control._judge` is the order of what beats what. A *safety* OFF beats the minimum-on time; nothing
beats the minimum-off time and the starts an hour.
"""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct

from agent.api import RelayState

from .cycle import ANSWER_US, Books, Demand
from .pauses import Shedding, Window
from .response import WINDOW_US, Response
from .sensors import MINUTE_US, US, Sensor
from .settings import RelayHeaterConfig
from .truth import Truth

HOUR_US = 3600 * US
MAX_ON_US = 4 * HOUR_US - 60 * US
"""A minute before the guard would do it."""
PROOF_US = 8 * HOUR_US
OFF_US = MINUTE_US
FROST_LOST_US = 30 * MINUTE_US
FROST_START_US = 60 * MINUTE_US


class Aim(Protocol):
    """Of :class:`.programme.Aim`, what is needed here."""

    @property
    def setpoint_c(self) -> float: ...
    @property
    def level(self) -> str: ...
    @property
    def delta_plus_c(self) -> float: ...
    @property
    def delta_minus_c(self) -> float: ...
    @property
    def sensor(self) -> str: ...
    @property
    def why(self) -> str: ...


class Decision(Struct, frozen=True, kw_only=True):
    """What goes to ``io.relay().ask``, and what is shown."""

    on: bool
    why: str
    sample_us: int | None = None
    sample_max_age_s: float = 0.0
    frost: bool = False
    heats: bool = False
    power_pct: float = 0.0
    demand: bool = False
    failsafe: bool = False
    sensor: str = ""
    """The one that decided."""
    wake_us: int
    """Nothing changes before, unless something is heard."""


class _Wish(Struct, frozen=True):
    on: bool
    why: str
    safety: bool = False
    frost: bool = False


class Control:
    """``sample``, ``power``, ``load``, ``contact`` with what is heard; :meth:`tick` every second or two."""

    def __init__(self, config: RelayHeaterConfig, now_us: int, kept: Any = None, frost_floor_c: float = 7.0) -> None:
        self.config = config
        self.frost_floor_c = frost_floor_c
        self.sensors = {name: Sensor(name, one, now_us) for name, one in config.sensors.items()}
        self.books = Books(config, now_us)
        self.demand = Demand(config)
        self.truth = Truth(config)
        self.response = Response(config)
        self.window = Window(config, now_us)
        self.shedding = Shedding(config)
        self.main: Sensor | None = None
        self.alerts: dict[str, str] = {}
        """Code -> text; a code that is not in it is resolved."""
        self._started_us = now_us
        self._sound_us = now_us
        """When a sensor last could decide."""
        self._frost_us: int | None = None
        """Begin of the last frost duty."""
        self._guard_us = now_us
        self._level = ""
        self._level_us = now_us
        self._pristine = True
        """Nothing was restored, and nothing has happened that is worth keeping."""
        self.restore(kept, now_us)

    # --- what is heard --------------------------------------------------------------------------------------

    def sample(self, name: str, t_us: int, value: object, quality: str | None, now_us: int) -> bool:
        return self.sensors[name].feed(t_us, value, quality, now_us)

    def power(self, t_us: int, watts: object, quality: str | None) -> None:
        self.truth.power(t_us, watts, quality)

    def load(self, t_us: int, watts: object, quality: str | None) -> None:
        self.shedding.load(t_us, watts, quality)

    def contact(self, t_us: int, value: object) -> None:
        self.window.contact(t_us, value)

    # --- the decision ---------------------------------------------------------------------------------------

    def tick(self, now_us: int, aim: Aim, state: RelayState) -> Decision:
        if state.on is not None and now_us - state.heard_us <= ANSWER_US:
            self._guard_us = now_us
        books = self.books
        books.follow(state, now_us)
        for sensor in self.sensors.values():
            sensor.look(now_us, books.on_since_us, [one for one in self.sensors.values() if one is not sensor])
        self.main, standing_in = self._choose(aim.sensor, now_us)
        self.window.look(now_us, self.main)
        self.shedding.look(now_us)
        setpoint_c = self._setpoint(aim, standing_in)
        self.truth.look(now_us, state, None if standing_in else self.main, aim.setpoint_c)
        wish = self._judge(now_us, aim, setpoint_c, standing_in)
        wish = self._cycled(wish, now_us)
        books.ask(wish.on, now_us)
        self._tell(now_us)
        main = self.main
        return Decision(
            on=wish.on, why=wish.why, frost=wish.frost, heats=self._heats(now_us),
            sample_us=main.good_us if main else None,
            sample_max_age_s=main.config.good_for_s if main else 0.0,
            power_pct=self.demand.power_pct if main and not wish.frost else 100.0 * wish.on,
            demand=wish.on or (main is not None and not wish.safety and self.demand.power_pct > 0),
            failsafe=main is None or standing_in, sensor=main.name if main else "",
            wake_us=self._wake_us(now_us),
        )

    def _choose(self, wanted: str, now_us: int) -> tuple[Sensor | None, bool]:
        """The sensor that decides, and whether it only stands in for another one."""
        main = self.sensors.get(wanted) or next(iter(self.sensors.values()), None)
        if main is not None and not main.lost(now_us):
            return main, False
        for other in self.sensors.values():
            if not other.lost(now_us):
                return other, True
        return None, True

    def _setpoint(self, aim: Aim, standing_in: bool) -> float:
        setpoint_c = aim.setpoint_c
        if standing_in:
            setpoint_c = min(setpoint_c, self.config.fallback_c)
        if self.window.open:
            setpoint_c = min(setpoint_c, self.frost_floor_c)
        return setpoint_c

    def _judge(self, now_us: int, aim: Aim, setpoint_c: float, standing_in: bool) -> _Wish:
        main, on = self.main, self.books.wanted
        if self._guard_silent(now_us):
            return _Wish(False, "the guard says nothing", safety=True)
        hot = self._too_hot(now_us)
        if hot:
            return _Wish(False, hot, safety=True)
        if self.shedding.shed:
            return _Wish(False, f"the house draws {self.shedding.power_w or 0:.0f} W, "
                                f"{self.config.load_limit_w:.0f} W are allowed", safety=True)
        if main is None:
            return self._blind(now_us, aim)
        assert main.value_c is not None
        self._sound_us = now_us
        if self._silent_room(now_us):
            return _Wish(False, f"no warmer while on ({self.response.failed}): next try in "
                                f"{(self.response.until_us - now_us) / MINUTE_US:.0f} min", safety=True)
        if self.books.on_for_us(now_us) >= MAX_ON_US:
            return _Wish(False, "on for 4 h: a pause", safety=True)
        if not standing_in and main.value_c >= aim.setpoint_c:
            self.response.enough(now_us)
        wanted = self.demand.want(on, main.value_c, setpoint_c, aim.delta_plus_c, aim.delta_minus_c, now_us)
        why = f"{main.value_c:.1f} °C, {setpoint_c:.1f} °C wanted"
        if self.window.open:
            why += f": a window is open ({self.window.why})"
        elif standing_in:
            why += f": by {main.name}, {self._lost_text(aim.sensor, now_us)}"
        elif aim.why:
            why += f": {aim.why}"
        if aim.level != self._level:
            self._level, self._level_us = aim.level, now_us
        switched_off = aim.level == "off" and now_us - self._level_us <= OFF_US  # a person's OFF is one at once
        return _Wish(wanted, why, safety=not wanted and switched_off)

    def _guard_silent(self, now_us: int) -> bool:
        return now_us - self._guard_us > ANSWER_US or self._guard_us == self._started_us != now_us

    def _too_hot(self, now_us: int) -> str:
        for sensor in self.sensors.values():
            limit = min(self.config.max_room_c, sensor.config.limit_c or self.config.max_room_c)
            if sensor.value_c is not None and sensor.value_c >= limit and not sensor.lost(now_us):
                return f"{sensor.name} reads {sensor.value_c:.1f} °C, its limit is {limit:.1f} °C"
        return ""

    def _silent_room(self, now_us: int) -> bool:
        assert self.main is not None
        return (self.response.look(now_us, self.books.on_since_us, self.main, self.truth.draws(now_us),
                                   list(self.sensors.values()))
                or self.response.resting(now_us, self.main))

    def _blind(self, now_us: int, aim: Aim) -> _Wish:
        """No sensor at all: OFF, or the declared minutes of frost duty in each hour."""
        lost = self._lost_text(aim.sensor, now_us)
        duty_us = round(self.config.frost_duty_min_per_h * MINUTE_US)
        if not duty_us:
            return _Wish(False, lost, safety=True)
        begin_us = self._frost_begin_us()
        if self._frost_us is not None and now_us < self._frost_us + duty_us:
            return _Wish(True, f"frost duty, {self.config.frost_duty_min_per_h:g} min an hour: {lost}", frost=True)
        if now_us >= begin_us and not self.books.may_start(now_us):
            self._frost_us = now_us
            return _Wish(True, f"frost duty, {self.config.frost_duty_min_per_h:g} min an hour: {lost}", frost=True)
        return _Wish(False, lost, safety=True)

    def _frost_begin_us(self) -> int:
        """An hour after the last begin, also where that was before a restart and nobody knows of it."""
        last_us = self._started_us if self._frost_us is None else self._frost_us
        return max(last_us + FROST_START_US, self._sound_us + FROST_LOST_US)

    def _lost_text(self, wanted: str, now_us: int) -> str:
        sensor = self.sensors.get(wanted) or next(iter(self.sensors.values()), None)
        return f"{sensor.name}: {sensor.lost(now_us)}" if sensor else "no sensor is configured"

    def _cycled(self, wish: _Wish, now_us: int) -> _Wish:
        books = self.books
        if wish.on and not books.wanted:
            wait = books.may_start(now_us)
            if wait:
                taken = f", the guard took it: {books.refused}" if books.refused else ""
                return _Wish(False, f"{wish.why}, waits: {wait}{taken}")
        elif not wish.on and books.wanted and not wish.safety:
            wait = books.may_stop(now_us)
            if wait:
                return _Wish(True, f"{wish.why}, waits: {wait}")
        return wish

    def _heats(self, now_us: int) -> bool:
        proven = self.response.proven_us
        return self.truth.draws(now_us) is True or (proven is not None and now_us - proven <= PROOF_US)

    # --- alarms, time, memory -------------------------------------------------------------------------------

    def _tell(self, now_us: int) -> None:
        found: dict[str, str] = {}
        for sensor in self.sensors.values():
            for code, text in sensor.alarms(now_us).items():
                found[code] = f"{found[code]}; {text}" if code in found else text
        if self.truth.stuck:
            found["E_RELAY_STUCK"] = self.truth.stuck
        if self.truth.dead:
            found["E_RELAY_DEAD"] = self.truth.dead
        if self.response.alarm:
            found["E_NO_HEATING_RESPONSE"] = self.response.alarm
        if self.window.overdue:
            found["W_WINDOW_OPEN"] = self.window.overdue
        self.alerts = found

    def _wake_us(self, now_us: int) -> int:
        """The next moment at which time alone may change the decision or an alarm. Only a simulation skips to it."""
        books, config = self.books, self.config
        at = [now_us + 5 * MINUTE_US, books.off_since_us + round((config.min_off_s + 2) * US),
              self.response.until_us]
        if books.on_since_us is not None:
            at += [books.on_since_us + round((config.min_on_s + 2) * US), books.on_since_us + WINDOW_US,
                   books.on_since_us + MAX_ON_US]
        for sensor in self.sensors.values():
            at.append(sensor.alarm_us())
            if sensor.good_us is not None:
                at.append(sensor.good_us + sensor.lost_us + US)
        for one in (self.demand.next_us(), self.demand.cycle_end_us(), self.window.end_us(), books.write_us()):
            if one is not None:
                at.append(one)
        if config.frost_duty_min_per_h and self.main is None:
            at.append(self._frost_begin_us())
            if self._frost_us is not None:
                at.append(self._frost_us + round(config.frost_duty_min_per_h * MINUTE_US))
        if books.starts:
            at.append(books.starts[0] + HOUR_US + 3 * US)
        soon = [one for one in at if one > now_us]
        return min(soon)

    def to_kept(self) -> dict[str, Any]:
        """Small, and the same until something changes; empty at first."""
        kept: dict[str, Any] = {}
        if self.books.starts:
            kept["starts"] = self.books.to_kept()
        sensors = {name: runs for name, sensor in self.sensors.items() if (runs := sensor.to_kept())}
        if sensors:
            kept["sensors"] = sensors
        response = self.response.to_kept()
        if response:
            kept["response"] = response
        return kept

    def keep(self, kept: dict[str, Any], now_us: int) -> None:
        """With every turn, for ``io.kept``: take over what came late (the local bus was not there at the start), then
        write what is to survive."""
        if self._pristine:
            self.restore(kept.get("control"), now_us)
        state = self.to_kept()
        if state and kept.get("control") != state:
            kept["control"], self._pristine = state, False

    def restore(self, kept: Any, now_us: int) -> None:
        """Anything that is not of :meth:`to_kept` is left out."""
        if not isinstance(kept, dict) or not kept:
            return
        self._pristine = False
        self.books.restore(kept.get("starts"), now_us)
        self.response.restore(kept.get("response"), now_us)
        runs = kept.get("sensors")
        for name, sensor in self.sensors.items():
            sensor.restore(runs.get(name) if isinstance(runs, dict) else None)
