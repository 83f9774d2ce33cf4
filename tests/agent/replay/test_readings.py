"""A capture of readings: what others said, commands between them, the time of day, and the plugin's own input pins."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from agent.api import AnyRelay, CommandRefused, Duty, Io, PlainRelay, Plugin, Property, Reading, Value
from agent.replay import config_for
from agent.replay.engine import Replay


class Nothing(Struct, frozen=True, forbid_unknown_fields=True):
    pin: str = ""


class Echo(Plugin, name="test_echo"):
    """Says what it hears."""

    Config = Nothing
    properties = (Property(name="said", datatype="json"),)

    def __init__(self, config: Nothing) -> None:
        super().__init__(config)
        self.ordered: list[Any] = []

    def run(self, io: Any) -> Iterator[Reading]:
        bus = io.subscribe("now/meter", "live/annex/meter")
        pins = io.edges(self.config.pin) if self.config.pin else None
        while not io.stopping:
            while pins is not None and (edge := pins.read(0)) is not None:
                yield Reading("said", [edge.topic, edge.data.decode(), edge.t_us])
            heard = bus.get(1.0)
            if heard is not None:
                yield Reading("said", [heard.device, heard.node, heard.value, heard.quality, io.clock.wall_us()])
            while self.ordered:
                yield Reading("said", self.ordered.pop(0))

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        if value == 13:
            raise CommandRefused("13 brings bad luck")
        self.ordered.append([property_name, value])
        return value


def run(text: str, **config: str) -> list[tuple[float, Any]]:
    records = list(Replay(Echo, Nothing(**config), text.encode()).records())
    return [(one["t"], one.get("value", one.get("message"))) for one in records]


def test_readings_commands_and_the_time_of_day():
    assert run("""\
< 1.000 now/meter/flow 3.5
< 2.000 live/annex/meter/flow {"v": 85, "q": "bad"}
< 3.000 live/shed/meter/flow 1
< 4.000 clock 2026-11-26T12:00:00Z
< 5.000 now/meter/flow true
< 6.000 set/level 12
< 7.000 set/level 13
""") == [(1.0, [None, "meter", 3.5, None, None]), (2.0, ["annex", "meter", 85, "bad", None]),
         (5.0, [None, "meter", True, None, 1795694401000000]), (6.0, ["level", 12]),
         (7.0, "set/level refused: 13 brings bad luck")]


def test_what_is_no_line_of_it_is_told():
    told = [text for _, text in run("""\
< 1.000 now/meter
< 2.000 now/meter/flow many
< 3.000 clock noon
< 4.000 clock 2026-11-26T12:00:00
< 5.000 set/level {
""")]
    assert told[0] == "'now/meter' is no reading: expected now/<node>/<property> <value>"
    assert told[1].startswith("now/meter/flow: no JSON value")
    assert told[2] == "clock b'noon': expected a time as 2026-11-26T22:30:00Z"
    assert told[-1].startswith("set/level: no JSON value")


def test_pins_and_readings_of_one_capture_each_find_their_reader():
    text = "".join(f"< {t}.000 {'GPIO5 ' if t % 3 else 'now/meter/flow '}{t % 2}\n" for t in range(1, 13))
    got = [value for _, value in run(text, pin="GPIO5")]
    assert [value[2] for value in got if value[0] == "GPIO5"] == [t * 1_000_000 for t in range(1, 13) if t % 3]
    assert [value[2] for value in got if value[1] == "meter"] == [t % 2 for t in (3, 6, 9, 12)]


class SwitchConfig(Struct, frozen=True, forbid_unknown_fields=True):
    relay: AnyRelay


class Switch(Plugin, name="test_switch"):
    Config = SwitchConfig
    actuator = True

    @classmethod
    def duty(cls, config: Any) -> Duty:
        return Duty(kind="hold")


def test_an_actuators_relay_need_not_be_named():
    config, _ = config_for(Switch, [])
    assert isinstance(config.relay, PlainRelay)
    config, _ = config_for(Switch, ['relay={driver = "plain", line = "GPIO4"}'])
    assert config.relay.line == "GPIO4"
