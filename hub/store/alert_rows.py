"""Alerts, what happened to them and silences, in alerts.db. Times are microseconds since 1970 UTC."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import astuple

from agent.wire.faults import Severity
from hub.alerts.model import Alert, State

if TYPE_CHECKING:
    from hub.store.alerts_db import AlertsDb, Rows

TABLES = """
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    subject TEXT NOT NULL,
    severity TEXT NOT NULL,
    title TEXT NOT NULL,
    code TEXT NOT NULL,
    kept TEXT NOT NULL,
    do TEXT NOT NULL,
    of_absence INTEGER NOT NULL,
    since_us INTEGER NOT NULL,
    opened_us INTEGER NOT NULL,
    changed_us INTEGER NOT NULL,
    state TEXT NOT NULL,
    cause_id INTEGER,
    under_id INTEGER,
    resolved_us INTEGER,
    acknowledged_by TEXT NOT NULL,
    acknowledged_us INTEGER,
    silenced_until_us INTEGER,
    times INTEGER NOT NULL,
    due_us INTEGER NOT NULL,
    told_us INTEGER,
    told_severity TEXT NOT NULL,
    told_times INTEGER NOT NULL,
    gone_us INTEGER,
    again_us INTEGER,
    ack_due INTEGER NOT NULL,
    fresh INTEGER NOT NULL
);
CREATE UNIQUE INDEX alerts_open ON alerts (key) WHERE state <> 'resolved';
CREATE INDEX alerts_resolved ON alerts (resolved_us) WHERE state = 'resolved';
CREATE INDEX alerts_under ON alerts (under_id) WHERE under_id IS NOT NULL;
CREATE TABLE alert_steps (
    id INTEGER PRIMARY KEY,
    alert_id INTEGER NOT NULL,
    t_us INTEGER NOT NULL,
    what TEXT NOT NULL,
    who TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX alert_steps_of ON alert_steps (alert_id);
CREATE TABLE silences (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    match TEXT NOT NULL,
    why TEXT NOT NULL,
    who TEXT NOT NULL,
    from_us INTEGER NOT NULL,
    until_us INTEGER NOT NULL
);
CREATE TABLE alert_book (one INTEGER PRIMARY KEY CHECK (one = 1), n INTEGER NOT NULL, next_id INTEGER NOT NULL);
INSERT INTO alert_book VALUES (1, 0, 1);
"""


class Row(Struct):
    """One alert as it is kept: what everybody sees (:func:`alert`), and what the book goes by."""

    id: int
    key: str
    subject: str
    severity: Severity
    title: str
    code: str
    kept: str
    do: str
    of_absence: bool
    since_us: int
    opened_us: int
    changed_us: int
    state: State
    cause_id: int | None
    under_id: int | None
    """The last cause: under which it is listed when that is over."""
    resolved_us: int | None
    acknowledged_by: str
    acknowledged_us: int | None
    silenced_until_us: int | None
    times: int
    due_us: int
    """Nobody is told before: until then a cause may turn up."""
    told_us: int | None
    """When somebody was last told that it is so (``opened``, ``again``); a group's member with its group."""
    told_severity: str
    """As what it is known to people; '': they know nothing of it, or were told that it is over."""
    told_times: int
    gone_us: int | None
    """Since when its condition is no more; it is resolved once that has lasted."""
    again_us: int | None
    """When it was last raised again within this life."""
    ack_due: bool
    """Acknowledged, and the parts have not been told so yet."""
    fresh: bool
    """It was there when this process began to look: when it began is known by ``since_us`` alone."""


class Step(Struct, frozen=True):
    """One line of an alert's story."""

    alert_id: int
    t_us: int
    what: str
    """opened, told, worse, caused, alone, grouped, gone, back, again, silenced, unsilenced, acknowledged, resolved"""
    who: str = ""
    text: str = ""


class Silence(Struct, frozen=True):
    id: int
    match: str
    why: str
    who: str
    from_us: int
    until_us: int


STEPS_KEPT = 1000
"""Of an alert that is open: one that comes and goes for a year would fill the disk."""
FIELDS = Row.__struct_fields__
_COLUMNS = ", ".join(FIELDS)
_PUT = (f"INSERT INTO alerts ({_COLUMNS}) VALUES ({', '.join('?' * len(FIELDS))}) ON CONFLICT (id) DO UPDATE SET "
        + ", ".join(f"{field} = excluded.{field}" for field in FIELDS[1:]))
_SEEN = Alert.__struct_fields__


def alert(row: Row) -> Alert:
    return Alert(*[getattr(row, field) for field in _SEEN])


# --- the book's own ---------------------------------------------------------------------------------------


def number(db: AlertsDb) -> tuple[int, int]:
    """(how often the book was written, the next alert's id): another number than one's own is another state."""
    found = db.rows("SELECT n, next_id FROM alert_book")[0]
    return int(found["n"]), int(found["next_id"])


def book(db: AlertsDb, since_us: int) -> list[Row]:
    """All open ones, and those resolved since ``since_us``."""
    return [_row(found) for found in db.rows(
        f"SELECT {_COLUMNS} FROM alerts WHERE state <> 'resolved' OR (state = 'resolved' AND resolved_us >= ?) "
        "ORDER BY id", since_us)]


def write(db: AlertsDb, rows: Iterable[Row], steps: Iterable[Step], n: int, next_id: int) -> None:
    with db.writing() as to:
        to.executemany(_PUT, map(astuple, rows))
        to.executemany("INSERT INTO alert_steps (alert_id, t_us, what, who, text) VALUES (?, ?, ?, ?, ?)",
                       map(astuple, steps))
        to.execute("UPDATE alert_book SET n = ?, next_id = ?", (n, next_id))


def prune(db: AlertsDb, before_us: int, keep: int, limit: int = 2000) -> int:
    """Forget up to ``limit`` of the resolved ones that ended before ``before_us`` or are more than ``keep``."""
    with db.writing() as to:
        gone = [int(found[0]) for found in to.execute(
            "SELECT id FROM alerts WHERE state = 'resolved' AND (resolved_us < ? OR resolved_us < (SELECT resolved_us "
            "FROM alerts WHERE state = 'resolved' ORDER BY resolved_us DESC LIMIT 1 OFFSET ?)) LIMIT ?",
            (before_us, keep, limit))]
        to.executemany("DELETE FROM alert_steps WHERE alert_id = ?", [(one,) for one in gone])
        to.executemany("DELETE FROM alerts WHERE id = ?", [(one,) for one in gone])
        to.execute("DELETE FROM silences WHERE until_us < ?", (before_us,))
        for flapping in to.execute("SELECT s.alert_id, s.id FROM alerts a JOIN alert_steps s ON s.id = (SELECT id FROM "
                                   "alert_steps WHERE alert_id = a.id ORDER BY id DESC LIMIT 1 OFFSET ?) "
                                   "WHERE a.state <> 'resolved'", (STEPS_KEPT,)).fetchall():
            to.execute("DELETE FROM alert_steps WHERE alert_id = ? AND id <= ?", tuple(flapping))
    return len(gone)


_SINCE = "CASE WHEN since_us > opened_us - 900000000 THEN since_us + ?1 ELSE min(since_us, ?2) END"
"""A time of the hub's own goes with its clock; of a device that was long so, it is the device's."""


def shift(db: AlertsDb, by_us: int, now_us: int) -> None:
    """The clock was set by so much. Alerts go on; a silence lasts no longer than it was made for."""
    moved = ", ".join(f"{field} = {field} + ?1" for field in (
        "opened_us", "changed_us", "resolved_us", "acknowledged_us", "due_us", "told_us", "gone_us", "again_us"))
    with db.writing() as to:
        to.execute(f"UPDATE alerts SET since_us = {_SINCE}, {moved} WHERE state <> 'resolved' OR resolved_us > "
                   "?2 - ?1 - 86400000000", (by_us, now_us))
        to.execute("UPDATE silences SET until_us = ?1 WHERE until_us > ?1 AND until_us <= ?2", (now_us, now_us - by_us))
        to.execute("UPDATE silences SET until_us = CASE WHEN until_us > ?2 THEN until_us - from_us + ?1 ELSE ?1 END, "
                   "from_us = ?1 WHERE from_us > ?1", (now_us, now_us - by_us))
        to.execute("UPDATE alert_book SET n = n + 1")


def add_silence(db: AlertsDb, match: str, why: str, who: str, from_us: int, until_us: int) -> int:
    with db.writing() as to:
        return int(to.execute("INSERT INTO silences (match, why, who, from_us, until_us) VALUES (?, ?, ?, ?, ?)",
                              (match, why, who, from_us, until_us)).lastrowid or 0)


def end_silence(db: AlertsDb, silence_id: int, now_us: int) -> bool:
    """False when there is none that still goes on."""
    with db.writing() as to:
        return to.execute("UPDATE silences SET until_us = ? WHERE id = ? AND until_us > ?",
                          (now_us, silence_id, now_us)).rowcount == 1


# --- for everybody ----------------------------------------------------------------------------------------


def one(db: Rows, alert_id: int) -> Row | None:
    found = db.rows(f"SELECT {_COLUMNS} FROM alerts WHERE id = ?", alert_id)
    return _row(found[0]) if found else None


def open_alerts(db: Rows) -> list[Row]:
    """All that are not resolved, the oldest first."""
    return [_row(found) for found in db.rows(
        f"SELECT {_COLUMNS} FROM alerts WHERE state <> 'resolved' ORDER BY id")]


def is_open(db: Rows, subject: str) -> bool:
    """Whether anything is wrong with ``subject`` itself."""
    return bool(db.rows("SELECT 1 FROM alerts WHERE state <> 'resolved' AND subject = ? LIMIT 1", subject))


LATEST = (1 << 62, 0)


def history(db: Rows, before: tuple[int, int], limit: int, like: str = "", *, all_: bool = False) -> list[Row]:
    """Resolved ones before ``before`` (when it ended, id), the latest first. Not ``all_``: without those that were only
    ever listed under another one, unless they are looked for."""
    where, values = "", []
    if like:
        where = "AND (instr(lower(title), ?) OR instr(lower(subject), ?)) "
        values = [like.lower(), like.lower()]
    elif not all_:
        where = ("AND (under_id IS NULL OR EXISTS (SELECT 1 FROM alert_steps WHERE alert_id = alerts.id AND what = "
                 "'told')) ")
    return [_row(found) for found in db.rows(
        f"SELECT {_COLUMNS} FROM alerts WHERE state = 'resolved' AND (resolved_us, id) < (?, ?) {where}"
        "ORDER BY resolved_us DESC, id DESC LIMIT ?", *before, *values, limit)]


def children(db: Rows, alert_id: int, limit: int = 1000) -> list[Row]:
    """Listed under ``alert_id``, or last listed there."""
    return [_row(found) for found in db.rows(
        f"SELECT {_COLUMNS} FROM alerts WHERE under_id = ? ORDER BY id LIMIT ?", alert_id, limit)]


def under(db: Rows, alert_id: int, limit: int) -> tuple[int, tuple[str, ...]]:
    """How many open alerts are listed under it, and titles of some."""
    n = int(db.rows("SELECT count(*) FROM alerts WHERE under_id = ? AND state <> 'resolved'", alert_id)[0][0])
    return n, tuple(str(found[0]) for found in db.rows(
        "SELECT title FROM alerts WHERE under_id = ? AND state <> 'resolved' ORDER BY id LIMIT ?", alert_id, limit))


def steps(db: Rows, alert_id: int, limit: int = 500) -> list[Step]:
    """The latest ``limit``, in their order."""
    found = db.rows("SELECT alert_id, t_us, what, who, text FROM alert_steps WHERE alert_id = ? ORDER BY id DESC "
                    "LIMIT ?", alert_id, limit)
    return [Step(*row) for row in reversed(found)]


class Told(Struct, frozen=True):
    """One message about an alert, by one channel; to whom is the channel's secret."""

    channel: str
    what: str
    state: str
    """waiting, told, dropped, ... as the outbox has it"""
    why: str
    t_us: int
    ended_us: int | None
    error: str


def told(db: Rows, alert_id: int, limit: int = 200) -> list[Told]:
    """Who was told of it and who is about to be, from the outbox."""
    return [Told(*row) for row in db.rows(
        "SELECT n.channel, n.what, CASE WHEN n.state = 'taken' THEN coalesce(m.state, n.state) ELSE n.state END, "
        "n.why, n.t_us, m.ended_us, coalesce(m.error, '') FROM notices n LEFT JOIN messages m ON m.id = n.message_id "
        "WHERE n.alert_id = ? ORDER BY n.id LIMIT ?", alert_id, limit)]


def version(db: Rows) -> int:
    """Another number: something changed."""
    found = db.rows("SELECT n FROM alert_book")
    return int(found[0]["n"]) if found else 0


def silences(db: Rows, now_us: int) -> list[Silence]:
    """Those that go on at ``now_us``."""
    return [Silence(*row) for row in db.rows(
        "SELECT id, match, why, who, from_us, until_us FROM silences WHERE until_us > ? ORDER BY id", now_us)]


def counts(db: Rows) -> dict[tuple[str, str], int]:
    """(severity, ``open`` | ``acknowledged`` | ``child`` | ``silenced``) -> how many are not resolved."""
    found: Sequence[sqlite3.Row] = db.rows(
        "SELECT severity, CASE WHEN cause_id IS NOT NULL THEN 'child' WHEN silenced_until_us IS NOT NULL THEN "
        "'silenced' ELSE state END AS how, count(*) AS n FROM alerts WHERE state <> 'resolved' GROUP BY 1, 2")
    return {(row["severity"], row["how"]): int(row["n"]) for row in found}


def _row(found: sqlite3.Row) -> Row:
    values = list(found)
    for place in _FLAGS:
        values[place] = bool(values[place])
    return Row(*values)


_FLAGS = [FIELDS.index(name) for name in ("of_absence", "ack_due", "fresh")]
