"""The spool's file as a set of epochs, boots and rows: opening, transactions, counters. What happens with them is in
:mod:`agent.spool.gaps` and :mod:`agent.spool.spool`.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from agent import clock
from agent.spool import database as db
from agent.spool.rows import (
    CURRENT,
    FOREIGN,
    INSERT_EPOCH,
    SELECT_EPOCHS,
    Boot,
    Epoch,
    Row,
    checksum,
    is_boot,
    row_id,
)

WINDOW = 20
"""Batches sent and not receipted, at most (DESIGN section 4)."""
BOOT_SAVE_S = 60
ROW = "SELECT id, n, prio, boot, enc, created_s, crc, body FROM batches"


class Limits(Struct, frozen=True):
    """``[spool]`` in the units of this package."""

    max_bytes: int = 256 << 20
    max_age_s: float = 30 * 86400.0
    keep_receipted_s: float = 86400.0


class Damaged(Exception):
    """The file's content is wrong: reopen it, which salvages what can be read."""


class SpoolFile:
    """See the module. All times are CLOCK_BOOTTIME in microseconds.

    Methods raise sqlite3.Error when the disk fails (nothing of that call is then kept) and Damaged when the file's
    content is wrong. Use it from one thread."""

    def __init__(
        self,
        path: Path | str,
        limits: Limits | None = None,
        *,
        hardware: list[str] | None = None,
        now_us: Callable[[], int] = clock.boottime_us,
        boot: str | None = None,
    ) -> None:
        self.path = path
        self.limits = limits or Limits()
        self.now_us = now_us
        self.epochs: dict[int, Epoch] = {}
        self.taken: dict[int, Row] = {}
        """Rows in flight, by id."""
        self.tried: set[int] = set()
        """Rows that may have reached the hub although no receipt came: the last to be dropped."""
        self.cursors: dict[tuple[int, int, bool], int] = {}
        """Where the search for rows to drop goes on, by (epoch, priority, tried too)."""
        self.purged: dict[int, int] = {}
        """By epoch: below this number no receipted row is left."""
        self.fresh_boot = True
        """Nothing of this boot was here when the file was opened."""
        self.dirty = False
        """Receipts that are not on disk yet; the next commit takes them along."""
        self.db = db.open_database(path)
        try:
            with self.transaction():
                self.boot = self._enter_boot(boot or clock.boot_id())
                self._load_epochs(hardware or [])
            self.runs: dict[tuple[str, str], int] = {}
            self.kept: dict[str, bytes] = {}
            self._load_runs()
            self._guess_tried()
        except BaseException:
            db.close_database(self.db, path)
            raise

    # --- opening and closing -----------------------------------------------------------------------------

    def _enter_boot(self, boot: str) -> Boot:
        now = self.now_us()
        rows = self.db.execute(
            "SELECT id, boot, offset_us, quality, first_us, last_us, base_s FROM boots ORDER BY id").fetchall()
        if not all(map(is_boot, rows)):
            raise Damaged(f"{self.path}: a boot that cannot be")
        boots = [Boot(*row) for row in rows]
        self.boots = {known.id: known for known in boots}
        for known in boots:
            if known.boot == boot:
                self.fresh_boot = False
                return known
        base = max((known.seconds(known.last_us) for known in boots), default=0)
        new = Boot(max(self.boots, default=0) + 1, boot, None, "unsynced", 0, now, base)
        self.db.execute("INSERT INTO boots VALUES(?,?,?,?,?,?,?)",
                        (new.id, new.boot, None, new.quality, new.first_us, new.last_us, new.base_s))
        self.boots[new.id] = new
        return new

    def _load_epochs(self, hardware: list[str]) -> None:
        for row in self.db.execute(SELECT_EPOCHS):
            try:
                epoch = Epoch.of(row)
            except (ValueError, TypeError) as error:
                raise Damaged(f"{self.path}: {error}") from None
            if epoch.state == CURRENT and epoch.hardware and hardware and epoch.hardware not in hardware:
                epoch.state = FOREIGN  # a copied card: its first board goes on with these numbers (B12)
                self._save_epoch(epoch)
            self.epochs[epoch.id] = epoch
        current = [epoch for epoch in self.epochs.values() if epoch.state == CURRENT]
        self.current = current[-1] if current else self.new_epoch(hardware[0] if hardware else "")

    def _load_runs(self) -> None:
        for instance, run, n in self.db.execute("SELECT instance, run, n FROM runs"):
            if not isinstance(n, int):
                raise Damaged(f"{self.path}: a run that cannot be")
            self.runs[instance, run] = n
        for instance, value in self.db.execute("SELECT instance, value FROM kept"):
            if not isinstance(value, bytes):
                raise Damaged(f"{self.path}: kept state that cannot be")
            self.kept[instance] = value

    def new_epoch(self, hardware: str) -> Epoch:
        """Begin a new series of numbers."""
        epoch = Epoch(max(self.epochs, default=0) + 1, secrets.token_hex(8), hardware)
        self.epochs[epoch.id] = epoch
        self.db.execute(INSERT_EPOCH, epoch.columns())
        return epoch

    def _guess_tried(self) -> None:
        """After a restart: in flight were the oldest rows (backlog) and the newest ones (live), a window of each."""
        for epoch in self.epochs.values():
            if epoch.waiting:
                for order in ("", "DESC"):
                    self.tried.update(self.unsettled_ids(epoch, WINDOW, order))

    def unsettled_ids(self, epoch: Epoch, limit: int, order: str = "") -> list[int]:
        """The oldest rows without a receipt, or with ``DESC`` the newest."""
        found: list[int] = []
        holes = list(epoch.settled.holes(1, epoch.next_seq - 1))
        for first, last in reversed(holes) if order else holes:
            query = f"SELECT id FROM batches WHERE id BETWEEN ? AND ? ORDER BY id {order} LIMIT ?"
            found += [row for (row,) in self.db.execute(
                query, (row_id(epoch.id, first), row_id(epoch.id, last), limit - len(found)))]
            if len(found) >= limit:
                break
        return found

    def close(self) -> None:
        """Write what is pending and close; the file is then one piece, without a log beside it."""
        with contextlib.suppress(sqlite3.Error, Damaged):
            self.flush()
        db.close_database(self.db, self.path)

    # --- transactions ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, in the file and in memory."""
        before = {number: epoch.copy() for number, epoch in self.epochs.items()}
        boots = dict(getattr(self, "boots", {}))
        try:
            self.db.execute("BEGIN IMMEDIATE")
            yield
            self.db.execute("COMMIT")
        except BaseException as error:
            self.epochs.clear()
            self.epochs.update(before)
            self.boots = boots
            self.cursors.clear()
            self.purged.clear()
            if before:
                self.current = next(epoch for epoch in reversed(before.values()) if epoch.state == CURRENT)
            with contextlib.suppress(sqlite3.Error):
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
            if isinstance(error, UnicodeDecodeError) or (isinstance(error, sqlite3.Error) and db.is_corrupt(error)):
                raise Damaged(f"{self.path}: {error}") from error
            raise

    def _save_epoch(self, epoch: Epoch) -> None:
        self.db.execute("""UPDATE epochs SET epoch=?, hardware=?, next_seq=?, produced=?, receipted=?, settled=?,
                           dropped=?, state=?, waiting=?, crc=? WHERE id=?""", epoch.columns())

    def save(self) -> None:
        """Inside a transaction: the counters, and now and then how long this boot has lasted."""
        for epoch in self.epochs.values():
            self._save_epoch(epoch)
        now = self.now_us()
        if now - self.boot.last_us >= BOOT_SAVE_S * 1_000_000:
            self.boot.last_us = now
            self.db.execute("UPDATE boots SET last_us=? WHERE id=?", (now, self.boot.id))

    def flush(self) -> None:
        """Put receipts on disk that came since the last commit."""
        if self.dirty:
            with self.transaction():
                self.save()
            self.dirty = False

    @property
    def now_s(self) -> int:
        """The spool's own clock of age."""
        return self.boot.seconds(self.now_us())

    # --- rows and what belongs to them ---------------------------------------------------------------------

    def take_number(self, epoch: Epoch) -> int:
        epoch.next_seq += 1
        return epoch.next_seq - 1

    def insert(self, epoch: Epoch, n: int, prio: int, boot: int, enc: str, body: bytes) -> int:
        """Inside a transaction: one row with the epoch's next number; returns its id."""
        row = row_id(epoch.id, self.take_number(epoch))
        self.db.execute("INSERT INTO batches VALUES(?,?,?,?,?,?,?,?,?)",
                        (row, n, prio, boot, enc, self.now_s, epoch.produced,
                         checksum(row, n, prio, boot, enc, body), body))
        epoch.waiting += 1
        return row

    def boot_number(self, boot: str) -> int:
        for known in self.boots.values():
            if known.boot == boot:
                return known.id
        new = Boot(max(self.boots) + 1, boot, None, "unsynced", 0, 0, self.boot.base_s)
        self.db.execute("INSERT INTO boots VALUES(?,?,?,?,?,?,?)",
                        (new.id, boot, None, new.quality, 0, 0, new.base_s))
        self.boots[new.id] = new
        return new.id

    def epoch_named(self, epoch: str) -> Epoch | None:
        return next((known for known in self.epochs.values() if known.epoch == epoch), None)

    def meta(self, key: str) -> str | None:
        row = self.db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        if self.meta(key) != value:
            with self.transaction():
                self.db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, value))

    def created_s(self, row: int) -> int:
        return int(self.db.execute("SELECT created_s FROM batches WHERE id=?", (row,)).fetchone()[0])

    def used_bytes(self) -> int:
        """Pages in use; the file itself does not shrink."""
        (pages,) = self.db.execute("PRAGMA page_count").fetchone()
        (free,) = self.db.execute("PRAGMA freelist_count").fetchone()
        (size,) = self.db.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * size)
