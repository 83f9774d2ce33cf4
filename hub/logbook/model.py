"""One line of the logbook. Times are microseconds since 1970 UTC."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

Severity = Literal["debug", "info", "warning", "error", "alarm"]
SEVERITIES: tuple[Severity, ...] = ("debug", "info", "warning", "error", "alarm")
Kind = Literal["start", "reboot", "command", "alert", "log", "note", "crash", "change"]


class Entry(Struct, frozen=True):
    t_us: int
    machine: str
    """A device's id, ``hub``, or what the caller of ``add_to_logbook`` said."""
    service: str
    """Plugin instance, part of the hub, or the caller's word."""
    severity: Severity
    text: str
    kind: Kind = "log"
    who: str = ""
    """Who did it or wrote it, where somebody did."""
    key: str = ""
    """What is added again under the same key is the same line (a restart reads some things twice); '' is never."""
    detail: str = ""
    """More than one line: a trace."""
    link: str = ""
    """A page of the hub that says more: ``/crashes/<fingerprint>``."""
