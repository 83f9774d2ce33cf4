"""One property as Home Assistant components. Long keys only: who debugs with ``mosquitto_sub`` reads them."""

from __future__ import annotations

from typing import Any

from agent.api import Property, homie_id, title_of
from agent.discovery.rules import sound
from agent.homie.ages import expire_s
from agent.homie.tree import TreeNode

MAX_STATE = 255
"""Home Assistant refuses a longer state."""
Component = dict[str, Any]

EVENT_TYPE = "reported"
EVENT_TEMPLATES = {
    # An event's payload must be JSON with an event_type; what else is in it becomes attributes.
    "enum": "{{ {'event_type': value} | to_json }}",
    "json": "{{ {'event_type': 'reported', 'value': value_json} | to_json }}",
}
OTHER_EVENT_TEMPLATE = "{{ {'event_type': 'reported', 'value': value} | to_json }}"
JSON_STATE = "{{ value_json | length }}"
JSON_ATTRIBUTES = "{{ (value_json if value_json is mapping else {'items': value_json}) | to_json }}"


def components(node: TreeNode, prop: Property, topic: str) -> dict[str, Component]:
    """Component key -> config, still without ``unique_id``. ``topic`` is the property's Homie topic."""
    key = homie_id(prop.name)
    if prop.event:
        made = _command_buttons(prop, topic, key) if prop.settable else {key: _event(prop, topic)}
    elif prop.settable:
        made = {key: _control(prop, topic)}
    else:
        made = {key: _reading(node, prop, topic)}
    for component in made.values():
        component.setdefault("name", title_of(prop))
        if prop.diagnostic and component["platform"] not in ("button", "switch", "number", "select", "text"):
            component["entity_category"] = "diagnostic"
        elif prop.diagnostic:
            component["entity_category"] = "config"
        if not prop.enabled_by_default:
            component["enabled_by_default"] = False
    return made


def _unit(prop: Property) -> str | None:
    return None if prop.unit == "#" else prop.unit


def _reading(node: TreeNode, prop: Property, topic: str) -> Component:
    made: Component = {"platform": "sensor", "state_topic": topic}
    expire = expire_s(node, prop)
    if expire is not None:
        made["expire_after"] = max(1, round(expire))
    if prop.datatype in ("float", "integer"):
        unit = _unit(prop)
        if unit:
            made["unit_of_measurement"] = unit
        made |= sound("sensor", prop.device_class, unit, prop.state_class)
    elif prop.datatype == "boolean":
        made |= {"platform": "binary_sensor", "payload_on": "true", "payload_off": "false"}
        made |= sound("binary_sensor", prop.device_class)
    elif prop.datatype == "enum":
        made |= {"device_class": "enum", "options": list(prop.options)}
    elif prop.datatype == "datetime":
        made["device_class"] = "timestamp"
    elif prop.datatype == "duration":
        made |= {
            "device_class": "duration", "unit_of_measurement": "s",
            "value_template": "{{ as_timedelta(value).total_seconds() }}",
        }
    elif prop.datatype == "json":
        made |= {
            "value_template": JSON_STATE, "json_attributes_topic": topic, "json_attributes_template": JSON_ATTRIBUTES,
        }
    else:
        # Homie's empty string is one zero byte
        made["value_template"] = f"{{{{ (value | replace('\\x00', ''))[:{MAX_STATE}] }}}}"
    return made


def _control(prop: Property, topic: str) -> Component:
    made: Component = {"state_topic": topic, "command_topic": f"{topic}/set"}
    if prop.datatype == "boolean":
        made |= {
            "platform": "switch", "payload_on": "true", "payload_off": "false", "state_on": "true",
            "state_off": "false", "optimistic": False,
        }
        made |= sound("switch", prop.device_class)
    elif prop.datatype in ("float", "integer"):
        made |= {"platform": "number", "mode": "box", "optimistic": False}
        made["min"] = prop.minimum if prop.minimum is not None else -1e9
        made["max"] = prop.maximum if prop.maximum is not None else 1e9
        made["step"] = prop.step or (1 if prop.datatype == "integer" else 0.001)
        if prop.datatype == "integer":
            made["command_template"] = "{{ value | int }}"
        unit = _unit(prop)
        if unit:
            made["unit_of_measurement"] = unit
        made |= sound("number", prop.device_class, unit)
    elif prop.datatype == "enum":
        made |= {"platform": "select", "options": list(prop.options), "optimistic": False}
    else:
        made |= {"platform": "text", "max": MAX_STATE}
        if prop.datatype == "string":
            made["value_template"] = "{{ value | replace('\\x00', '') }}"
    return made


def _command_buttons(prop: Property, topic: str, key: str) -> dict[str, Component]:
    """A momentary command has no state: a button for each word, or one for true; free text is a text field."""
    device_class = sound("button", prop.device_class)
    if prop.datatype == "enum":
        return {
            f"{key}-{homie_id(_slug(word))}": {
                "platform": "button", "name": f"{title_of(prop)} {word}", "command_topic": f"{topic}/set",
                "payload_press": word, **device_class,
            }
            for word in prop.options
        }
    if prop.datatype == "boolean":
        return {
            key: {"platform": "button", "command_topic": f"{topic}/set", "payload_press": "true", **device_class}
        }
    # A text that is said or sent and then is over: what Home Assistant's action notify.send_message wants.
    said = prop.datatype == "string" and not prop.diagnostic
    platform = {"platform": "notify"} if said else {"platform": "text", "max": MAX_STATE}
    return {key: {**platform, "command_topic": f"{topic}/set"}}


MODES = {"off": "off", "auto": "auto"}
"""Words of our mode that are Home Assistant's; any other one is its ``heat``."""


def climate(node: TreeNode, base: str) -> Component | None:
    """The thermostat of a node that declares one; ``base`` is the node's Homie topic. None where it is not whole."""
    wanted = node.climate
    names = node.properties
    if wanted is None or not {wanted.mode, wanted.setpoint, wanted.temperature, wanted.action} <= names.keys():
        return None

    def topic(name: str) -> str:
        return f"{base}/{homie_id(name)}"

    mode, setpoint = names[wanted.mode], names[wanted.setpoint]
    forced = next((word for word in mode.options if word not in MODES), None)
    to_theirs = {word: MODES.get(word, "heat") for word in mode.options}
    to_ours = {theirs: ours for ours, theirs in to_theirs.items() if theirs != "heat"}
    if forced is not None:
        to_ours["heat"] = forced
    made: Component = {
        "platform": "climate", "name": None, "modes": list(dict.fromkeys(to_theirs.values())),
        "mode_state_topic": topic(wanted.mode), "mode_state_template": f"{{{{ {to_theirs}.get(value, 'heat') }}}}",
        "mode_command_topic": f"{topic(wanted.mode)}/set", "mode_command_template": f"{{{{ {to_ours}[value] }}}}",
        "temperature_state_topic": topic(wanted.setpoint), "temperature_command_topic": f"{topic(wanted.setpoint)}/set",
        "current_temperature_topic": topic(wanted.temperature), "action_topic": topic(wanted.action),
        "temperature_unit": "C", "precision": 0.1, "temp_step": setpoint.step or 0.5, "optimistic": False,
    }
    if setpoint.minimum is not None and setpoint.maximum is not None:
        made |= {"min_temp": setpoint.minimum, "max_temp": setpoint.maximum}
    preset = names.get(wanted.preset)
    if preset is not None and preset.options:
        made |= {"preset_modes": list(preset.options), "preset_mode_state_topic": topic(wanted.preset),
                 "preset_mode_command_topic": f"{topic(wanted.preset)}/set"}
    return made


def _slug(word: str) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in word.lower()).strip("-") or "x"


def _event(prop: Property, topic: str) -> Component:
    return {
        "platform": "event",
        "state_topic": topic,
        "event_types": list(prop.options) if prop.datatype == "enum" else [EVENT_TYPE],
        "value_template": EVENT_TEMPLATES.get(prop.datatype, OTHER_EVENT_TEMPLATE),
        **sound("event", prop.device_class),
    }
