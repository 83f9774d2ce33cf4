"""What each project's messages mean, and the command that sets a value: pure, no broker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.discovery import rules
from agent.homie.tree import problems
from agent.wire.messages import NodeDeclaration, PluginDeclaration
from plugins.foreign_mqtt.config import (
    BrokerConfig,
    EsphomeConfig,
    ForeignMqttConfig,
    HomieConfig,
    Map,
    TasmotaConfig,
    Zigbee2mqttConfig,
)
from plugins.foreign_mqtt.custom import Custom
from plugins.foreign_mqtt.esphome import Esphome
from plugins.foreign_mqtt.findings import BadMessage, Known, Online, Preset, Seen, as_number, plain
from plugins.foreign_mqtt.homie import Homie
from plugins.foreign_mqtt.quantities import CONVERSIONS, QUANTITIES, SUFFIXES, SWITCHES, measure, truth, word
from plugins.foreign_mqtt.tasmota import Tasmota
from plugins.foreign_mqtt.zigbee2mqtt import Zigbee2mqtt


def read(preset: Preset, topic: str, payload: Any) -> list[Any]:
    data = payload if isinstance(payload, bytes) else (
        payload if isinstance(payload, str) else json.dumps(payload)).encode()
    return list(preset.read(topic, data))


def values(found: list[Any]) -> dict[str, Any]:
    return {one.prop.name: one.value for one in found if isinstance(one, Seen)}


# --- names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text, wanted", [
    ("ApparentPower", "apparent_power"), ("DS18B20", "ds18b20"), ("PM2.5", "pm2_5"), ("soil-moisture", "soil_moisture"),
    ("  Außen temp ", "au_en_temp"), ("", ""), ("灯", ""), ("x" * 500, "x" * 63)])
def test_words(text: str, wanted: str) -> None:
    assert word(text) == wanted


@pytest.mark.parametrize("name, unit, ours, value, there", [
    ("temperature", None, "temperature_c", 20.0, 20.0), ("temperature", "°F", "temperature_c", 68.0, 20.0),
    ("living_room_temperature", "°C", "living_room_temperature_c", 20.0, 20.0),
    ("power", "kW", "active_power_w", 1.2, 1200.0), ("energy", "Wh", "active_energy_import_kwh", 500.0, 0.5),
    ("voltage", "mV", "voltage_v", 3005.0, 3.005), ("pressure", "mmHg", "pressure_hpa", 750.0, 999.917906),
    ("power", "horses", "power", 1.0, 1.0), ("water level", "cm", "water_level_cm", 5.0, 5.0),
    ("flow-l-h", "L/h", "flow_l_h", 5.0, 5.0), ("health", "", "reported_health", 5.0, 5.0),
    ("temperature", "", "temperature", 5.0, 5.0), ("outside", "°F", "outside_c", 68.0, 20.0)])
def test_names_and_units_become_ours(name: str, unit: str | None, ours: str, value: float, there: float) -> None:
    made = measure(name, unit)
    assert (made.prop.name, made.ours(value)) == (ours, there)
    assert made.theirs(there) == pytest.approx(value, rel=1e-6)


def test_all_that_the_tables_make_is_fit_for_homie_and_home_assistant() -> None:
    units = [None, "", *SUFFIXES, *CONVERSIONS]
    made = [measure(name, unit).prop for name in [*QUANTITIES, "anything"] for unit in units]
    made += [truth(name, settable=settable)[0] for name in [*SWITCHES, "on", "anything"] for settable in (False, True)]
    for prop in set(made):
        declaration = PluginDeclaration("x", "x", "x", 1.0, (NodeDeclaration("x", "x", (prop,)),))
        assert (problems(declaration), list(rules.problems(declaration))) == ([], []), prop


@pytest.mark.parametrize("text, wanted", [
    ("nan", (None, "not_finite")), ("-Infinity", (None, "not_finite")), (10**400, (None, "not_finite")),
    ("1e999", (None, "not_finite")), ("-0", (0.0, None)), ("5e-324", (5e-324, None)), (" 21.5 ", (21.5, None))])
def test_B36_numbers(text: Any, wanted: Any) -> None:
    assert as_number(text) == wanted


@pytest.mark.parametrize("text", ["1_0", "0x10", "١", "", "21,5", "21.5 °C", True, None, [], {}])
def test_what_is_no_number_is_refused(text: Any) -> None:
    with pytest.raises(BadMessage):
        as_number(text)


@pytest.mark.parametrize("value, wanted", [(20.0, "20"), (20.5, "20.5"), (1e-7, "0.0000001"), (-0.1, "-0.1")])
def test_numbers_as_devices_read_them(value: float, wanted: str) -> None:
    assert plain(value) == wanted


# --- Tasmota --------------------------------------------------------------------------------------------------


def test_tasmota_with_the_topic_in_front_of_the_prefix() -> None:
    preset = Tasmota(TasmotaConfig(full_topic="home/%topic%/%prefix%/"))
    assert "home/+/tele/SENSOR" in preset.filters(True)
    assert read(preset, "home/plug/tele/LWT", "Offline") == [Online("plug", False)]
    assert read(preset, "away/plug/tele/LWT", "Offline") == []
    assert read(preset, "tele/plug/LWT", "Offline") == []
    assert preset.command("plug", "POWER2", truth("on_2", settable=True)[0], False) == ("home/plug/cmnd/POWER2", "OFF")


def test_tasmota_numbers_its_switches_and_dims() -> None:
    preset = Tasmota(TasmotaConfig())
    found = read(preset, "tele/x/STATE", {"POWER1": "ON", "POWER2": "OFF", "Dimmer": 40, "POWERX": "ON",
                                          "UptimeSec": 5})
    assert values(found) == {"on_1": True, "on_2": False, "brightness_pct": 40.0, "uptime_s": 5.0}
    assert preset.command("x", "Dimmer", found[2].prop, 55.0) == ("cmnd/x/Dimmer", "55")
    assert read(preset, "stat/x/RESULT", {"POWER": "ON"}) == []  # it comes on its own topic too
    assert values(read(preset, "stat/x/RESULT", {"Dimmer": 41})) == {"brightness_pct": 41.0}
    assert values(read(preset, "stat/x/STATUS10", {"StatusSNS": {"ENERGY": {"Power": 3}}})) == {"active_power_w": 3.0}


# --- Zigbee2MQTT ----------------------------------------------------------------------------------------------


def zigbee(*exposes: dict[str, Any]) -> Zigbee2mqtt:
    preset = Zigbee2mqtt(Zigbee2mqttConfig())
    read(preset, "zigbee2mqtt/bridge/devices", [{"friendly_name": "x", "definition": {"exposes": list(exposes)}}])
    return preset


@pytest.mark.parametrize("on, off, said, is_open", [
    (False, True, True, False), (False, True, False, True), (True, False, False, True)])
def test_a_door_is_open_whichever_way_its_contact_is_described(on: Any, off: Any, said: Any, is_open: bool) -> None:
    preset = zigbee({"type": "binary", "property": "contact", "access": 1, "value_on": on, "value_off": off})
    assert values(read(preset, "zigbee2mqtt/x", {"contact": said})) == {"open": is_open}


def test_commands_go_out_in_the_devices_own_words_and_scale() -> None:
    preset = zigbee(
        {"type": "lock", "features": [
            {"type": "binary", "property": "state", "access": 7, "value_on": "LOCK", "value_off": "UNLOCK"}]},
        {"type": "numeric", "property": "brightness", "access": 7, "value_min": 0, "value_max": 254},
        {"type": "numeric", "property": "occupied_heating_setpoint", "access": 7, "unit": "°C", "value_min": 5,
         "value_max": 30, "value_step": 0.5},
        {"type": "enum", "property": "mode", "access": 7, "values": ["auto", "heat"]},
        {"type": "enum", "property": "effect", "access": 2, "values": ["blink"]})
    found = {one.key: one.prop for one in read(preset, "zigbee2mqtt/x", {
        "state": "LOCK", "brightness": 127, "occupied_heating_setpoint": 21, "mode": "heat", "effect": "blink"})}
    assert found["occupied_heating_setpoint"].step == 0.5 and found["mode"].options == ("auto", "heat")
    assert "effect" not in found  # never told in its messages
    sent = {key: json.loads(preset.command("x", key, found[key], value)[1]) for key, value in {
        "state": False, "brightness": 100.0, "occupied_heating_setpoint": 21.5, "mode": "auto"}.items()}
    assert sent == {"state": {"state": "UNLOCK"}, "brightness": {"brightness": 254},
                    "occupied_heating_setpoint": {"occupied_heating_setpoint": 21.5}, "mode": {"mode": "auto"}}


def test_without_a_description_commands_take_the_usual_words() -> None:
    preset = Zigbee2mqtt(Zigbee2mqttConfig(base="zb"))
    found = {one.key: one for one in read(preset, "zb/lamp", {"state_left": "ON", "brightness": 254, "state": "OPEN"})}
    assert found["state_left"].prop.name == "on_left" and not found["state"].prop.settable
    assert preset.command("lamp", "state_left", found["state_left"].prop, True) == (
        "zb/lamp/set", '{"state_left": "ON"}')
    assert preset.command("lamp", "brightness", found["brightness"].prop, 50.0)[1] == '{"brightness": 127}'


@pytest.mark.parametrize("devices", [
    {}, [5, {"friendly_name": 5}, {"friendly_name": "x", "definition": {"exposes": 5}}],
    [{"friendly_name": "x", "definition": {"exposes": [{"type": "binary"}, 7, {}]}}]])
def test_a_list_of_devices_that_is_none(devices: Any) -> None:
    preset = Zigbee2mqtt(Zigbee2mqttConfig())
    try:
        assert all(isinstance(one, Known) for one in read(preset, "zigbee2mqtt/bridge/devices", devices))
    except BadMessage:
        assert devices == {}


# --- ESPHome --------------------------------------------------------------------------------------------------


def test_esphome_without_announcements_guesses_no_unit_that_it_could_get_wrong() -> None:
    preset = Esphome(EsphomeConfig(nodes=("k",), discovery=""))
    assert preset.filters(False) == ("k/status", "k/+/+/state")
    assert [one.prop.unit for name in ("room_temperature", "energy", "counter")
            for one in read(preset, f"k/sensor/{name}/state", "5")] == ["°C", None, None]
    assert read(preset, "other/sensor/x/state", "5") == [] and read(preset, "k/cover/x/state", "open") == []


def test_esphome_commands() -> None:
    preset = Esphome(EsphomeConfig(prefix="esphome"))
    told = read(preset, "homeassistant/number/k/target/config", {
        "unit_of_meas": "°F", "min": 32, "max": 212, "step": 1, "stat_t": "esphome/k/number/target/state"})
    prop = told[0].props[0][1]
    assert (prop.name, prop.minimum, prop.maximum, prop.settable) == ("target_c", 0.0, 100.0, True)
    assert preset.command("k", "number/target", prop, 50.0) == ("esphome/k/number/target/command", "122")
    light = read(preset, "esphome/k/light/lamp/state", {"state": "ON", "brightness": 51})
    assert values(light) == {"lamp": True, "lamp_brightness_pct": 20.0}
    on = truth("x", settable=True)[0]
    assert preset.command("k", "light/lamp/brightness", light[1].prop, 20.0) == (
        "esphome/k/light/lamp/command", '{"state": "ON", "brightness": 51}')
    assert preset.command("k", "light/lamp", on, False)[1] == '{"state": "OFF"}'
    assert preset.command("k", "lock/door", on, True) == ("esphome/k/lock/door/command", "LOCK")
    assert preset.command("k", "button/restart", on, "press")[1] == "PRESS"
    assert preset.command("k", "switch/pump", on, True)[1] == "ON"


# --- Homie ----------------------------------------------------------------------------------------------------


def test_homie_takes_its_own_words_both_ways() -> None:
    preset = Homie(HomieConfig(devices=("d",)))
    assert Homie(HomieConfig()).filters(True)[0] == "homie/5/+/$state"
    known = read(preset, "homie/5/d/$description", {"nodes": {"n": {"properties": {
        "target": {"datatype": "float", "unit": "°C", "format": "5:30:0.5", "settable": True},
        "mode": {"datatype": "enum", "format": "a,b", "settable": True}, "bad-enum": {"datatype": "enum"},
        "note": {"datatype": "string", "settable": True}, "data": {"datatype": "json"},
        "at": {"datatype": "datetime"}, "reversed": {"datatype": "integer", "format": "9:1"}}}}})
    props = dict(known[0].props)
    assert "bad-enum" not in props and (props["target"].minimum, props["target"].step) == (5.0, 0.5)
    assert props["reversed"].minimum is None
    assert values(read(preset, "homie/5/d/n/target", "20.5")) == {"target_c": 20.5}
    assert values(read(preset, "homie/5/d/n/data", '{"a":1}')) == {"data": {"a": 1}}
    assert values(read(preset, "homie/5/d/n/note", "\0")) == {"note": ""}
    assert read(preset, "homie/5/other/n/target", "1") == [] and read(preset, "homie/5/d/n/unknown", "1") == []
    assert preset.command("d/n", "target", props["target"], 21.0) == ("homie/5/d/n/target/set", "21")
    assert preset.command("d/n", "note", props["note"], "")[1] == "\0"
    for topic, payload in (("$state", "confused"), ("n/mode", "c"), ("n/data", "5"), ("n/target", "warm")):
        with pytest.raises(BadMessage):
            read(preset, f"homie/5/d/{topic}", payload)


# --- maps -----------------------------------------------------------------------------------------------------


def test_maps_find_their_place_and_command_in_their_scale() -> None:
    preset = Custom((
        Map(topic="a/+/b/#", path="/x~1y/1", property="level_cm", unit="cm", scale=0.1, offset=1,
            command_topic="a/{node}/set", command='{"level": {value}}'),
        Map(topic="n", node="one", property="count", datatype="integer")))
    found = read(preset, "a/tank/b/c", {"x/y": [5, 90]})
    assert values(found) == {"level_cm": 10.0} and found[0].raw == "tank"
    assert preset.command("tank", "level_cm", found[0].prop, 10.0) == ("a/tank/set", '{"level": 90}')
    assert read(preset, "a/tank/c", {"x/y": [5, 90]}) == [] and read(preset, "a/tank/b/c", {"x/y": [5]}) == []
    assert values(read(preset, "n", "7")) == {"count": 7}
    assert read(preset, "n", "") == []


@pytest.mark.parametrize("kind, wrong, said", [
    (TasmotaConfig, {"full_topic": "%topic%/"}, "full_topic: "), (Zigbee2mqttConfig, {"base": "a/#"}, "base: "),
    (EsphomeConfig, {"nodes": ("a/b",)}, "nodes: "), (EsphomeConfig, {"prefix": "+"}, "prefix: "),
    (HomieConfig, {"devices": ("+",)}, "devices: "), (BrokerConfig, {"host": "x", "ca": "y"}, "tls: "),
    (BrokerConfig, {"host": "x", "cert": "y", "tls": True}, "key: "),
    (BrokerConfig, {"host": "x", "password_file": "y"}, "username: "),
    (ForeignMqttConfig, {"homie": HomieConfig()}, "homie: "),
    (ForeignMqttConfig, {"esphome": EsphomeConfig()}, "esphome: "),
    (ForeignMqttConfig, {"tasmota": TasmotaConfig(full_topic="%topic%/%prefix%/")}, "tasmota: "),
    (ForeignMqttConfig, {"maps": (Map(topic="+/x", property="x"),)}, "maps: "),
    (ForeignMqttConfig, {"maps": (Map(topic="hutkeeper/1/+/records", property="x"),)}, "maps: ")])
def test_a_setting_that_cannot_be_right_is_refused(kind: Any, wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        kind(**wrong)
    if kind is ForeignMqttConfig:  # all of it is fine on another broker
        kind(**wrong, broker=BrokerConfig(host="x"))


@pytest.mark.parametrize("wrong, said", [
    ({"topic": "a/b"}, "node: "), ({"topic": "a/+", "node": "n"}, "node: "), ({"topic": "a/x+"}, "topic: "),
    ({"topic": "a/+", "property": "Temp"}, "property: "), ({"topic": "a/+", "property": "health"}, "property: "),
    ({"topic": "a/+", "datatype": "enum"}, "options: "), ({"topic": "a/+", "options": ("a",)}, "options: "),
    ({"topic": "a/+", "property": "online"}, "datatype: "), ({"topic": "a/+", "scale": 0.0}, "scale: "),
    ({"topic": "a/+", "datatype": "boolean", "on": "x", "off": "x"}, "on: "),
    ({"topic": "a/+", "command_topic": "a/+/set"}, "command_topic: ")])
def test_a_map_that_cannot_be_right_is_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{said}"):
        Map(**({"property": "x"} | wrong))
