"""The life of alerts, in memory: open -> acknowledged -> resolved. Knows no database; :mod:`hub.alerts.book` keeps what
it changes (``dirty``, ``steps``) in the same transaction.

An alert is there from the first second. It is told once it is due (a cause may turn up until then), has no open cause,
and is not silenced. Times are microseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from hub.alerts import graph, groups
from hub.alerts.graph import House
from hub.alerts.model import Condition, Event
from hub.alerts.silence import Silences
from hub.store.alert_rows import Row, Silence, Step, alert

SETTLE_US = 5_000_000
"""A cause may turn up so long, and what belongs together come together."""
LOST_US = 15_000_000
"""A device whose connection is back within this time (a wireless network, a restart of its agent) is nobody's message."""
START_US = 45_000_000
"""A process that has just started waits so long before it believes that something does not come."""
HOLD_US = 10_000_000
"""So long a condition must be no more before its alert is over."""
FLAP_US = 600_000_000
"""Within this time one alert that comes and goes makes one message (B68)."""
STEADY_US = 30_000_000
"""A title whose figures change is not written more often."""
GRACE_US = {"mains": 300_000_000, "internet": 120_000_000, "broker": 90_000_000, "hub": 120_000_000,
            "device": 120_000_000, "plugin": 60_000_000, groups.SUBJECT: 0}
"""When a cause is over, what it explained has so long to come back; the mains: every machine starts anew."""
MAX_OPEN = 50_000
RANK = {"": -1, "info": 0, "warning": 1, "error": 2, "critical": 3}
Blind = Callable[[str, str], bool]


class Life:
    """``began_us``: when this process began to look."""

    def __init__(self, rows: Iterable[Row], silences: Iterable[Silence], next_id: int, began_us: int,
                 house: House) -> None:
        self.house = house
        self.next_id = next_id
        self.open: dict[str, Row] = {}
        self.by_id: dict[int, Row] = {}
        """Of ``open``."""
        self.recent: dict[str, Row] = {}
        """Resolved within FLAP_US: what comes again is the same alert."""
        self.dirty: dict[int, Row] = {}
        self.steps: list[Step] = []
        self._began_us = began_us
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

    # --- what others ask ------------------------------------------------------------------------------------

    def listed(self, alert_id: int) -> int:
        """How many open alerts are under it."""
        kids = self._kids.get(alert_id, ())
        return len(kids) + sum(self.listed(kid) for kid in kids)

    def hang(self, house: House) -> None:
        """Things hang together like this now."""
        self.house, self._new_cause = house, True

    def acknowledge(self, row: Row, who: str, now_us: int) -> None:
        if row.state == "acknowledged":
            return
        row.state, row.acknowledged_by, row.acknowledged_us = "acknowledged", who, now_us
        if row.told_us is None:
            row.told_us, row.told_severity, row.told_times = now_us, row.severity, row.times  # somebody knows of it
        row.ack_due = True
        self._acknowledged.append(row)
        self._mark(row, "acknowledged", now_us, who=who)

    def silenced(self, silences: Iterable[Silence], now_us: int) -> None:
        """The silences are these now."""
        self._silences = Silences(silences)
        for row in self.open.values():
            until_us = self._silences.until_us(row.key, row.subject, self.house, now_us)
            if until_us != row.silenced_until_us:
                if (until_us is None) != (row.silenced_until_us is None):
                    self._step(row, "unsilenced" if until_us is None else "silenced", now_us)
                row.silenced_until_us = until_us
                self.dirty[row.id] = row
                self._waiting[row.key] = None

    @property
    def silences_end_us(self) -> int | None:
        return self._silences.next_end_us

    # --- a second -------------------------------------------------------------------------------------------

    def update(self, conditions: Mapping[str, Condition], now_us: int, blind: Iterable[Blind] = ()) -> list[Event]:
        blind = tuple(blind)
        events = [self._event("acknowledged", row, now_us, row.acknowledged_by) for row in self._acknowledged]
        for row in self._acknowledged:
            row.ack_due = False
            self.dirty[row.id] = row
        self._acknowledged = []
        for key in [key for key, row in self.open.items() if row.gone_us is None and key not in conditions]:
            row = self.open[key]
            if row.subject != groups.SUBJECT and not _any(blind, row):
                self._go(row, now_us)
        new = []
        for key, condition in conditions.items():
            known = self.open.get(key)
            if known is None:
                if len(self.open) >= MAX_OPEN:
                    continue  # of a device gone mad; the next one that ends makes room
                new.append(self._begin(condition, now_us))
                continue
            if known.gone_us is not None:
                self._back(known, now_us)
            if self._seen.get(key) is not condition:
                self._change(known, condition, now_us)
        self._explain_all(new, now_us)
        events += self._resolve(now_us, blind)
        events += self._tell(now_us)
        self._forget(now_us)
        return events

    def _begin(self, condition: Condition, now_us: int) -> Row:
        row = self.recent.pop(condition.key, None)
        if row is not None:
            row.state, row.resolved_us, row.gone_us = "open", None, None
            row.times += 1
            row.again_us = now_us
            row.acknowledged_by, row.acknowledged_us, row.under_id = "", None, None
            # what only blinks is told the third time, however short each time is
            row.due_us = max(row.due_us, self._due_us(condition, now_us) if row.times < 3 else 0)
            what = "again"
        else:
            row = Row(self.next_id, condition.key, condition.subject, condition.severity, condition.title,
                      condition.code, condition.kept, condition.do, condition.of_absence, condition.since_us, now_us,
                      now_us, "open", None, None, None, "", None, None, 1, self._due_us(condition, now_us), None, "", 0,
                      None, None, False, now_us < self._began_us + START_US)
            self.next_id += 1
            what = "opened"
        self._set(row, condition)
        row.silenced_until_us = self._silences.until_us(row.key, row.subject, self.house, now_us)
        self._enter(row)
        self._mark(row, what, now_us, text=row.title)
        if row.silenced_until_us is not None:
            self._step(row, "silenced", now_us)
        return row

    def _due_us(self, condition: Condition, now_us: int) -> int:
        if not condition.of_absence:
            return now_us if condition.severity == "critical" else now_us + SETTLE_US
        settle_us = LOST_US if condition.key.startswith("lost:") else SETTLE_US
        return max(now_us + settle_us, self._began_us + START_US if now_us < self._began_us + START_US else 0)

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

    def _go(self, row: Row, now_us: int) -> None:
        row.gone_us = now_us
        self._mark(row, "gone", now_us)
        self._waiting[row.key] = None

    def _back(self, row: Row, now_us: int) -> None:
        row.gone_us, row.again_us = None, now_us
        row.times += 1
        self._mark(row, "back", now_us)
        self._waiting[row.key] = None

    def _change(self, row: Row, condition: Condition, now_us: int) -> None:
        higher = RANK[condition.severity] > RANK[row.severity]
        same = (condition.subject, condition.severity, condition.code, condition.of_absence) == (
            row.subject, row.severity, row.code, row.of_absence)
        if same and (condition.title, condition.kept, condition.do) == (row.title, row.kept, row.do):
            self._seen[row.key] = condition
            return
        if same and now_us - row.changed_us < STEADY_US:
            return  # only its figures changed: later
        if condition.subject != row.subject or condition.of_absence != row.of_absence:
            self._leave_causes(row)
            self._set(row, condition)
            if row.cause_id is not None and not row.of_absence:
                self._part(row, now_us)
            if graph.stops(row.key, row.subject):
                self._causes.setdefault(row.subject, []).append(row)
            self._new_cause = True
        self._set(row, condition)
        row.changed_us = now_us
        self.dirty[row.id] = row
        if higher:
            if row.severity == "critical" and not row.of_absence:
                row.due_us = min(row.due_us, now_us)
            self._step(row, "worse", now_us, text=row.severity)
        self._waiting[row.key] = None

    def _set(self, row: Row, condition: Condition) -> None:
        """All but since when: that stays as it was first told."""
        self._seen[row.key] = condition
        row.subject, row.severity, row.title, row.code = (condition.subject, condition.severity, condition.title,
                                                          condition.code)
        row.kept, row.do, row.of_absence = condition.kept, condition.do, condition.of_absence

    # --- causes ---------------------------------------------------------------------------------------------

    def _explain_all(self, new: list[Row], now_us: int) -> None:
        looked, self._new_cause = list(self.open.values()) if self._new_cause else new, False
        for row in looked:
            if row.of_absence and row.cause_id is None and row.subject != groups.SUBJECT:
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
                until_us = ended_us + _grace_us(cause)
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

    # --- the end --------------------------------------------------------------------------------------------

    def _resolve(self, now_us: int, blind: tuple[Blind, ...]) -> list[Event]:
        events = []
        for key in list(self._waiting):
            row = self.open.get(key)
            if row is not None and row.gone_us is not None and now_us - row.gone_us >= self._hold_us(row) \
                    and not _any(blind, row):
                events += self._end(row, now_us)
        for key in [key for key in self._waiting if key.startswith(groups.PREFIX)]:
            group = self.open.get(key)
            if group is not None and not self._kids.get(group.id):
                events += self._end(group, now_us)
        return events

    @staticmethod
    def _hold_us(row: Row) -> int:
        """What has just come and gone is not over for coming and going once more."""
        flapping = row.again_us is not None and row.gone_us is not None and row.gone_us - row.again_us < FLAP_US
        return FLAP_US if flapping else HOLD_US

    def _end(self, row: Row, now_us: int) -> list[Event]:
        in_group = row.cause_id is not None and self.by_id[row.cause_id].subject == groups.SUBJECT
        row.state, row.resolved_us, row.changed_us = "resolved", now_us, now_us
        row.silenced_until_us = None
        events = [] if in_group or not row.told_severity else [self._event("resolved", row, now_us)]
        row.told_severity = ""
        self._part(row, now_us)
        self._leave_causes(row)
        del self.open[row.key], self.by_id[row.id]
        self._waiting.pop(row.key, None)
        self._seen.pop(row.key, None)
        self.recent[row.key] = row
        self._mark(row, "resolved", now_us)
        for kid_id in sorted(self._kids.pop(row.id, ())):
            kid = self.by_id[kid_id]
            self._part(kid, now_us)
            other = self._cause_of(kid)
            if other is not None:
                self._attach(kid, other, "caused", now_us)
            else:
                kid.due_us = max(kid.due_us, now_us + _grace_us(row))
                self._step(kid, "alone", now_us, text=row.title)
        if graph.stops(row.key, row.subject):
            self._ended.append((row, now_us))
        return events

    def _forget(self, now_us: int) -> None:
        # in the order of their end
        for key in [key for key, row in self.recent.items() if now_us - (row.resolved_us or 0) >= FLAP_US]:
            del self.recent[key]
        self._ended = [one for one in self._ended if now_us - one[1] < max(GRACE_US.values())]

    # --- telling --------------------------------------------------------------------------------------------

    def _tell(self, now_us: int) -> list[Event]:
        events: list[Event] = []
        alike: dict[tuple[str, str, str], list[Row]] = {}
        for key in list(self._waiting):
            row = self.open.get(key)
            if row is None:
                del self._waiting[key]
                continue
            if row.gone_us is not None:
                continue
            if row.silenced_until_us is not None:
                del self._waiting[key]  # a silence that ends looks at it again
                continue
            in_group = row.cause_id is not None and self.by_id[row.cause_id].subject == groups.SUBJECT
            if row.told_severity and RANK[row.severity] > RANK[row.told_severity] and (
                    row.cause_id is None or in_group):
                if in_group:
                    self._part(row, now_us)
                if row.state == "acknowledged":
                    row.state, row.acknowledged_by, row.acknowledged_us = "open", "", None  # of the lesser thing
                self._told(row, now_us)
                events.append(self._event("worse", row, now_us))
            elif row.cause_id is not None or row.state == "acknowledged":
                del self._waiting[key]
            elif self._is_due(row, now_us):
                if row.subject == groups.SUBJECT:
                    self._told(row, now_us)
                    events.append(self._event("worse", row, now_us))
                else:
                    alike.setdefault(groups.kind_of(row), []).append(row)
            elif row.told_severity and row.told_times == row.times:
                del self._waiting[key]
        for kind, rows in alike.items():
            events += self._tell_alike(kind, rows, now_us)
        return events

    @staticmethod
    def _is_due(row: Row, now_us: int) -> bool:
        if now_us < row.due_us:
            return False
        if row.told_us is None:
            return True
        if row.subject == groups.SUBJECT:
            return row.told_times < row.times  # it has grown
        if not row.told_severity and row.severity == "critical":
            return True  # people were told that it is over
        return row.times > row.told_times and now_us - row.told_us >= FLAP_US

    def _tell_alike(self, kind: tuple[str, str, str], rows: list[Row], now_us: int) -> list[Event]:
        group = next((row for row in self._groups() if groups.kind_of(row) == kind
                      and now_us - row.opened_us < groups.JOIN_US and row.cause_id is None), None)
        if group is None and len(rows) < groups.LEAST:
            return [self._alone(row, now_us) for row in rows]
        if group is None:
            first = rows[0]
            group = Row(self.next_id, groups.key_of(kind, self.next_id), groups.SUBJECT, first.severity, "", first.code,
                        first.kept, first.do, False, min(row.since_us for row in rows), now_us, now_us, "open", None,
                        None, None, "", None, None, 1, now_us, now_us, first.severity, 1, None, None, False, False)
            self.next_id += 1
            self._enter(group)
            what = "opened"
        else:
            group.told_times = 0  # told once more when nobody joins any longer
            group.due_us = group.opened_us + groups.JOIN_US
            what = ""
        for row in rows:
            self._attach(row, group, "grouped", now_us)
            row.told_us, row.told_severity, row.told_times = now_us, row.severity, row.times
            self._waiting.pop(row.key, None)
        group.title = groups.title_of([self.by_id[kid] for kid in sorted(self._kids[group.id])])
        group.changed_us = now_us
        self._mark(group, what or "grouped", now_us, text=group.title)
        self._waiting[group.key] = None
        return [self._event("opened", group, now_us)] if what else []

    def _groups(self) -> list[Row]:
        return [row for row in self.open.values() if row.subject == groups.SUBJECT]

    def _alone(self, row: Row, now_us: int) -> Event:
        what = "opened" if row.told_us is None else "again"
        self._told(row, now_us)
        return self._event(what, row, now_us)

    def _told(self, row: Row, now_us: int) -> None:
        row.told_us, row.told_severity, row.told_times = now_us, row.severity, row.times
        self._mark(row, "told", now_us, text=row.severity)

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


def _grace_us(cause: Row) -> int:
    return GRACE_US.get(cause.subject.partition(":")[0], 0)


def _any(blind: tuple[Blind, ...], row: Row) -> bool:
    return any(look(row.key, row.subject) for look in blind)
