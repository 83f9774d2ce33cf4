"""The announcement of a node to Home Assistant: MQTT device discovery, pointing into the Homie tree. Pure.

One retained message a node, ``homeassistant/device/<agent>/<node>/config``: the node is a device there, reached via
the agent's own (``sys``); each property is a component. openHAB reads the same message (its Home Assistant binding
takes device discovery since 5.2). Source: Home Assistant documentation, "MQTT", section "Device discovery payload".
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from msgspec import Struct

from agent.api import homie_id
from agent.discovery.components import climate, components
from agent.homie.sysnode import SYS
from agent.homie.tree import TreeNode
from agent.wire import topics

STATUS_TOPIC = f"{topics.DISCOVERY}/status"
"""Home Assistant's birth (``online``) and will (``offline``)."""
ORIGIN = "Hutkeeper"
ONLINE = "{{ 'online' if value in ('init', 'ready', 'sleeping') else 'offline' }}"
"""``init`` counts: it lasts for a moment whenever a new node is shown, and nobody wants to see a house blink."""


class DeviceInfo(Struct, frozen=True, kw_only=True):
    """What the announcement says of the device; ``configuration_url`` is its page on the hub, if there is one."""

    id: str
    name: str = ""
    version: str = ""
    suggested_area: str = ""
    configuration_url: str = ""


def discovery_payload(device: DeviceInfo, node: TreeNode, install: str) -> dict[str, Any]:
    """The config message of one node. ``install`` is the installation's id: it makes unique_id unique for ever."""
    agent = f"{install}-{device.id}"
    name = device.name or device.id
    about: dict[str, Any] = {
        "identifiers": [agent if node.id == SYS else f"{agent}-{node.id}"],
        "name": name if node.id == SYS else f"{name} {node.title}",
        "manufacturer": ORIGIN,
        "model": f"{node.use} (simulated)" if node.simulated else node.use,
    }
    if device.version:
        about["sw_version"] = device.version
    if device.suggested_area:
        about["suggested_area"] = device.suggested_area
    if device.configuration_url.startswith(("http://", "https://")):
        about["configuration_url"] = device.configuration_url
    if node.id != SYS:
        about["via_device"] = agent
    origin = {"name": ORIGIN}
    if device.version:
        origin["sw_version"] = device.version
    made: dict[str, Any] = {
        "device": about,
        "origin": origin,
        "availability": [{"topic": topics.state(device.id), "value_template": ONLINE}],
        "availability_mode": "all",
        "qos": 1,
        "components": {},
    }
    thermostat = climate(node, topics.homie(device.id, node.id))
    found = {"climate": thermostat} if thermostat is not None else {}
    for prop in node.properties.values():
        found |= components(node, prop, topics.homie(device.id, node.id, homie_id(prop.name)))
    for key, component in found.items():
        component["unique_id"] = f"{agent}-{node.id}-{key}"
        slug = f"{device.id}_{node.id}_{key}".replace("-", "_")
        component["default_entity_id"] = f"{component['platform']}.{slug}"
        made["components"][key] = component
    return made


def encode(payload: dict[str, Any]) -> bytes:
    """The bytes to publish: the same announcement always gives the same bytes."""
    return msgspec.json.encode(payload, order="deterministic")


def digest(data: bytes) -> str:
    """To compare what stands on the broker with what should stand there, without keeping either."""
    return hashlib.sha256(data).hexdigest()


def without_removed(before: dict[str, str], after: dict[str, Any]) -> dict[str, Any] | None:
    """The step in between when components go: their keys reduced to the platform, which makes Home Assistant delete
    the entity. ``before``: component -> platform as announced until now. None when none goes.

    A key that comes back as another platform is deleted first, too, and announced anew by the message after."""
    gone = {
        key: {"platform": platform}
        for key, platform in before.items()
        if after["components"].get(key, {}).get("platform") != platform
    }
    return {**after, "components": {**after["components"], **gone}} if gone else None
