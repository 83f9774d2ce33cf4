"""The state plane on a moved clock: the order of things, rates and times of values, what is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.bus import Alert, Health, Now
from agent.homie.values import utc_us
from tests.agent.state_lab import BOOT, HEATER, RELAY, ROOM, TARIFF, VOLUME, House, Retained, declare, heater


def test_connect_order_is_init_description_values_subscription_ready() -> None:
    house = heater()
    house.now("heater", "setpoint_c", 19.5)
    house.state.on_connect()
    assert house.value("heater/setpoint-c") == "19.5" and house.value("$state") == "init", "values do not wait"
    house.after(4)
    topics = [topic.removeprefix("homie/5/bc-power/") for topic in house.broker.topics()]
    order = ["$state", "$description", "heater/setpoint-c/$target", "heater/setpoint-c", "heater/last-update", "$state"]
    assert [topic for topic in topics if topic in order] == order
    assert house.values_of("$state") == ["init", "ready"]
    assert "homie/5/bc-power/+/+/set" in house.broker.subscriptions
    assert all(qos == 1 and retain for topic, _, qos, retain in house.broker.log if "/$log/" not in topic)
    assert house.state.will() == ("homie/5/bc-power/$state", b"lost")


def test_the_description_changes_only_in_init_and_its_version_grows(tmp_path: Path) -> None:
    house = heater(data_dir=tmp_path)
    house.settled()
    first = json.loads(house.value("$description") or "")
    house.state.on_hello(declare("meter", VOLUME), "r")
    house.after(61)
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


def test_a_found_node_that_reports_for_months_outlives_a_reboot(tmp_path: Path) -> None:
    house = House("meter", data_dir=tmp_path)
    house.state.on_hello(declare("meter", found={"gas-1": (VOLUME,), "gone-1": (VOLUME,)}))
    house.settled()
    for _ in range(60):
        house.now("meter-gas-1", "volume_m3", 3.0)
        house.clock.now_us += 86400 * 1_000_000 // 2
        house.state.tick(house.clock.now_us)
    again = House("meter", data_dir=tmp_path, broker=house.broker, clock=house.clock)  # killed, then started again
    again.state.on_hello(declare("meter"))
    again.settled()
    assert set(json.loads(again.value("$description") or "")["nodes"]) == {"sys", "meter", "meter-gas-1"}


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
    assert broker.answer() == [("a/b", b"1")]
    assert broker.answer() == [], "once for each subscription"
    broker.subscribe("a/+")
    broker.publish("a/b", b"", qos=1, retain=True)
    assert broker.answer() == []
