"""The Homie 5 trees of all devices, in memory. Fed message by message; knows no MQTT client and no web page.

Foreign devices write here too, so everything is bounded and an illegal object is ignored alone (Homie 5,
"Error handling"). Times are microseconds since 1970 UTC on the hub's clock, as the caller gives them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from agent.wire import topics
from agent.wire.messages import MAX_SET_BYTES, HubState, Reported
from hub.live.feed import FLEET, HEATING, Feed

STATES = ("init", "ready", "disconnected", "sleeping", "lost")
MAX_DEVICES = 5_000
MAX_PROPERTIES = 2_000
MAX_ALERTS = 100
MAX_LOG_LINES = 200
MAX_VALUE_BYTES = 4 * MAX_SET_BYTES
"""A heater's schedule is made of several commands, one for each profile."""
MAX_LINE_BYTES = 8 * 1024
MAX_DESCRIPTION_BYTES = 1024 * 1024
MAX_TEXT = 500
T = TypeVar("T")
DOMAIN = re.compile(r"[A-Za-z0-9_-]{1,32}\Z")
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
#: Properties that the fleet page shows: a change of another one must not redraw it.
FLEET_PROPERTIES = ("health", "last-update")
FLEET_SYS = ("outbox-batches", "outbox-samples", "outbox-oldest-age-s", "clock-quality", "version")


class PropertyInfo(Struct, frozen=True):
    """One property of a ``$description``."""

    id: str
    name: str
    datatype: str = "string"
    unit: str = ""
    format: str = ""
    settable: bool = False
    retained: bool = True


class NodeInfo(Struct, frozen=True):
    id: str
    name: str
    type: str
    properties: dict[str, PropertyInfo]


class Description(Struct, frozen=True):
    name: str
    version: int
    nodes: dict[str, NodeInfo]
    type: str = ""


class Alert(Struct, frozen=True):
    text: str
    since_us: int | None
    """When it was raised, as far as this process saw it or the text says it."""


class Tapped(Struct, frozen=True):
    """A line of ``$log``, a change of ``$state``, or the end of a device."""

    device: str
    what: str
    """The level of a line, ``$state`` or ``gone``."""
    text: str
    """The line, or the state."""
    t_us: int
    retained: bool = False


Tap = Callable[[Tapped], None]


class LogLine(Struct, frozen=True):
    n: int
    level: str
    text: str
    t_us: int


class LiveDevice(Struct, frozen=True):
    """A device as it is now. Never changes: take a new one after a change."""

    id: str
    domain: str
    state: str
    state_since_us: int | None
    """When the state came, if this process saw it come (a retained one does not say)."""
    description: Description | None
    values: dict[tuple[str, str], str]
    """(node id, property id) -> value as published."""
    targets: dict[tuple[str, str], str]
    alerts: dict[str, Alert]
    reported: Reported | None

    def value(self, node: str, prop: str) -> str | None:
        return self.values.get((node, prop))


class _Device:
    """The changing side of LiveDevice."""

    def __init__(self, key: str, domain: str, topic_id: str) -> None:
        self.key = key
        self.domain = domain
        self.topic_id = topic_id
        self.state = ""
        self.state_since_us: int | None = None
        self.description: Description | None = None
        self.raw_description = b""
        self.values: dict[tuple[str, str], str] = {}
        self.targets: dict[tuple[str, str], str] = {}
        self.alerts: dict[str, Alert] = {}
        self.log: deque[LogLine] = deque(maxlen=MAX_LOG_LINES)
        self.reported: Reported | None = None
        self.retained: set[str] = set()
        self.view: LiveDevice | None = None


class LiveTree:
    """All devices. Every method takes the feed's lock, so any thread may call it."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self._lock = feed.lock
        self._devices: dict[str, _Device] = {}
        self._hub: HubState | None = None
        self._hub_since_us: int | None = None
        self._log_n = 0
        self._confirmed: set[str] | None = None
        self._whole = False
        self._reported: dict[str, Reported] = {}
        self.syncs = 0
        """How often everything retained has come: 0 until the tree is whole for the first time."""
        self.tap: Tap | None = None
        """Is called with every line of ``$log`` and every change of ``$state``, under the feed's lock: it must be quick
        and must not raise. For whoever must not miss one between two looks (the logbook)."""

    # --- reading ----------------------------------------------------------------------------------------

    def device(self, key: str) -> LiveDevice | None:
        with self._lock:
            device = self._devices.get(key)
            return self._view(device) if device is not None and device.state else None

    def devices(self) -> list[LiveDevice]:
        """In order of id."""
        with self._lock:
            return [self._view(device) for key, device in sorted(self._devices.items()) if device.state]

    def log(self, key: str, after: int = 0) -> list[LogLine]:
        """Lines of ``$log`` that came while this process ran, oldest first, with a number above ``after``."""
        with self._lock:
            device = self._devices.get(key)
            return [line for line in device.log if line.n > after] if device else []

    @property
    def whole(self) -> bool:
        """All that the present connection has retained is here; False before the first one."""
        with self._lock:
            return self._whole

    @property
    def hub_state(self) -> tuple[HubState | None, int | None]:
        """Ingest's own state, and since when."""
        with self._lock:
            return self._hub, self._hub_since_us

    def retained_topics(self, key: str) -> set[str]:
        """Retained topics of a device that were seen."""
        with self._lock:
            device = self._devices.get(key)
            return set(device.retained) if device else set()

    # --- writing ----------------------------------------------------------------------------------------

    def begin_sync(self) -> None:
        """A connection starts: what it does not confirm until :meth:`end_sync` is gone."""
        with self._lock:
            self._confirmed = set()
            self._whole = False

    def end_sync(self) -> None:
        """Everything retained has come: forget devices, properties and alerts that are no more."""
        with self._lock:
            confirmed, self._confirmed = self._confirmed, None
            self.syncs += 1
            if confirmed is None:
                return
            self._whole = True
            for device in list(self._devices.values()):
                for topic in device.retained - confirmed:
                    self.apply(topic, b"", retained=True, now_us=0)

    def apply(self, topic: str, payload: bytes, *, retained: bool, now_us: int) -> str | None:
        """Take one message. Returns ``domain/5/id`` of a device seen for the first time, to be subscribed to.

        ``retained``: the broker's retain flag of this delivery (False for one that came live)."""
        with self._lock:
            if self._confirmed is not None and payload:
                self._confirmed.add(topic)
            if topic.startswith(topics.OURS + "/"):
                self._ours(topic, payload, retained, now_us)
                return None
            parts = topic.split("/")
            if len(parts) < 4 or parts[1] != "5" or not DOMAIN.match(parts[0]) or not topics.is_id(parts[2]):
                return None
            return self._homie(parts, topic, payload, retained, now_us)

    def _homie(self, parts: list[str], topic: str, payload: bytes, retained: bool, now_us: int) -> str | None:
        domain, topic_id = parts[0], parts[2]
        if topic_id == topics.HUB and domain == topics.HOMIE.partition("/")[0]:
            return None  # the hub's own results, for others: no machine of the fleet
        key = topic_id if domain == "homie" else f"{domain}.{topic_id}"
        device = self._devices.get(key)
        found = None
        if device is None:
            if parts[3:] != ["$state"] or not payload or len(self._devices) >= MAX_DEVICES:
                return None
            device = self._devices[key] = _Device(key, domain, topic_id)
            device.reported = self._reported.get(key)
            found = f"{domain}/5/{topic_id}"
        event = parts[3] in ("$log", "$broadcast") or parts[-1] == "set"
        if payload and not event:
            if len(device.retained) <= MAX_PROPERTIES + MAX_ALERTS:
                device.retained.add(topic)
        else:
            device.retained.discard(topic)
        match parts[3:]:
            case ["$state"]:
                self._state(device, payload, retained, now_us)
            case ["$description"]:
                self._describe(device, payload)
            case ["$alert", alert_id] if alert_id:
                self._alert(device, alert_id[:80], payload, retained, now_us)
            case ["$log", level] if level in LOG_LEVELS and payload and not retained:
                self._log(device, level, payload, now_us)
            case [node, prop] if topics.is_id(node) and topics.is_id(prop):
                self._value(device, device.values, node, prop, payload)
            case [node, prop, "$target"] if topics.is_id(node) and topics.is_id(prop):
                self._value(device, device.targets, node, prop, payload)
            case _:
                return found
        return found

    def _ours(self, topic: str, payload: bytes, retained: bool, now_us: int) -> None:
        ours = topics.parse_ours(topic)
        if ours is None:
            return
        if topic == topics.HUB_STATE:
            state = _decoded(payload, HubState)
            if state != self._hub:
                if self._hub is None or state is None or state.state != self._hub.state:
                    self._hub_since_us = None if retained else now_us
                self._hub = state
                self.feed.touch(FLEET, ("hub",))
        elif ours.kind == "reported" and not ours.rest:
            reported = _decoded(payload, Reported) if len(payload) <= MAX_DESCRIPTION_BYTES else None
            if reported is None:
                self._reported.pop(ours.device, None)
            elif ours.device in self._reported or len(self._reported) < MAX_DEVICES:
                self._reported[ours.device] = reported
            device = self._devices.get(ours.device)
            if device is not None and device.reported != reported:
                device.reported = reported
                self._structure(device)

    def _state(self, device: _Device, payload: bytes, retained: bool, now_us: int) -> None:
        if not payload:
            del self._devices[device.key]
            self.feed.touch(FLEET, ("gone", device.key))
            self.feed.touch(HEATING, ("gone", device.key))
            self.feed.touch(device.key, ("gone",))
            if self.tap is not None:
                self.tap(Tapped(device.key, "gone", "", now_us, retained))
            return
        state = payload[:20].decode("utf-8", "replace")
        if state not in STATES or state == device.state:
            return
        device.state = state
        device.state_since_us = None if retained else now_us
        self._structure(device)
        if self.tap is not None:
            self.tap(Tapped(device.key, "$state", state, now_us, retained))

    def _describe(self, device: _Device, payload: bytes) -> None:
        if payload == device.raw_description or len(payload) > MAX_DESCRIPTION_BYTES:
            return
        device.raw_description = payload
        device.description = parse_description(payload) if payload else None
        self._structure(device)

    def _alert(self, device: _Device, alert_id: str, payload: bytes, retained: bool, now_us: int) -> None:
        if payload:
            old = device.alerts.get(alert_id)
            text = _text(payload, MAX_LINE_BYTES)
            if (old and old.text == text) or (old is None and len(device.alerts) >= MAX_ALERTS):
                return
            device.alerts[alert_id] = Alert(text, None if retained else (old.since_us if old else now_us))
        elif device.alerts.pop(alert_id, None) is None:
            return
        self._structure(device)

    def _log(self, device: _Device, level: str, payload: bytes, now_us: int) -> None:
        self._log_n += 1
        line = LogLine(self._log_n, level, _text(payload, MAX_LINE_BYTES), now_us)
        device.log.append(line)
        if self.tap is not None:
            self.tap(Tapped(device.key, level, line.text, now_us))
        self.feed.touch(device.key, ("log",))

    def _value(
        self, device: _Device, of: dict[tuple[str, str], str], node: str, prop: str, payload: bytes
    ) -> None:
        if payload:
            if (node, prop) not in of and len(of) >= MAX_PROPERTIES:
                return
            value = _text(payload, MAX_VALUE_BYTES) if payload != b"\0" else ""
            if of.get((node, prop)) == value:
                return
            of[node, prop] = value
        elif of.pop((node, prop), None) is None:
            return
        device.view = None
        self.feed.touch(device.key, ("v", node, prop))
        if prop in FLEET_PROPERTIES or (node == "sys" and prop in FLEET_SYS):
            self.feed.touch(FLEET, ("d", device.key))
        if (node, "why") in device.values and (node, "schedule") in device.values:
            self.feed.touch(HEATING, ("d", device.key))

    def _structure(self, device: _Device) -> None:
        """Something changed that is more than a value."""
        device.view = None
        self.feed.touch(device.key, ("device",))
        self.feed.touch(FLEET, ("d", device.key))
        self.feed.touch(HEATING, ("d", device.key))

    @staticmethod
    def _view(device: _Device) -> LiveDevice:
        if device.view is None:
            device.view = LiveDevice(
                device.key, device.domain, device.state, device.state_since_us, device.description,
                dict(device.values), dict(device.targets), dict(device.alerts), device.reported,
            )
        return device.view


def parse_description(payload: bytes) -> Description | None:
    """A ``$description``; an illegal node or property is left out, an illegal document gives None."""
    try:
        raw = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(raw, dict):
        return None
    nodes: dict[str, NodeInfo] = {}
    budget = MAX_PROPERTIES
    for node_id, node in _objects(raw.get("nodes")):
        properties: dict[str, PropertyInfo] = {}
        for prop_id, prop in _objects(node.get("properties")):
            if budget <= 0:
                break
            budget -= 1
            properties[prop_id] = PropertyInfo(
                prop_id, _word(prop, "name") or prop_id, _word(prop, "datatype") or "string", _word(prop, "unit"),
                _word(prop, "format"), prop.get("settable") is True, prop.get("retained") is not False,
            )
        nodes[node_id] = NodeInfo(node_id, _word(node, "name") or node_id, _word(node, "type"), properties)
    version = raw.get("version")
    return Description(_word(raw, "name"), version if isinstance(version, int) else 0, nodes, _word(raw, "type"))


def _objects(raw: Any) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(raw, dict):
        return []
    return [(key, value) for key, value in raw.items() if topics.is_id(key) and isinstance(value, dict)]


def _word(raw: dict[str, Any], key: str) -> str:
    value = raw.get(key)
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def _text(payload: bytes, limit: int) -> str:
    return payload[:limit].decode("utf-8", "replace")


def _decoded(payload: bytes, kind: type[T]) -> T | None:
    if not payload:
        return None
    try:
        return msgspec.json.decode(payload, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
