"""The state plane on a moved clock: alerts, health, log lines, and commands with their refusals."""

from __future__ import annotations

import json

import pytest

from agent.api import Property
from agent.bus import Alert, Answer, Health, LogLine
from tests.agent.state_lab import HEATER, RELAY, ROOM, VOLUME, House, declare, heater


def test_a_stale_value_raises_an_alert_that_a_fresh_one_resolves() -> None:
    house = heater()
    house.settled()
    for _ in range(10):
        house.now("heater", "room_temperature_c", 18.0)
        house.after(1)
    assert house.value("$alert/stale-heater-room-temperature-c") is None
    house.now("heater", "room_temperature_c", float("nan"))
    house.after(5)
    text = house.value("$alert/stale-heater-room-temperature-c") or ""
    assert "heater/room_temperature_c" in text and "not_finite" in text
    assert house.values_of("$alert/stale-heater-room-temperature-c") == [text], "raised once, not every second"
    house.now("heater", "room_temperature_c", 18.5)
    house.after(1.5)
    assert house.value("$alert/stale-heater-room-temperature-c") is None


def test_what_comes_and_goes_is_stale_without_an_alert() -> None:
    house = House("badge")
    strength = Property(name="rssi_dbm", datatype="integer", unit="dBm", comes_and_goes=True)
    house.state.on_hello(declare("badge", strength, ROOM))
    house.settled()
    house.now("badge", "rssi_dbm", -60)
    house.now("badge", "room_temperature_c", 18.0)
    house.after(10)
    alerts = [topic.rsplit("/", 1)[1] for topic in house.broker.store if "/$alert/" in topic]
    assert alerts == ["stale-badge-room-temperature-c"]


def test_one_root_cause_is_one_alert() -> None:
    house = House("meter")
    house.state.on_hello(declare("meter", VOLUME, ROOM, RELAY))
    house.settled()
    for name, value in (("volume_m3", 1.0), ("room_temperature_c", 18.0), ("relay", True)):
        house.now("meter", name, value)
    house.after(10)
    alerts = [topic.rsplit("/", 1)[1] for topic in house.broker.store if "/$alert/" in topic]
    assert alerts == ["stale-meter"], "the node, not each of its values"
    house.state.on_health(Health("meter", "failed", "port gone", 3, 0))
    house.after(2)
    alerts = [topic.rsplit("/", 1)[1] for topic in house.broker.store if "/$alert/" in topic]
    assert alerts == ["health-meter"], "the plugin, not its node"
    assert house.value("meter/health") == "failed" and house.value("meter/errors") == "3"
    assert house.value("$alert/health-meter") == "meter is failed: port gone"
    house.state.on_health(Health("meter", "ok", "", 3, 0))
    assert house.value("$alert/health-meter") is None


def test_health_that_comes_before_the_declaration_is_not_lost() -> None:
    house = House("meter")
    house.state.on_health(Health("meter", "degraded", "no frame", 1, 0))
    house.state.on_hello(declare("meter", VOLUME))
    house.settled()
    assert house.value("meter/health") == "degraded"


def test_alerts_of_a_plugin_end_with_its_process() -> None:
    house = heater()
    house.settled()
    house.state.on_alert(Alert("heater", "frost", "frost duty"))
    house.state.on_hello(HEATER, "run-1")
    assert house.value("$alert/frost") == "frost duty"
    house.state.on_hello(HEATER, "run-2")
    assert house.value("$alert/frost") is None


def test_log_lines_have_homies_levels_and_are_not_retained() -> None:
    house = heater()
    house.settled()
    since = len(house.broker.log)
    for level in ("WARNING", "ERROR", "CRITICAL", "INFO"):
        house.state.on_log(LogLine("heater", level, "relay stuck", 0))
    assert [(t.rsplit("/", 1)[1], p, r) for t, p, _, r in house.broker.log[since:]] == [
        (level, b"heater: relay stuck", False) for level in ("warn", "error", "fatal", "info")
    ]


def set_(house: House, path: str, data: bytes, retained: bool = False) -> None:
    house.state.on_message(f"homie/5/bc-power/{path}/set", data, retained)


def test_a_command_moves_the_target_at_once_and_the_value_when_it_is_true() -> None:
    house = heater()
    house.settled()
    house.now("heater", "setpoint_c", 19.5)
    assert house.value("heater/setpoint-c/$target") == "19.5", "$target is used for every value or never"
    set_(house, "heater/setpoint-c", b"20.0")
    [(instance, command)] = house.commands
    assert (instance, command.node, command.property, command.value) == ("heater", "heater", "setpoint_c", 20.0)
    assert house.value("heater/setpoint-c/$target") == "20.0", "byte for byte what came"
    assert house.value("heater/setpoint-c") == "19.5"
    house.now("heater", "setpoint_c", 19.5)
    house.after(1)
    assert house.value("heater/setpoint-c/$target") == "20.0", "an old reading does not move it back"
    assert house.state.on_answer(Answer("heater", command.id, True, "", 20.0))
    assert house.value("heater/setpoint-c") == "20.0"
    assert not house.state.on_answer(Answer("heater", command.id, True, "", 5.0)), "an answer counts once"


def test_B50_a_retained_command_is_refused_deleted_and_told() -> None:
    house = heater()
    house.broker.store["homie/5/bc-power/heater/setpoint-c/set"] = b"30"
    house.settled()
    assert house.commands == []
    assert "homie/5/bc-power/heater/setpoint-c/set" not in house.broker.store
    assert any(
        t.endswith("$log/warn") and p.startswith(b"E_CMD_RETAINED heater/setpoint-c/set")
        for t, p, *_ in house.broker.log
    )


@pytest.mark.parametrize(
    ("path", "data", "says"),
    [
        ("heater/setpoint-c", b"31", b"outside 5:30:0.5"),
        ("heater/setpoint-c", b"warm", b"not a number"),
        ("heater/room-temperature-c", b"20", b"cannot be set"),
        ("heater/nothing", b"20", b"no such property"),
        ("sys/restart", b"moon", b"not one of agent, host"),
    ],
)
def test_an_illegal_command_reaches_nobody_and_is_told(path: str, data: bytes, says: bytes) -> None:
    house = heater()
    house.settled()
    house.now("heater", "setpoint_c", 19.5)
    since = len(house.broker.log)
    set_(house, path, data)
    assert house.commands == []
    [(topic, text, _, retain)] = house.broker.log[since:]
    assert topic == "homie/5/bc-power/$log/warn" and says in text and not retain


def test_a_manual_reading_of_a_counter_reaches_its_ledger() -> None:
    house = House("meter")
    house.state.on_hello(declare("meter", VOLUME))
    house.settled()
    house.now("meter", "volume_m3", 100.5)
    set_(house, "meter/volume-m3", b"126.753")
    [(instance, command)] = house.commands
    assert (instance, command.property, command.value) == ("meter", "volume_m3", 126.753)
    assert house.value("meter/volume-m3/$target") is None, "a counter has no target"
    house.state.on_answer(Answer("meter", command.id, True, "the counter goes on from here", 126.753))
    house.after(1)
    assert house.value("meter/volume-m3") == "126.753"
    description = json.loads(house.value("$description") or "")
    assert not description["nodes"]["meter"]["properties"]["volume-m3"].get("settable", False)


def test_a_refusal_of_the_plugin_takes_the_target_back() -> None:
    house = heater()
    house.settled()
    house.now("heater", "setpoint_c", 19.5)
    set_(house, "heater/setpoint-c", b"25")
    house.state.on_answer(Answer("heater", house.commands[0][1].id, False, "frost protection holds"))
    assert house.value("heater/setpoint-c/$target") == "19.5"
    assert any(b"refused by heater: frost protection holds" in p for _, p, *_ in house.broker.log)


def test_a_plugin_that_is_not_there_or_does_not_answer_is_told() -> None:
    house = heater()
    house.settled()
    house.now("heater", "setpoint_c", 19.5)
    house.answering = False
    set_(house, "heater/setpoint-c", b"25")
    assert any(b"heater is not running" in p for _, p, *_ in house.broker.log)
    house.answering = True
    set_(house, "heater/setpoint-c", b"26")
    house.after(11)
    assert any(p.startswith(b"E_CMD_EXPIRED heater/setpoint-c/set") for _, p, *_ in house.broker.log)
    assert house.value("heater/setpoint-c/$target") == "19.5"
    late = house.state.on_answer(Answer("heater", house.commands[-1][1].id, True, "", 26.0))
    assert not late


def test_a_momentary_command_goes_to_uplink_itself_and_leaves_no_target() -> None:
    house = heater()
    house.settled()
    set_(house, "sys/restart", b"agent")
    [(instance, command)] = house.commands
    assert (instance, command.property, command.value) == ("sys", "restart", "agent")
    house.state.on_answer(Answer("sys", command.id, True, ""))
    assert not any("sys/restart" in topic for topic in house.broker.store)


def test_a_flood_of_commands_is_bounded() -> None:
    house = heater()
    house.settled()
    for n in range(200):
        set_(house, "heater/setpoint-c", b"%d" % (10 + n % 10))
    assert len(house.commands) == 50
    house.after(11)
    set_(house, "heater/setpoint-c", b"20")
    assert len(house.commands) == 51
