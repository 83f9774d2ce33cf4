"""Whom an alert goes to, and when it goes further: events become notices, alerts climb their ladder until somebody has
acknowledged or it is over. Everything is written in the transaction of the events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec
from msgspec import Struct

from agent.wire.faults import Severity
from hub.alerts.graph import INTERNET
from hub.alerts.model import Alert, Event
from hub.notify.hours import Hours
from hub.notify.settings import SEVERITIES, Notify, Step
from hub.store import outbox_rows as rows
from hub.store.alerts_db import AlertsDb
from hub.store.outbox_rows import Climb, Notice

S_US = 1_000_000
LATER_US = 30 * S_US
"""When a step is looked at again that an alert cannot take now (silenced, or a cause explains it)."""
Lane = tuple[str, str]


class Carried(Struct, frozen=True):
    """What a notice holds of its alert."""

    alert: Alert
    children: int = 0


def packed(alert: Alert, children: int) -> bytes:
    return msgspec.msgpack.encode(Carried(alert, children))


def unpacked(data: bytes) -> Carried:
    return msgspec.msgpack.decode(data, type=Carried)


class Ladder:
    """``current``: the alert as the book has it now; None when it is not known there. ``offline``: whether the
    internet is known to be lost."""

    def __init__(self, db: AlertsDb, settings: Notify, hours: Hours,
                 current: Callable[[int], Alert | None] = lambda alert_id: None,
                 offline: Callable[[], bool] = lambda: False) -> None:
        self._db = db
        self._settings = settings
        self._hours = hours
        self._current = current
        self._offline = offline

    def take(self, events: Iterable[Event], now_us: int) -> None:
        """What has happened, in its order."""
        notices: list[Notice] = []
        climbs: dict[int, Climb] = {}
        for event in events:
            alert = event.alert
            if event.what in ("acknowledged", "resolved"):
                if climbs or notices:  # of this same second: in the tables before they are ended
                    self._write(notices, climbs)
                    notices, climbs = [], {}
                resolved = event.what == "resolved"
                told = self._known(rows.told_lanes(self._db, alert.id)) if resolved else []
                rows.end_waiting(self._db, alert.id, packed(alert, event.children) if resolved else None)
                rows.end_climbs(self._db, [alert.id])
                notices += self._notices(told, event.what, alert, event.children, now_us, calm=False)
            else:
                self._start(event, now_us, notices, climbs)
        self._write(notices, climbs)

    def climb(self, now_us: int) -> None:
        """Steps that are due."""
        notices: list[Notice] = []
        climbs: dict[int, Climb] = {}
        over: list[int] = []
        for one in rows.due_climbs(self._db, now_us):
            carried = unpacked(one.alert)
            alert = self._current(one.alert_id) or carried.alert
            if alert.state != "open":
                over.append(one.alert_id)
            elif alert.cause_id is not None or _silenced(alert, now_us):
                climbs[one.alert_id] = _later(one, now_us)
            else:
                climbs[one.alert_id] = self._up(one, alert, carried.children, now_us, notices)
        rows.end_climbs(self._db, over)
        self._write(notices, climbs)

    def _write(self, notices: list[Notice], climbs: dict[int, Climb]) -> None:
        if notices:
            rows.add_notices(self._db, notices)
        if climbs:
            rows.put_climbs(self._db, climbs.values())

    def _start(self, event: Event, now_us: int, notices: list[Notice], climbs: dict[int, Climb]) -> None:
        alert = event.alert
        steps = self._steps(alert)
        if not steps:
            return
        if alert.severity in self._settings.digest:
            due_us = self._hours.digest_us(now_us)
            lanes = self._lanes(steps[0], alert.key)
            notices += self._notices(lanes, event.what, alert, event.children, now_us, due_us=due_us, why="digest")
            return
        before = climbs.get(alert.id) or rows.climb(self._db, alert.id)
        if event.what == "again" and before is not None and before.severity == alert.severity:
            told = self._known(rows.told_lanes(self._db, alert.id)) or self._lanes(steps[0], alert.key)
            notices += self._notices(told, event.what, alert, event.children, now_us)
            climbs[alert.id] = msgspec.structs.replace(before, alert=packed(alert, event.children))
            return
        new = Climb(alert.id, alert.severity, now_us, 0, now_us, now_us, packed(alert, event.children))
        climbs[alert.id] = _later(new, now_us) if _silenced(alert, now_us) else self._up(
            new, alert, event.children, now_us, notices, event.what)

    def _up(self, one: Climb, alert: Alert, children: int, now_us: int, notices: list[Notice],
            what: str = "opened") -> Climb:
        """Take the steps that are due now."""
        severity: Severity = alert.severity
        steps = self._steps(alert)
        carried = packed(alert, children)
        if one.step >= len(steps):
            if severity != "critical" or not self._settings.reminder_min:
                return _at(one, None)
            for step in steps[:1]:
                notices += self._notices(self._lanes(step, alert.key), "reminder", alert, children, now_us, calm=False)
            return Climb(one.alert_id, severity, one.started_us, one.step, now_us, self._reminder_us(now_us), carried)
        if self._quiet(severity, now_us) and one.step == 0:
            # told with the morning's digest, and only then does it go up
            due_us = self._hours.digest_us(now_us)
            one = msgspec.structs.replace(one, started_us=due_us, step_us=due_us)
        index, step_us, nobody = one.step, one.step_us, one.step == 0
        while index < len(steps):
            scheduled = one.started_us + steps[index].after_s * S_US
            if scheduled > now_us and not nobody and not self._fall_back(alert, index, step_us, now_us):
                break
            lanes = self._lanes(steps[index], alert.key)
            notices += self._notices(lanes, what, alert, children, now_us)
            index, nobody = index + 1, not self._can_reach(lanes, alert)
            if lanes:
                step_us = max(now_us, one.started_us)
            if not nobody:
                break
        return Climb(one.alert_id, severity, one.started_us, index, step_us,
                     self._next_us(alert, steps, index, one.started_us, step_us), carried)

    def _can_reach(self, lanes: list[Lane], alert: Alert) -> bool:
        """Row 37: without the internet a push reaches nobody, so that what is critical goes by the next way too."""
        if alert.severity == "critical" and self._offline():
            return any(self._is_own_way(channel) for channel, _ in lanes)
        return bool(lanes)

    def _is_own_way(self, name: str) -> bool:
        """It needs no internet."""
        channel = self._settings.named(name)
        return channel is not None and channel.kind != "url"

    def _steps(self, alert: Alert) -> tuple[Step, ...]:
        """Row 37: that the internet is lost is told at once, by the ways that need none; with none of them it waits."""
        steps = self._settings.steps(alert.severity)
        if alert.subject == INTERNET:
            own = [names for step in steps if (names := tuple(filter(self._is_own_way, step.channels)))]
            if own:
                return tuple(Step(channels=names, after_s=after_s) for names, after_s in zip(
                    own, [0, *(step.after_s for step in steps[1:])], strict=False))
        return steps

    def _known(self, lanes: list[Lane]) -> list[Lane]:
        """Those that are still in hub.toml."""
        return [lane for lane in lanes if lane[1] in getattr(self._settings.named(lane[0]), "recipients", ())]

    def _fall_back(self, alert: Alert, index: int, step_us: int, now_us: int) -> bool:
        """B65: nobody accepted the step before in time."""
        return (alert.severity == "critical" and index > 0 and now_us >= step_us + self._settings.fallback_s * S_US
                and not rows.was_told(self._db, alert.id, alert.severity))

    def _next_us(self, alert: Alert, steps: tuple[Step, ...], index: int, started_us: int, step_us: int) -> int | None:
        if index >= len(steps):
            return self._reminder_us(step_us) if alert.severity == "critical" else None
        scheduled = started_us + steps[index].after_s * S_US
        if alert.severity == "critical" and not rows.was_told(self._db, alert.id, alert.severity):
            return min(scheduled, step_us + self._settings.fallback_s * S_US)
        return scheduled

    def _reminder_us(self, step_us: int) -> int | None:
        minutes = self._settings.reminder_min
        return step_us + minutes * 60 * S_US if minutes else None

    def _quiet(self, severity: Severity, now_us: int) -> bool:
        return severity in self._settings.quiet and self._hours.quiet(now_us)

    def _lanes(self, step: Step, alert_key: str) -> list[Lane]:
        """A channel's own trouble is not told by that channel."""
        found = []
        for name in step.channels:
            channel = self._settings.named(name)
            if channel is not None and alert_key != f"channel:{name}":
                found += [(name, recipient) for recipient in channel.recipients]
        return found

    def _notices(self, lanes: Iterable[Lane], what: str, alert: Alert, children: int, now_us: int, *,
                 due_us: int | None = None, why: str = "", calm: bool = True) -> list[Notice]:
        """``calm``: the same is not told again within the cool-down."""
        data = packed(alert, children)
        if due_us is None:
            due_us = now_us
            if self._quiet(alert.severity, now_us):
                due_us, why = self._hours.digest_us(now_us), "quiet"
        found = []
        for channel, recipient in lanes:
            due, reason = due_us, why
            if calm and what != "worse" and self._settings.cooldown_min:
                as_bad = SEVERITIES[SEVERITIES.index(alert.severity):]
                told_us = rows.last_told_us(self._db, channel, recipient, alert.key, as_bad)
                if told_us is not None and told_us + self._settings.cooldown_min * 60 * S_US > due:
                    due, reason = told_us + self._settings.cooldown_min * 60 * S_US, reason or "cooldown"
            found.append(Notice(channel, recipient, alert.id, alert.key, what, alert.severity, now_us, due, reason,
                                data))
        return found


def _at(one: Climb, next_us: int | None) -> Climb:
    return msgspec.structs.replace(one, next_us=next_us)


def _later(one: Climb, now_us: int) -> Climb:
    """Its time stands still for a while: silenced, or explained by a cause. It is looked at again soon, for either may
    end at any moment."""
    by_us = now_us + LATER_US - (one.next_us if one.next_us is not None else now_us)
    return msgspec.structs.replace(one, started_us=one.started_us + by_us, step_us=one.step_us + by_us,
                                   next_us=now_us + LATER_US)


def _silenced(alert: Alert, now_us: int) -> bool:
    return alert.silenced_until_us is not None and alert.silenced_until_us > now_us
