"""The whole plugin on a moved clock: names and room, captures, hostile input, commands, the simulated house."""

from __future__ import annotations

import base64
import json
import shutil
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import loader
from agent.api import CommandRefused, ConfigError, Message, Node, Reading, mqtt_line
from agent.discovery import DeviceInfo, discovery_payload, rules
from agent.homie.tree import nodes_of, problems
from agent.replay.engine import Replay
from agent.replay.world import RawSource, ReplayIo, VirtualClock
from agent.runner.logs import CappedLog
from agent.settings import plugin_config
from agent.testing.fakes import Lines, io_over
from agent.testing.transcripts import cases, only_entry
from agent.wire.messages import NodeDeclaration, PluginDeclaration
from plugins.foreign_mqtt import captures, simulate
from plugins.foreign_mqtt.config import MOST, BrokerConfig, ForeignMqttConfig, TasmotaConfig, Zigbee2mqttConfig
from plugins.foreign_mqtt.plugin import PROPERTIES, ForeignMqtt
from tests.waiting import until

ALL = ForeignMqttConfig()
BOTH = ForeignMqttConfig(tasmota=TasmotaConfig(), zigbee2mqtt=Zigbee2mqttConfig())


class Scripted(ReplayIo):
    """The Io of a replay whose messages the test gives: (seconds, topic, payload, retained). Its own MessageStream."""

    def __init__(self, messages: Iterable[tuple[float, str, bytes, bool]], *, kept: dict[str, Any] | None = None,
                 wall_us: int | None = None) -> None:
        clock, self.lines = VirtualClock(), Lines()
        super().__init__("test", clock, RawSource(clock, b"x"), CappedLog(self.lines, monotonic_s=clock.monotonic_s),
                         lambda: Path("/nonexistent"))
        self.kept = {} if kept is None else kept
        clock.wall_us = lambda: wall_us  # type: ignore[method-assign]
        self._messages = iter(messages)
        self._next = next(self._messages, None)
        self.over = False
        self.written: list[bytes] = []

    @property
    def stopping(self) -> bool:
        return self.over

    def mqtt(self, *filters: str) -> Any:
        return self

    def messages(self, open_source: Any) -> Any:
        return self

    def read(self, timeout_s: float) -> Message | None:
        if self._next is None:
            self.over = True
            return None
        at_s, topic, payload, retained = self._next
        if at_s > self.clock.monotonic_s() + timeout_s:
            self.clock.advance(timeout_s)
            return None
        self.clock.advance(max(0.0, at_s - self.clock.monotonic_s()))
        self._next = next(self._messages, None)
        return Message(payload, self.clock.boottime_us(), topic, retained)

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        return


def run(config: ForeignMqttConfig, scripted: Scripted) -> list[Any]:
    return list(ForeignMqtt(config).run(scripted))


def sensor(at_s: float, node: str, payload: Any, retained: bool = False) -> tuple[float, str, bytes, bool]:
    return at_s, f"zigbee2mqtt/{node}", json.dumps(payload).encode(), retained


# --- room, names, restarts ------------------------------------------------------------------------------------


def test_B40_a_hundred_thousand_invented_names_end_at_500_with_one_line() -> None:
    made = (sensor(n / 1000, f"n{n % 300}", {f"invented_{n}_{m}": n for m in range(10)}) for n in range(10_000))
    scripted = Scripted([*made, (30.0, "x", b"", False)])
    out = run(BOTH, scripted)
    series = {(node.id, prop.name) for node in out if isinstance(node, Node) for prop in node.properties}
    assert len(series) + len(PROPERTIES) <= MOST
    warnings = scripted.lines.of("warning", "error")
    assert len(warnings) == 1 and warnings[0].startswith("E_TOO_MANY_METRICS test has 500 values")
    refused = [one.value for one in out if isinstance(one, Reading) and one.property == "refused_names"]
    assert refused[-1] > 99_000
    assert len(json.dumps(scripted.kept)) < 30_000


def test_names_and_nodes_outlive_a_restart_and_are_forgotten_after_30_days() -> None:
    kept: dict[str, Any] = {}
    day = 86_400_000_000
    first = [sensor(1, "A b", {"temperature": 20}), sensor(2, "a-B", {"temperature": 21})]
    nodes = {one.id for one in run(BOTH, Scripted(first, kept=kept, wall_us=100 * day)) if isinstance(one, Node)}
    assert "a-b" in nodes and len(nodes) == 2
    again = Scripted([sensor(1, "a-B", {"temperature": 22})], kept=json.loads(json.dumps(kept)), wall_us=120 * day)
    out = run(BOTH, again)
    assert {one.id for one in out[:2] if isinstance(one, Node)} == nodes  # told before anything is heard
    assert [one.node for one in out if isinstance(one, Reading) and one.property == "temperature_c"] == [
        (nodes - {"a-b"}).pop()]
    later = run(BOTH, Scripted([], kept=again.kept, wall_us=140 * day))
    assert [one.id for one in later if isinstance(one, Node)] == list(nodes - {"a-b"})


@pytest.mark.parametrize("kept", [{"nodes": []}, {"nodes": {"x": 5}}, {"nodes": "x"}, {"nodes": "eJwDAAAAAAE="},
                                  {"nodes": base64.b64encode(zlib.compress(b'[{"id": 5}]')).decode()}])
def test_kept_state_of_another_version_is_left(kept: dict[str, Any]) -> None:
    assert not [one for one in run(BOTH, Scripted([], kept=kept)) if isinstance(one, Node)]


def test_nodes_of_a_project_that_is_no_longer_named_are_gone() -> None:
    kept: dict[str, Any] = {}
    run(BOTH, Scripted([sensor(1, "a", {"temperature": 20})], kept=kept))
    before = dict(kept)
    out = run(ForeignMqttConfig(tasmota=TasmotaConfig()), Scripted([], kept=kept))
    assert not [one for one in out if isinstance(one, Node)] and kept != before
    assert not [one for one in run(BOTH, Scripted([], kept=kept)) if isinstance(one, Node)]


def test_a_value_that_changes_its_kind_does_not_change_its_name() -> None:
    out = run(BOTH, Scripted([sensor(1, "a", {"x": 5}), sensor(2, "a", {"x": "five"}), sensor(3, "a", {"x": True}),
                              sensor(4, "a", {"x": 6})]))
    got = [(one.value, one.quality) for one in out if isinstance(one, Reading) and one.property == "x"]
    assert got == [(5.0, None), (None, "bad"), (None, "bad"), (6.0, None)]
    assert len([one for one in out if isinstance(one, Node)]) == 1


def test_a_connection_that_is_lost_makes_nobody_online() -> None:
    config = msgspec.structs.replace(BOTH, broker=BrokerConfig(host="x"))
    messages = [(0.0, "\0up", b"", False), sensor(1, "a", {"temperature": 20}), (2.0, "\0down", b"gone", False),
                (3.0, "\0down", b"gone", False), (4.0, "\0up", b"", False), sensor(5, "a", {"temperature": 20}),
                (6.0, "\0lost", b"12", False), (20.0, "x", b"", False)]
    scripted = Scripted(messages)
    out = [one for one in run(config, scripted) if isinstance(one, Reading)]
    assert [(one.value, one.quality) for one in out if one.property == "online"] == [
        (True, None), (None, "bad"), (True, None)]
    said = [one.value for one in out if one.property == "connected"]
    assert [value for value, _ in groupby(said)] == [True, False, True]
    assert [one.value for one in out if one.property == "lost_messages"] == [12]
    told = [line for line in scripted.lines.of("warning") if not line.startswith("degraded")]
    assert told == ["no connection to x:1883: gone; trying again"]  # once, however often it is tried


# --- hostile input --------------------------------------------------------------------------------------------

TOPICS = st.sampled_from([
    "tele/a/SENSOR", "tele/a/STATE", "tele/a/LWT", "stat/a/POWER", "stat/a/RESULT", "stat/a/STATUS10", "zigbee2mqtt/a",
    "zigbee2mqtt/bridge/devices", "zigbee2mqtt/bridge/state", "zigbee2mqtt/a/availability", "a/status",
    "a/sensor/b/state", "a/light/b/state", "a/number/b/state", "homeassistant/number/a/b/config",
    "homeassistant/select/a/b/config", "homie/5/a/$state", "homie/5/a/$description", "homie/5/a/n/p"])
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(
    ["ON", "OFF", "online", "a/number/b/state", "float", "enum", "numeric", "binary", "5:1:x", "°C", 10**400])
KEYS = st.sampled_from([
    "state", "brightness", "ENERGY", "Power", "POWER", "Wifi", "Signal", "Dimmer", "StatusSNS", "friendly_name",
    "definition", "exposes", "features", "type", "property", "access", "value_on", "value_min", "value_max", "values",
    "unit", "nodes", "n", "properties", "p", "datatype", "format", "name", "stat_t", "cmd_t", "unit_of_meas", "min",
    "options", "dev", "temperature", "linkquality", "TempUnit", "DS18B20"]) | st.text(max_size=6)
DOCS = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
                    max_leaves=25)
PAYLOADS = st.binary(max_size=30) | DOCS.map(lambda doc: json.dumps(doc).encode()) | st.sampled_from(
    [b"[" * 60_000, b'{"a":' * 9000, b"9" * 5000, b"x" * 100_000, b"ready", b"ON", b"NaN"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(TOPICS | st.text(max_size=10), PAYLOADS, st.booleans()), min_size=1, max_size=12))
def test_B43_no_message_raises_and_every_reading_is_declared(messages: list[tuple[str, bytes, bool]]) -> None:
    config = msgspec.structs.replace(ALL, broker=BrokerConfig(host="x"))
    lines = [mqtt_line(topic.replace("\0", "?").encode("utf-8", "replace").decode() or "?", payload, retained=retained)
             for topic, payload, retained in messages]
    text = "".join(f"< {n}.0 hex:{line.hex(' ')}\n" for n, line in enumerate(lines)).encode()
    replay = Replay(ForeignMqtt, config, text)
    said = [one["message"] for one in replay.records() if one.get("log") == "error"]
    assert replay.whole and not [line for line in said if "bug" in line or "declared" in line or "an id is" in line]


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=400) | st.lists(DOCS, max_size=5).map(lambda docs: b"\n".join(
    json.dumps({"topic": "zigbee2mqtt/a", "tst": doc, "payload": doc}).encode() for doc in docs)))
def test_any_file_replays_without_a_crash(data: bytes) -> None:
    try:
        replay = Replay(ForeignMqtt, ALL, data)
    except ValueError as error:  # a transcript or capture that is refused, in one line
        assert "\n" not in str(error)
        return
    assert not [one for one in replay.records() if "bug" in str(one.get("message"))]


# --- captures -------------------------------------------------------------------------------------------------


def test_what_mosquitto_sub_writes_is_read() -> None:
    lines = b'zigbee2mqtt/Living room {"temperature": 21}\nzigbee2mqtt/door {"contact": false}\ntele/p/LWT Online\n'
    found = list(Replay(ForeignMqtt, ALL, lines).records())
    assert {(one["node"], one["property"]) for one in found if "node" in one} == {
        ("living-room", "online"), ("living-room", "temperature_c"), ("door", "online"), ("door", "open"),
        ("p", "online")}
    assert captures.messages(b"tele/p/LWT Online\n") is None and captures.messages(b"") is None
    stamped = captures.messages(
        b'{"tst":"2026-11-02T12:00:00.5Z+0100","topic":"a b","retain":1,"payload":"x"}\n'
        b'{"tst":1793617201.0,"topic":"c","payload":{"k":1}}\n{"tst":"never","topic":"d","payload":null}\n{"to')
    assert stamped is not None and [line for _, line in stamped] == [b"\0\0a b\0x", b'c {"k": 1}', b"d ", b'{"to']
    assert [seconds for seconds, _ in stamped] == [0.0, 0.5, 0.5, 0.5]


# --- commands -------------------------------------------------------------------------------------------------


def test_a_command_waits_for_its_own_answer_and_loses_no_reading() -> None:
    scripted = Scripted([sensor(1, "lamp", {"state": "OFF"}), sensor(2, "lamp", {"state": "OFF", "brightness": 3}),
                         sensor(3, "other", {"temperature": 20}), sensor(4, "lamp", {"state": "ON"}),
                         sensor(30, "lamp", {"state": "ON"}), sensor(60, "x", {})])
    plugin = ForeignMqtt(BOTH)
    stream = plugin.run(scripted)
    out: list[Any] = []
    while not any(isinstance(one, Reading) and one.property == "on" for one in out):
        out.append(next(stream))
    assert plugin.node_command(scripted, "lamp", "on", True) is True
    assert scripted.clock.monotonic_s() == 4.0
    assert scripted.written == [b'zigbee2mqtt/lamp/set {"state": "ON"}']
    with pytest.raises(CommandRefused, match=r"lamp did not do it in 5 s: .* and it said nothing"):
        plugin.node_command(scripted, "lamp", "on", False)
    with pytest.raises(CommandRefused, match="no such property now"):
        plugin.node_command(scripted, "lamp", "nonsense", False)
    out += list(stream)
    assert [one.value for one in out if isinstance(one, Reading) and one.property == "on"] == [False, False, True, True]
    assert [one.t_us for one in out if isinstance(one, Reading) and one.property == "temperature_c"] == [3_000_000]


# --- the simulated house --------------------------------------------------------------------------------------


def test_simulate_without_a_broker_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulate.shutil, "which", lambda *_, **__: None)
    with pytest.raises(ConfigError, match="apt install mosquitto"), ForeignMqtt.simulate(BOTH):
        pass


@pytest.mark.skipif(shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None,
                    reason="mosquitto is not installed")
def test_the_simulated_house_speaks_and_does_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from agent.testing.checks import running

    monkeypatch.setattr(simulate, "PERIOD_S", 0.3)
    with running(ForeignMqtt, ALL, simulate=True) as (worker, lines):
        got: dict[tuple[str | None, str], Any] = {}

        def have(*wanted: tuple[str, str]) -> bool:
            while worker.items:
                what = getattr(worker.items.popleft(), "what", None)
                if isinstance(what, Reading):
                    got[what.node, what.property] = what.value
            return all(one in got for one in wanted)

        deadline = time.monotonic() + 20
        wanted = (("sim-plug", "active_power_w"), ("sim-sensor", "temperature_c"), ("sim-lamp", "on"),
                  ("sim-esp", "pump"), ("sim-heater-room", "heating"))
        while not have(*wanted) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert have(*wanted), (got, lines.lines)
        for node, prop in (("sim-plug", "on"), ("sim-lamp", "on"), ("sim-esp", "pump"), ("sim-heater-room", "heating")):
            worker.command(_command(f"x-{node}", prop, not got[node, prop]))
        answers = []
        while len(answers) < 4 and time.monotonic() < deadline:
            items = [worker.items.popleft() for _ in range(len(worker.items))]
            answers += [one for one in items if type(one).__name__ == "Answer"]
            time.sleep(0.02)
        assert [one.message for one in answers if not one.ok] == [] and len(answers) == 4


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not installed")
@pytest.mark.skipif(shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin") is None,
                    reason="mosquitto is not installed")
def test_B56_the_private_broker_ends_with_a_killed_plugin() -> None:
    code = ("import time; from plugins.foreign_mqtt.simulate import private_broker\n"
            "with private_broker() as port: print(port, flush=True); time.sleep(60)")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])
    assert process.stdout is not None
    port = int(process.stdout.readline())
    socket.create_connection(("127.0.0.1", port), 5).close()
    process.kill()
    process.wait(5)

    def gone() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) != 0

    until("the broker is gone", gone, 10)


def _command(node: str, prop: str, value: Any) -> Any:
    from agent.bus import Command
    from agent.runner.worker import boottime_us

    return Command(f"c-{node}", node, prop, value, boottime_us() + 20_000_000)


@pytest.mark.parametrize("case", cases(loader.folder(ForeignMqtt)), ids=lambda case: case.name)
def test_every_node_of_the_transcripts_can_be_announced(case: Path) -> None:
    if (case / "error.txt").exists():
        return
    entry = only_entry(case)
    config = plugin_config(entry, ForeignMqtt)
    told: list[str] = []
    with io_over(next(case.glob("wire.*")), Lines(), kind=ForeignMqtt, config=config) as io:
        found = {one.id: one for one in ForeignMqtt(config).run(io) if isinstance(one, Node)}
    assert found
    for node in found.values():
        shown = NodeDeclaration(f"x-{node.id}", node.title, node.properties)
        declaration = PluginDeclaration("x", "x", "x", 1.0, (shown,))
        told += [*problems(declaration), *rules.problems(declaration)]
        components = discovery_payload(DeviceInfo(id="device"), nodes_of(declaration)[0], "install")["components"]
        assert len(components) >= len(node.properties), (sorted(components), node)
    assert told == []
