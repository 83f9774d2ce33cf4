"""A damaged spool file: what can be read goes into a new one under its old numbers, the rest is counted as lost.

The counters of an epoch say how many samples waited; what the readable rows do not make up is lost, and the numbers
without a row are where. Both are told to the hub as gaps of the old epoch, which then is over. New samples get a new
epoch, because nobody can say which of the newest numbers a damaged file has forgotten.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from msgspec import Struct

from agent.spool import carve, soundness, wal
from agent.spool import database as db
from agent.spool.ranges import Ranges
from agent.spool.rows import CURRENT, INSERT_EPOCH, OLD, SELECT_EPOCHS, Epoch, is_boot, is_whole, row_id, split_id
from agent.wire.records import BadBody, ClockInfo, Header, decode_body

SPARE_NUMBERS = 1_000_000
"""Left out when an epoch's counter is lost: the newest numbers may have been used and forgotten."""
REASON = "corrupt"
INSERT_ROW = "INSERT INTO batches VALUES(?,?,?,?,?,?,?,?,?)"
Rows = list[tuple[Any, ...]]


class Found(Struct):
    """What a salvage gave: samples saved, samples lost (None: more than can be counted), and where."""

    saved: int
    lost: int | None
    ranges: list[tuple[str, int, int]]
    """(epoch, first, last)"""

    def words(self) -> str:
        """The end of the fault's line."""
        if not self.ranges and self.lost == 0:
            return "0 lost"
        count = "an unknown number of samples" if self.lost is None else f"{self.lost} samples"
        where = ", ".join(f"{first}-{last} of {epoch}" for epoch, first, last in self.ranges[:5])
        more = f" and {len(self.ranges) - 5} ranges more" if len(self.ranges) > 5 else ""
        return f"{count} lost{f', batches {where}{more}' if where else ''}"


# --- reading ------------------------------------------------------------------------------------------------


def rebuild(path: Path, hardware: list[str]) -> Found:
    """Make a new file at ``path`` from what the damaged one still says; the old one stays as ``<name>.bad``.

    The new file appears whole or not at all, so a kill in between only means that it is done again. Raises
    sqlite3.Error or OSError only when the new file cannot be written."""
    bad = soundness.bad_path(path)
    if path.exists():
        _remove(bad)
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").replace(f"{bad}{suffix}")
    _remove(path)
    wal.repair(Path(f"{bad}-wal"))
    fresh = Path(f"{path}.new")
    _remove(fresh)
    database = db.open_database(fresh)
    try:
        database.execute("BEGIN IMMEDIATE")
        reader = _Reader(bad, lambda row: database.execute(INSERT_ROW, row))
        try:
            found = _write(database, reader, hardware)
        finally:
            reader.close()
        database.execute("COMMIT")
    finally:
        db.close_database(database, fresh)
    fresh.replace(path)
    return found


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").unlink()


class _Kept(NamedTuple):
    """What is remembered of a row that was read and written again."""

    n: int
    boot: int
    told: tuple[tuple[int, int], ...]
    """Ranges that a record without samples tells of as gaps."""


class _Reader:
    """Every table of a damaged file, as far as it can be read; nothing here raises for its content.

    Rows go to ``write`` at once: a spool may be larger than this machine's memory."""

    def __init__(self, bad: Path, write: Callable[[tuple[Any, ...]], object]) -> None:
        self.names = soundness.noted_epochs(Path(str(bad).removesuffix(".bad")))
        self.rows: dict[int, _Kept] = {}
        self._write = write
        _lend_schema(bad)
        self.database = sqlite3.connect(bad, isolation_level=None)
        self.database.text_factory = db.any_text
        with contextlib.suppress(sqlite3.Error):
            self.database.execute("PRAGMA locking_mode=EXCLUSIVE")  # else a log needs shared memory beside it
        with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
            self.database.execute("PRAGMA writable_schema=ON")  # do not stop at an index or table we do not need
        self.epochs = self._epochs()
        self.boots = {row[0]: row for row in self._table(
            "SELECT id, boot, offset_us, quality, first_us, last_us, base_s FROM boots") if is_boot(row)}
        self.gaps = {row[0]: row for row in self._table("SELECT id, last, n, reason, alone FROM gaps")
                     if all(isinstance(value, int) for value in (row[0], row[1], row[2], row[4]))}
        self.runs = [row for row in self._table("SELECT instance, run, n, at_s FROM runs")
                     if isinstance(row[0], str) and isinstance(row[1], str) and isinstance(row[2], int)]
        self.kept = [row for row in self._table("SELECT instance, value FROM kept") if isinstance(row[0], str)]
        self.meta = [row for row in self._table("SELECT key, value FROM meta") if row[0] in ("generation", "term")]
        if not self._read_batches() or set(self.names) - set(self.epochs):
            self._carve(bad)

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.database.close()

    def _table(self, query: str) -> Rows:
        """All rows, or those before the damage."""
        found: Rows = []
        try:
            for row in self.database.execute(query):
                found.append(row)
        except (sqlite3.Error, OverflowError, UnicodeDecodeError):
            return found
        return found

    def _epochs(self) -> dict[int, Epoch]:
        found: dict[int, Epoch] = {}
        for row in self._table(SELECT_EPOCHS):
            with contextlib.suppress(ValueError, TypeError):
                epoch = Epoch.of(row)
                if self.names.get(epoch.id, epoch.epoch) == epoch.epoch and len(epoch.epoch) == 16:
                    found[epoch.id] = epoch
        return found

    def _take(self, row: tuple[Any, ...]) -> None:
        number, n, prio, boot, enc, created_s, total, crc, body = row
        if (number in self.rows or not isinstance(created_s, int) or not isinstance(total, int)
                or not is_whole(number, n, prio, boot, enc, crc, body)):
            return
        self._write(row)
        self.rows[number] = _Kept(n, boot, () if n else _told(prio, enc, body))

    def _read_batches(self) -> bool:
        """By SQL, which is fast; False at the first damage."""
        try:
            for row in self.database.execute(
                    "SELECT id, n, prio, boot, enc, created_s, total, crc, body FROM batches"):
                self._take(row)
        except (sqlite3.Error, OverflowError, UnicodeDecodeError):
            return False
        return True

    def _carve(self, bad: Path) -> None:
        """Leaf by leaf, whatever the trees above them say. Rows thrown out earlier may come up again: they are told
        from the others by their numbers."""
        pages = carve.Pages(bad)
        try:
            for number, values in carve.records(pages):
                match values:
                    case [None, int(), int(), int(), str(), int(), int(), int(), bytes()]:
                        self._take((number, *values[1:]))
                    case [None, str(), str(), *_] if len(values) == 11:
                        self._carved_epoch((*values[1:], number))
                    case [None, str(), _, str(), int(), int(), int()]:
                        boot = (number, *values[1:])
                        if is_boot(boot):
                            self.boots.setdefault(number, boot)
                    case [None, int(), int(), str(), int()] if split_id(number)[0] > 0:
                        self.gaps.setdefault(number, (number, *values[1:]))
        finally:
            pages.close()

    def _carved_epoch(self, row: tuple[Any, ...]) -> None:
        with contextlib.suppress(ValueError, TypeError):
            epoch = Epoch.of(row)
            if self.names.get(epoch.id) == epoch.epoch:
                self.epochs.setdefault(epoch.id, epoch)


def _told(prio: int, enc: str, body: bytes) -> tuple[tuple[int, int], ...]:
    try:
        read = decode_body(Header("0", 1, 0, prio, "", ClockInfo(None, ""), enc), body)
    except BadBody:
        return ()
    return tuple((gap.first, gap.last) for gap in read.dropped)


def _lend_schema(bad: Path) -> None:
    """A damaged first page hides every table although their pages are whole. The schema is made in the same order each
    time, so a new file's first page has the same root pages: lend it."""
    try:
        with contextlib.closing(sqlite3.connect(bad, isolation_level=None)) as database:
            database.text_factory = db.any_text
            tables = database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables == len(db.SCHEMA) and db.has_our_schema(database):
                return
    except (sqlite3.Error, UnicodeDecodeError):
        pass
    fresh = Path(f"{bad}.schema")
    with contextlib.suppress(FileNotFoundError):
        fresh.unlink()
    try:
        made = db.open_database(fresh)
        made.execute("PRAGMA journal_mode=DELETE")
        db.close_database(made, fresh)
        page = bytearray(fresh.read_bytes()[: db.PAGE_BYTES])
        size = os.path.getsize(bad) // db.PAGE_BYTES
        page[28:32] = size.to_bytes(4, "big")  # the file's size in pages (SQLite file format, section 1.3)
        page[32:40] = bytes(8)  # no free pages: nothing is written to this file any more
        with bad.open("r+b") as file:
            file.write(page)
    except (sqlite3.Error, OSError):
        return
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            with contextlib.suppress(FileNotFoundError):
                Path(f"{fresh}{suffix}").unlink()


# --- writing ------------------------------------------------------------------------------------------------


def _write(database: sqlite3.Connection, reader: _Reader, hardware: list[str]) -> Found:
    found = Found(0, 0, [])
    for boot in _boots(reader):
        database.execute("INSERT INTO boots VALUES(?,?,?,?,?,?,?)", boot)
    _insert(database, "INSERT OR REPLACE INTO runs VALUES(?,?,?,?)", reader.runs)
    _insert(database, "INSERT OR REPLACE INTO kept VALUES(?,?)", reader.kept)
    _insert(database, "INSERT OR REPLACE INTO meta VALUES(?,?)", reader.meta)
    known = {*reader.epochs, *reader.names}
    for row in [row for row in reader.rows if split_id(row)[0] not in known]:
        # of an epoch that has no name any more: nobody could place its numbers
        database.execute("DELETE FROM batches WHERE id=?", (row,))
        del reader.rows[row]
    for number in sorted(known):
        _epoch(database, reader, number, hardware, found)
    if not known:
        found.lost = None
    return found


def _insert(database: sqlite3.Connection, query: str, rows: Rows) -> None:
    for row in rows:
        with contextlib.suppress(sqlite3.IntegrityError, sqlite3.InterfaceError):
            database.execute(query, row)


def _boots(reader: _Reader) -> Iterator[tuple[Any, ...]]:
    """The boots, and one with a made-up id for rows whose boot cannot be read: they are placed by their arrival."""
    seen: set[str] = set()
    for number, boot, *rest in reader.boots.values():
        if boot in seen:
            yield number, secrets.token_hex(16), None, "unsynced", 0, 0, 0
        else:
            yield number, boot, *rest
        seen.add(boot)
    for number in sorted({row.boot for row in reader.rows.values()} - set(reader.boots)):
        yield number, secrets.token_hex(16), None, "unsynced", 0, 0, 0


def _epoch(database: sqlite3.Connection, reader: _Reader, number: int, hardware: list[str], found: Found) -> None:
    rows = {split_id(row)[1]: kept for row, kept in reader.rows.items() if split_id(row)[0] == number}
    epoch = reader.epochs.get(number)
    counted = epoch is not None
    if epoch is None:
        # Its counters are gone: everything readable is sent again, and the hub knows what it has.
        top = max(rows, default=0)
        epoch = Epoch(number, reader.names[number], hardware[0] if hardware else "", top + SPARE_NUMBERS, state=OLD)
        epoch.produced = sum(row.n for row in rows.values())
    excused = Ranges((split_id(row[0])[1], row[1]) for row in reader.gaps.values() if split_id(row[0])[0] == number)
    for seq, row in rows.items():
        if seq not in epoch.settled:
            for first, last in row.told:
                excused.add(first, last)
    for seq in [seq for seq in rows if seq in excused or seq >= epoch.next_seq]:
        database.execute("DELETE FROM batches WHERE id=?", (row_id(number, seq),))
        del rows[seq]  # carved out of a page that was free already: it was thrown out and counted before
    waiting = {seq: row for seq, row in rows.items() if seq not in epoch.settled}
    present = Ranges((seq, seq) for seq in sorted(rows))
    missing = [(first, last) for hole in epoch.settled.holes(1, epoch.next_seq - 1)
               for part in present.holes(*hole) for first, last in excused.holes(*part)]
    saved = sum(row.n for row in waiting.values())
    lost = max(0, epoch.unsettled - saved)
    for gap in reader.gaps.values():
        if split_id(gap[0])[0] == number:
            with contextlib.suppress(sqlite3.IntegrityError):
                database.execute("INSERT INTO gaps VALUES(?,?,?,?,?)", gap)
    for index, (first, last) in enumerate(missing):
        # All of the count with the first range: how it spreads over them is known to nobody.
        database.execute("INSERT OR REPLACE INTO gaps VALUES(?,?,?,?,1)",
                         (row_id(number, first), last, lost if index == 0 else 0, REASON))
    if lost:
        epoch.dropped = {**epoch.dropped, REASON: epoch.dropped.get(REASON, 0) + lost}
    epoch.produced = max(epoch.produced, epoch.receipted + sum(epoch.dropped.values()) + saved)
    epoch.waiting = len(waiting)
    if epoch.state == CURRENT:
        epoch.state = OLD
    database.execute(INSERT_EPOCH, epoch.columns())
    found.saved += saved
    found.ranges += [(epoch.epoch, first, last) for first, last in missing]
    found.lost = None if found.lost is None or not counted else found.lost + lost

