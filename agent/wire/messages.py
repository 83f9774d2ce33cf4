"""The small messages beside the records: receipts, the hub's state, what a device reports, requests and answers."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from agent.api import Climate, Property

MAX_TTL_S = 60.0
DESIRED_FORMAT = 1
MAX_SET_BYTES = 16384
"""Nobody commands with more: the value of one command, as it stands on a ``/set`` topic."""


class Receipt(Struct, frozen=True):
    """Sent after the hub's commit: everything up to ``upto`` and the closed ranges ``also`` is stored or settled."""

    epoch: str
    upto: int
    also: list[tuple[int, int]]
    term: int


class HubState(Struct, frozen=True):
    """Retained on ``hutkeeper/1/hub/$state``; the will says ``lost``. Agents drain only while it is ``ready``.

    ``term`` grows with every start (the highest one is obeyed); ``generation`` is new after every restore."""

    state: str
    term: int
    generation: str


class NodeDeclaration(Struct, frozen=True, omit_defaults=True):
    """A plugin's node (id = instance) or something it found (id = ``<instance>-<id>``)."""

    id: str
    title: str
    properties: tuple[Property, ...]


class PluginDeclaration(Struct, frozen=True, omit_defaults=True):
    """Everything that one plugin instance can report."""

    instance: str
    use: str
    title: str
    interval_s: float
    nodes: tuple[NodeDeclaration, ...]
    simulated: bool = False
    climate: Climate | None = None
    """Which of its own node's properties make one thermostat."""


class Reported(Struct, frozen=True, omit_defaults=True):
    """Retained on ``hutkeeper/1/<device>/reported``: what the device has."""

    name: str
    agent_version: str
    plugins: dict[str, PluginDeclaration]
    epoch: str = ""
    """Of the spool that is in use: who reads another one here than it wrote has a twin (B12)."""
    rules_version: int = 0
    """:attr:`Desired.version` of the rules in force here; 0 until some came."""
    rules_refused: dict[str, str] = {}
    """Rule -> one line, for each one of that version that this device does not take."""


class Desired(Struct, frozen=True, omit_defaults=True):
    """Retained on ``hutkeeper/1/<device>/desired``: the rules with ``where = "<device>"``, evaluated there and nowhere
    else. One without rules removes them; so does an empty payload, but only a device that is connected hears of that.
    ``version`` grows with every change."""

    version: int
    rules: dict[str, str]
    """Rule id -> its TOML."""
    format: int = 1
    """Of this document; an agent refuses a newer one than :data:`DESIRED_FORMAT` and goes on with what it has."""


class Request(Struct, frozen=True, omit_defaults=True):
    """An RPC to a device. ``issued_us`` is wall time; executed at most once, refused after ``ttl_s`` (<= 60)."""

    id: str
    issued_us: int
    ttl_s: float
    term: int = 0
    args: dict[str, Any] = {}


class Response(Struct, frozen=True, omit_defaults=True):
    """The answer: ``status`` is ``ok`` or ``error``; ``error`` is one line that says what to do."""

    id: str
    status: str
    data: Any = None
    error: str | None = None


class LedgerCounts(Struct, frozen=True):
    """The device's own side of the ledger, in samples (Homie property ``sys/ledger``), per epoch.

    ``produced = receipted + dropped + spooled + in_flight`` holds exactly at every moment it is published."""

    epoch: str
    produced: int
    receipted: int
    dropped: dict[str, int]
    spooled: int
    in_flight: int
    upto: int
    next_seq: int


class ServiceState(Struct, frozen=True, omit_defaults=True):
    """One program of a device, as its watchdog last saw it. ``state`` is supervisord's word in small letters."""

    state: str
    since_us: int | None = None
    """Wall time of that state; None while the device does not know the time."""
    restarts: int = 0
    """Since supervisord started."""
    last_end: str = ""
    """How it ended the last time."""
    still_s: float | None = None
    """Since it last moved, at ``Services.at_us``; None: nothing says, or it does not run."""
    limit_s: float | None = None
    """Standing still for longer, it is killed."""
    plugins: tuple[str, ...] = ()
    """The plugin instances in it."""
    pid: int = 0
    memory_bytes: int = 0
    """Of pid: in the answer to the request ``services`` only."""


class Services(Struct, frozen=True, omit_defaults=True):
    """``sys/services`` (when something changed, and every few minutes) and the request ``services``."""

    at_us: int | None
    """Wall time."""
    services: dict[str, ServiceState]


encode = msgspec.json.encode


def decode(payload: bytes, kind: type[Any]) -> Any:
    """Decode and validate; raises msgspec.DecodeError (ValidationError with the path)."""
    return msgspec.json.decode(payload, type=kind)
