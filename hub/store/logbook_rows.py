"""The logbook's tables in alerts.db, and how it is searched.

A line's number is its time in microseconds, moved on by one where that is taken: so the table, its full-text index and
every page of it are in order of time without an index of their own. Searches and filters are one FTS5 query: machine,
service, severity and kind stand in the index as words of the column ``tags``. A crash is kept by its fingerprint with
its counts by machine and version.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from hub.logbook.model import SEVERITIES, Entry, Severity

if TYPE_CHECKING:
    from hub.store.alerts_db import Rows

TABLES = """
CREATE TABLE logbook (
    id INTEGER PRIMARY KEY, last_us INTEGER NOT NULL, count INTEGER NOT NULL, machine TEXT NOT NULL,
    service TEXT NOT NULL, severity INTEGER NOT NULL, kind TEXT NOT NULL, who TEXT NOT NULL, text TEXT NOT NULL,
    detail TEXT NOT NULL, tags TEXT NOT NULL, key TEXT, link TEXT NOT NULL
);
CREATE UNIQUE INDEX logbook_key ON logbook (key) WHERE key IS NOT NULL;
CREATE VIRTUAL TABLE logbook_words USING fts5 (
    machine, service, who, text, detail, tags, content = 'logbook', content_rowid = 'id',
    tokenize = "unicode61 remove_diacritics 2", prefix = '3 4'
);
CREATE TRIGGER logbook_added AFTER INSERT ON logbook BEGIN
    INSERT INTO logbook_words (rowid, machine, service, who, text, detail, tags)
    VALUES (new.id, new.machine, new.service, new.who, new.text, new.detail, new.tags);
END;
CREATE TRIGGER logbook_gone AFTER DELETE ON logbook BEGIN
    INSERT INTO logbook_words (logbook_words, rowid, machine, service, who, text, detail, tags)
    VALUES ('delete', old.id, old.machine, old.service, old.who, old.text, old.detail, old.tags);
END;
CREATE TRIGGER logbook_changed AFTER UPDATE OF machine, service, who, text, detail, tags ON logbook BEGIN
    INSERT INTO logbook_words (logbook_words, rowid, machine, service, who, text, detail, tags)
    VALUES ('delete', old.id, old.machine, old.service, old.who, old.text, old.detail, old.tags);
    INSERT INTO logbook_words (rowid, machine, service, who, text, detail, tags)
    VALUES (new.id, new.machine, new.service, new.who, new.text, new.detail, new.tags);
END;
CREATE TABLE logbook_sources (
    machine TEXT NOT NULL, service TEXT NOT NULL, last_us INTEGER NOT NULL, PRIMARY KEY (machine, service)
) WITHOUT ROWID;
CREATE TABLE logbook_rate (
    machine TEXT NOT NULL, service TEXT NOT NULL, grave INTEGER NOT NULL, hour INTEGER NOT NULL, n INTEGER NOT NULL,
    held INTEGER NOT NULL, PRIMARY KEY (machine, service, grave)
) WITHOUT ROWID;
CREATE TABLE logbook_seen (
    device TEXT NOT NULL, what TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (device, what)
) WITHOUT ROWID;
CREATE TABLE crashes (
    fingerprint TEXT PRIMARY KEY, type TEXT NOT NULL, place TEXT NOT NULL, message TEXT NOT NULL, trace TEXT NOT NULL,
    first_us INTEGER NOT NULL, last_us INTEGER NOT NULL, episode_us INTEGER NOT NULL, count INTEGER NOT NULL,
    line INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX crashes_last ON crashes (last_us);
CREATE TABLE crash_counts (
    fingerprint TEXT NOT NULL, machine TEXT NOT NULL, service TEXT NOT NULL, version TEXT NOT NULL,
    count INTEGER NOT NULL, first_us INTEGER NOT NULL, last_us INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, machine, service, version)
) WITHOUT ROWID;
"""
MAX_US = (1 << 62)
_LINE = "l.id, l.last_us, l.count, l.machine, l.service, l.severity, l.kind, l.who, l.text, l.detail, l.link"


class Line(Struct, frozen=True):
    """A line as it is kept."""

    n: int
    """Its number, and its time in microseconds."""
    last_us: int
    """When it was last said."""
    count: int
    machine: str
    service: str
    severity: Severity
    kind: str
    who: str
    text: str
    detail: str
    link: str
    """A page of the hub that says more, or ''."""


class Query(Struct, frozen=True):
    """Which lines: all that is given must fit."""

    start_us: int = 0
    end_us: int = MAX_US
    before: int = MAX_US
    """Lines with a lower number only: the key of the next page."""
    words: str = ""
    """Each must stand in the line, its beginning is enough; any text is allowed."""
    machine: str = ""
    service: str = ""
    severity: Severity = "debug"
    """At least."""
    kind: str = ""
    commands: bool = True
    """False: without commands, which only those see who may command."""


class Source(Struct, frozen=True):
    machine: str
    service: str
    last_us: int


class Crash(Struct, frozen=True):
    fingerprint: str
    type: str
    place: str
    message: str
    trace: str
    first_us: int
    last_us: int
    episode_us: int
    """When the present (or last) series of it began."""
    count: int
    line: int
    """Number of the newest line of the logbook about it."""


class CrashCount(Struct, frozen=True):
    machine: str
    service: str
    version: str
    count: int
    first_us: int
    last_us: int


def rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else 0


def tag(letter: str, word: str) -> str:
    """A word of the index that no text can imitate: it stands in a column of its own."""
    return letter + hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).hexdigest()


def _tags(entry: Entry) -> str:
    grave = " ".join(f"v{n}" for n in range(1, rank(entry.severity) + 1))
    return f"{tag('m', entry.machine)} {tag('s', entry.service)} {tag('k', entry.kind)} {grave}".strip()


# --- writing (the notify process only) -------------------------------------------------------------------------


def insert(db: sqlite3.Connection, entry: Entry, *, count: int = 1, last_us: int | None = None) -> int:
    """The line's number; that of the line with the same key if there is one."""
    if entry.key:
        row = db.execute("SELECT id FROM logbook WHERE key = ?", (entry.key,)).fetchone()
        if row is not None:
            return int(row[0])
    n = _free(db, entry.t_us)
    db.execute("INSERT INTO logbook VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (
        n, entry.t_us if last_us is None else last_us, count, entry.machine, entry.service, rank(entry.severity),
        entry.kind, entry.who, entry.text, entry.detail, _tags(entry), entry.key or None, entry.link))
    db.execute("INSERT INTO logbook_sources VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET last_us = "
               "max(last_us, excluded.last_us)", (entry.machine, entry.service, entry.t_us))
    return n


def _free(db: sqlite3.Connection, n: int) -> int:
    if db.execute("SELECT 1 FROM logbook WHERE id = ?", (n,)).fetchone() is None:
        return n
    return int(db.execute("SELECT id + 1 FROM logbook a WHERE id >= ? AND NOT EXISTS (SELECT 1 FROM logbook b "
                          "WHERE b.id = a.id + 1) ORDER BY id LIMIT 1", (n,)).fetchone()[0])


def again(db: sqlite3.Connection, n: int, entry: Entry, more: int, *, same_text: bool = True) -> bool:
    """The line was said ``more`` times again. False: it is not there (any more)."""
    return bool(db.execute(
        "UPDATE logbook SET count = count + ?, last_us = max(last_us, ?) WHERE id = ? AND (NOT ? OR (machine = ? AND "
        "service = ? AND text = ?))",
        (more, entry.t_us, n, same_text, entry.machine, entry.service, entry.text)).rowcount)


def number_of(db: sqlite3.Connection, key: str) -> int | None:
    row = db.execute("SELECT id FROM logbook WHERE key = ?", (key,)).fetchone()
    return None if row is None else int(row[0])


def admit(db: sqlite3.Connection, machine: str, service: str, grave: bool, hour: int, limit: int, more: int) -> bool:
    """Whether a source may have another line in this hour; counts it either way."""
    row = db.execute("SELECT hour, n, held FROM logbook_rate WHERE machine = ? AND service = ? AND grave = ?",
                     (machine, service, grave)).fetchone()
    n, held = (row[1], row[2]) if row is not None and row[0] == hour else (0, 0)
    fits = n < limit
    db.execute("INSERT OR REPLACE INTO logbook_rate VALUES (?, ?, ?, ?, ?, ?)",
               (machine, service, grave, hour, n + fits, held + (0 if fits else more)))
    return bool(fits)


def remember(db: sqlite3.Connection, device: str, what: str, value: str) -> None:
    db.execute("INSERT OR REPLACE INTO logbook_seen VALUES (?, ?, ?)", (device, what, value))


def remembered(rows: Rows, what: str) -> dict[str, str]:
    """device -> what was last seen of it."""
    return {row["device"]: row["value"] for row in
            rows.rows("SELECT device, value FROM logbook_seen WHERE what = ?", what)}


def forget(db: sqlite3.Connection, device: str) -> None:
    db.execute("DELETE FROM logbook_seen WHERE device = ?", (device,))


def prune(db: sqlite3.Connection, before_us: int, limit: int) -> int:
    """Remove lines that ended before, at most ``limit`` of them; how many went."""
    gone = db.execute("DELETE FROM logbook WHERE id IN (SELECT id FROM logbook WHERE id < ? ORDER BY id LIMIT ?)",
                      (before_us, limit)).rowcount
    if gone < limit:
        db.execute("DELETE FROM logbook_sources WHERE last_us < ?", (before_us,))
        db.execute("DELETE FROM logbook_rate WHERE hour < ?", (before_us // 3_600_000_000,))
        db.execute("DELETE FROM crash_counts WHERE fingerprint IN (SELECT fingerprint FROM crashes WHERE last_us < ?)",
                   (before_us,))
        db.execute("DELETE FROM crashes WHERE last_us < ?", (before_us,))
    return int(gone)


# --- reading (any process) -------------------------------------------------------------------------------------


def expression(query: Query) -> str:
    """The FTS5 query, '' where only times are asked for. No text of a person is ever an operator in it."""
    parts = []
    if words := query.words.replace("\0", " ").split():
        told = " ".join(f'"{_quoted(word)}"{"*" if len(word) > 2 else ""}' for word in words[:20])
        parts.append(f"{{machine service who text detail}} : ({told.replace(chr(10), ' ')})")
    tags = [tag(letter, word) for letter, word in
            (("m", query.machine), ("s", query.service), ("k", query.kind)) if word]
    tags += [f"v{rank(query.severity)}"] if rank(query.severity) else []
    if tags:
        parts.append(f"{{tags}} : ({' AND '.join(tags)})")
    return " AND ".join(parts)


def _quoted(word: str) -> str:
    return clean(word)[:100].replace('"', '""')


def clean(text: str) -> str:
    """What SQLite can store: no NUL, no half of a surrogate pair."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode()


def find(rows: Rows, query: Query, limit: int) -> list[Line]:
    """Newest first. The next page: ``before`` is the last one's ``n``. Raises StoreError."""
    wanted = expression(query)
    highest = min(query.before, query.end_us)
    some = "" if query.commands else "AND l.kind != 'command' "
    if not wanted:
        found = rows.rows(f"SELECT {_LINE} FROM logbook l WHERE l.id >= ? AND l.id < ? {some}ORDER BY l.id DESC "
                          "LIMIT ?",
                          query.start_us, highest, limit)
    else:
        found = rows.rows(
            f"SELECT {_LINE} FROM logbook_words w JOIN logbook l ON l.id = w.rowid WHERE logbook_words MATCH ? AND "
            f"w.rowid >= ? AND w.rowid < ? {some}ORDER BY w.rowid DESC LIMIT ?", wanted, query.start_us, highest, limit)
    return [_line(row) for row in found]


def pages(rows: Rows, query: Query, size: int = 1000) -> Iterator[list[Line]]:
    """All of it, page by page, so that a year takes no memory."""
    while page := find(rows, query, size):
        yield page
        query = replace(query, before=page[-1].n)


def line(rows: Rows, n: int) -> Line | None:
    found = rows.rows(f"SELECT {_LINE} FROM logbook l WHERE l.id = ?", n)
    return _line(found[0]) if found else None


def lines(rows: Rows, numbers: list[int]) -> list[Line]:
    """Those that are there, newest first."""
    marks = ", ".join("?" * len(numbers))
    return [_line(row) for row in
            rows.rows(f"SELECT {_LINE} FROM logbook l WHERE l.id IN ({marks}) ORDER BY l.id DESC", *numbers)]


def neighbours(rows: Rows, start_us: int, end_us: int) -> tuple[int | None, int | None]:
    """The newest line before, and the oldest one after a range."""
    before = rows.rows("SELECT max(id) AS n FROM logbook WHERE id < ?", start_us)
    after = rows.rows("SELECT min(id) AS n FROM logbook WHERE id >= ?", end_us)
    return (before[0]["n"] if before else None), (after[0]["n"] if after else None)


def known(rows: Rows, key: str) -> bool:
    return bool(rows.rows("SELECT 1 FROM logbook WHERE key = ?", key))


def sources(rows: Rows) -> list[Source]:
    return [Source(*row) for row in
            rows.rows("SELECT machine, service, last_us FROM logbook_sources ORDER BY machine, service")]


def _line(row: sqlite3.Row) -> Line:
    values = list(row)
    values[5] = SEVERITIES[min(max(values[5], 0), len(SEVERITIES) - 1)]
    return Line(*values)


# --- crashes ---------------------------------------------------------------------------------------------------

_CRASH = "fingerprint, type, place, message, trace, first_us, last_us, episode_us, count, line"


def put_crash(db: sqlite3.Connection, crash: Crash) -> None:
    db.execute(f"INSERT OR REPLACE INTO crashes ({_CRASH}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (
        crash.fingerprint, crash.type, crash.place, crash.message, crash.trace, crash.first_us, crash.last_us,
        crash.episode_us, crash.count, crash.line))


def count_crash(db: sqlite3.Connection, fingerprint: str, of: CrashCount) -> None:
    db.execute("INSERT INTO crash_counts VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET count = count + "
               "excluded.count, last_us = max(last_us, excluded.last_us)",
               (fingerprint, of.machine, of.service, of.version, of.count, of.first_us, of.last_us))


def crash(rows: Rows, fingerprint: str) -> Crash | None:
    found = rows.rows(f"SELECT {_CRASH} FROM crashes WHERE fingerprint = ?", fingerprint)
    return Crash(*found[0]) if found else None


def crashes(rows: Rows, since_us: int = 0, limit: int = 200) -> list[Crash]:
    """The last one first."""
    return [Crash(*row) for row in rows.rows(
        f"SELECT {_CRASH} FROM crashes WHERE last_us >= ? ORDER BY last_us DESC LIMIT ?", since_us, limit)]


def crash_counts(rows: Rows, fingerprint: str) -> list[CrashCount]:
    return [CrashCount(*row) for row in rows.rows(
        "SELECT machine, service, version, count, first_us, last_us FROM crash_counts WHERE fingerprint = ? "
        "ORDER BY last_us DESC", fingerprint)]

