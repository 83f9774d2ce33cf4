"""A line of severity ``alarm`` is a condition for an hour, so that somebody is told of it; others tell nobody."""

from __future__ import annotations

from collections.abc import Iterator

from hub.alerts.model import Condition
from hub.logbook.book import HOUR_US
from hub.notify.part import Hall
from hub.store import logbook_rows as rows
from hub.store.logbook_rows import Line, Query

PREFIX = "log:"
HOLD_US = 3_600_000_000
LOOK = 500


class Alarms:
    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._lines: dict[tuple[str, str], Line] | None = None
        """(machine, service) -> its newest line of severity alarm."""

    def rolled_back(self) -> None:
        self._lines = None

    def look(self) -> None:
        """A line was added: read them anew."""
        self._lines = None

    def conditions(self, now_us: int) -> Iterator[Condition]:
        if self._lines is None:
            self._lines = {}
            since_us = now_us - HOLD_US - HOUR_US  # one said again stands where it was first said, an hour ago at most
            for line in reversed(rows.find(self._hall.db, Query(since_us, severity="alarm", kind="log"), LOOK)):
                self._lines[line.machine, line.service] = line
        for (machine, service), line in list(self._lines.items()):
            if now_us - line.last_us > HOLD_US:
                del self._lines[machine, service]
                continue
            yield Condition(
                f"{PREFIX}{machine}/{service}", f"plugin:{machine}/{service}", "critical",
                f"{service} of {machine}: {line.text}"[:200], line.n,
                do=f"look at the logbook of {machine}; it ends by itself an hour after its last alarm")
