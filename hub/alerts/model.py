"""Conditions, alerts and what happens to them. Pure. Times are microseconds since 1970 UTC on the hub's clock."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol

from msgspec import Struct

from agent.wire.faults import Severity

State = Literal["open", "acknowledged", "resolved"]
What = Literal["opened", "worse", "acknowledged", "resolved", "again"]


class Condition(Struct, frozen=True):
    """Something that is wrong at this moment. Its source names it for as long as it is so."""

    key: str
    """Stable and unique: ``rule:<id>:<device>/<node>/<property>``, ``alert:<device>:<alert id>``, ``lost:<device>``,
    ``plugin:<device>/<node>``, ``hub:<what>``, ``crash:<fingerprint>``, ``channel:<name>``."""
    subject: str
    """Where it stands in the graph of causes: ``mains``, ``internet``, ``broker``, ``hub``, ``device:<id>``,
    ``plugin:<device>/<node>``, ``property:<device>/<node>/<property>``."""
    severity: Severity
    title: str
    """What happened, short enough for an SMS with others."""
    since_us: int
    code: str = ""
    """Of ``agent.wire.faults``, or ''."""
    kept: str = ""
    """What is safe."""
    do: str = ""
    """The next step."""
    of_absence: bool = False
    """It says that something does not come (lost, silent, no data, cannot be reached), not what a value says: only such
    a one can be explained by a cause further up. A leak is a leak, internet or not."""


class Alert(Struct, frozen=True):
    """A condition with its life."""

    id: int
    key: str
    subject: str
    severity: Severity
    title: str
    code: str
    kept: str
    do: str
    since_us: int
    opened_us: int
    changed_us: int
    state: State
    cause_id: int | None = None
    """The open alert that explains this one: listed under it, not sent."""
    resolved_us: int | None = None
    acknowledged_by: str = ""
    acknowledged_us: int | None = None
    silenced_until_us: int | None = None
    times: int = 1
    """How often it was raised within this life: more than once is flapping."""


class Event(Struct, frozen=True):
    """What happened to an alert that is nobody's child: this is what somebody may have to be told."""

    what: What
    alert: Alert
    t_us: int
    children: int = 0
    """How many alerts are listed under it."""
    who: str = ""


class Source(Protocol):
    """Names all that is wrong now, every second; whatever it leaves out is over."""

    def conditions(self, now_us: int) -> Iterable[Condition]: ...
