"""Questions of pages, tokens and commands: ``log.add``, ``note.add``."""

from __future__ import annotations

from typing import Any

from hub.logbook.alarms import Alarms
from hub.logbook.book import word
from hub.logbook.model import SEVERITIES, Entry, Severity
from hub.notify import asks
from hub.notify.asks import Refused
from hub.notify.part import Hall
from hub.store.errors import StoreError

MAX_NOTE = 8_000


class Desk:
    def __init__(self, hall: Hall, alarms: Alarms) -> None:
        self._hall = hall
        self._alarms = alarms

    def join(self, desk: asks.Desk) -> None:
        desk.handlers["log.add"] = self.add
        desk.handlers["note.add"] = self.note

    def add(self, args: dict[str, Any], who: str) -> dict[str, Any]:
        """A line of another program: {machine, service, severity, text} -> {n, held}."""
        machine, service, text = (_needed(args, name) for name in ("machine", "service", "text"))
        n = self._add(Entry(self._hall.now_us(), machine, service, _severity(args), text, "log", who=who))
        self._alarms.look()
        self._told()
        return {"n": n, "held": n is None}

    def note(self, args: dict[str, Any], who: str) -> dict[str, Any]:
        """A person's note: {machine, text}, and a ``key`` so that a form sent twice is one note."""
        key = word(str(args.get("key", "")))
        n = self._add(Entry(
            self._hall.now_us(), word(str(args.get("machine") or "")) or "hub", "note", "info", _needed(args, "text"),
            "note", who=who, key=f"note:{key}" if key else ""))
        self._told()
        return {"n": n}

    def _add(self, entry: Entry) -> int | None:
        try:
            return self._hall.logbook.add(entry)
        except StoreError as error:  # a full disk is no fault of the program
            self._hall.logbook.store_failed(str(error))
            raise Refused(str(error)) from error

    def _told(self) -> None:
        """It is committed: pages that are open need not wait for the next second."""
        self._hall.logbook.after(self._hall.now_us())


def _needed(args: dict[str, Any], name: str) -> str:
    value = args.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Refused(f"{name} is missing")
    if len(value) > MAX_NOTE:
        raise Refused(f"{name}: longer than {MAX_NOTE} characters")
    return value


def _severity(args: dict[str, Any]) -> Severity:
    told = str(args.get("severity") or "info").lower()
    if told not in SEVERITIES:
        raise Refused(f"{told[:20]} is no severity: {', '.join(SEVERITIES)}")
    return told
