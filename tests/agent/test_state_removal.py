"""The state plane on a moved clock: what is removed or renamed leaves nothing, and the announcement is kept true."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agent.bus import Alert
from tests.agent.state_lab import HEATER, ROOM, SETPOINT, VOLUME, House, declare, heater


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
    again.after(65)
    left = [topic for topic in again.broker.store if "/meter" in topic]
    assert sorted(left) == [
        "homeassistant/device/bc-power/meter/config",
        "homie/5/bc-power/meter/last-update",
        "homie/5/bc-power/meter/volume-m3",
    ]


def test_what_belongs_to_a_plugin_that_came_and_waits_for_its_round_is_left_alone(tmp_path: Path) -> None:
    """It is not silent any more, and not described yet: the sweep must not take it for a leftover."""
    house = House("heater", "meter", data_dir=tmp_path)
    house.state.on_hello(HEATER)
    house.state.on_hello(declare("meter", VOLUME))
    house.settled()
    house.now("meter", "volume_m3", 3.5)
    house.after(1)
    kept = {topic: data for topic, data in house.broker.store.items() if "/meter" in topic}
    assert len(kept) == 3
    again = House("heater", "meter", data_dir=tmp_path, broker=house.broker)
    again.state.on_hello(HEATER)
    again.connect()
    again.after(5.1)
    assert again.value("$state") == "ready"
    again.state.on_hello(declare("meter", VOLUME))  # while the sweep is reading
    since = len(house.broker.log)
    again.after(120)
    assert {topic: data for topic, data in again.broker.store.items() if "/meter" in topic} == kept
    assert configs(again, since) == [], "not even for a moment"


def test_home_assistants_birth_within_init_takes_no_announcement_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.uplink.state_discovery.ONLINE_WAIT_S", (1.0, 1.0))  # the shortest of the random waits
    house = heater(data_dir=tmp_path)
    house.settled()
    again = House("heater", "silent", data_dir=tmp_path, broker=house.broker)
    again.state.on_hello(HEATER)
    again.connect()
    since = len(house.broker.log)
    again.state.on_message("homeassistant/status", b"online", False)
    again.after(30)
    assert again.value("$state") == "ready"
    assert configs(again, since) == []


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
