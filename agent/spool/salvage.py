"""A damaged spool file: what can be read goes into a new one under its old numbers, the rest is counted as lost.

The counters of an epoch say how many samples waited; what the readable rows do not make up is lost, and the numbers
without a row are where. Both are told to the hub as gaps of the old epoch, which then is over. New samples get a new
epoch, because nobody can say which of the newest numbers a damaged file has forgotten.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

from agent.spool import carve, wal
from agent.spool import database as db
from agent.spool.ranges import Ranges
from agent.spool.rows import CURRENT, INSERT_EPOCH, OLD, SELECT_EPOCHS, Epoch, is_boot, is_whole, row_id, split_id
from agent.wire.records import BadBody, ClockInfo, Header, decode_body

CHECK_S = 1.5
SPARE_NUMBERS = 1_000_000
"""Left out when an epoch's counter is lost: the newest numbers may have been used and forgotten."""
REASON = "corrupt"
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


def looks_sound(path: Path, limit_s: float = CHECK_S) -> bool:
    """A check of the file's structure, cut off after ``limit_s`` on a large one: every row has its own checksum,
    so what this misses is found when it is read. Raises sqlite3.Error for trouble that is not the content's."""
    if not path.exists():
        return True
    if not _has_our_header(path) or not wal.looks_sound(Path(f"{path}-wal")):
        return False
    database = sqlite3.connect(path, timeout=1.0, isolation_level=None)
    database.text_factory = db.any_text
    try:
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        ends = time.monotonic() + limit_s
        database.set_progress_handler(lambda: time.monotonic() > ends, 20_000)
        if not db.has_our_schema(database):
            return False
        return bool(database.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
    except sqlite3.OperationalError as error:
        if "interrupted" in str(error):
            return True
        if "locked" in str(error):
            raise db.SpoolBusy(f"{path} is held by another process: is a second uplink running?") from None
        if db.is_corrupt(error):
            return False
        raise
    except sqlite3.DatabaseError as error:
        if db.is_corrupt(error):
            return False
        raise
    except UnicodeDecodeError:  # SQLite quotes a damaged name in its message, and Python cannot read that
        return False
    finally:
        database.set_progress_handler(None, 0)
        database.close()


def _has_our_header(path: Path) -> bool:
    """The fields of the file's header that never change (file format, 1.3). A flipped bit in some of them does not
    look like damage to SQLite: with an unknown write version it opens the file for reading only."""
    try:
        with path.open("rb") as file:
            head = file.read(60)
    except OSError:
        return True  # not the content's fault: opening it says what is wrong
    return not head or (
        head[:18] == b"SQLite format 3\0" + db.PAGE_BYTES.to_bytes(2, "big") and head[18] in (1, 2)
        and head[19] in (1, 2) and head[20:24] == bytes((0, 64, 32, 32)) and head[44:48] in (bytes(4), b"\0\0\0\4")
        and head[56:60] in (bytes(4), b"\0\0\0\1"))


# --- names of epochs beside the file ------------------------------------------------------------------------


def note_epochs(path: Path, epochs: dict[int, str]) -> None:
    """``<spool>.epochs``: without the name of its epoch a saved row could not be sent. Written once an epoch."""
    names = Path(f"{path}.epochs")
    text = json.dumps({str(number): epoch for number, epoch in sorted(epochs.items())})
    with contextlib.suppress(OSError):
        if names.exists() and names.read_text() == text:
            return
    with contextlib.suppress(OSError):  # a disk that fails: this is only the second copy
        part = Path(f"{names}.new")
        with part.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(names)


def noted_epochs(path: Path) -> dict[int, str]:
    try:
        raw = json.loads(Path(f"{path}.epochs").read_text())
        return {int(number): str(epoch) for number, epoch in raw.items() if len(str(epoch)) == 16}
    except (OSError, ValueError, AttributeError):
        return {}


# --- reading ------------------------------------------------------------------------------------------------


def rebuild(path: Path, hardware: list[str]) -> Found:
    """Make a new file at ``path`` from what the damaged one still says; the old one stays as ``<name>.bad``.

    Raises sqlite3.Error or OSError only when the new file cannot be written."""
    bad = Path(f"{path}.bad")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{bad}{suffix}").unlink()
    for suffix in ("", "-wal"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").replace(f"{bad}{suffix}")
    with contextlib.suppress(FileNotFoundError):
        Path(f"{path}-shm").unlink()
    wal.repair(Path(f"{bad}-wal"))
    reader = _Reader(bad)
    try:
        return _write(path, reader, hardware)
    finally:
        reader.close()


class _Reader:
    """Every table of a damaged file, as far as it can be read; nothing here raises for its content."""

    def __init__(self, bad: Path) -> None:
        self.names = noted_epochs(Path(str(bad).removesuffix(".bad")))
        _lend_schema(bad)
        self.database = sqlite3.connect(bad, isolation_level=None)
        self.database.text_factory = db.any_text
        with contextlib.suppress(sqlite3.Error):
            self.database.execute("PRAGMA locking_mode=EXCLUSIVE")  # else a log needs shared memory beside it
        self.rows: dict[int, tuple[Any, ...]] = {}
        with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
            self.database.execute("PRAGMA writable_schema=ON")  # do not stop at an index or table we do not need
        self.epochs = self._epochs()
        self.boots = {row[0]: row for row in self._table(
            "SELECT id, boot, offset_us, quality, first_us, last_us, base_s FROM boots") if is_boot(row)}
        self.gaps = [row for row in self._table("SELECT id, last, n, reason, alone FROM gaps")
                     if all(isinstance(value, int) for value in (row[0], row[1], row[2], row[4]))]
        self.runs = [row for row in self._table("SELECT instance, run, n, at_s FROM runs")
                     if isinstance(row[0], str) and isinstance(row[1], str) and isinstance(row[2], int)]
        self.kept = [row for row in self._table("SELECT instance, value FROM kept") if isinstance(row[0], str)]
        self.meta = [row for row in self._table("SELECT key, value FROM meta") if row[0] in ("generation", "term")]
        if not self._read_batches() or set(self.names) - set(self.epochs):
            self._carve(bad)

    def close(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self.database.close()

    def _try(self, query: str, values: tuple[Any, ...] = ()) -> Rows | None:
        try:
            return self.database.execute(query, values).fetchall()
        except (sqlite3.Error, OverflowError, UnicodeDecodeError):
            return None

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

    def _read_batches(self) -> bool:
        """By SQL, which is fast; False at the first damage."""
        try:
            for row in self.database.execute(
                    "SELECT id, n, prio, boot, enc, created_s, total, crc, body FROM batches"):
                if self._whole(row):
                    self.rows[row[0]] = row
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
                        row = (number, *values[1:])
                        if self._whole(row):
                            self.rows[number] = row
                    case [None, str(), str(), *_] if len(values) == 11:
                        self._carved_epoch((*values[1:], number))
                    case [None, str(), _, str(), int(), int(), int()]:
                        boot = (number, *values[1:])
                        if is_boot(boot):
                            self.boots.setdefault(number, boot)
                    case [None, int(), int(), str(), int()] if split_id(number)[0] > 0:
                        if number not in {row[0] for row in self.gaps}:
                            self.gaps.append((number, *values[1:]))
        finally:
            pages.close()

    def _carved_epoch(self, row: tuple[Any, ...]) -> None:
        with contextlib.suppress(ValueError, TypeError):
            epoch = Epoch.of(row)
            if self.names.get(epoch.id) == epoch.epoch:
                self.epochs.setdefault(epoch.id, epoch)

    @staticmethod
    def _whole(row: tuple[Any, ...]) -> bool:
        number, n, prio, boot, enc, created_s, total, crc, body = row
        return isinstance(created_s, int) and isinstance(total, int) and is_whole(number, n, prio, boot, enc, crc, body)


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


def _write(path: Path, reader: _Reader, hardware: list[str]) -> Found:
    database = db.open_database(path)
    found = Found(0, 0, [])
    try:
        known = {*reader.epochs, *reader.names}
        database.execute("BEGIN IMMEDIATE")
        for boot in _boots(reader):
            database.execute("INSERT INTO boots VALUES(?,?,?,?,?,?,?)", boot)
        for row in sorted(reader.rows.values()):
            if split_id(row[0])[0] not in known:
                continue  # of an epoch that has no name any more: nobody could place its numbers
            database.execute("INSERT INTO batches VALUES(?,?,?,?,?,?,?,?,?)", row)
        _insert(database, "INSERT OR REPLACE INTO runs VALUES(?,?,?,?)", reader.runs)
        _insert(database, "INSERT OR REPLACE INTO kept VALUES(?,?)", reader.kept)
        _insert(database, "INSERT OR REPLACE INTO meta VALUES(?,?)", reader.meta)
        for number in sorted({*reader.epochs, *reader.names}):
            _epoch(database, reader, number, hardware, found)
        database.execute("COMMIT")
    finally:
        db.close_database(database, path)
    if not reader.epochs and not reader.names:
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
    for number in sorted({row[3] for row in reader.rows.values()} - set(reader.boots)):
        yield number, secrets.token_hex(16), None, "unsynced", 0, 0, 0


def _epoch(database: sqlite3.Connection, reader: _Reader, number: int, hardware: list[str], found: Found) -> None:
    rows = {split_id(row)[1]: data for row, data in reader.rows.items() if split_id(row)[0] == number}
    epoch = reader.epochs.get(number)
    counted = epoch is not None
    if epoch is None:
        # Its counters are gone: everything readable is sent again, and the hub knows what it has.
        top = max(rows, default=0)
        epoch = Epoch(number, reader.names[number], hardware[0] if hardware else "", top + SPARE_NUMBERS, state=OLD)
        epoch.produced = sum(row[1] for row in rows.values())
    excused = Ranges((split_id(row)[1], last) for row, last, *_ in reader.gaps if split_id(row)[0] == number)
    for seq, row in rows.items():
        if seq not in epoch.settled:
            for first, last in _told(row):
                excused.add(first, last)
    for seq in [seq for seq in rows if seq in excused or seq >= epoch.next_seq]:
        database.execute("DELETE FROM batches WHERE id=?", (row_id(number, seq),))
        del rows[seq]  # carved out of a page that was free already: it was thrown out and counted before
    waiting = {seq: row for seq, row in rows.items() if seq not in epoch.settled}
    present = Ranges((seq, seq) for seq in sorted(rows))
    missing = [(first, last) for hole in epoch.settled.holes(1, epoch.next_seq - 1)
               for part in present.holes(*hole) for first, last in excused.holes(*part)]
    saved = sum(row[1] for row in waiting.values())
    lost = max(0, epoch.unsettled - saved)
    for row in reader.gaps:
        if split_id(row[0])[0] == number:
            with contextlib.suppress(sqlite3.IntegrityError):
                database.execute("INSERT INTO gaps VALUES(?,?,?,?,?)", row)
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


def _told(row: tuple[Any, ...]) -> list[tuple[int, int]]:
    """The gaps that a record without samples tells of."""
    if row[1] != 0:
        return []
    try:
        body = decode_body(Header("0", 1, 0, row[2], "", ClockInfo(None, ""), row[4]), row[8])
    except BadBody:
        return []
    return [(gap.first, gap.last) for gap in body.dropped]


