"""Writing the logbook: what is added again is the same line, and no source can flood it.

* The same ``key`` is the same line, for ever.
* The same words of the same source within an hour are one line with a count.
* A source (machine, service) writes at most LIMIT lines an hour below ``error`` and as many above, so a chatter of
  warnings never hides an error. What is held back is counted, exactly, also over a restart.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from msgspec.structs import replace

from hub.logbook.model import Entry
from hub.notify.part import Hall, Part
from hub.store import logbook_rows as rows

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
LIMIT = 120
"""Lines an hour of one source."""
LIMIT_ALL = 20_000
"""Lines an hour of all sources together: somebody may invent sources."""
LIMITED = ("log", "start")
"""Kinds that are held back; what people write, commands, alerts and reboots are rare and never lost."""
REMEMBERED = 5_000
MAX_TEXT = 1_000
MAX_DETAIL = 16_000
MAX_WORD = 80
PRUNE_EVERY_US = 60_000_000
PRUNE_ROWS = 2_000


class Logbook(Part):
    def __init__(self, hall: Hall) -> None:
        super().__init__(hall)
        self._said: OrderedDict[tuple[str, str, str, str], tuple[int, int]] = OrderedDict()
        """(machine, service, severity, text) -> number of the line, and when it was first said."""
        self._changed: dict[int, None] = {}
        self._pruned_us = 0
        self.listeners: list[Callable[[list[int]], None]] = []
        """Told the numbers of new and changed lines, once they are committed."""

    def add(self, entry: Entry, *, times: int = 1) -> int | None:
        """May be called by every part within the second's transaction, or by a handler of the desk.

        The line's number; None: held back, it is only counted. Raises StoreError."""
        now_us = self.hall.now_us()
        entry = cleaned(entry, now_us)
        with self.hall.db.writing() as db:
            if entry.key and (known := rows.number_of(db, entry.key)) is not None:
                return known
            if not entry.key and entry.kind in LIMITED:
                return self._limited(entry, times, now_us)
            n = rows.insert(db, entry, count=times)
        self._changed[n] = None
        return n

    def again(self, n: int, t_us: int, *, times: int = 1) -> bool:
        """What a line says happened again. False: it is there no more."""
        entry = cleaned(Entry(t_us, "", "", "debug", ""), self.hall.now_us())
        with self.hall.db.writing() as db:
            found = rows.again(db, n, entry, times, same_text=False)
        if found:
            self._changed[n] = None
        return found

    def _limited(self, entry: Entry, times: int, now_us: int) -> int | None:
        what = (entry.machine, entry.service, entry.severity, entry.text)
        n, since_us = self._said.get(what, (0, 0))
        with self.hall.db.writing() as db:
            if n and 0 <= now_us - since_us < HOUR_US and rows.again(db, n, entry, times):
                self._said.move_to_end(what)
                self._changed[n] = None
                return n
            hour, grave = now_us // HOUR_US, rows.rank(entry.severity) >= rows.rank("error")
            if not rows.admit(db, entry.machine, entry.service, grave, hour, LIMIT, times):
                self._hold(entry.machine, entry.service, entry, grave, hour, times, now_us)
                return None
            if not rows.admit(db, "hub", "logbook", True, hour, LIMIT_ALL, times):
                self._hold("hub", "logbook", entry, True, hour, times, now_us)
                return None
            n = rows.insert(db, entry, count=times)
        self._said[what] = (n, now_us)
        self._said.move_to_end(what)
        while len(self._said) > REMEMBERED:
            self._said.popitem(last=False)
        self._changed[n] = None
        return n

    def _hold(self, machine: str, service: str, entry: Entry, grave: bool, hour: int, times: int, now_us: int) -> None:
        """One line for all that is held back of a source in this hour; its count is their exact number."""
        key = f"held:{machine}/{service}:{hour}:{grave:d}"
        sort = "errors" if grave else "lines"
        with self.hall.db.writing() as db:
            n = rows.number_of(db, key)
            if n is None:
                limit = LIMIT_ALL if (machine, service) == ("hub", "logbook") else LIMIT
                n = rows.insert(db, Entry(
                    now_us, machine, service, "warning", f"more than {limit} {sort} in an hour: the others are "
                    "counted here and not written down; look at its own log", key=key), count=times)
            else:
                rows.again(db, n, replace(entry, machine=machine, service=service, t_us=now_us), times,
                           same_text=False)
        self._changed[n] = None

    def step(self, now_us: int) -> None:
        if now_us - self._pruned_us < PRUNE_EVERY_US:
            return
        days = self.hall.settings.retention.logbook_days
        if days:
            with self.hall.db.writing() as db:
                if rows.prune(db, now_us - days * DAY_US, PRUNE_ROWS) == PRUNE_ROWS:
                    return  # there is more: at once in the next second
        self._pruned_us = now_us

    def after(self, now_us: int) -> None:
        if self._changed:
            changed, self._changed = list(self._changed), {}
            for listener in self.listeners:
                listener(changed)

    def store_failed(self, error: str) -> None:
        """What this second added is not there."""
        self._said.clear()
        self._changed.clear()


def cleaned(entry: Entry, now_us: int) -> Entry:
    """As it can be stored and shown: one line of text, the rest below it, bounded, never in the future."""
    text, _, rest = rows.clean(entry.text).strip().partition("\n")
    detail = rows.clean(entry.detail).strip("\n")
    if rest:
        detail = f"{rest}\n{detail}".strip("\n")
    text = "".join(char if char.isprintable() else " " for char in text).strip()
    if len(text) > MAX_TEXT:
        text, detail = text[:MAX_TEXT] + "…", f"…{text[MAX_TEXT:]}\n{detail}".strip("\n")
    if len(detail) > MAX_DETAIL:
        detail = detail[: MAX_DETAIL // 2] + "\n…\n" + detail[-MAX_DETAIL // 2:]
    return replace(entry, t_us=min(max(entry.t_us, 1), now_us), machine=word(entry.machine) or "?",
                   service=word(entry.service) or "?", text=text or "(no text)", who=word(entry.who), detail=detail,
                   key=rows.clean(entry.key)[:300], link=rows.clean(entry.link)[:300])


def word(text: str) -> str:
    """A machine's, a service's or a person's name as foreign programs write it."""
    return "".join(char if char.isprintable() else " " for char in rows.clean(text)).strip()[:MAX_WORD]
