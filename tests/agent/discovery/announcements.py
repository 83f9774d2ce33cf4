"""Every installed plugin's announcement, and payloads for it: from its simulated device, and made ones."""

from __future__ import annotations

import functools
import inspect
import time
from pathlib import Path
from typing import Any

from agent.api import Climate, ConfigError, Node, Plugin, Property, Reading, homie_id
from agent.discovery import DeviceInfo, discovery_payload
from agent.homie.sysnode import sys_node
from agent.homie.tree import TreeNode, nodes_of
from agent.homie.values import BadValue, payload
from agent.loader import found, load
from agent.runner.worker import Yield
from agent.testing.checks import example_config, running
from agent.wire import topics
from agent.wire.messages import NodeDeclaration, PluginDeclaration

DEVICE = DeviceInfo(
    id="bc-power",
    name="Boiler room",
    version="0.1.0",
    suggested_area="Cellar",
    configuration_url="https://hub/d/bc-power",
)
LISTEN_S = 4.0

ODD = PluginDeclaration(
    "odd",
    "odd",
    "Odd",
    5.0,
    (
        NodeDeclaration(
            "odd",
            "Odd things",
            (
                Property(
                    name="setpoint_c",
                    datatype="float",
                    unit="°C",
                    minimum=5,
                    maximum=30,
                    step=0.5,
                    settable=True,
                    device_class="temperature",
                ),
                Property(name="duty", datatype="integer", settable=True),
                Property(name="relay", datatype="boolean", settable=True),
                Property(name="mode", datatype="enum", options=("off", "auto", "forced"), settable=True),
                Property(name="preset", datatype="enum", options=("work", "holidays"), settable=True),
                Property(name="room_temperature_c", datatype="float", unit="°C", device_class="temperature"),
                Property(name="action", datatype="enum", options=("off", "idle", "heating")),
                Property(name="label", datatype="string", settable=True, diagnostic=True),
                Property(name="until", datatype="datetime", settable=True),
                Property(name="took", datatype="duration"),
                Property(name="why", datatype="json"),
                Property(name="since", datatype="datetime"),
                Property(name="words", datatype="string"),
                Property(name="motion", datatype="boolean", device_class="motion", options=("idle", "motion")),
                Property(name="ring", datatype="enum", options=("short", "long"), event=True, device_class="doorbell"),
                Property(name="detection", datatype="json", event=True),
                Property(name="boot", datatype="string", event=True),
                Property(name="peak", datatype="float", unit="W", event=True),
                Property(name="tick", datatype="boolean", event=True),
                Property(name="calibrate", datatype="boolean", event=True, settable=True),
                Property(name="say", datatype="string", event=True, settable=True),
                Property(name="send", datatype="json", event=True, settable=True),
                Property(
                    name="wrong_class", datatype="float", unit="W", device_class="energy", state_class="measurement"
                ),
                Property(name="count", datatype="integer", unit="#", state_class="total_increasing"),
            ),
        ),
    ),
    climate=Climate(mode="mode", setpoint="setpoint_c", temperature="room_temperature_c", action="action",
                    preset="preset"),
)
"""Every kind of property there can be, for what no plugin has yet."""


def folder_of(kind: type[Plugin]) -> Path:
    return Path(inspect.getfile(kind)).parent


@functools.cache
def announced(use: str) -> tuple[list[TreeNode], dict[tuple[str, str], list[Any]]]:
    """The nodes of a plugin as configured by its example, and ``(node, property) -> readings`` of a few seconds."""
    kind = load(use)
    try:
        config = example_config(kind, folder_of(kind))
        properties = kind(config).declare()
    except (ConfigError, OSError):
        config, properties = None, kind.properties
    instance = use.replace("_", "-")
    nodes: dict[str, tuple[Property, ...]] = {instance: tuple(dict.fromkeys((*properties, *kind.properties)))}
    readings: dict[tuple[str, str], list[Any]] = {}
    if config is not None and "simulate" in kind.__dict__:
        with running(kind, config, simulate=True) as (worker, _):
            deadline, seen = time.monotonic() + LISTEN_S, 0
            while time.monotonic() < deadline and not (seen and not worker.items):
                time.sleep(0.1)
                while worker.items:
                    item = worker.items.popleft()
                    what = item.what if isinstance(item, Yield) else None
                    if isinstance(what, Node):
                        nodes[f"{instance}-{what.id}"] = what.properties
                    elif isinstance(what, Reading):
                        seen += 1
                        node = f"{instance}-{what.node}" if what.node else instance
                        readings.setdefault((node, what.property), []).append(what.value)
    made = PluginDeclaration(
        instance, use, kind.title or use, kind.interval_s,
        tuple(NodeDeclaration(id_, id_.title(), props) for id_, props in nodes.items()),
    )  # fmt: skip
    return nodes_of(made), readings


def everything() -> list[tuple[TreeNode, dict[tuple[str, str], list[Any]]]]:
    """(node, readings) of all plugins, of the agent's own node and of one with every kind of property."""
    whole: list[tuple[TreeNode, dict[tuple[str, str], list[Any]]]] = [(sys_node(), {})]
    whole += [(node, {}) for node in nodes_of(ODD)]
    for use in found():
        nodes, readings = announced(use)
        whole += [(node, readings) for node in nodes]
    return whole


def config(node: TreeNode) -> tuple[str, dict[str, Any]]:
    return topics.discovery(DEVICE.id, node.id), discovery_payload(DEVICE, node, "c0ffee00")


def payloads(node: TreeNode, prop: Property, readings: dict[tuple[str, str], list[Any]]) -> list[str]:
    """What really goes over the wire: the plugin's readings, and values at the corners of the declaration."""
    values: list[Any] = list(readings.get((node.id, prop.name), []))
    if prop.datatype in ("float", "integer"):
        values += [one for one in (prop.minimum, prop.maximum, 0, 1, 20, 1e-7, 12345678.9) if one is not None]
    elif prop.datatype == "boolean":
        values += [True, False]
    elif prop.datatype == "enum":
        values += prop.options
    elif prop.datatype == "datetime":
        values += ["2026-11-22T04:00:00+01:00"]
    elif prop.datatype == "duration":
        values += [90, 0.5, "PT1H2M3S"]
    elif prop.datatype == "json":
        values += [{"a": 1, "b": None}, [1, 2], {}]
    else:
        values += ["word", "two words", "x" * 1000, "{{ 1 }}", "5"]
    made = []
    for value in values:
        try:
            made.append(payload(prop, value).decode())
        except BadValue:
            continue  # never published
    assert made, f"{node.id}/{prop.name}: no value of this property can be published"
    return made


def property_of(node: TreeNode, key: str) -> Property:
    """The property behind a component (a momentary command has one component for each word)."""
    for prop in node.properties.values():
        if key == homie_id(prop.name):
            return prop
    return max(
        (prop for prop in node.properties.values() if key.startswith(homie_id(prop.name))),
        key=lambda prop: len(prop.name),
    )
