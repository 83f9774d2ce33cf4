"""Numbered batches on disk until the hub's receipt: commit, send order, receipts, exact counters.

One transaction holds a group of plugin batches, the highest number of each plugin's run, the kept state and the
counters; so a repeat is known as a repeat after any kill, and ``produced = receipted + dropped + waiting`` is true of
every state of the file. Receipts are kept as ranges in the epoch's row and never touch the batches: a steady device
writes each sample once. What is full or too old goes out in :mod:`agent.spool.room`.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from msgspec import Struct

from agent import clock
from agent.bus import Batch
from agent.spool import database as db
from agent.spool import pack, room
from agent.spool.ranges import Ranges
from agent.spool.rows import (
    CURRENT,
    DONE,
    FOREIGN,
    INSERT_EPOCH,
    OLD,
    RETIRED,
    SELECT_EPOCHS,
    Boot,
    Counts,
    Epoch,
    Row,
    checksum,
    is_boot,
    is_whole,
    row_id,
    split_id,
)
from agent.wire.messages import LedgerCounts
from agent.wire.records import Body, ClockInfo, Dropped, Header, decode_body, encode_body

WINDOW = 20
"""Batches sent and not receipted, at most (DESIGN section 4)."""
GAPS_PER_RECORD = 1000
BOOT_SAVE_S = 60
RUNS_KEPT = 4
ROW = "SELECT id, n, prio, boot, enc, created_s, crc, body FROM batches"


class Limits(Struct, frozen=True):
    """``[spool]`` in the units of this package."""

    max_bytes: int = 256 << 20
    max_age_s: float = 30 * 86400.0
    keep_receipted_s: float = 86400.0


class Damaged(Exception):
    """The file's content is wrong: reopen it, which salvages what can be read."""


class Spool:
    """The rows of one file; see the module's text. All times are CLOCK_BOOTTIME in microseconds.

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

    # --- plugins -----------------------------------------------------------------------------------------

    def welcome(self, instance: str, run: str) -> tuple[int, bytes | None]:
        """(highest committed batch of this run, kept state)"""
        return self.committed(instance, run), self.kept.get(instance)

    def committed(self, instance: str, run: str) -> int:
        return self.runs.get((instance, run), 0)

    def commit(self, batches: Iterable[Batch]) -> dict[tuple[str, str], int]:
        """Store a group of batches in one transaction, each (instance, run, n) once.

        Returns the highest committed number of every run that was named, to be acknowledged."""
        highest: dict[tuple[str, str], int] = {}
        fresh: list[Batch] = []
        for batch in batches:
            run = batch.instance, batch.run
            if run not in highest:
                highest[run] = self.committed(*run)
            if batch.n > highest[run]:
                highest[run] = batch.n
                fresh.append(batch)
        if fresh or self.dirty:
            with self.transaction():
                self.append(pack.pack_all(fresh))
                now_s = self.now_s
                for batch in fresh:
                    if batch.kept is not None:
                        self.db.execute("INSERT OR REPLACE INTO kept VALUES(?, ?)", (batch.instance, batch.kept))
                for (instance, name), n in highest.items():
                    self._save_run(instance, name, n, now_s)
                room.make(self)
                self.save()
            self.dirty = False
            self.runs |= highest
            self.kept |= {batch.instance: batch.kept for batch in fresh if batch.kept is not None}
        return highest

    def _save_run(self, instance: str, run: str, n: int, now_s: int) -> None:
        changed = self.db.execute("UPDATE runs SET n=?, at_s=? WHERE instance=? AND run=?", (n, now_s, instance, run))
        if changed.rowcount == 0:
            self.db.execute("INSERT INTO runs VALUES(?,?,?,?)", (instance, run, n, now_s))
            self.db.execute("""DELETE FROM runs WHERE instance=?1 AND run NOT IN
                (SELECT run FROM runs WHERE instance=?1 ORDER BY at_s DESC, run=?2 DESC LIMIT ?3)""",
                            (instance, run, RUNS_KEPT))

    def append(self, bodies: Iterable[pack.Packed]) -> None:
        """Inside a transaction: give the next numbers and write the rows."""
        for body in bodies:
            self.current.produced += body.n
            if body.data is None:
                self.add_gap(self.current, self.take_number(self.current), body.n, body.reason)
            else:
                self.insert(self.current, body.n, body.prio, self.boot_number(body.boot), body.enc, body.data)

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

    def adopt(self, other: Spool, theirs: Epoch, ours: Epoch, boots: dict[int, int]) -> None:
        """Inside a transaction: copy the unsettled rows and the gaps of another spool's epoch, numbers unchanged."""
        for row, n, prio, boot, enc, _, _, body in other.db.execute(
                f"{ROW} WHERE id BETWEEN ? AND ?", (row_id(theirs.id, 0), row_id(theirs.id + 1, 0) - 1)):
            seq = split_id(row)[1]
            if seq not in theirs.settled:
                mine, place = row_id(ours.id, seq), boots[boot]
                self.db.execute("INSERT INTO batches VALUES(?,?,?,?,?,?,?,?,?)", (
                    mine, n, prio, place, enc, self.now_s, theirs.produced,
                    checksum(mine, n, prio, place, enc, body), body))
        for first, last, n, reason, alone in other.db.execute(
                "SELECT id, last, n, reason, alone FROM gaps WHERE id BETWEEN ? AND ?",
                (row_id(theirs.id, 0), row_id(theirs.id + 1, 0) - 1)):
            self.db.execute("INSERT INTO gaps VALUES(?,?,?,?,?)",
                            (row_id(ours.id, split_id(first)[1]), last, n, reason, alone))

    # --- sending -----------------------------------------------------------------------------------------

    def header(self, row: Row, now: ClockInfo) -> Header:
        """The first line, made at the moment of sending: with what is now known of that row's boot."""
        boot = self.boots[row.boot]
        info = now if boot.id == self.boot.id else ClockInfo(boot.offset_us, boot.quality)
        return Header(row.epoch, row.seq, row.n, row.prio, boot.boot, info, row.enc)

    def set_clock(self, info: ClockInfo) -> bool:
        """Remember the running boot's offset for rows that outlive it; True when it becomes known."""
        became_known = self.boot.offset_us is None and info.offset_us is not None
        if info.offset_us is not None and info.offset_us != self.boot.offset_us:
            with self.transaction():
                self.db.execute("UPDATE boots SET offset_us=?, quality=? WHERE id=?",
                                (info.offset_us, info.quality, self.boot.id))
            self.boot.offset_us, self.boot.quality = info.offset_us, info.quality
        return became_known

    def take(self, limit: int, *, after: int | None = None) -> list[Row]:
        """Up to ``limit`` unsettled rows that are not in flight, oldest first; they are in flight then.

        ``after``: only rows of the current epoch with a higher number (the live end)."""
        rows: list[Row] = []
        for epoch in self.epochs.values() if after is None else (self.current,):
            if not epoch.waiting:
                continue
            busy = Ranges((seq, seq) for number, seq in map(split_id, sorted(self.taken)) if number == epoch.id)
            for hole in epoch.settled.holes((after or 0) + 1, epoch.next_seq - 1):
                for first, last in busy.holes(*hole):
                    rows += self._read(epoch, first, last, limit - len(rows))
                    if len(rows) >= limit:
                        break
                if len(rows) >= limit:
                    break
            if len(rows) >= limit:
                break
        for row in rows:
            self.take_row(row)
        return rows

    def take_row(self, row: Row) -> None:
        """This row is in flight now."""
        self.taken[row.id] = row

    def _read(self, epoch: Epoch, first: int, last: int, limit: int) -> list[Row]:
        try:
            found = self.db.execute(f"{ROW} WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?",
                                    (row_id(epoch.id, first), row_id(epoch.id, last), limit)).fetchall()
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            if isinstance(error, UnicodeDecodeError) or db.is_corrupt(error):
                raise Damaged(f"{self.path}: {error}") from error
            raise
        rows = []
        for row, n, prio, boot, enc, created_s, crc, body in found:
            if not is_whole(row, n, prio, boot, enc, crc, body) or boot not in self.boots:
                raise Damaged(f"{self.path}: batch {split_id(row)[1]} is not what was written")
            rows.append(Row(row, epoch.epoch, split_id(row)[1], n, prio, boot, enc, body, created_s))
        return rows

    def give_back(self, row: int) -> None:
        """A row that was taken goes back into the queue (the link broke)."""
        if self.taken.pop(row, None) is not None:
            self.cursors.clear()

    # --- receipts ----------------------------------------------------------------------------------------

    def epoch_named(self, epoch: str) -> Epoch | None:
        return next((known for known in self.epochs.values() if known.epoch == epoch), None)

    def settle(self, epoch: Epoch, ranges: Iterable[tuple[int, int]]) -> list[int]:
        """Numbers that the hub has: they are counted at once and written with the next commit.

        Returns the ids of rows that were in flight and are now settled."""
        freed: list[int] = []
        for first, last in ranges:
            for a, b in epoch.settled.add(max(1, first), min(last, epoch.next_seq - 1)):
                low, high = row_id(epoch.id, a), row_id(epoch.id, b)
                if a == b and (row := self.taken.get(low)) is not None:
                    rows, samples = 1, row.n  # the usual case needs no look at the disk
                else:
                    rows, samples = self.db.execute(
                        "SELECT count(*), coalesce(sum(n), 0) FROM batches WHERE id BETWEEN ? AND ?", (low, high)
                    ).fetchone()
                epoch.receipted += samples
                epoch.waiting -= rows
                self.dirty = True
                freed += [row for row in self.taken if low <= row <= high]
                self.tried -= {row for row in self.tried if low <= row <= high}
        for row_number in freed:
            del self.taken[row_number]
        self._finish(epoch)
        return freed

    def _finish(self, epoch: Epoch) -> None:
        if epoch.state in (OLD, FOREIGN) and epoch.waiting == 0 and not self.has_gaps(epoch):
            # A foreign one is not ours to end: the board it began on may still be writing.
            epoch.state, self.dirty = (DONE if epoch.state == OLD else RETIRED), True

    def retire_done(self) -> int:
        """A numbered record for each old epoch that is settled: the hub may refuse it from now on."""
        done = [epoch.id for epoch in self.epochs.values() if epoch.state == DONE]
        for number in done:
            enc, data = encode_body(Body(retires=self.epochs[number].epoch))
            with self.transaction():
                self.epochs[number].state = RETIRED
                self.insert(self.current, 0, 3, self.boot.id, enc, data)
                self.save()
        return len(done)

    def resync(self, epoch: Epoch, upto: int, also: Iterable[tuple[int, int]]) -> None:
        """The hub is another one than before (restored from a backup): what it has is true, the rest is sent again.

        What it lost and is no longer kept here becomes a gap, with its count from the marks of :mod:`room`."""
        known = Ranges([(1, upto), *also])
        with self.transaction():
            epoch = self.epochs[epoch.id]
            lost = [hole for first, last in epoch.settled for hole in known.holes(first, last)]
            for first, last in lost:
                rows, samples, low = self.db.execute(
                    "SELECT count(*), coalesce(sum(n), 0), min(id) FROM batches WHERE id BETWEEN ? AND ?",
                    (row_id(epoch.id, first), row_id(epoch.id, last))).fetchone()
                epoch.receipted -= samples
                epoch.waiting += rows
                oldest = split_id(low)[1] if low is not None else last + 1
                if oldest > first and epoch.state != FOREIGN:
                    start, n = room.samples_before(self, epoch, first, oldest)
                    self.note_gap(epoch, start, oldest - 1, n, "hub_restored")
            for first, last in lost:
                epoch.settled.remove(first, last)
            for first, last in known:
                self.settle(epoch, [(first, last)])
            self.purged.clear()
            self.save()
        self.dirty = False

    def meta(self, key: str) -> str | None:
        row = self.db.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, key: str, value: str) -> None:
        if self.meta(key) != value:
            with self.transaction():
                self.db.execute("INSERT OR REPLACE INTO meta VALUES(?, ?)", (key, value))

    # --- what will never come -----------------------------------------------------------------------------

    def drop(self, rows: Iterable[int], reason: str) -> int:
        """Throw rows out, count them and note their numbers; returns the samples lost. One transaction."""
        with self.transaction():
            lost = self.drop_in_transaction(rows, reason)
            self.save()
        return lost

    def drop_in_transaction(self, rows: Iterable[int], reason: str) -> int:
        lost = 0
        for row in rows:
            found = self.db.execute("DELETE FROM batches WHERE id=? RETURNING n", (row,)).fetchone()
            if found is None:
                continue
            number, seq = split_id(row)
            epoch = self.epochs[number]
            epoch.waiting -= 1
            lost += found[0]
            self.add_gap(epoch, seq, found[0], reason, alone=row in self.tried)
            self.taken.pop(row, None)
            self.tried.discard(row)
        return lost

    def add_gap(self, epoch: Epoch, seq: int, n: int, reason: str, *, alone: bool = False) -> None:
        """Inside a transaction: number ``seq`` will never come. Adjacent ones are one entry, but not ``alone`` ones:
        the hub may hold such a number already, and must then be able to pass over its count."""
        epoch.dropped[reason] = epoch.dropped.get(reason, 0) + n
        self.note_gap(epoch, seq, seq, n, reason, alone=alone)

    def note_gap(self, epoch: Epoch, first: int, last: int, n: int, reason: str, *, alone: bool = False) -> None:
        """Inside a transaction: an entry without counting."""
        if epoch.state == FOREIGN:
            return  # the board whose numbers these are reports them
        before = self.db.execute("""SELECT id, last, n, reason, alone FROM gaps WHERE id BETWEEN ? AND ?
                                    ORDER BY id DESC LIMIT 1""",
                                 (row_id(epoch.id, 0), row_id(epoch.id, first))).fetchone()
        if before is not None and (before[1], before[3], before[4], alone) == (first - 1, reason, 0, False):
            self.db.execute("UPDATE gaps SET last=?, n=? WHERE id=?", (last, before[2] + n, before[0]))
        else:
            self.db.execute("INSERT INTO gaps VALUES(?,?,?,?,?)",
                            (row_id(epoch.id, first), last, n, reason, int(alone)))

    def has_gaps(self, epoch: Epoch) -> bool:
        return self.db.execute("SELECT 1 FROM gaps WHERE id BETWEEN ? AND ? LIMIT 1",
                               (row_id(epoch.id, 0), row_id(epoch.id + 1, 0) - 1)).fetchone() is not None

    def number_gaps(self) -> int:
        """Make numbered records of the noted gaps, to be sent like any batch; returns how many records.

        Called when the hub listens: while it is away, gaps that grow together stay one entry."""
        made = 0
        for epoch in list(self.epochs.values()):
            while self.has_gaps(epoch):
                with self.transaction():
                    epoch = self.epochs[epoch.id]
                    found = self.db.execute("SELECT id, last, n, reason FROM gaps WHERE id BETWEEN ? AND ? ORDER BY id"
                                            " LIMIT ?", (row_id(epoch.id, 0), row_id(epoch.id + 1, 0) - 1,
                                                         GAPS_PER_RECORD)).fetchall()
                    dropped = [Dropped(split_id(first)[1], last, n, reason) for first, last, n, reason in found]
                    enc, body = encode_body(Body(dropped=dropped))
                    self.insert(epoch, 0, 3, self.boot.id, enc, body)
                    self.db.execute("DELETE FROM gaps WHERE id BETWEEN ? AND ?", (found[0][0], found[-1][0]))
                    self.save()
                made += 1
        return made

    def record(self, body: Body | None = None) -> Row:
        """A numbered batch without samples: the clock became known, or the hub is asked for its ``upto``."""
        enc, data = encode_body(body or Body())
        with self.transaction():
            row = self.insert(self.current, 0, 3, self.boot.id, enc, data)
            self.save()
        seq = split_id(row)[1]
        return Row(row, self.current.epoch, seq, 0, 3, self.boot.id, enc, data, self.now_s)

    def split(self, row: Row, limit: int) -> None:
        """Put a row that is too large for the broker back as smaller ones with new numbers (B34)."""
        body = decode_body(Header(row.epoch, row.seq, row.n, row.prio, "", ClockInfo(None, ""), row.enc), row.body)
        epoch_id = split_id(row.id)[0]
        with self.transaction():
            epoch = self.epochs[epoch_id]
            self.db.execute("DELETE FROM batches WHERE id=?", (row.id,))
            epoch.waiting -= 1
            self.note_gap(epoch, row.seq, row.seq, 0, "split", alone=True)
            if body.dropped:  # a list of gaps: noted again, and numbered again in smaller records
                for gap in body.dropped:
                    self.note_gap(epoch, gap.first, gap.last, gap.n, gap.reason, alone=True)
            boot = self.boots[row.boot]
            for packed in pack.pack(boot.boot, row.prio, body.series, limit):
                if packed.data is None:
                    self.add_gap(epoch, self.take_number(epoch), packed.n, packed.reason)
                else:
                    self.insert(epoch, packed.n, packed.prio, boot.id, packed.enc, packed.data)
            self.save()
        self.taken.pop(row.id, None)
        self.tried.discard(row.id)

    # --- figures -----------------------------------------------------------------------------------------

    def ledger(self, epoch: Epoch | None = None) -> LedgerCounts:
        """The device's side of the ledger, of the current epoch unless another is given."""
        epoch = epoch or self.current
        in_flight = sum(row.n for number, row in self.taken.items() if split_id(number)[0] == epoch.id)
        return LedgerCounts(epoch.epoch, epoch.produced, epoch.receipted, dict(epoch.dropped),
                            epoch.unsettled - in_flight, in_flight, epoch.settled.upto, epoch.next_seq)

    def counts(self) -> Counts:
        """What waits, over all epochs, and the size of the file."""
        oldest: float | None = None
        for epoch in self.epochs.values():
            for row in self.unsettled_ids(epoch, 1) if epoch.waiting else ():
                oldest = max(oldest or 0.0, float(self.now_s - self.created_s(row)))
        return Counts(sum(epoch.waiting for epoch in self.epochs.values()),
                      sum(epoch.unsettled for epoch in self.epochs.values()), oldest, self.used_bytes())

    def created_s(self, row: int) -> int:
        return int(self.db.execute("SELECT created_s FROM batches WHERE id=?", (row,)).fetchone()[0])

    def used_bytes(self) -> int:
        """Pages in use; the file itself does not shrink."""
        (pages,) = self.db.execute("PRAGMA page_count").fetchone()
        (free,) = self.db.execute("PRAGMA freelist_count").fetchone()
        (size,) = self.db.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * size)
