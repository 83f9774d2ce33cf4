"""The book of alerts: conditions of this second against those of the last, kept in alerts.db.

What is in memory (:class:`hub.alerts.life.Life`) is what the file says: each write carries a number, and a number that
is not the expected one (a transaction was undone) makes it read again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hub.alerts.graph import House
from hub.alerts.life import Life
from hub.alerts.model import Condition, Event
from hub.alerts.silence import MAX_MATCH, MAX_MINUTES, MAX_WHY
from hub.alerts.telling import FLAP_US
from hub.notify.asks import Refused
from hub.notify.part import Hall, Part
from hub.store import alert_rows
from hub.store.alert_rows import Row

PRUNE_US = 600_000_000
KEEP = 100_000
"""Alerts that are over; beyond, the oldest go first."""
DAY_US = 86_400_000_000


class Book(Part):
    def __init__(self, hall: Hall) -> None:
        super().__init__(hall)
        self.blind: dict[str, Callable[[str, str], bool]] = {}
        """A source's name -> whether it cannot see (key, subject) now: what it then leaves out is not over."""
        self.began_us: int | None = None
        self._house = House()
        self._life: Life | None = None
        self._n = -1
        self._prune_us = 0

    def begin(self) -> None:
        self.began_us = self._prune_us = self.hall.now_us()
        handlers = self.hall.desk.handlers
        handlers["alert.acknowledge"] = lambda args, who: self.acknowledge(
            _number(args, "id"), who, self.hall.now_us())
        handlers["alert.silence"] = lambda args, who: {"id": self.silence(
            _text(args, "match"), args.get("minutes"), _text(args, "why"), who, self.hall.now_us())}
        handlers["alert.unsilence"] = lambda args, who: self.unsilence(_number(args, "id"), who, self.hall.now_us())

    def jumped(self, by_us: int, now_us: int) -> None:
        self.began_us = None if self.began_us is None else self.began_us + by_us
        self._prune_us = now_us
        alert_rows.shift(self.hall.db, by_us, now_us)  # a new number: it is read again

    @property
    def house(self) -> House:
        return self._house

    @house.setter
    def house(self, house: House) -> None:
        """What is known of how things hang together has changed."""
        self._house = house
        if self._life is not None:
            self._life.hang(house)

    def update(self, conditions: Mapping[str, Condition], now_us: int) -> list[Event]:
        """In the transaction: what has happened since the last call."""
        life = self._current(now_us)
        if life.silences_end_us is not None and now_us >= life.silences_end_us:
            life.silenced(alert_rows.silences(self.hall.db, now_us), now_us)
        events = life.update(conditions, now_us, self.blind.values())
        self._write(life)
        if now_us - self._prune_us >= PRUNE_US:
            self._prune_us = now_us
            days = self.hall.settings.alerts.history_days
            alert_rows.prune(self.hall.db, now_us - days * DAY_US if days else 0, KEEP)
        return events

    def acknowledge(self, alert_id: int, who: str, now_us: int) -> None:
        """Somebody has seen it (page, answer to an SMS); the event comes with the next second. Raises Refused."""
        with self.hall.db.writing():
            life = self._current(now_us)
            life.acknowledge(self._open_row(life, alert_id), who, now_us)
            self._write(life)

    def silence(self, match: str, minutes: Any, why: str, who: str, now_us: int) -> int:
        """Nobody is told of what ``match`` fits (key, subject, device or ``<device>/<plugin>``; ``*``, ``?``) for so
        long; returns the silence's id. Raises Refused."""
        match, why = match.strip(), why.strip()
        if not match or len(match) > MAX_MATCH or not match.isprintable():
            raise Refused(f"match: 1 to {MAX_MATCH} printable characters, as in bc-power or bc-power/heater")
        if not why or len(why) > MAX_WHY:
            raise Refused(f"why: say in 1 to {MAX_WHY} characters what is being done, others read it")
        if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 1 <= minutes <= MAX_MINUTES:
            raise Refused(f"minutes: 1 to {MAX_MINUTES} (7 days); a silence always ends by itself")
        with self.hall.db.writing():
            life = self._current(now_us)
            made = alert_rows.add_silence(self.hall.db, match, why, who, now_us, now_us + round(minutes * 60e6))
            life.silenced(alert_rows.silences(self.hall.db, now_us), now_us)
            self._write(life, always=True)
        return made

    def unsilence(self, silence_id: int, who: str, now_us: int) -> None:
        """It ends now. Raises Refused."""
        with self.hall.db.writing():
            life = self._current(now_us)
            if not alert_rows.end_silence(self.hall.db, silence_id, now_us):
                raise Refused(f"silence {silence_id} is over already")
            life.silenced(alert_rows.silences(self.hall.db, now_us), now_us)
            self._write(life, always=True)

    # --- memory and file ------------------------------------------------------------------------------------

    def _current(self, now_us: int) -> Life:
        n, next_id = alert_rows.number(self.hall.db)
        if self._life is None or n != self._n:
            if self.began_us is None:
                self.began_us = now_us
            self._life = Life(alert_rows.book(self.hall.db, now_us - FLAP_US),
                              alert_rows.silences(self.hall.db, now_us), next_id, self.began_us, self._house,
                              self.hall.settings.alerts)
            self._n = n
            # a silence that ended while nobody looked
            self._life.silenced(alert_rows.silences(self.hall.db, now_us), now_us)
        return self._life

    def _write(self, life: Life, *, always: bool = False) -> None:
        if not (life.dirty or life.steps or always):
            return
        self._n += 1
        alert_rows.write(self.hall.db, life.dirty.values(), life.steps, self._n, life.next_id)
        life.dirty.clear()
        life.steps.clear()

    def _open_row(self, life: Life, alert_id: int) -> Row:
        row = life.by_id.get(alert_id)
        if row is None:
            known = alert_rows.one(self.hall.db, alert_id)
            raise Refused(f"alert {alert_id} is over already" if known is not None else f"there is no alert {alert_id}")
        return row


def _number(args: dict[str, Any], key: str) -> int:
    value = args.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise Refused(f"{key}: the number of an alert")
    return value


def _text(args: dict[str, Any], key: str) -> str:
    value = args.get(key)
    if not isinstance(value, str):
        raise Refused(f"{key}: a text")
    return value
