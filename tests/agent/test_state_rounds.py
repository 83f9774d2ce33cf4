"""Rounds on a moved clock: when the description changes, how often, and that nothing waits for it but ``ready``."""

from __future__ import annotations

import json

from agent.api import Property
from tests.agent.state_lab import HEATER, ROOM, SETPOINT, TARIFF, VOLUME, House, declare, heater


def test_the_first_round_waits_for_the_plugins_of_agent_toml_but_not_for_ever() -> None:
    house = House("heater", "meter")
    house.connect()
    assert house.value("$state") == "init" and house.value("$description") is None
    house.state.on_hello(HEATER, "r")
    house.after(1)
    assert house.value("$state") == "init"
    house.state.on_hello(declare("meter", VOLUME), "r")
    house.after(3.9)
    assert house.value("$state") == "init", "the meter may find something"
    house.after(0.2)
    assert house.values_of("$state") == ["init", "ready"]
    assert set(json.loads(house.value("$description") or "")["nodes"]) == {"sys", "heater", "meter"}
    alone = House("heater", "broken")
    alone.state.on_hello(HEATER, "r")
    alone.connect()
    alone.after(1.5)
    assert set(json.loads(alone.value("$description") or "")["nodes"]) == {"sys", "heater"}
    alone.after(3.4)
    assert alone.value("$state") == "init"
    alone.after(0.2)
    assert alone.value("$state") == "ready", "a plugin that never comes holds nobody up"
    empty = House("broken")
    empty.connect()
    empty.after(4.9)
    assert empty.value("$state") == "init"
    empty.after(0.2)
    assert empty.value("$state") == "ready"
    assert set(json.loads(empty.value("$description") or "")["nodes"]) == {"sys"}


def rounds_of(house: House) -> list[tuple[float, str]]:
    """When which $state was published, in seconds."""
    sent = zip(house.broker.times, house.broker.log, strict=True)
    return [(at_us / 1e6, word.decode()) for at_us, (topic, word, *_) in sent if topic.endswith("/$state")]


def test_at_most_one_round_a_minute_however_much_is_found() -> None:
    """Ten minutes of two plugins that find a node every 3 s, a third that comes late, and optional properties."""
    many = tuple(Property(name=f"extra_{n}_w", datatype="float", unit="W", optional=True) for n in range(100))
    house = House("heater", "meter")
    house.connect()
    for n in range(200):
        found = {f"m{i}": (VOLUME,) for i in range(n)}
        house.state.on_hello(declare("heater", SETPOINT, ROOM, found=found), "run-1")
        house.after(1.5)
        house.state.on_hello(declare("meter", *many, found=found), "run-2")
        if n == 50:
            house.state.on_hello(declare("late", VOLUME), "run-3")
        house.now("meter", f"extra_{n // 2}_w", 1.0)
        house.after(1.5)
    states = rounds_of(house)
    inits = [at for at, word in states if word == "init"]
    readies = [at for at, word in states if word == "ready"]
    assert [word for _, word in states] == ["init", "ready"] * len(readies)
    assert 8 <= len(readies) <= 10, "they do come"
    assert all(later - ready >= 60 for ready, later in zip(readies, inits[1:], strict=False))
    assert all(ready - init <= 13.5 for init, ready in zip(inits, readies, strict=True)), "init does not last"
    house.after(75)
    assert len(json.loads(house.value("$description") or "")["nodes"]) == 1 + 2 + 1 + 2 * 199
    assert house.value("meter/extra-99-w") == "1.0"
    assert house.value("$state") == "ready"
    assert house.broker.topics().count("homeassistant/device/bc-power/late/config") == 1, "announced once"


def test_what_a_meter_has_three_seconds_after_its_hello_is_described_in_the_same_init() -> None:
    house = House("meter")
    house.connect()
    house.after(0.5)
    house.state.on_hello(declare("meter", VOLUME, TARIFF, ROOM))
    house.after(3)
    house.now("meter", "tariff", "peak")
    house.after(1)
    assert house.value("meter/tariff") == "peak"
    assert house.values_of("$state") == ["init"]
    house.after(3)
    assert house.values_of("$state") == ["init", "ready"]
    assert "tariff" in json.loads(house.value("$description") or "")["nodes"]["meter"]["properties"]
    house.after(5)
    announced = [data for topic, data, *_ in house.broker.log if topic == "homeassistant/device/bc-power/meter/config"]
    assert [sorted(json.loads(data)["components"]) for data in announced] == [
        ["errors", "health", "last-update", "room-temperature-c", "tariff", "volume-m3"]
    ], "once, with everything"


def test_a_value_is_there_two_seconds_after_its_plugins_hello_although_others_keep_the_device_in_init() -> None:
    house = House("heater", "meter", "silent")
    house.connect()
    house.after(1.5)
    house.state.on_hello(HEATER, "r")
    house.now("heater", "setpoint_c", 19.5)
    house.after(2)
    assert house.value("heater/setpoint-c") == "19.5"
    house.state.on_hello(declare("meter", VOLUME), "r")
    house.now("meter", "volume_m3", 3.25)
    house.after(2)
    assert house.value("meter/volume-m3") == "3.25"
    assert house.values_of("$state") == ["init"]
    house.now("heater", "setpoint_c", 20.0)
    assert house.value("heater/setpoint-c") == "20.0", "at once, like always"


def test_what_comes_just_before_the_longest_init_ends_is_still_described_in_it() -> None:
    house = House("meter")
    house.state.on_hello(declare("meter", VOLUME))
    house.connect()
    for n, seconds in enumerate((3.0, 3.0, 3.0, 2.5), 1):
        house.after(seconds)
        house.state.on_hello(declare("meter", VOLUME, found={f"m{i}": (VOLUME,) for i in range(n)}))
    house.after(5)
    assert house.values_of("$state") == ["init", "ready"]
    assert set(json.loads(house.value("$description") or "")["nodes"]) == {
        "sys", "meter", "meter-m0", "meter-m1", "meter-m2", "meter-m3"
    }


def test_a_reconnect_with_nothing_new_is_ready_at_once() -> None:
    house = heater()
    house.settled()
    house.state.on_disconnect()
    house.after(3)
    since = len(house.broker.log)
    house.state.on_connect()
    assert house.values_of("$state", since) == ["init", "ready"]
    assert len(house.values_of("$description", since)) == 1


def test_a_connection_that_ends_in_init_begins_anew() -> None:
    house = heater()
    house.connect()
    house.after(2)
    house.state.on_disconnect()
    house.after(100)
    assert house.values_of("$state") == ["init"], "nothing is due without a connection"
    house.connect()
    house.after(2)
    assert house.values_of("$state") == ["init", "init", "ready"], "what came two minutes ago has settled"


def test_a_plugin_that_starts_late_is_shown_at_once_after_a_quiet_minute_else_when_it_is_over() -> None:
    house = heater()
    house.settled()
    house.after(60)
    house.state.on_hello(declare("meter", VOLUME), "r")
    house.now("meter", "volume_m3", 3.25)
    assert house.value("meter/volume-m3") is None, "no value before its description"
    house.after(2)
    assert house.value("meter/volume-m3") == "3.25"
    house.after(3)
    assert house.value("$state") == "ready"
    house.state.on_hello(declare("water", VOLUME), "r")
    house.now("water", "volume_m3", 1.5)
    house.after(58)
    assert house.value("water/volume-m3") is None
    house.after(2)
    assert house.value("water/volume-m3") == "1.5"


def test_a_plugin_renamed_in_agent_toml_comes_back_in_the_round_that_takes_it_away() -> None:
    house = heater()
    house.settled()
    since = len(house.broker.log)
    house.state.on_plugins(["warmth"])
    house.after(3)
    house.state.on_hello(declare("warmth", SETPOINT, ROOM), "r")
    house.after(6)
    assert house.values_of("$state", since) == ["init", "ready"]
    assert set(json.loads(house.value("$description") or "")["nodes"]) == {"sys", "warmth"}


def test_the_late_will_is_corrected_to_what_is_true_also_within_init_and_again_after_ten_seconds() -> None:
    house = heater()
    house.connect()
    house.after(1)
    since = len(house.broker.log)
    house.state.on_message("homie/5/bc-power/$state", b"lost", False)
    assert house.values_of("$state", since) == ["init"], "ready would be wrong: the description may still change"
    house.after(9)
    house.broker.store["homie/5/bc-power/$state"] = b"lost"
    house.state.on_message("homie/5/bc-power/$state", b"lost", False)
    assert house.value("$state") == "lost", "not at once again"
    house.after(2)
    assert house.value("$state") == "ready"
