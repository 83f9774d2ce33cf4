"""All alerts that are open, in memory, and what explains what among them. Knows no database.

Times are microseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Iterable

from hub.alerts import graph, groups
from hub.alerts.graph import House
from hub.alerts.model import Condition, Event
from hub.alerts.silence import Silences
from hub.store.alert_rows import Row, Silence, Step, alert

GRACE_US = {"mains": 300_000_000, "internet": 120_000_000, "broker": 90_000_000, "hub": 120_000_000,
            "device": 120_000_000, "plugin": 60_000_000, groups.SUBJECT: 0}
"""When a cause is over, what it explained has so long to come back; the mains: every machine starts anew."""


class Shelf:
    def __init__(self, rows: Iterable[Row], silences: Iterable[Silence], next_id: int, house: House) -> None:
        self.house = house
        self.next_id = next_id
        self.open: dict[str, Row] = {}
        self.by_id: dict[int, Row] = {}
        """Of ``open``."""
        self.recent: dict[str, Row] = {}
        """Resolved within FLAP_US: what comes again is the same alert."""
        self.dirty: dict[int, Row] = {}
        self.steps: list[Step] = []
        self._seen: dict[str, Condition] = {}
        self._waiting: dict[str, None] = {}
        """Keys that time alone may change: not told yet, gone, or raised again."""
        self._causes: dict[str, list[Row]] = {}
        self._kids: dict[int, set[int]] = {}
        self._ended: list[tuple[Row, int]] = []
        self._new_cause = False
        self._acknowledged: list[Row] = []
        self._silences = Silences(silences)
        for row in rows:
            if row.state == "resolved":
                self.recent[row.key] = row
                if graph.stops(row.key, row.subject):
                    self._ended.append((row, row.resolved_us or 0))
            else:
                self._enter(row)

    def listed(self, alert_id: int) -> int:
        """How many open alerts are under it."""
        kids = self._kids.get(alert_id, ())
        return len(kids) + sum(self.listed(kid) for kid in kids)

    def _enter(self, row: Row) -> None:
        """An open row, new or from the file."""
        self.open[row.key] = self.by_id[row.id] = row
        if row.cause_id is not None:
            self._kids.setdefault(row.cause_id, set()).add(row.id)
        if graph.stops(row.key, row.subject):
            self._causes.setdefault(row.subject, []).append(row)
            self._new_cause = True
        if row.ack_due:
            self._acknowledged.append(row)
        self._waiting[row.key] = None

    # --- causes ---------------------------------------------------------------------------------------------

    def _explain_all(self, new: list[Row], now_us: int) -> None:
        looked, self._new_cause = list(self.open.values()) if self._new_cause else new, False
        for row in looked:
            if row.cause_id is None and (row.of_absence or row.subject == graph.MAINS) and (
                    row.subject != groups.SUBJECT):
                cause = self._cause_of(row)
                if cause is not None:
                    self._attach(row, cause, "caused", now_us)
                elif row.told_us is None:
                    self._wait_for_return(row)
        if looked is not new:
            for row in [row for row in looked if row.subject == groups.SUBJECT and row.cause_id is None]:
                found = [self._cause_of(self.by_id[kid]) for kid in self._kids.get(row.id, ())]
                if found and found[0] is not None and None not in found:
                    self._attach(row, found[0], "caused", now_us)

    def _cause_of(self, row: Row) -> Row | None:
        if graph.of_this_house(row.key, row.subject, self.house):
            for twin in self._causes.get(row.subject, ()):
                if twin.id < row.id and graph.of_this_house(twin.key, twin.subject, self.house):
                    return twin  # another device found it out first
        if not row.of_absence:
            return None
        for subject in graph.causes(row.key, row.subject, self.house):
            for cause in self._causes.get(subject, ()):
                fits = graph.explains(cause.key, cause.subject, cause.of_absence, row.key, row.subject)
                if fits and cause is not row and graph.plausible(_from_us(row), cause.since_us):
                    return cause
        return None

    def _wait_for_return(self, row: Row) -> None:
        """A cause that is just over explains what comes up while all gets going again."""
        for cause, ended_us in self._ended:
            if cause.subject in graph.causes(row.key, row.subject, self.house) and cause.key != row.key \
                    and graph.plausible(_from_us(row), cause.since_us):
                until_us = ended_us + grace_us(cause)
                if until_us > row.due_us:
                    row.due_us = until_us
                    self.dirty[row.id] = row

    def _attach(self, row: Row, cause: Row, what: str, now_us: int) -> None:
        row.cause_id = row.under_id = cause.id
        self._kids.setdefault(cause.id, set()).add(row.id)
        self._mark(row, what, now_us, text=cause.title)

    def _part(self, row: Row, now_us: int) -> None:
        if row.cause_id is not None:
            self._kids.get(row.cause_id, set()).discard(row.id)
            cause = self.by_id.get(row.cause_id)
            if cause is not None and cause.subject == groups.SUBJECT:
                self._waiting[cause.key] = None  # it may have been the last one
            row.cause_id = None
        self.dirty[row.id] = row
        self._waiting[row.key] = None

    def _leave_causes(self, row: Row) -> None:
        found = self._causes.get(row.subject)
        if found is not None and row in found:
            found[:] = [one for one in found if one is not row]
            if not found:
                del self._causes[row.subject]

    # --- small ----------------------------------------------------------------------------------------------

    def _event(self, what: str, row: Row, now_us: int, who: str = "") -> Event:
        return Event(what, alert(row), now_us, self.listed(row.id), who)  # type: ignore[arg-type]

    def _step(self, row: Row, what: str, now_us: int, *, who: str = "", text: str = "") -> None:
        self.steps.append(Step(row.id, now_us, what, who, text))

    def _mark(self, row: Row, what: str, now_us: int, *, who: str = "", text: str = "") -> None:
        self.dirty[row.id] = row
        self._step(row, what, now_us, who=who, text=text)


def _from_us(row: Row) -> int:
    """When it began, as far as it is known: what was there already when we began to look has only its own word."""
    return min(row.opened_us, row.since_us) if row.fresh else row.opened_us


def grace_us(cause: Row) -> int:
    return GRACE_US.get(cause.subject.partition(":")[0], 0)
