"""What the fleet page says of a device, made from its Homie tree: pure, with the time handed in.

A live value's age comes from the node's ``last-update``, never from its arrival (DESIGN section 3). A device whose
clock runs ahead is said to be ahead and never live (B28). Times are microseconds since 1970 UTC.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from agent.wire.messages import LedgerCounts
from hub.live import LiveDevice

AHEAD_US = 60_000_000
"""A stamp this far ahead of the hub's clock is a wrong clock and not a delay."""
SILENT_S = 300.0
"""When a node counts as silent if nothing says how often it reports."""
MIN_SILENT_S = 30.0
NEVER_S = 100 * 366 * 86_400.0
BACKLOG_S = 60.0
"""Samples older than this are a backlog, younger ones are on their way."""
SYS = "sys"
LINES = {"mains-present": "mains", "internet-reached": "internet"}
"""What others depend on, by the property that tells of it, whatever plugin it comes from."""


class NodeFacts(Struct, frozen=True):
    """One node: a plugin instance, or something that a plugin found."""

    id: str
    name: str
    type: str
    health: str
    """ok, degraded, failed, disabled, or "" when it says none"""
    last_us: int | None
    errors: int
    silent: bool
    ahead: bool
    simulated: bool
    max_age_us: int
    plugin: str
    """The plugin instance that it belongs to; its own id when the device does not tell."""


class DeviceFacts(Struct, frozen=True):
    id: str
    name: str
    state: str
    """live, silent, ahead, init, sleeping, disconnected, lost or unknown"""
    since_us: int | None
    last_us: int | None
    """The newest sample's own time."""
    ahead_us: int
    """How far the device's clock is ahead, 0 when it is not."""
    clock: str
    waiting_samples: int
    waiting_age_s: float
    receipt_us: int | None
    ledger: LedgerCounts | None
    version: str
    address: str
    nodes: tuple[NodeFacts, ...]
    alerts: tuple[tuple[str, str, int | None], ...]
    outages: tuple[tuple[str, str], ...] = ()
    """What it says is gone: (``mains`` or ``internet``, node)."""
    on_ups: bool = False
    """It watches the mains and has not said that its battery is low: it goes on without."""

    @property
    def plugins(self) -> tuple[str, ...]:
        """The plugin instances, not what they found: a disk or a network port is a node, but no plugin."""
        return tuple(dict.fromkeys(node.plugin for node in self.nodes))

    @property
    def bad_plugins(self) -> tuple[str, ...]:
        """Those of ``plugins`` with a node that is not well."""
        return tuple(dict.fromkeys(node.plugin for node in self.bad_nodes))

    @property
    def bad_nodes(self) -> tuple[NodeFacts, ...]:
        return tuple(node for node in self.nodes if node.health in ("failed", "degraded") or node.silent or node.ahead)

    @property
    def backlog(self) -> bool:
        return self.waiting_age_s > BACKLOG_S

    @property
    def good(self) -> bool:
        """True when there is nothing to see to."""
        return self.state in ("live", "sleeping") and not (
            self.bad_nodes or self.backlog or self.alerts or self.clock == "unsynced")


def stamp_us(text: str | None) -> int | None:
    """A Homie datetime as microseconds; None when it is none (it is then treated as never updated)."""
    if not text or len(text) > 40:
        return None
    try:
        at = datetime.fromisoformat(text)
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        return round(at.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        return None


def number(text: str | None) -> float | None:
    """A Homie integer or float, finite; else None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if -1e300 < value < 1e300 else None


def facts(device: LiveDevice, now_us: int) -> DeviceFacts:
    """``device`` as it is at ``now_us`` on the hub's clock."""
    nodes = _nodes(device, now_us)
    stamps = [node.last_us for node in nodes if node.last_us is not None]
    last_us = max((stamp for stamp in stamps if stamp <= now_us + AHEAD_US), default=None)
    ahead_us = max((stamp - now_us for stamp in stamps if stamp > now_us + AHEAD_US), default=0)
    age_s = number(device.value(SYS, "outbox-oldest-age-s"))
    reporting = [node for node in nodes if node.health != "disabled"]
    state = device.state
    if state == "ready":
        if ahead_us:
            state = "ahead"
        elif reporting and all(node.silent for node in reporting):
            state = "silent"
        else:
            state = "live"
    name = (device.reported.name if device.reported else "") or (device.description.name if device.description else "")
    return DeviceFacts(
        id=device.id,
        name=name or device.id,
        state=state,
        since_us=device.state_since_us,
        last_us=last_us,
        ahead_us=ahead_us,
        clock=device.value(SYS, "clock-quality") or "",
        waiting_samples=int(number(device.value(SYS, "outbox-samples")) or 0),
        waiting_age_s=age_s or 0.0,
        receipt_us=stamp_us(device.value(SYS, "last-receipt")),
        ledger=_ledger(device.value(SYS, "ledger")),
        version=(device.value(SYS, "version") or "")[:40],
        address=(device.value(SYS, "address") or "")[:80],
        nodes=nodes,
        alerts=tuple((alert_id, alert.text, alert.since_us) for alert_id, alert in sorted(device.alerts.items())),
        outages=tuple((LINES[prop], node) for (node, prop), value in device.values.items()
                      if prop in LINES and value == "false"),
        on_ups=(any(prop == "mains-present" for _, prop in device.values)
                and all(value != "true" for (_, prop), value in device.values.items() if prop == "battery-low")),
    )


def from_history(device: str, name: str, last_us: int, version: str) -> DeviceFacts:
    """A device that the store knows and the broker does not."""
    return DeviceFacts(device, name or device, "unknown", None, last_us or None, 0, "", 0, 0.0, None, None,
                       version, "", (), ())


def _nodes(device: LiveDevice, now_us: int) -> tuple[NodeFacts, ...]:
    if device.description is None:
        return ()
    made = []
    for node in device.description.nodes.values():
        if node.id == SYS:
            continue
        plugin, simulated, age_s = _declared(device, node.id)
        last_us = stamp_us(device.value(node.id, "last-update"))
        health = device.value(node.id, "health") or ""
        max_age_us = round(min(max(MIN_SILENT_S, age_s), NEVER_S) * 1_000_000)
        ahead = last_us is not None and last_us > now_us + AHEAD_US
        silent = (
            device.state == "ready" and health != "disabled" and last_us is not None and now_us - last_us > max_age_us
        )
        made.append(NodeFacts(node.id, node.name, node.type, health, last_us,
                              int(number(device.value(node.id, "errors")) or 0), silent, ahead, simulated, max_age_us,
                              plugin))
    return tuple(made)


def _declared(device: LiveDevice, node_id: str) -> tuple[str, bool, float]:
    """The instance that ``node_id`` belongs to, whether it is simulated, and the seconds within which one of its
    properties at least is told again: a gas meter speaks once an hour."""
    if device.reported is not None:
        for instance, plugin in device.reported.plugins.items():
            for node in plugin.nodes:
                if node.id == node_id:
                    ages = [prop.max_age_s if prop.max_age_s is not None else 3 * plugin.interval_s
                            for prop in node.properties if not prop.event]
                    lasting = all(prop.event or prop.comes_and_goes for prop in node.properties)
                    return instance, plugin.simulated, NEVER_S if lasting else min(ages)
    return node_id, False, SILENT_S


def _ledger(text: str | None) -> LedgerCounts | None:
    if not text:
        return None
    try:
        return msgspec.json.decode(text, type=LedgerCounts)
    except (msgspec.DecodeError, RecursionError):
        return None
