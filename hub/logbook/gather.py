"""Everything that goes into the logbook by itself: devices, their commands and boots, alerts, the hub's own parts.

What was heard is kept until its second is committed, so a database that is full for a while costs no line until MOST of
them wait. Lines about the logbook itself never come here (:mod:`hub.logbook.handler`).
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable

from hub.alerts.model import Condition, Event
from hub.live import Tapped
from hub.logbook import alarms, ears
from hub.logbook.alarms import Alarms
from hub.logbook.crashes import Crashes, own_version
from hub.logbook.desk import Desk
from hub.logbook.devices import LEVELS, Devices, duration
from hub.logbook.lines import Said
from hub.logbook.model import Entry, Kind, Severity
from hub.logbook.news import News
from hub.logbook.stored import Stored
from hub.notify.part import Hall, Part
from hub.store.errors import StoreError

log = logging.getLogger(__name__)

MOST = 10_000
MOST_BYTES = 8 << 20
ALIVE_US = 60_000_000
ALIVE = "logbook.alive"
LOUD: dict[str, Severity] = {"warning": "warning", "error": "error", "critical": "error"}
KINDS: dict[str, Kind] = {"start": "start", "end": "start", "change": "change"}
ALERT_SEVERITY: dict[str, Severity] = {"info": "info", "warning": "warning", "error": "error", "critical": "alarm"}
WORDS = {"opened": "alert", "worse": "alert is worse now", "acknowledged": "acknowledged", "resolved": "over",
         "again": "alert, still so"}


class Gather(Part):
    """After :class:`~hub.logbook.book.Logbook` in every second."""

    def __init__(self, hall: Hall) -> None:
        super().__init__(hall)
        self.crashes = Crashes(hall, hall.logbook)
        self.devices = Devices(hall, hall.logbook, self.crashes)
        self.stored = Stored(hall, hall.logbook)
        self.alarms = Alarms(hall)
        self._heard: deque[Tapped] = deque()
        self._heard_bytes = 0
        self._unheard = 0
        """Lines of devices that did not fit."""
        self._pending: list[Tapped | Said] = []
        self._alive_us = 0
        self._off_us: int | None = None
        self._told_start = False

    def begin(self) -> None:
        self._ears = ears.Ears(self.hall.settings.hub.run_dir)
        self._news = News(self.hall.settings.hub.run_dir)
        self.hall.logbook.listeners.append(self._news.tell)
        last = self._ears.last_words()
        self._last_words = last
        if last is not None:
            self._pending.append(last)
        Desk(self.hall, self.alarms).join(self.hall.desk)
        self.hall.tree.tap = self._tap

    def _tap(self, told: Tapped) -> None:
        """On the live tree's thread, under its lock."""
        if told.what not in LEVELS and told.what not in ("$state", "gone"):
            return
        if len(self._heard) >= MOST or self._heard_bytes >= MOST_BYTES:
            self._unheard += 1
            return
        self._heard.append(told)
        self._heard_bytes += len(told.text) + 100

    # --- a second ---------------------------------------------------------------------------------------------

    def step(self, now_us: int) -> None:
        self._gap(now_us)
        self.devices.step(now_us)
        if len(self._pending) < MOST:
            self._pending += self._ears.take()
            with self.hall.tree.feed.lock:
                self._pending += self._heard
                self._heard.clear()
                self._heard_bytes = 0
                unheard, self._unheard = self._unheard, 0
            if unheard:
                self._lost("devices", unheard, now_us)
        for told, times in together(self._pending):
            try:
                self._take(told, times)
            except StoreError:
                raise
            except Exception:  # one that cannot be written must not hold back the others
                log.exception("a line of %s", told.device if isinstance(told, Tapped) else told.part)
        self.stored.step(now_us)

    def _take(self, told: Tapped | Said, times: int) -> None:
        if isinstance(told, Tapped):
            if told.what in LEVELS:
                self.devices.log_line(told, times)
            else:
                self.devices.state(told)
            return
        if told.lost:
            self._lost(told.part, told.lost, told.t_us)
        if told.what == "crash":
            self.crashes.add("hub", told.part, own_version(), told.detail or told.text, told.t_us, times=times,
                             default=told.part)
            return
        severity = LOUD.get(told.level, "info")
        self.hall.logbook.add(Entry(told.t_us, "hub", told.part, severity, told.text, KINDS.get(told.what, "log"),
                                    who=told.who, detail=told.detail), times=times)

    def _lost(self, of: str, n: int, t_us: int) -> None:
        self.hall.logbook.add(Entry(t_us, "hub", "logbook", "warning",
                                    f"{n} lines of {of} came faster than they could be taken and are lost"))

    def _gap(self, now_us: int) -> None:
        """Says from when to when log lines of devices could not be heard; everything else is read up on."""
        if not self._told_start:
            alive = self.hall.db.meta(ALIVE)
            text = "the hub's notify started"
            if alive is not None:
                text += (f"; log lines of devices from the last {duration(now_us - int(alive))} may be missing here, "
                         "commands and reboots are not")
            self.hall.logbook.add(Entry(now_us, "hub", "notify", "info", text, "start", key=f"notify:{now_us}"))
        up, _ = self.hall.client.connected
        if up and self._off_us is not None:
            self.hall.logbook.add(Entry(
                now_us, "hub", "logbook", "warning", f"the broker was away for {duration(now_us - self._off_us)}: log "
                "lines of devices from then are missing here", "log"))
            self._off_us = None
        elif not up and self._off_us is None and self.hall.tree.syncs:
            self._off_us = now_us
        if not 0 <= now_us - self._alive_us < ALIVE_US:
            self.hall.db.set_meta(ALIVE, str(now_us).encode())
            self._alive_us = now_us

    def conditions(self, now_us: int) -> Iterable[Condition]:
        yield from self.crashes.conditions(now_us)
        yield from self.alarms.conditions(now_us)

    def take(self, events: list[Event], now_us: int) -> None:
        for event in events:
            entry = of_alert(event)
            if entry is not None:
                self.hall.logbook.add(entry)

    def after(self, now_us: int) -> None:
        self._told_start = True
        self._pending.clear()
        if self._last_words is not None:
            self._ears.last_words_are_kept()
            self._last_words = None

    def store_failed(self, error: str) -> None:
        """What this second took in is taken in again with the next one."""
        self._alive_us = 0
        self.devices.rolled_back()
        self.stored.rolled_back()
        self.alarms.rolled_back()

    def close(self) -> None:
        self.hall.tree.tap = None
        try:
            self.hall.db.set_meta(ALIVE, str(self.hall.now_us()).encode())
        except StoreError as error:
            log.warning("%s", error)
        self._ears.close()
        self._news.close()


def together(pending: Iterable[Tapped | Said]) -> list[tuple[Tapped | Said, int]]:
    """The same line of the same source within a second is one with a count; changes of state keep their order."""
    found: dict[tuple[object, ...], tuple[Tapped | Said, int]] = {}
    for n, told in enumerate(pending):
        key: tuple[object, ...]
        if isinstance(told, Tapped):
            key = (told.device, told.what, told.text) if told.what in LEVELS else (n,)
        else:
            key = (told.part, told.what, told.level, told.text, told.detail) if not told.lost else (n,)
        first, times = found.get(key, (told, 0))
        found[key] = (first, times + 1)
    return list(found.values())


def of_alert(event: Event) -> Entry | None:
    """None for what the logbook knows already: its own lines that became alerts, as they open; a device that comes and
    goes, of which the device's own lines tell, unless others are explained by it."""
    alert = event.alert
    if event.what in ("opened", "worse") and alert.key.startswith(("crash:", alarms.PREFIX)):
        return None
    if event.what in ("opened", "resolved") and alert.key.startswith("lost:") and not event.children:
        return None
    machine, service = where(alert.subject)
    more = f" ({event.children} more because of it)" if event.children else ""
    text = f"{WORDS[event.what]}: {alert.title}{more}"
    severity = ALERT_SEVERITY[alert.severity] if event.what in ("opened", "worse", "again") else "info"
    return Entry(event.t_us, machine, service, severity, text, "alert", who=event.who,
                 key=f"alert:{alert.id}:{event.what}:{event.t_us}",
                 detail="\n".join(line for line in (alert.kept, alert.do) if line), link=f"/alerts/{alert.id}")


def where(subject: str) -> tuple[str, str]:
    """(machine, service) of a place in the graph of causes."""
    kind, _, name = subject.partition(":")
    if kind == "device":
        return name or "?", "agent"
    if kind in ("plugin", "property"):
        device, _, node = name.partition("/")
        return device or "?", node.partition("/")[0] or "agent"
    return "hub", kind or "alerts"
