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
from hub.alerts.shelf import GRACE_US, grace_us
from hub.alerts.silence import Silences
from hub.alerts.telling import FLAP_US, RANK, Telling
from hub.settings import Alerts
from hub.store.alert_rows import Row, Silence

STEADY_US = 30_000_000
"""A title whose figures change is not written more often."""
MAX_OPEN = 50_000
Blind = Callable[[str, str], bool]


class Life(Telling):
    """``began_us``: when this process began to look; ``times``: ``[alerts]`` of hub.toml."""

    def __init__(self, rows: Iterable[Row], silences: Iterable[Silence], next_id: int, began_us: int, house: House,
                 times: Alerts) -> None:
        super().__init__(rows, silences, next_id, house)
        self._times = times
        self._started_us = began_us + round(times.start_s * 1e6)
        """Until then what does not come is not believed to be gone."""

    # --- what others ask ------------------------------------------------------------------------------------

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
                      None, None, False, now_us < self._started_us)
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
            return now_us if condition.severity == "critical" else now_us + round(self._times.settle_s * 1e6)
        settle_s = self._times.lost_s if condition.key.startswith("lost:") else self._times.settle_s
        return max(now_us + round(settle_s * 1e6), self._started_us if now_us < self._started_us else 0)

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

    def _hold_us(self, row: Row) -> int:
        """What has just come and gone is not over for coming and going once more."""
        flapping = row.again_us is not None and row.gone_us is not None and row.gone_us - row.again_us < FLAP_US
        return FLAP_US if flapping else round(self._times.over_s * 1e6)

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
                kid.due_us = max(kid.due_us, now_us + grace_us(row))
                self._step(kid, "alone", now_us, text=row.title)
        if graph.stops(row.key, row.subject):
            self._ended.append((row, now_us))
        return events

    def _forget(self, now_us: int) -> None:
        # in the order of their end
        for key in [key for key, row in self.recent.items() if now_us - (row.resolved_us or 0) >= FLAP_US]:
            del self.recent[key]
        self._ended = [one for one in self._ended if now_us - one[1] < max(GRACE_US.values())]


def _any(blind: tuple[Blind, ...], row: Row) -> bool:
    return any(look(row.key, row.subject) for look in blind)
