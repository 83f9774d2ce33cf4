"""When somebody is told: once it is due, has no open cause and is not silenced; what is alike together, what comes and
goes seldom."""

from __future__ import annotations

from hub.alerts import groups
from hub.alerts.model import Event
from hub.alerts.shelf import Shelf
from hub.store.alert_rows import Row

FLAP_US = 600_000_000
"""Within this time one alert that comes and goes makes one message (B68)."""
RANK = {"": -1, "info": 0, "warning": 1, "error": 2, "critical": 3}


class Telling(Shelf):
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
        told = {groups.kind_of(row): row for row in self._open_groups()
                if now_us - row.opened_us < groups.JOIN_US and row.cause_id is None} if alike else {}
        for kind, rows in alike.items():
            events += self._tell_alike(kind, rows, told.get(kind), now_us)
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

    def _tell_alike(self, kind: tuple[str, str, str], rows: list[Row], group: Row | None, now_us: int) -> list[Event]:
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

    def _open_groups(self) -> list[Row]:
        return [row for row in self.open.values() if row.subject == groups.SUBJECT]

    def _alone(self, row: Row, now_us: int) -> Event:
        what = "opened" if row.told_us is None else "again"
        self._told(row, now_us)
        return self._event(what, row, now_us)

    def _told(self, row: Row, now_us: int) -> None:
        row.told_us, row.told_severity, row.told_times = now_us, row.severity, row.times
        self._mark(row, "told", now_us, text=row.severity)
