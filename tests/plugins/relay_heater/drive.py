"""Control and the guard's own keeper, second by second on a virtual clock, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent.api import PlainRelay
from agent.guard.keeper import Keeper
from agent.guard.lease import Ask
from plugins.relay_heater.control import Control, Decision
from plugins.relay_heater.plugin import RelayHeater, RelayHeaterConfig
from plugins.relay_heater.settings import SensorConfig
from tests.safety.scenarios import Wanted

US = 1_000_000


def config(**settings: Any) -> RelayHeaterConfig:
    given: dict[str, Any] = {"relay": PlainRelay(line="GPIO17"),
                             "sensors": {"main": SensorConfig(source="room/temperature_c")}}
    return RelayHeaterConfig(**(given | settings))


class Drive:
    """``room(s)`` gives what each sensor says, or leaves it out; samples come at each sensor's interval."""

    def __init__(self, settings: RelayHeaterConfig | None = None, *, start_s: float = 1000.0, kept: Any = None) -> None:
        self.config = settings or config()
        self.now_us = round(start_s * US)
        self.aim = Wanted(20.0)
        self.keeper = Keeper("x", RelayHeater.duty(self.config), self.now_us, open_driver=None)
        self.keeper.look(self.now_us)
        self.control = Control(self.config, self.now_us, kept, self.config.frost_floor_c)
        self.edges: list[tuple[float, bool]] = []
        self.alerts: dict[str, float] = {}
        """Code -> seconds since the start when it was raised; taken away when it is resolved."""
        self.decision: Decision | None = None
        self.contact: bool | None = None
        self._begin_us = self.now_us
        self._due: dict[str, int] = {}

    @property
    def s(self) -> float:
        return (self.now_us - self._begin_us) / US

    @property
    def on(self) -> bool:
        return bool(self.keeper.state(self.now_us).on)

    def run(self, seconds: float, room: Callable[[float], dict[str, Any]], each: Callable[[], None] = lambda: None
            ) -> Drive:
        end_us = self.now_us + round(seconds * US)
        while self.now_us < end_us:
            self.now_us += US
            said = room(self.s)
            for name, sensor in self.config.sensors.items():
                if self.now_us >= self._due.get(name, 0):
                    self._due[name] = self.now_us + round(sensor.interval_s * US)
                    if name in said:
                        value = said[name]
                        value, quality = value if isinstance(value, tuple) else (value, None)
                        self.control.sample(name, self.now_us, value, quality, self.now_us)
            each()
            self.tick()
        return self

    def tick(self) -> None:
        before = self.on
        state = self.keeper.look(self.now_us)
        if self.contact is not None:
            from msgspec.structs import replace

            state = replace(state, contact=self.contact)
        one = self.decision = self.control.tick(self.now_us, self.aim, state)
        self.keeper.ask(Ask(on=one.on, sample_us=one.sample_us, sample_max_age_s=one.sample_max_age_s, frost=one.frost,
                            heats=one.heats, why=one.why), self.now_us)
        if self.on != before:
            self.edges.append((self.s, self.on))
        for code in self.control.alerts:
            self.alerts.setdefault(code, self.s)
        for code in self.alerts.keys() - self.control.alerts.keys():
            del self.alerts[code]


def flicker(c: float, s: float) -> float:
    """A healthy thermometer's last digit."""
    return c + 0.0625 * (int(s / 60) % 2)
