"""The tree itself: which nodes and properties a device shows, its ``$description`` and its topics.

A plugin instance is a node, what it found is a further node, ``sys`` is the agent. Every node has ``last_update``
(the age of its values; a controller must not take the time of arrival for it), a plugin's own node also ``health``
and ``errors``. Ids are the names with ``-`` for ``_``; the table goes both ways, so a ``/set`` finds its property.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Struct

from agent.api import Climate, Property, homie_id, title_of
from agent.homie.sysnode import SYS, sys_node
from agent.homie.values import numeric_format
from agent.wire import topics
from agent.wire.messages import NodeDeclaration, PluginDeclaration

HEALTH = Property(
    name="health", datatype="enum", options=("ok", "degraded", "failed", "disabled"), title="Health", diagnostic=True
)
ERRORS = Property(name="errors", datatype="integer", minimum=0, title="Errors", diagnostic=True)
LAST_UPDATE = Property(
    name="last_update", datatype="datetime", title="Last update", device_class="timestamp", diagnostic=True,
    enabled_by_default=False,
)
"""Not enabled by default: it changes every second, and Home Assistant's recorder would keep all of it."""
OURS = {prop.name: prop for prop in (HEALTH, ERRORS, LAST_UPDATE)}
"""Names that the agent itself fills in; a plugin that declares one of them is told so and goes without."""
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_]*[a-z0-9])?\Z")


class TreeNode(Struct, frozen=True):
    """A node as it is shown. ``instance`` answers its commands; ``found`` is False for a plugin's own node."""

    id: str
    instance: str
    use: str
    title: str
    interval_s: float
    properties: dict[str, Property]
    """By name, in the order of declaration; ours last."""
    found: bool
    simulated: bool = False
    climate: Climate | None = None


def _good_options(options: tuple[str, ...]) -> bool:
    return bool(options) and len(set(options)) == len(options) and all(word and "," not in word for word in options)


def problems(declaration: PluginDeclaration) -> list[str]:
    """What of a declaration cannot be shown, one line each: names and ids that Homie forbids, names that are ours."""
    found = []
    for node in declaration.nodes:
        where = f"{declaration.instance}: node {node.id!r}"
        if not topics.is_id(node.id):
            found.append(f"{where}: an id is a-z 0-9 - and at most 63 long")
        elif node.id == SYS or node.id.startswith(SYS + "-"):
            found.append(f"{where}: {SYS} is the agent's own node, call the plugin instance something else")
        elif node.id != declaration.instance and not node.id.startswith(declaration.instance + "-"):
            found.append(f"{where}: an id of this plugin is {declaration.instance} or {declaration.instance}-<id>")
        seen: set[str] = set()
        for prop in node.properties:
            if not _NAME.match(prop.name) or len(prop.name) > 63:
                found.append(f"{where}: property {prop.name!r}: a name is a-z 0-9 _ and at most 63 long")
            elif prop.name in OURS:
                found.append(f"{where}: property {prop.name!r} is filled in by the agent, use another name")
            elif homie_id(prop.name) in seen:
                found.append(f"{where}: property {prop.name!r} is declared twice")
            elif prop.datatype == "enum" and not _good_options(prop.options):
                found.append(f"{where}: enum {prop.name!r}: at least one option, none empty, twice or with a comma")
            elif prop.datatype == "boolean" and prop.options and len(prop.options) != 2:
                found.append(f"{where}: boolean {prop.name!r}: options are (false label, true label)")
            elif prop.minimum is not None and prop.maximum is not None and prop.minimum > prop.maximum:
                found.append(f"{where}: property {prop.name!r}: minimum is above maximum")
            seen.add(homie_id(prop.name))
    return found


def _showable(prop: Property) -> bool:
    one = PluginDeclaration("x", "x", "x", 1.0, (NodeDeclaration("x", "x", (prop,)),))
    return not problems(one)


def nodes_of(declaration: PluginDeclaration) -> list[TreeNode]:
    """The nodes of a plugin with the agent's own properties added; what :func:`problems` names is left out."""
    made: dict[str, TreeNode] = {}
    for node in declaration.nodes:
        own = node.id == declaration.instance
        if not topics.is_id(node.id) or node.id == SYS or node.id.startswith(SYS + "-") or node.id in made:
            continue
        if not own and not node.id.startswith(declaration.instance + "-"):
            continue
        properties: dict[str, Property] = {}
        for prop in node.properties:
            if prop.name not in properties and _showable(prop):
                properties[prop.name] = prop
        for prop in (HEALTH, ERRORS, LAST_UPDATE) if own else (LAST_UPDATE,):
            properties[prop.name] = prop
        made[node.id] = TreeNode(
            id=node.id,
            instance=declaration.instance,
            use=declaration.use,
            title=node.title or node.id,
            interval_s=declaration.interval_s,
            properties=properties,
            found=not own,
            simulated=declaration.simulated,
            climate=declaration.climate if own else None,
        )
    return list(made.values())


def describe_property(prop: Property) -> dict[str, Any]:
    """The JSON of one property (Homie 5, "Property Attributes"); attributes at their default are left out."""
    made: dict[str, Any] = {"name": title_of(prop), "datatype": prop.datatype}
    text = ""
    if prop.datatype in ("float", "integer"):
        text = numeric_format(prop)
    elif prop.datatype in ("enum", "boolean"):
        text = ",".join(prop.options)
    if text:
        made["format"] = text
    if prop.settable:
        made["settable"] = True
    if prop.event:
        made["retained"] = False
    if prop.unit:
        made["unit"] = prop.unit
    return made


class Tree:
    """All nodes of one device. Change it with :meth:`set_plugin` and :meth:`remove_plugin`, then read it."""

    def __init__(self, device: str, name: str = "") -> None:
        if not topics.is_id(device):
            raise ValueError(f"{device!r} is not a device id: a-z 0-9 - and at most 63 long")
        self.device = device
        self.name = name or device
        self.nodes: dict[str, TreeNode] = {SYS: sys_node()}
        self._by_id: dict[tuple[str, str], tuple[TreeNode, Property]] = {}
        self._index()

    def set_plugin(self, declaration: PluginDeclaration, shown: Callable[[str, Property], bool] | None = None) -> None:
        """Take a plugin's declaration in place of its former one.

        ``shown(node, property)`` says whether an optional property has had a reading; default: all have."""
        nodes = [node for node in nodes_of(declaration) if self._owner(node.id) in (None, declaration.instance)]
        if shown is not None:
            nodes = [msgspec.structs.replace(node, properties={name: prop for name, prop in node.properties.items()
                                                               if not prop.optional or shown(node.id, prop)})
                     for node in nodes]
        kept = {key: node for key, node in self.nodes.items() if node.instance != declaration.instance}
        self.nodes = kept | {node.id: node for node in nodes}
        self._index()

    def remove_plugin(self, instance: str) -> None:
        """Forget an instance and everything it found."""
        self.nodes = {key: node for key, node in self.nodes.items() if node.instance != instance}
        self._index()

    def _owner(self, node: str) -> str | None:
        held = self.nodes.get(node)
        return held.instance if held else None

    def _index(self) -> None:
        self._by_id = {
            (node.id, homie_id(name)): (node, prop)
            for node in self.nodes.values()
            for name, prop in node.properties.items()
        }

    def find(self, node_id: str, property_id: str) -> tuple[TreeNode, Property] | None:
        """The node and property behind two Homie ids."""
        return self._by_id.get((node_id, property_id))

    def topic(self, node: str, prop: str) -> str:
        """``homie/5/<device>/<node>/<property id>`` from the property's name."""
        return topics.homie(self.device, node, homie_id(prop))

    def description(self) -> dict[str, Any]:
        """The ``$description`` without its ``version`` (who publishes it counts)."""
        return {
            "homie": "5.0",
            "name": self.name,
            "type": "hutkeeper-agent",
            "nodes": {
                node.id: {
                    "name": node.title,
                    "type": node.use,
                    "properties": {homie_id(name): describe_property(prop) for name, prop in node.properties.items()},
                }
                for node in sorted(self.nodes.values(), key=lambda node: (node.id != SYS, node.id))
            },
            "children": [],
            "extensions": [],
        }

    def retained_topics(self) -> set[str]:
        """Every topic below the device on which a retained value may stand, ``$target`` of settable ones too."""
        held = set()
        for (node, prop_id), (_, prop) in self._by_id.items():
            if not prop.event:
                held.add(topics.homie(self.device, node, prop_id))
                if prop.settable:
                    held.add(topics.homie(self.device, node, prop_id, "$target"))
        return held


def cleared(before: Iterable[str], after: Iterable[str]) -> list[str]:
    """Retained topics to be emptied when ``before`` becomes ``after``, deepest first."""
    return sorted(set(before) - set(after), key=lambda topic: (-topic.count("/"), topic))
