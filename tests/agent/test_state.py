"""The state plane on a moved clock: what is published, in which order, and what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.bus import Alert, Answer, Health, LogLine, Now
from agent.homie.values import utc_us
from tests.agent.state_lab import BOOT, RELAY, ROOM, SETPOINT, TARIFF, VOLUME, House, Retained, declare

HEATER = declare("heater", SETPOINT, ROOM)


def heater(**kwargs: object) -> House:
    house = House("heater", **kwargs)  # type: ignore[arg-type]
    house.state.on_hello(HEATER, "run-1")
    return house


# --- the order of things ------------------------------------------------------------------------------------


def test_connect_order_is_init_description_values_subscription_ready() -> None:
    house = heater()
    house.now("heater", "setpoint_c", 19.5)
    house.state.on_connect()
    topics = [topic.removeprefix("homie/5/bc-power/") for topic in house.broker.topics()]
    order = ["$state", "$description", "heater/setpoint-c/$target", "heater/setpoint-c", "heater/last-update", "$state"]
    assert [topic for topic in topics if topic in order] == order
    assert [house.values_of("$state")[0], house.values_of("$state")[-1]] == ["init", "ready"]
    assert "homie/5/bc-power/+/+/set" in house.broker.subscriptions
    assert all(qos == 1 and retain for topic, _, qos, retain in house.broker.log if "/$log/" not in topic)
    assert house.state.will() == ("homie/5/bc-power/$state", b"lost")


def test_the_first_round_waits_for_the_plugins_of_agent_toml_but_not_for_ever() -> None:
    house = House("heater", "meter")
    house.connect()
    assert house.value("$state") == "init" and house.value("$description") is None
    house.state.on_hello(HEATER, "r")
    house.after(1)
    assert house.value("$state") == "init"
    house.state.on_hello(declare("meter", VOLUME), "r")
    house.after(0.1)
    assert house.value("$state") == "ready"
    assert set(json.loads(house.value("$description") or "")["nodes"]) == {"sys", "heater", "meter"}
    alone = House("heater", "broken")
    alone.state.on_hello(HEATER, "r")
    alone.connect()
    alone.after(4.9)
    assert alone.value("$state") == "init"
    alone.after(0.2)
    assert alone.value("$state") == "ready", "a plugin that never comes holds nobody up"


def test_found_nodes_are_collected_into_one_round_a_minute() -> None:
    house = heater()
    house.settled()
    before = len(house.broker.log)
    for n in range(1, 31):
        found = {f"m{i}": (VOLUME,) for i in range(n)}
        house.state.on_hello(declare("heater", SETPOINT, ROOM, found=found), "run-1")
        house.after(4)  # two minutes of discoveries
    house.after(60)
    assert 1 <= house.values_of("$state", before).count("init") <= 3
    assert len(json.loads(house.value("$description") or "")["nodes"]) == 32
    assert house.value("$state") == "ready"


def test_a_plugin_that_starts_late_is_shown_within_two_seconds() -> None:
    house = heater()
    house.settled()
    house.state.on_hello(declare("meter", VOLUME), "r")
    house.now("meter", "volume_m3", 3.25)
    assert house.value("meter/volume-m3") is None, "no value before its description"
    house.after(2)
    assert house.value("meter/volume-m3") == "3.25"


def test_the_description_changes_only_in_init_and_its_version_grows(tmp_path: Path) -> None:
    house = heater(data_dir=tmp_path)
    house.settled()
    first = json.loads(house.value("$description") or "")
    house.state.on_hello(declare("meter", VOLUME), "r")
    house.after(2)
    second = json.loads(house.value("$description") or "")
    assert second["version"] > first["version"] > 1_795_000_000
    states = [
        (topic.rsplit("/", 1)[1], payload)
        for topic, payload, *_ in house.broker.log
        if topic.endswith(("$state", "$description"))
    ]
    for at, (name, _) in enumerate(states):
        if name == "$description":
            assert [word for kind, word in states[:at] if kind == "$state"][-1] == b"init"
    again = House("heater", "meter", data_dir=tmp_path, broker=house.broker)
    again.state.on_hello(HEATER, "r2")
    again.state.on_hello(declare("meter", VOLUME), "r2")
    again.settled()
    assert json.loads(again.value("$description") or "") == second, "the same description keeps its version"


def test_the_version_grows_without_a_clock_and_beyond_that_of_a_lost_card(tmp_path: Path) -> None:
    house = heater(data_dir=tmp_path)
    house.settled()
    old = json.loads(house.value("$description") or "")["version"]
    fresh = House("heater", broker=house.broker)  # no data_dir: a new card
    fresh.clock.synced = False  # and no network time
    fresh.connect()
    fresh.deliver()
    fresh.state.on_hello(declare("heater", ROOM), "r")
    fresh.after(2)
    assert json.loads(fresh.value("$description") or "")["version"] > old


def test_a_clean_end_says_disconnected() -> None:
    house = heater()
    house.settled()
    house.state.stop()
    assert house.value("$state") == "disconnected"


def test_the_late_will_of_a_former_connection_is_corrected() -> None:
    house = heater()
    house.settled()
    house.state.on_message("homie/5/bc-power/$state", b"lost", False)
    assert house.values_of("$state")[-1] == "ready"
    count = len(house.broker.log)
    for _ in range(100):
        house.state.on_message("homie/5/bc-power/$state", b"lost", False)
    assert len(house.broker.log) == count, "two devices with one id must not shout at each other"


# --- values -------------------------------------------------------------------------------------------------


def test_a_value_goes_out_at_once_and_then_at_most_every_200_ms_newest_wins() -> None:
    house = heater()
    house.settled()
    since = len(house.broker.log)
    house.now("heater", "room_temperature_c", 18.0)
    assert house.values_of("heater/room-temperature-c", since) == ["18.0"], "no wait for the first"
    for step in range(1, 100):
        house.after(0.01)
        house.now("heater", "room_temperature_c", 18 + step / 100)
    house.after(0.2)
    sent = house.values_of("heater/room-temperature-c", since)
    assert len(sent) <= 7
    assert sent[-1] == "18.99"


def test_one_property_at_one_hertz_costs_two_publishes_a_second() -> None:
    house = heater()
    house.settled()
    since = len(house.broker.log)
    for second in range(100):
        house.now("heater", "room_temperature_c", 18 + second / 10)
        house.after(1)
    assert len(house.broker.log) - since <= 201


def test_an_unchanged_state_is_not_repeated_and_an_unchanged_measurement_only_before_it_expires() -> None:
    house = House("heater")
    house.state.on_hello(declare("heater", ROOM, RELAY, interval_s=1.0))
    house.settled()
    since = len(house.broker.log)
    for _ in range(60):
        house.now("heater", "room_temperature_c", 18.0)
        house.now("heater", "relay", False)
        house.after(1)
    assert house.values_of("heater/relay", since) == ["false"]
    assert 10 <= len(house.values_of("heater/room-temperature-c", since)) <= 13, "every 5 s for expire_after 15"


def test_last_update_follows_the_reading_and_not_the_arrival_at_most_once_a_second() -> None:
    house = heater()
    house.settled()
    since = len(house.broker.log)
    house.now("heater", "room_temperature_c", 18.0, age_s=3.0)
    wall = house.clock.wall_us() or 0
    assert house.value("heater/last-update") == utc_us(wall - 3_000_000)
    for _ in range(40):
        house.after(0.05)
        house.now("heater", "room_temperature_c", 18.0)
    house.after(1)
    assert len(house.values_of("heater/last-update", since)) <= 5
    assert house.value("heater/last-update") == utc_us((house.clock.wall_us() or 0) - 1_000_000)


def test_last_update_is_left_out_while_the_clock_is_not_known() -> None:
    house = heater()
    house.clock.synced = False
    house.settled()
    house.now("heater", "room_temperature_c", 18.0)
    house.after(5)
    assert house.value("heater/room-temperature-c") == "18.0"
    assert house.values_of("heater/last-update") == []
    house.clock.synced = True
    house.now("heater", "room_temperature_c", 18.5)
    assert house.value("heater/last-update") == utc_us(house.clock.wall_us() or 0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "text", None])
def test_a_value_that_no_controller_may_see_is_left_out_and_the_last_good_one_stays(value: object) -> None:
    house = heater()
    house.settled()
    house.now("heater", "room_temperature_c", 18.0)
    before = house.value("heater/last-update")
    house.after(2)
    house.now("heater", "room_temperature_c", value)
    house.after(1)
    assert house.value("heater/room-temperature-c") == "18.0"
    assert house.value("heater/last-update") == before, "a bad reading does not make the old value younger"


def test_quality_marks_a_value_as_not_for_display_unless_it_is_only_uncertain() -> None:
    house = heater()
    house.settled()
    house.now("heater", "room_temperature_c", 85.0, quality="sensor_error")
    assert house.value("heater/room-temperature-c") is None
    house.now("heater", "room_temperature_c", 19.0, quality="uncertain")
    assert house.value("heater/room-temperature-c") == "19.0"


def test_an_older_reading_never_overwrites_a_newer_one() -> None:
    house = heater()
    house.settled()
    house.now("heater", "room_temperature_c", 20.0)
    house.after(1)
    house.now("heater", "room_temperature_c", 10.0, age_s=5)
    house.after(1)
    assert house.value("heater/room-temperature-c") == "20.0"


def test_events_are_not_retained_not_coalesced_and_not_kept_for_later() -> None:
    house = House("host")
    house.state.on_hello(declare("host", BOOT))
    house.now("host", "boot", "too early")
    house.settled()
    since = len(house.broker.log)
    for n in range(5):
        house.now("host", "boot", f"e{n}")
    assert [(p, q, r) for t, p, q, r in house.broker.log[since:] if t.endswith("/boot")] == [
        (f"e{n}".encode(), 0, False) for n in range(5)
    ]
    house.state.on_disconnect()
    house.now("host", "boot", "while away")
    house.settled()
    assert b"while away" not in [payload for _, payload, *_ in house.broker.log]
    assert b"too early" not in [payload for _, payload, *_ in house.broker.log]


def test_after_a_reconnect_everything_stands_there_again() -> None:
    house = heater()
    house.settled()
    house.now("heater", "room_temperature_c", 18.0)
    house.now("heater", "setpoint_c", 20.0)
    house.state.on_alert(Alert("heater", "Port gone!", "the port is gone"))
    house.after(1)
    complete = dict(house.broker.store)
    house.state.on_disconnect()
    house.now("heater", "room_temperature_c", 18.5)
    house.broker.store.clear()  # the broker lost its store
    house.settled()
    complete["homie/5/bc-power/heater/room-temperature-c"] = b"18.5"
    # nothing was measured meanwhile, so that alert is new, and right
    changing = {"homie/5/bc-power/heater/last-update", "homie/5/bc-power/$alert/stale-heater-room-temperature-c"}
    assert {t: p for t, p in house.broker.store.items() if t not in changing} == {
        t: p for t, p in complete.items() if t not in changing
    }
    assert house.value("$alert/port-gone") == "the port is gone"


def test_an_optional_property_appears_with_its_first_reading_and_stays_over_a_restart(tmp_path: Path) -> None:
    house = House("meter", data_dir=tmp_path)
    house.state.on_hello(declare("meter", VOLUME, TARIFF))
    house.settled()
    assert "tariff" not in json.loads(house.value("$description") or "")["nodes"]["meter"]["properties"]
    house.now("meter", "tariff", "peak")
    house.after(61)
    assert house.value("meter/tariff") == "peak"
    again = House("meter", data_dir=tmp_path, broker=house.broker)
    again.state.on_hello(declare("meter", VOLUME, TARIFF))
    again.settled()
    assert "tariff" in json.loads(again.value("$description") or "")["nodes"]["meter"]["properties"]
    assert again.value("meter/tariff") == "peak", "its last value is left where it is"


def test_found_nodes_stay_over_a_restart_and_are_forgotten_after_a_week(tmp_path: Path) -> None:
    house = House("meter", data_dir=tmp_path)
    house.state.on_hello(declare("meter", found={"gas-1": (VOLUME,)}))
    house.settled()
    again = House("meter", data_dir=tmp_path, broker=house.broker)
    again.state.on_hello(declare("meter"))
    again.settled()
    assert "meter-gas-1" in json.loads(again.value("$description") or "")["nodes"]
    later = House("meter", data_dir=tmp_path, broker=house.broker)
    later.clock.now_us += 8 * 86400 * 1_000_000
    later.state.on_hello(declare("meter"))
    later.settled()
    assert "meter-gas-1" not in json.loads(later.value("$description") or "")["nodes"]
    assert later.value("meter-gas-1/last-update") is None
    assert "homeassistant/device/bc-power/meter-gas-1/config" not in later.broker.store


# --- alerts, health, log ------------------------------------------------------------------------------------


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


# --- commands -----------------------------------------------------------------------------------------------


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
    [(topic, text, qos, retain)] = house.broker.log[since:]
    assert topic == "homie/5/bc-power/$log/warn" and says in text and not retain


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


# --- removal and renaming -----------------------------------------------------------------------------------


def test_a_plugin_taken_out_of_agent_toml_leaves_nothing_on_the_broker() -> None:
    house = heater()
    house.state.on_hello(declare("meter", VOLUME), "r")
    house.settled()
    house.now("heater", "setpoint_c", 19.5)
    house.now("heater", "room_temperature_c", 19.5)
    house.state.on_alert(Alert("heater", "frost", "frost duty"))
    house.after(1)
    assert any("/heater/" in topic for topic in house.broker.store)
    house.state.on_plugins(["meter"])
    house.after(2)
    assert [topic for topic in house.broker.store if "heater" in topic or "frost" in topic] == []
    assert house.value("$state") == "ready"
    assert any("/meter/" in topic for topic in house.broker.store)


def test_a_plugin_renamed_while_uplink_was_down_is_cleared_after_the_next_connect(tmp_path: Path) -> None:
    house = heater(data_dir=tmp_path)
    house.settled()
    house.now("heater", "setpoint_c", 19.5)
    house.state.on_alert(Alert("heater", "frost", "frost duty"))
    house.after(1)
    renamed = House("warmth", data_dir=tmp_path, broker=house.broker)
    renamed.state.on_hello(declare("warmth", SETPOINT, ROOM))
    renamed.settled()
    assert [topic for topic in renamed.broker.store if "heater" in topic or "frost" in topic] == []
    assert "homeassistant/device/bc-power/warmth/config" in renamed.broker.store
    assert sorted(renamed.broker.subscriptions) == sorted(
        ["homie/5/bc-power/$state", "homie/5/bc-power/$description", "homie/5/bc-power/+/+/set", "homeassistant/status"]
    ), "the sweep has unsubscribed"


def test_what_belongs_to_a_plugin_that_has_not_started_yet_is_left_alone_until_it_has() -> None:
    house = House("heater", "meter")
    house.state.on_hello(HEATER)
    house.state.on_hello(declare("meter", VOLUME, ROOM, found={"gas-1": (VOLUME,)}))
    house.settled()
    for name in ("volume_m3", "room_temperature_c"):
        house.now("meter", name, 3.5)
    house.after(1)
    kept = {topic: data for topic, data in house.broker.store.items() if "/meter" in topic}
    assert len(kept) >= 4
    again = House("heater", "meter", broker=house.broker)
    again.state.on_hello(HEATER)
    again.settled()
    again.state.on_hello(declare("heater", SETPOINT, ROOM, found={"x": (VOLUME,)}))
    again.after(61)
    assert {topic: data for topic, data in again.broker.store.items() if "/meter" in topic} == kept
    again.state.on_hello(declare("meter", VOLUME))
    again.after(2)
    left = [topic for topic in again.broker.store if "/meter" in topic]
    assert sorted(left) == [
        "homeassistant/device/bc-power/meter/config",
        "homie/5/bc-power/meter/last-update",
        "homie/5/bc-power/meter/volume-m3",
    ]


def test_a_retained_value_of_another_datatype_is_cleared() -> None:
    house = House("meter")
    house.state.on_hello(declare("meter", ROOM))
    house.settled()
    house.now("meter", "room_temperature_c", 18.5)
    from msgspec.structs import replace

    other = declare("meter", replace(ROOM, datatype="boolean", unit=None, device_class=None))
    house.state.on_hello(other)
    house.after(61)
    assert house.value("meter/room-temperature-c") is None, "18.5 is not a boolean"
    house.broker.store["homie/5/bc-power/meter/room-temperature-c"] = b"18.5"
    again = House("meter", broker=house.broker)  # and the same when it changed while uplink was down
    again.state.on_hello(other)
    again.settled()
    assert again.value("meter/room-temperature-c") is None


def test_a_renamed_device_clears_its_former_topics_state_first(tmp_path: Path) -> None:
    house = heater(data_dir=tmp_path)
    house.settled()
    house.now("heater", "setpoint_c", 19.5)
    house.state.stop()
    old = [topic for topic in house.broker.store if "bc-power" in topic]
    assert len(old) > 4
    renamed = House("heater", device="bc-boiler", data_dir=tmp_path, broker=house.broker)
    since = len(house.broker.log)
    renamed.state.on_hello(HEATER)
    renamed.settled()
    assert [topic for topic in renamed.broker.store if "bc-power" in topic] == []
    cleared = [topic for topic, data, *_ in house.broker.log[since:] if "bc-power" in topic and not data]
    assert cleared[0] == "homie/5/bc-power/$state"
    assert renamed.value("$state") == "ready"


def test_a_former_id_under_which_somebody_lives_is_left_alone(tmp_path: Path) -> None:
    house = heater(data_dir=tmp_path)
    house.settled()
    other = dict(house.broker.store)  # still ready: another device took the id
    renamed = House("heater", device="bc-boiler", data_dir=tmp_path, broker=house.broker)
    renamed.state.on_hello(HEATER)
    renamed.settled()
    assert {topic: data for topic, data in renamed.broker.store.items() if topic in other} == other
    assert renamed.state.memory.kept.former == []


def test_removal_of_the_device_takes_state_first_and_everything_with_it() -> None:
    house = heater()
    house.settled()
    house.now("heater", "setpoint_c", 19.5)
    house.state.on_alert(Alert("heater", "frost", "frost duty"))
    since = len(house.broker.log)
    house.state.remove()
    assert house.broker.log[since][:2] == ("homie/5/bc-power/$state", b"")
    house.state.on_message("homie/5/bc-power/$state", b"", False)
    house.after(5)
    assert house.broker.store == {}


# --- announcement -------------------------------------------------------------------------------------------


def configs(house: House, since: int = 0) -> list[str]:
    return [topic for topic in house.broker.topics(since) if topic.startswith("homeassistant/device/")]


def test_the_announcement_is_published_only_where_it_is_missing_or_different() -> None:
    house = heater()
    house.settled()
    assert sorted(configs(house)) == [f"homeassistant/device/bc-power/{node}/config" for node in ("heater", "sys")]
    since = len(house.broker.log)
    house.state.on_disconnect()
    house.settled()
    assert configs(house, since) == [], "it stands there already"
    del house.broker.store["homeassistant/device/bc-power/sys/config"]
    house.broker.store["homeassistant/device/bc-power/heater/config"] = b"{}"
    house.state.on_disconnect()
    house.settled()
    assert len(configs(house, since)) == 2


def test_home_assistants_birth_leads_to_a_comparison_after_a_random_wait_unless_retained() -> None:
    house = heater()
    house.settled()
    since = len(house.broker.log)
    house.broker.store.pop("homeassistant/device/bc-power/sys/config")
    house.state.on_message("homeassistant/status", b"online", True)
    house.after(20)
    assert configs(house, since) == [], "a retained birth is old news"
    house.state.on_message("homeassistant/status", b"online", False)
    house.after(0.9)
    assert not any(one.startswith("homeassistant/device") for one in house.broker.subscriptions)
    house.after(9.2)
    house.deliver()
    house.after(3)
    assert configs(house, since) == ["homeassistant/device/bc-power/sys/config"]
    house.state.on_message("homeassistant/status", b"offline", False)
    house.after(20)
    assert len(configs(house, since)) == 1


def test_a_component_goes_in_two_steps_so_that_home_assistant_deletes_its_entity() -> None:
    house = heater()
    house.settled()
    since = len(house.broker.log)
    house.state.on_hello(declare("heater", SETPOINT))
    house.after(61)
    sent = [
        json.loads(data)["components"]
        for topic, data, *_ in house.broker.log[since:]
        if topic == "homeassistant/device/bc-power/heater/config"
    ]
    assert len(sent) == 2
    assert sent[0]["room-temperature-c"] == {"platform": "sensor"}
    assert "room-temperature-c" not in sent[1] and "setpoint-c" in sent[1]


# --- what is kept -------------------------------------------------------------------------------------------


def test_the_installation_id_survives_and_a_damaged_file_is_set_aside(tmp_path: Path) -> None:
    first = House(data_dir=tmp_path).state.memory.kept.install
    assert House(data_dir=tmp_path).state.memory.kept.install == first
    (tmp_path / "identity.json").write_bytes(b"\0" * 100)
    assert House(data_dir=tmp_path).state.memory.kept.install != first
    assert (tmp_path / "identity.json.bad").exists()


def test_a_data_dir_that_cannot_be_written_costs_memory_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("not a folder")
    house = heater(data_dir=tmp_path / "file")
    house.settled()
    assert house.value("$state") == "ready"
    assert "cannot be written" in caplog.text


def test_nothing_is_published_without_a_connection() -> None:
    house = heater()
    house.now("heater", "setpoint_c", 19.5)
    house.state.on_alert(Alert("heater", "frost", "x"))
    house.after(120)
    house.state.stop()
    assert house.broker.log == [] and house.broker.subscriptions == []


def test_garbage_from_the_broker_raises_nothing() -> None:
    house = heater()
    house.settled()
    for topic in (
        "homie/5/bc-power/$description",
        "homie/5/bc-power/$state",
        "homie/5/bc-power//set",
        "homie/5/bc-power",
        "homie/5/bc-power/a/b/c/d/set",
        "homeassistant/status",
        "homeassistant/device/bc-power/x/config",
        "",
        "/",
        "homie/5/bc-power/heater/setpoint-c/set",
        "homie/5/bc-power/sys/restart/set",
    ):
        for payload in (
            b"",
            b"\xff\xfe",
            b"{",
            b"[" * 100_000,
            b'{"version":"x"}',
            b'{"version":1e400}',
            b"null",
            b"9" * 9000,
        ):
            for retained in (True, False):
                house.state.on_message(topic, payload, retained)
    house.after(30)
    assert house.commands == []
    assert house.value("$state") == "ready"


def test_unknown_series_from_the_bus_raise_nothing() -> None:
    house = heater()
    house.settled()
    since = len(house.broker.log)
    house.state.on_now(Now("ghost", [("ghost", "x", 1, 0, None), ("heater", "nothing", 1, 0, None)]))
    house.state.on_health(Health("ghost", "ok", "", 0, 0))
    assert house.broker.log[since:] == []


def test_retained_store_of_the_lab_is_a_brokers() -> None:
    broker = Retained()
    broker.publish("a/b", b"1", qos=1, retain=True)
    broker.subscribe("a/+")
    assert broker.matching() == [("a/b", b"1")]
    broker.publish("a/b", b"", qos=1, retain=True)
    assert broker.matching() == []
