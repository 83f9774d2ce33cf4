"""End to end: a real agent on a real broker, foreign nodes on the same broker and on another one, both ways."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from agent.testing.broker import Broker, mosquitto_path
from tests.house import House
from tests.waiting import until

from .world import DEVICES, HOMIE, Client, nodes, repeat

pytestmark = pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed")

PLUGINS = """
[plugins.near]
use = "foreign_mqtt"
answer_s = 1.5
[plugins.near.tasmota]
[plugins.near.zigbee2mqtt]
[plugins.near.esphome]
nodes = ["boiler"]
[plugins.near.homie]
devices = ["well"]

[plugins.far]
use = "foreign_mqtt"
[plugins.far.tasmota]
[plugins.far.broker]
host = "127.0.0.1"
port = {port}
"""
SENSOR = {"Time": "2026-11-02T12:00:00", "ENERGY": {"Total": 3.185, "Power": 999, "Voltage": 232},
          "AM2301": {"Temperature": 69.8, "Humidity": 55}, "TempUnit": "F"}
STANDING: dict[str, Any] = {
    "tele/plug/LWT": "Online", "tele/plug/SENSOR": SENSOR, "stat/plug/POWER": "OFF", "stat/mute/POWER": "OFF",
    "zigbee2mqtt/bridge/devices": DEVICES, "homie/5/well/$description": HOMIE, "homie/5/well/$state": "ready",
    "boiler/status": "online", "boiler/sensor/flow_temperature/state": "11", "boiler/switch/pump/state": "OFF"}
"""Stands on the broker before the agent starts: who is there and what it has. A device of ours describes itself anew
once a minute at most, so what a test needs is there from the start."""
COMMANDS = ("cmnd/#", "zigbee2mqtt/+/set", "boiler/+/+/command", "homie/5/well/+/+/set")


class World(NamedTuple):
    house: House
    near: Broker
    far: Broker
    ours: Client
    """Sees our Homie tree."""
    theirs: Client
    """The foreign nodes on our own broker."""

    def value(self, node: str, prop: str) -> str | None:
        return self.ours.values.get(f"homie/5/attic/{node}/{prop}")

    def set(self, node: str, prop: str, value: str) -> None:
        self.ours.say(f"homie/5/attic/{node}/{prop}/set", value)

    def said(self, text: str) -> bool:
        return any("$log/warn" in topic and text in payload for topic, payload in list(self.ours.heard))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "far").mkdir()
    with House(folder) as house, Broker(folder, port=house.mqtt) as near, Broker(folder / "far") as far:
        theirs = Client(near.port, COMMANDS, nodes)
        ours = Client(near.port, ("homie/5/attic/#", "homeassistant/device/attic/#"))
        try:
            for topic, payload in STANDING.items():
                theirs.say(topic, payload, retain=True)
            with contextlib.closing(Client(far.port, ())) as seed:
                seed.say("tele/shed/SENSOR", {"ENERGY": {"Power": 999}}, retain=True)
                seed.say("stat/shed/POWER", "OFF", retain=True)
            house.start_agent("attic", PLUGINS.format(port=far.port))
            world = World(house, near, far, ours, theirs)
            until("the plugin hears", lambda: world.value("near-plug", "online") == "true", 45,
                  found=lambda: (folder / "attic.log").read_text()[-3000:])
            yield world
        finally:
            theirs.close()
            ours.close()


def test_what_was_retained_says_who_is_there_and_is_no_sample(world: World) -> None:
    until("the described nodes", lambda: "near-well-pump" in world.ours.values.get("homie/5/attic/$description", ""))
    description = json.loads(world.ours.values["homie/5/attic/$description"])
    assert {"near-plug", "near-living-room", "near-desk-lamp", "near-boiler"} <= set(description["nodes"])
    lamp = description["nodes"]["near-desk-lamp"]["properties"]
    assert lamp["on"]["settable"] and lamp["brightness-pct"]["unit"] == "%"
    assert "active-power-w" in description["nodes"]["near-plug"]["properties"]
    assert world.value("near-plug", "active-power-w") is None  # the 999 W stood there before
    assert world.value("near-boiler", "flow-temperature-c") is None


def test_each_project_is_read_with_our_names_and_units(world: World) -> None:
    say = world.theirs.say
    sensor = SENSOR | {"ENERGY": {"Total": 3.185, "Power": 410, "Voltage": 232}}
    repeat(lambda: say("tele/plug/SENSOR", sensor), lambda: world.value("near-plug", "active-power-w") == "410.0")
    until("the others", lambda: world.value("near-plug", "temperature-c") == "21.0")
    say("zigbee2mqtt/Living room", {"temperature": 21.7, "linkquality": 90})
    say("boiler/sensor/flow_temperature/state", "48.2", retain=True)
    say("homie/5/well/pump/power", "712.5", retain=True)
    until("Zigbee2MQTT", lambda: world.value("near-living-room", "temperature-c") == "21.7")
    until("ESPHome", lambda: world.value("near-boiler", "flow-temperature-c") == "48.2")
    until("Homie", lambda: world.value("near-well-pump", "active-power-w") == "712.5")


@pytest.mark.parametrize("first, node, prop, value, topic, payload", [
    (("stat/plug/POWER", "OFF"), "near-plug", "on", "true", "cmnd/plug/POWER", "ON"),
    (None, "near-desk-lamp", "on", "true", "zigbee2mqtt/desk lamp/set", '{"state": "ON"}'),
    (None, "near-desk-lamp", "brightness-pct", "50", "zigbee2mqtt/desk lamp/set", '{"brightness": 127}'),
    (("boiler/switch/pump/state", "OFF"), "near-boiler", "pump", "true", "boiler/switch/pump/command", "ON"),
    (None, "near-well-pump", "running", "true", "homie/5/well/pump/running/set", "true")])
def test_a_set_becomes_the_projects_command_and_its_state_the_answer(
        world: World, first: tuple[str, str] | None, node: str, prop: str, value: str, topic: str, payload: str
) -> None:
    if first is not None:
        repeat(lambda: world.theirs.say(*first), lambda: world.value(node, prop) == "false")
    world.set(node, prop, value)
    until("the command", lambda: (topic, payload) in world.theirs.heard, found=lambda: world.theirs.heard[-5:])
    wanted = "50.0" if prop == "brightness-pct" else value
    until("its own word", lambda: world.value(node, prop) == wanted, found=lambda: world.value(node, prop))
    until("the target", lambda: world.value(node, f"{prop}/$target") in (value, wanted))


def test_B43_garbage_is_one_line_and_the_node_goes_on(world: World) -> None:
    for payload in (b"\xff\xfe", b"[" * 60_000, b"x" * 900_000, b'{"ENERGY": {"Power": NaN}}',
                    b'{"ENERGY": {"Power": 1e999}}'):
        world.theirs.client.publish("tele/plug/SENSOR", payload, qos=1).wait_for_publish(10)
    until("one line", lambda: world.said("'tele/plug/SENSOR' says what cannot be read: not UTF-8 text"))
    world.theirs.say("tele/plug/SENSOR", {"ENERGY": {"Power": 411}})
    until("the next sample", lambda: world.value("near-plug", "active-power-w") == "411.0")
    assert len([1 for topic, text in world.ours.heard if "$log/warn" in topic and "cannot be read" in text]) == 1


def test_who_does_not_do_it_or_is_offline_refuses(world: World) -> None:
    say = world.theirs.say
    repeat(lambda: say("stat/mute/POWER", "OFF"), lambda: world.value("near-mute", "on") == "false")
    world.set("near-mute", "on", "true")
    until("refused", lambda: world.said("near-mute/on/set: refused by near: mute did not do it in 1.5 s"), 15)
    assert world.value("near-mute", "on") == "false"
    say("tele/mute/LWT", "Offline", retain=True)
    until("offline", lambda: world.value("near-mute", "online") == "false")
    sent = len(world.theirs.heard)
    world.set("near-mute", "on", "true")
    until("refused at once", lambda: world.said("mute is offline, nothing was sent"), 15)
    assert ("cmnd/mute/POWER", "ON") not in world.theirs.heard[sent:]


def test_nodes_are_announced_to_home_assistant(world: World) -> None:
    config = until("the announcement", lambda: world.ours.values.get(
        "homeassistant/device/attic/near-plug/config"))
    power = [one for one in json.loads(config)["components"].values() if one.get("unit_of_measurement") == "W"]
    assert power[0]["device_class"] == "power" and power[0]["state_class"] == "measurement"


def test_B06_another_broker_killed_and_back(world: World) -> None:
    def on_far(client: Client) -> Any:
        return repeat(lambda: client.say("tele/shed/SENSOR", {"ENERGY": {"Power": 77}}),
                      lambda: world.value("far-shed", "active-power-w") == "77.0")

    client = Client(world.far.port, ("cmnd/#",), lambda topic, payload: [("stat/shed/POWER", payload, False)])
    try:
        client.say("tele/shed/LWT", "Online", retain=True)
        on_far(client)
        client.say("stat/shed/POWER", "OFF")
        until("a switch", lambda: world.value("far-shed", "on") == "false")
        world.set("far-shed", "on", "true")
        until("the command", lambda: ("cmnd/shed/POWER", "ON") in client.heard)
        until("done", lambda: world.value("far-shed", "on") == "true")
        until("connected", lambda: world.value("far", "connected") == "true")
        world.far.kill9()
        until("said so", lambda: world.value("far", "health") == "degraded", 15)
        until("not connected", lambda: world.value("far", "connected") == "false", 15)
        world.set("far-shed", "on", "false")
        until("refused", lambda: world.said("not now: no connection to 127.0.0.1"), 15)
        world.far.start()
        until("connected again", lambda: world.value("far", "connected") == "true", 30)
        until("well again", lambda: world.value("far", "health") == "ok", 15)
        repeat(lambda: client.say("tele/shed/SENSOR", {"ENERGY": {"Power": 78}}),
               lambda: world.value("far-shed", "active-power-w") == "78.0")
    finally:
        client.close()


def test_B06_our_own_broker_killed_and_back(world: World) -> None:
    world.near.kill9()
    world.near.start()
    repeat(lambda: world.theirs.say("tele/plug/SENSOR", {"ENERGY": {"Power": 33}}),
           lambda: world.value("near-plug", "active-power-w") == "33.0", 45)


def test_nodes_and_their_names_are_still_there_after_a_restart_of_the_plugin(world: World) -> None:
    (process,) = world.house.find("hutkeeper-agent", "plugin", "near")
    seen = len(world.ours.heard)
    process.kill()
    until("a new process", lambda: [one for one in world.house.find("hutkeeper-agent", "plugin", "near")
                                    if one.pid != process.pid], 30)
    repeat(lambda: world.theirs.say("tele/plug/SENSOR", {"ENERGY": {"Power": 34}}),
           lambda: world.value("near-plug", "active-power-w") == "34.0", 45)
    gone = [topic for topic, payload in world.ours.heard[seen:] if not payload and "/near" in topic]
    assert gone == []  # nothing was taken back in between
