"""What the device page shows of a device and how each value is set, made from the live tree and the history."""

from __future__ import annotations

import json

from flask import g
from msgspec import Struct

from hub.command.values import Control, control
from hub.energy.bill import counts_energy
from hub.fleet.answers import Problem, problems
from hub.fleet.causes import house_of, rooted
from hub.fleet.facts import SYS, DeviceFacts, NodeFacts, facts
from hub.heating.shape import is_heater
from hub.live import LiveDevice, NodeInfo
from hub.store.errors import StoreError
from hub.store.reader import LedgerRow, SeriesRow
from hub.web.desks import MessageView, SpeechView, desk_of
from hub.web.house import Hut
from hub.web.values import Shown, shown

OWN = ("health", "last-update", "errors")
"""Shown in the node's head and not among the values."""
SYS_HIDDEN = ("ledger", "restart", "services", "canary", "last-update", "last-receipt", "version", "address",
              "clock-quality", "outbox-batches", "outbox-samples", "outbox-oldest-age-s")
"""In the page's head, or too long to read."""
OF_HEATING = ("levels", "schedule")
"""The heating page shows them to be read and changed."""


class Value(Struct, frozen=True):
    key: str
    name: str
    shown: Shown
    series: int | None
    set: str
    """What was asked for and is not reached yet (``$target``)."""
    property: str = ""
    control: Control | None = None
    """How to set it; None: it cannot be, or not by this viewer."""


class NodeView(Struct, frozen=True):
    facts: NodeFacts | None
    id: str
    name: str
    values: tuple[Value, ...]
    old: bool
    energy: bool
    """It counts kilowatt-hours: there is a page of days and costs."""
    heating: bool
    desk: SpeechView | MessageView | None
    """A form to speak or to send a text message."""


class DeviceView(Struct, frozen=True):
    facts: DeviceFacts
    nodes: tuple[NodeView, ...]
    problems: tuple[Problem, ...]
    ledger: tuple[LedgerRow, ...]
    by: Viewer


class Viewer(Struct, frozen=True):
    """Who looks at the page: what they may set, and the form token of their session."""

    form: str
    commands: bool
    admin: bool
    zone: str = ""

    @classmethod
    def now(cls, form: str, zone: str) -> Viewer:
        role = g.caller.role
        return cls(form, role != "viewer", role == "admin", zone)


def node_view(hut: Hut, device: LiveDevice, of: DeviceFacts, node: NodeInfo,
              series: dict[tuple[str, str], SeriesRow], by: Viewer) -> NodeView:
    told = next((one for one in of.nodes if one.id == node.id), None)
    desk = desk_of(device, node)
    hidden = SYS_HIDDEN if node.id == SYS else (*OWN, *(desk.instead_of if desk else ()),
                                                *(OF_HEATING if is_heater(node) else ()))
    labels = hut.texts("command.off"), hut.texts("command.on")
    values = []
    for prop in node.properties.values():
        if prop.id in hidden:
            continue
        raw = device.value(node.id, prop.id)
        target = device.targets.get((node.id, prop.id), "")
        row = series.get((node.id, prop.id))
        may = prop.settable and by.commands and (by.admin or prop.datatype != "json")
        if raw is None and not prop.retained and not may and (row is None or not row.samples):
            continue  # an event that never came has nothing to show
        if raw is None and not prop.retained and row is not None and row.samples and row.value is not None:
            raw = row.value if isinstance(row.value, str) else json.dumps(row.value)  # what happened last
        values.append(Value(f"v-{node.id}-{prop.id}", prop.name, shown(raw, prop, hut.texts), row.id if row else None,
                            target if target != raw else "", prop.id, control(prop, raw, labels) if may else None))
    old = of.state in ("lost", "disconnected", "ahead") or bool(told and (told.silent or told.ahead))
    counts = any(counts_energy(row.property) for (of_node, _), row in series.items() if of_node == node.id)
    return NodeView(told, node.id, node.name, tuple(values), old, counts, is_heater(node), desk)


def device_view(hut: Hut, device: LiveDevice, by: Viewer) -> DeviceView:
    of = facts(device, hut.now_us())
    series = hut.history.series_of(device.id)
    found = list(device.description.nodes.values()) if device.description else []
    found.sort(key=lambda node: node.id == SYS)
    nodes = tuple(node_view(hut, device, of, node, series, by) for node in found)
    overview = hut.history.overview()
    now = hut.now_us()
    wrong = rooted(problems([of], hut.house(), overview.differences, [], hut.texts, now),
                   house_of([of], hut.settings), now)
    try:
        ledger = tuple(hut.history.reader.ledger(device.id))
    except StoreError:
        ledger = ()
    return DeviceView(of, nodes, tuple(wrong), ledger, by)
