"""Every plugin's announcement against our own tables of Home Assistant's and openHAB's documented rules.

The tables are written from the documentation of Home Assistant's MQTT integration (October 2026, newer than any
version that can be installed here) and of openHAB's bindings; ``test_home_assistant.py`` asks the real code.
"""

from __future__ import annotations

import json
import re
from typing import Any

import jinja2
import msgspec
import pytest

from agent.api import Property
from agent.discovery import digest, discovery_payload, encode, without_removed
from agent.discovery.rules import misfit, problems, sound
from agent.homie.sysnode import sys_node
from agent.homie.tree import TreeNode, nodes_of
from agent.homie.values import duration_s, parse_datetime
from agent.loader import found
from agent.wire.messages import NodeDeclaration, PluginDeclaration
from tests.agent.discovery.announcements import DEVICE, ODD, announced, config, everything, payloads, property_of

DEVICE_KEYS = {
    "configuration_url",
    "connections",
    "hw_version",
    "identifiers",
    "manufacturer",
    "model",
    "model_id",
    "name",
    "serial_number",
    "suggested_area",
    "sw_version",
    "via_device",
}
ROOT_KEYS = {
    "availability",
    "availability_mode",
    "availability_template",
    "availability_topic",
    "command_topic",
    "components",
    "device",
    "encoding",
    "origin",
    "payload_available",
    "payload_not_available",
    "qos",
    "state_topic",
}
COMMON = {
    "availability",
    "availability_mode",
    "default_entity_id",
    "enabled_by_default",
    "entity_category",
    "entity_picture",
    "icon",
    "json_attributes_template",
    "json_attributes_topic",
    "name",
    "platform",
    "qos",
    "unique_id",
}
PLATFORM_KEYS = {
    "sensor": {
        "device_class",
        "expire_after",
        "force_update",
        "last_reset_value_template",
        "options",
        "state_class",
        "state_topic",
        "suggested_display_precision",
        "unit_of_measurement",
        "value_template",
    },
    "binary_sensor": {
        "device_class",
        "expire_after",
        "force_update",
        "off_delay",
        "payload_off",
        "payload_on",
        "state_topic",
        "value_template",
    },
    "switch": {
        "command_template",
        "command_topic",
        "device_class",
        "optimistic",
        "payload_off",
        "payload_on",
        "retain",
        "state_off",
        "state_on",
        "state_topic",
        "value_template",
    },
    "number": {
        "command_template",
        "command_topic",
        "device_class",
        "max",
        "min",
        "mode",
        "optimistic",
        "payload_reset",
        "retain",
        "state_topic",
        "step",
        "unit_of_measurement",
        "value_template",
    },
    "select": {"command_template", "command_topic", "optimistic", "options", "retain", "state_topic", "value_template"},
    "text": {
        "command_template",
        "command_topic",
        "max",
        "min",
        "mode",
        "pattern",
        "retain",
        "state_topic",
        "value_template",
    },
    "button": {"command_template", "command_topic", "device_class", "payload_press", "retain"},
    "event": {"device_class", "event_types", "state_topic", "value_template"},
    "notify": {"command_template", "command_topic", "retain"},
    "climate": {
        "action_template", "action_topic", "current_temperature_template", "current_temperature_topic", "max_temp",
        "min_temp", "mode_command_template", "mode_command_topic", "mode_state_template", "mode_state_topic", "modes",
        "optimistic", "precision", "preset_mode_command_template", "preset_mode_command_topic",
        "preset_mode_state_topic", "preset_mode_value_template", "preset_modes", "temp_step",
        "temperature_command_template", "temperature_command_topic", "temperature_state_template",
        "temperature_state_topic", "temperature_unit",
    },
}
NEEDED = {
    "sensor": {"state_topic"},
    "binary_sensor": {"state_topic"},
    "switch": {"command_topic"},
    "number": {"command_topic"},
    "select": {"command_topic", "options"},
    "text": {"command_topic"},
    "button": {"command_topic"},
    "event": {"state_topic", "event_types"},
    "notify": {"command_topic"},
    "climate": {"mode_command_topic", "temperature_command_topic", "action_topic"},
}
CONTROLS = {"button", "climate", "notify", "number", "select", "switch", "text"}


def test_every_installed_plugin_is_looked_at() -> None:
    assert {"host", "power_meter"} <= set(found())
    for use in found():
        nodes, readings = announced(use)
        assert nodes and readings, f"{use}: its simulated device gave nothing"


def test_the_whole_follows_the_documented_form() -> None:
    uniques: list[str] = []
    entities: list[str] = []
    for node, _ in everything():
        topic, payload = config(node)
        assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/[a-zA-Z0-9_-]+/config", topic)
        assert set(payload) <= ROOT_KEYS and set(payload["device"]) <= DEVICE_KEYS
        assert payload["device"]["identifiers"] and payload["origin"]["name"]
        assert payload["availability_mode"] == "all"
        assert len(encode(payload)) < 128 * 1024
        for key, one in payload["components"].items():
            platform = one["platform"]
            where = f"{node.id}/{key}"
            assert re.fullmatch(r"[a-zA-Z0-9_-]+", key), where
            assert set(one) <= COMMON | PLATFORM_KEYS[platform], where
            assert NEEDED[platform] <= set(one), where
            assert one["unique_id"] == f"c0ffee00-bc-power-{node.id}-{key}"
            assert re.fullmatch(platform + r"\.[a-z0-9_]+", one["default_entity_id"]), where
            category = "config" if platform in CONTROLS else "diagnostic"  # the only ones there are
            assert one.get("entity_category") in (None, category), where
            if platform == "climate":
                assert one["name"] is None, "it is the device itself"
            else:
                assert one["name"] and DEVICE.name not in one["name"], "Home Assistant puts the device's name first"
            uniques.append(one["unique_id"])
            entities.append(one["default_entity_id"])
    assert len(set(uniques)) == len(uniques) and len(set(entities)) == len(entities)


def test_a_node_is_a_device_behind_the_agents_own() -> None:
    _, sys = config(sys_node())
    node = nodes_of(ODD)[0]
    _, odd = config(node)
    assert odd["device"]["via_device"] == sys["device"]["identifiers"][0] == "c0ffee00-bc-power"
    assert odd["device"]["identifiers"] == ["c0ffee00-bc-power-odd"]
    assert (sys["device"]["name"], odd["device"]["name"]) == ("Boiler room", "Boiler room Odd things")
    assert odd["device"]["configuration_url"] == "https://hub/d/bc-power"
    simulated = PluginDeclaration("odd", "odd", "Odd", 5.0, ODD.nodes, simulated=True)
    assert config(nodes_of(simulated)[0])[1]["device"]["model"] == "odd (simulated)"


def test_what_each_kind_of_property_becomes() -> None:
    components = config(nodes_of(ODD)[0])[1]["components"]
    topic = "homie/5/bc-power/odd"

    def facts(key: str) -> dict[str, Any]:
        return {k: v for k, v in components[key].items() if k not in ("unique_id", "default_entity_id", "name")}

    assert facts("setpoint-c") == {
        "platform": "number",
        "state_topic": f"{topic}/setpoint-c",
        "command_topic": f"{topic}/setpoint-c/set",
        "min": 5,
        "max": 30,
        "step": 0.5,
        "mode": "box",
        "optimistic": False,
        "unit_of_measurement": "°C",
        "device_class": "temperature",
    }
    assert facts("relay") == {
        "platform": "switch",
        "state_topic": f"{topic}/relay",
        "command_topic": f"{topic}/relay/set",
        "payload_on": "true",
        "payload_off": "false",
        "state_on": "true",
        "state_off": "false",
        "optimistic": False,
    }
    assert facts("mode")["platform"] == "select" and facts("mode")["options"] == ["off", "auto", "forced"]
    assert facts("motion") == {
        "platform": "binary_sensor",
        "state_topic": f"{topic}/motion",
        "payload_on": "true",
        "payload_off": "false",
        "device_class": "motion",
    }
    assert facts("ring")["event_types"] == ["short", "long"]
    assert facts("calibrate") == {
        "platform": "button",
        "command_topic": f"{topic}/calibrate/set",
        "payload_press": "true",
    }
    assert facts("since")["device_class"] == "timestamp"
    assert facts("count") == {
        "platform": "sensor",
        "state_topic": f"{topic}/count",
        "state_class": "total_increasing",
        "expire_after": 15,
    }
    assert "device_class" not in facts("wrong-class"), "better no class than no entity"
    restart = config(sys_node())[1]["components"]
    assert [restart[f"restart-{word}"]["payload_press"] for word in ("agent", "host")] == ["agent", "host"]


def test_a_declared_thermostat_is_one_climate_entity_that_works_both_ways() -> None:
    one = config(nodes_of(ODD)[0])[1]["components"]["climate"]
    topic = "homie/5/bc-power/odd"
    assert one["modes"] == ["off", "auto", "heat"]
    assert (one["mode_state_topic"], one["mode_command_topic"]) == (f"{topic}/mode", f"{topic}/mode/set")
    assert [jinja2.Template(one["mode_state_template"]).render(value=word) for word in ("off", "auto", "forced")] == [
        "off", "auto", "heat"]
    assert [jinja2.Template(one["mode_command_template"]).render(value=word) for word in one["modes"]] == [
        "off", "auto", "forced"]
    assert one["temperature_command_topic"] == f"{topic}/setpoint-c/set"
    assert (one["min_temp"], one["max_temp"], one["temp_step"]) == (5, 30, 0.5)
    assert one["current_temperature_topic"] == f"{topic}/room-temperature-c"
    assert (one["preset_modes"], one["preset_mode_command_topic"]) == (["work", "holidays"], f"{topic}/preset/set")
    found = config(nodes_of(msgspec.structs.replace(ODD, climate=None))[0])[1]["components"]
    assert "climate" not in found


def test_a_text_that_is_over_once_it_is_said_is_a_notify_entity() -> None:
    components = config(nodes_of(ODD)[0])[1]["components"]
    assert (components["say"]["platform"], components["say"]["command_topic"]) == (
        "notify", "homie/5/bc-power/odd/say/set")
    assert components["send"]["platform"] == "text"


def test_measurements_expire_after_three_intervals_and_states_do_not() -> None:
    for node, _ in everything():
        for key, one in config(node)[1]["components"].items():
            if one["platform"] == "climate":
                continue
            prop = property_of(node, key)
            if "expire_after" in one:
                assert prop.datatype in ("float", "integer") and not prop.settable
                if prop.max_age_s is None:
                    assert one["expire_after"] == max(15, round(3 * node.interval_s))
            elif one["platform"] == "sensor" and prop.datatype in ("float", "integer") and prop.name != "errors":
                assert prop.max_age_s == float("inf")


def test_every_combination_of_class_unit_and_state_class_is_one_that_home_assistant_takes() -> None:
    for use in found():
        nodes, _ = announced(use)
        declaration = PluginDeclaration(
            use, use, use, 1.0,
            tuple(NodeDeclaration(node.id, node.title, tuple(node.properties.values())) for node in nodes),
        )  # fmt: skip
        assert problems(declaration) == []
    assert problems(ODD) == ["odd: property 'wrong_class': device class 'energy' wants a unit of GJ, GWh, Gcal, J, MJ, "
                             "MWh, Mcal, TWh, Wh, cal, kJ, kWh, kcal, mWh, not 'W'"]  # fmt: skip


@pytest.mark.parametrize(
    ("platform", "device_class", "unit", "state_class", "fits"),
    [
        ("sensor", "energy", "kWh", "total_increasing", True),
        ("sensor", "energy", "kWh", "measurement", False),
        ("sensor", "power", "W", "measurement", True),
        ("sensor", "power", "kWh", "measurement", False),
        ("sensor", "water", "L", "total_increasing", True),
        ("sensor", "power_factor", None, "measurement", True),
        ("sensor", "reactive_energy", "kvarh", "total", True),
        ("sensor", "nonsense", "W", None, False),
        ("number", "temperature", "°C", None, True),
        ("number", "timestamp", None, None, False),
        ("binary_sensor", "motion", None, None, True),
        ("binary_sensor", "power_factor", None, None, False),
        ("switch", "outlet", None, None, True),
        ("button", "restart", None, None, True),
        ("sensor", None, "x", "total", True),
    ],
)
def test_misfits(platform: str, device_class: str, unit: str | None, state_class: str | None, fits: bool) -> None:
    reason = misfit(platform, device_class, unit, state_class)
    assert (reason is None) == fits, reason
    kept = sound(platform, device_class, unit, state_class)
    assert misfit(platform, kept.get("device_class"), unit, kept.get("state_class")) is None


# --- templates ----------------------------------------------------------------------------------------------


def environment() -> jinja2.Environment:
    """Jinja with the two extensions of Home Assistant's that our templates use."""

    class Span(float):
        def total_seconds(self) -> float:
            return float(self)

    made = jinja2.Environment(undefined=jinja2.StrictUndefined)
    made.filters["to_json"] = lambda value: json.dumps(value, ensure_ascii=False)
    made.globals["as_timedelta"] = lambda text: Span(duration_s(text) or pytest.fail(f"{text!r} is not a duration"))
    return made


def rendered(env: jinja2.Environment, template: str, value: str) -> str:
    variables: dict[str, Any] = {"value": value}
    try:
        variables["value_json"] = json.loads(value)
    except ValueError:
        pass
    return env.from_string(template).render(**variables)


def state_problem(one: dict[str, Any], prop: Property, text: str) -> str | None:
    """What Home Assistant would show as unknown for this component; None when it understands the state."""
    if text in ("", "None", "unknown", "unavailable") and text not in one.get("options", ()):
        return "empty or unknown"
    if one["platform"] == "event":
        event = json.loads(text)
        return None if event["event_type"] in one["event_types"] else "event type is not announced"
    if len(text) > 255:
        return "too long for a state"
    if one.get("device_class") == "timestamp":
        return None if parse_datetime(text) else "not a time with its zone"
    if one["platform"] in ("number",) or one.get("unit_of_measurement") or one.get("state_class"):
        float(text)
        return None
    if "options" in one:
        return None if text in one["options"] else "not an option"
    if one["platform"] in ("binary_sensor", "switch"):
        return None if text in (one["payload_on"], one["payload_off"]) else "neither on nor off"
    return None


def templated() -> list[tuple[TreeNode, str, dict[str, Any], Property, str]]:
    """(node, key, component, property, payload) for everything that has a state topic."""
    whole = []
    for node, readings in everything():
        for key, one in config(node)[1]["components"].items():
            if "state_topic" in one:
                prop = property_of(node, key)
                whole += [(node, key, one, prop, text) for text in payloads(node, prop, readings)]
    return whole


def test_no_template_renders_unknown_from_a_real_payload() -> None:
    env = environment()
    count = 0
    for node, key, one, prop, text in templated():
        shown = rendered(env, one["value_template"], text) if "value_template" in one else text
        if one["platform"] == "text" and len(shown) > 255:
            continue  # a text field shows at most 255, a plugin that needs more declares an event
        wrong = state_problem(one, prop, shown)
        assert wrong is None, f"{node.id}/{key}: {text[:50]!r} becomes {shown[:80]!r}: {wrong}"
        if "json_attributes_template" in one:
            assert isinstance(json.loads(rendered(env, one["json_attributes_template"], text)), dict)
        count += 1
    assert count > 300


@pytest.mark.parametrize(
    ("state", "online"),
    [("init", True), ("ready", True), ("sleeping", True), ("disconnected", False), ("lost", False), ("", False)],
)
def test_availability_counts_init_as_online(state: str, online: bool) -> None:
    [entry] = config(sys_node())[1]["availability"]
    assert entry["topic"] == "homie/5/bc-power/$state"
    assert rendered(environment(), entry["value_template"], state) == ("online" if online else "offline")


# --- changes ------------------------------------------------------------------------------------------------


def test_the_same_announcement_always_has_the_same_bytes() -> None:
    first = encode(discovery_payload(DEVICE, sys_node(), "x"))
    assert digest(encode(discovery_payload(DEVICE, sys_node(), "x"))) == digest(first)
    assert digest(encode(discovery_payload(DEVICE, sys_node(), "y"))) != digest(first)


def test_components_that_go_are_reduced_to_their_platform_first() -> None:
    after = config(sys_node())[1]
    before = {key: one["platform"] for key, one in after["components"].items()}
    assert without_removed(before, after) is None
    step = without_removed({**before, "old": "switch", "version": "binary_sensor"}, after)
    assert step is not None
    assert step["components"]["old"] == {"platform": "switch"}
    assert step["components"]["version"] == {"platform": "binary_sensor"}, "another platform is deleted first, too"
    assert step["components"]["address"] == after["components"]["address"]


# --- openHAB ------------------------------------------------------------------------------------------------

OPENHAB = {
    "alarm_control_panel",
    "binary_sensor",
    "button",
    "camera",
    "climate",
    "cover",
    "device_automation",
    "device_tracker",
    "event",
    "fan",
    "humidifier",
    "light",
    "lock",
    "number",
    "scene",
    "select",
    "sensor",
    "switch",
    "tag",
    "text",
    "update",
    "vacuum",
    "valve",
}


def test_openhab_reads_the_announcement_by_its_documented_rules() -> None:
    """openHAB's Home Assistant binding, README, "Discovery" and "Supported Components and Channels": components of the
    prefix ``homeassistant``, grouped by ``device.identifiers``; a component that is not in its table has no channel.
    Device messages (``homeassistant/device/...``) since openHAB 5.2: openhab-addons issue 17888, closed by pull request
    20225; that code is a port of Home Assistant's own, so the topic and unique_id rules are the same. Its Homie binding
    documents 3.x and 4.x only (README: "follow the Homie convention 3.x and 4.x"), so the way into openHAB is this one
    (and the hub's Homie 4 mirror)."""
    identifiers = []
    for node, _ in everything():
        topic, payload = config(node)
        assert topic.startswith("homeassistant/device/")
        identifiers.append(tuple(payload["device"]["identifiers"]))
        for key, one in payload["components"].items():
            if one["platform"] == "notify":
                continue  # openHAB has none; there it is the string of the Homie tree
            assert one["platform"] in OPENHAB, f"{node.id}/{key}: no channel in openHAB"
            assert one["unique_id"]
            if one["platform"] in ("binary_sensor", "switch"):
                assert one["payload_on"] != one["payload_off"]
    assert len(set(identifiers)) == len(identifiers), "one Thing each"
