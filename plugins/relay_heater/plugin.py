"""Readings to the control loop, its wish to the guard, and what both say to the bus. Thin.

The loop waits for nobody: not for a sensor, the broker, the hub, nor for the guard.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec

from agent.api import (
    Climate,
    Duty,
    Heard,
    Io,
    Plugin,
    Property,
    Reading,
    Relay,
    RelayState,
    RetryLater,
    Subscription,
    Value,
    Yielded,
    topics_of,
)

from . import feeds, tell
from .control import Control, Decision
from .learn import Learner
from .levels import rfc3339
from .programme import Aim, Programme
from .settings import RelayHeaterConfig

__all__ = ["RelayHeater", "RelayHeaterConfig"]

US = 1_000_000
TICK_S = 1.0
MOST_AT_ONCE = 1000
_FIGURES = re.compile(r"[0-9]+([.:][0-9]+)*")
INPUTS = ("window_contact", "load", "heater_power", "presence", "outdoor")
MOVES = ("relay", "mode", "window_open", "failsafe", "shed")
"""With a change of these everything is said."""
PRESENCE_OLD_US = 900 * US
HOME = {"home": True, "away": False, True: True, False: False}


class RelayHeater(Plugin, name="relay_heater"):
    """A thermostat with calendars, levels that end, and a guard that has the last word."""

    title = "Heater"
    Config = RelayHeaterConfig
    properties = ()
    interval_s = 60.0
    actuator = True
    climate = Climate(mode="mode", setpoint="setpoint_c", temperature="room_temperature_c", action="action",
                      preset="profile")

    def __init__(self, config: RelayHeaterConfig) -> None:
        super().__init__(config)
        self._places = {name: feeds.place(one.source) for name, one in config.sensors.items()}
        self._inputs = {name: feeds.place(getattr(config, name))
                        for name in INPUTS}
        self._w1 = {name: found for name, one in config.sensors.items() if (found := feeds.w1_id(one.source))}
        self._w1_due_us: dict[str, int] = {}
        self._programme: Programme | None = None
        self._control: Control | None = None
        self._home: bool | None = None
        self._home_us = 0
        self._learner = Learner(False)
        self._told: dict[str, Value] = {}
        self._told_us: dict[str, int] = {}
        self._alerts: dict[str, str] = {}
        self._degraded = False

    def declare(self) -> tuple[Property, ...]:
        return tell.properties(tuple(self.config.profiles))

    @classmethod
    def duty(cls, config: RelayHeaterConfig) -> Duty:
        return Duty(kind="heat", rest_s=config.min_off_s, start_rest_s=config.min_off_s,
                    frost_s_per_h=60 * config.frost_duty_min_per_h)

    # --- the loop -------------------------------------------------------------------------------------------

    def run(self, io: Io) -> Iterator[Yielded]:
        now_us = io.clock.boottime_us()
        programme = self._programme_of(io)
        control = self._control = Control(self.config, now_us, None, self.config.frost_floor_c)
        learner = self._learner = Learner(self.config.preheat)
        relay: Relay = io.relay()  # type: ignore[attr-defined]
        wanted = topics_of([*self._places.values(), *self._inputs.values()])
        bus: Subscription | None = io.subscribe(*wanted) if wanted else None  # type: ignore[attr-defined]
        try:
            while not io.stopping:
                self._listen(io, bus, control)
                self._read_w1(io, control)
                now_us, wall_us = io.clock.boottime_us(), io.clock.wall_us()
                home = self._home if now_us - self._home_us <= PRESENCE_OLD_US else None
                aim = programme.aim(now_us, wall_us, home)
                room_c = _of(control.sensors.get(aim.sensor), now_us)
                aim = learner.aim(aim, now_us, wall_us, room_c)
                decision = control.tick(now_us, aim, relay.state)
                state = relay.ask(decision.on, sample_us=decision.sample_us, frost=decision.frost, why=decision.why,
                                  sample_max_age_s=decision.sample_max_age_s, heats=decision.heats)
                disturbed = control.window.open or bool(control.alerts)
                note = learner.see(now_us, wall_us, room_c, bool(state.on), disturbed, io.kept)
                control.keep(io.kept, now_us)
                programme.keep(io.kept)
                self._alarm(io, state, programme.forgotten(aim, wall_us))
                for text in [*programme.notes, *([note] if note else [])]:
                    io.log.warning("%s", text)
                programme.notes.clear()
                yield from self._tell(now_us, wall_us, aim, decision, state)
        finally:
            relay.ask(False, why="the heater's program ends")
            relay.close()
            if bus is not None:
                bus.close()

    def _programme_of(self, io: Io) -> Programme:
        if self._programme is None:
            self._programme = Programme(self.config, io.kept.get("programme"), sensors=set(self.config.sensors))
        return self._programme

    # --- what is heard --------------------------------------------------------------------------------------

    def _listen(self, io: Io, bus: Subscription | None, control: Control) -> None:
        """Everything that comes within a tick."""
        end_us = io.clock.boottime_us() + round(TICK_S * US)
        if bus is None:
            io.clock.sleep(TICK_S)
            return
        for _ in range(MOST_AT_ONCE):
            left_us = end_us - io.clock.boottime_us()
            if left_us <= 0 or io.stopping:
                return
            heard = bus.get(left_us / US)
            if heard is not None:
                self._hear(heard, control, io.clock.boottime_us())

    def _hear(self, heard: Heard, control: Control, now_us: int) -> None:
        for name, place in self._places.items():
            if place is not None and place.is_of(heard):
                control.sample(name, heard.t_us, heard.value, heard.quality, now_us)
        for name, place in self._inputs.items():
            if place is None or not place.is_of(heard):
                continue
            match name:
                case "load":
                    control.load(heard.t_us, heard.value, heard.quality)
                case "heater_power":
                    control.power(heard.t_us, heard.value, heard.quality)
                case "window_contact":
                    control.contact(heard.t_us, heard.value if heard.quality in (None, "good") else None)
                case "presence":
                    word = heard.value if isinstance(heard.value, str | bool) else None
                    self._home, self._home_us = HOME.get(word) if word is not None else None, now_us
                case "outdoor":
                    self._learner.outdoor(heard.t_us, heard.value, heard.quality)

    def _read_w1(self, io: Io, control: Control) -> None:
        for name, sensor_id in self._w1.items():
            now_us = io.clock.boottime_us()
            if now_us < self._w1_due_us.get(name, 0):
                continue
            self._w1_due_us[name] = now_us + round(self.config.sensors[name].interval_s * US)
            try:
                value, quality = feeds.read_w1(Path(self.config.root) if self.config.root else io.root, sensor_id)
            except OSError as error:
                io.log.warning("%s: 1-Wire sensor %s: %s: check its wires, and dtoverlay=w1-gpio in config.txt", name,
                               sensor_id, error.strerror)
                continue
            except RetryLater:  # a capture without files
                continue
            taken_us = io.clock.boottime_us()
            control.sample(name, taken_us, value, quality, taken_us)

    # --- commands -------------------------------------------------------------------------------------------

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        programme = self._programme_of(io)
        now = programme.command(property_name, value, io.clock.boottime_us(), io.clock.wall_us())
        programme.keep(io.kept)
        self._told_us.pop(property_name, None)
        return now

    # --- what is kept and told ------------------------------------------------------------------------------

    def _alarm(self, io: Io, state: RelayState, forgotten: str | None) -> None:
        assert self._control is not None
        found = dict(self._control.alerts)
        if forgotten:
            found["W_OVERRIDE_FORGOTTEN"] = forgotten
        code = state.fault.partition(" ")[0]
        if code in tell.DO:
            found[code] = state.fault
        elif state.fault:
            io.log.error("%s", state.fault)
        for code in found.keys() | self._alerts.keys():
            if (code in found) != (code in self._alerts):  # the minutes in a text grow: said once
                text = tell.alert_text(code, found[code]) if code in found else None
                io.alert(tell.alert_id(io.instance, code), text)
                io.log.info("%s: %s", code, found.get(code, "is over"))
        self._alerts = found
        reason = next((tell.alert_text(code, found[code]) for code in sorted(found) if code.startswith("E_")), None)
        if (reason is not None) != self._degraded:
            self._degraded = reason is not None
            io.degraded(reason)

    def _values(self, now_us: int, wall_us: int | None, aim: Aim, decision: Decision, state: RelayState
                ) -> dict[str, Value]:
        assert self._control is not None and self._programme is not None
        control, programme = self._control, self._programme
        others = [one for one in control.sensors.values() if one.name != aim.sensor]
        main = control.sensors.get(aim.sensor)
        return {
            "room_temperature_c": _of(main, now_us),
            "second_temperature_c": _of(others[0], now_us) if others else None,
            "setpoint_c": round(aim.setpoint_c, 2), "mode": programme.mode, "profile": aim.profile,
            "until": rfc3339(aim.until_us) if aim.until_us is not None else None,
            "levels": programme.levels(now_us, wall_us), "schedule": programme.schedule(),
            "action": "heating" if state.on else "off" if programme.mode == "off" else "idle",
            "relay": bool(state.on), "contact": state.contact,
            "power_pct": decision.power_pct, "heat_demand": decision.demand, "window_open": control.window.open,
            "failsafe": decision.failsafe, "shed": control.shedding.shed, "why": self._why(decision, state),
            "next_change": rfc3339(aim.next_us) if aim.next_us is not None else None,
            "next_setpoint_c": aim.next_setpoint_c,
            "room_model": self._learner.model.summary() if self._learner.learned else None,
            "bogus_samples": sum(one.bogus for one in control.sensors.values()),
        }

    def _why(self, decision: Decision, state: RelayState) -> str:
        word = "on" if state.on else "off"
        if decision.on and state.on is False and state.why:
            return f"{word}: {state.why}; wanted on: {decision.why}"
        return f"{word}: {decision.why}"

    def _tell(self, now_us: int, wall_us: int | None, aim: Aim, decision: Decision, state: RelayState
              ) -> Iterator[Reading]:
        values = self._values(now_us, wall_us, aim, decision, state)
        moved = any(values[name] != self._told.get(name) for name in MOVES)
        for name, value in values.items():
            every_s = tell.LASTING_S if name in tell.SELDOM else self.config.interval_s
            due = now_us - self._told_us.get(name, -10**15) >= round(every_s * US)
            changed = value != self._told.get(name, None)
            if name == "why":  # other figures are no other reason
                changed = without_figures(str(value)) != without_figures(str(self._told.get(name)))
            if not (due or (changed and name in tell.AT_ONCE) or (moved and name not in tell.SELDOM)):
                continue
            if value is None:
                if name == "room_temperature_c" or self._told.get(name) is not None:
                    self._told[name], self._told_us[name] = None, now_us
                    yield Reading(name, None, now_us, quality="bad")
                continue
            self._told[name] = msgspec.json.decode(msgspec.json.encode(value)) if isinstance(value, dict) else value
            self._told_us[name] = now_us
            yield Reading(name, value, now_us)

    # --- simulated ------------------------------------------------------------------------------------------

    @classmethod
    def hears(cls, config: RelayHeaterConfig) -> tuple[str, ...]:
        wanted = [*(one.source for one in config.sensors.values()), *(getattr(config, name) for name in INPUTS)]
        return topics_of(feeds.place(text) for text in wanted)  # type: ignore[no-any-return]

    @classmethod
    def look(cls, config: RelayHeaterConfig, root: Path) -> Iterator[str]:
        for name, sensor in config.sensors.items():
            sensor_id = feeds.w1_id(sensor.source)
            if sensor_id and not (root / "sys/bus/w1/devices" / sensor_id).exists():
                yield (f"sensors.{name}: no 1-Wire sensor {sensor_id}: wire it to GPIO 4 with 4.7 kΩ to 3.3 V, and "
                       "write dtoverlay=w1-gpio in /boot/firmware/config.txt")

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)


def without_figures(text: str) -> str:
    """What a sentence says, whatever the temperature and the minutes in it are."""
    return _FIGURES.sub("#", text)


def _of(sensor: Any, now_us: int) -> float | None:
    """The last digit that says something."""
    if sensor is None or sensor.value_c is None or sensor.lost(now_us):
        return None
    return round(float(sensor.value_c), 3)
