"""Numbered batches on disk until the hub's receipt: commit, send order, receipts, exact counters.

One transaction holds a group of plugin batches, the highest number of each plugin's run, the kept state and the
counters; so a repeat is known as a repeat after any kill, and ``produced = receipted + dropped + waiting`` is true of
every state of the file. Receipts are kept as ranges in the epoch's row and never touch the batches: a steady device
writes each sample once. What is full or too old goes out in :mod:`agent.spool.room`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from agent.bus import Batch
from agent.spool import database as db
from agent.spool import pack, room
from agent.spool.file import ROW, WINDOW, Damaged, Limits
from agent.spool.gaps import SpoolGaps
from agent.spool.ranges import Ranges
from agent.spool.rows import (
    DONE,
    FOREIGN,
    OLD,
    RETIRED,
    Counts,
    Epoch,
    Row,
    checksum,
    is_whole,
    row_id,
    split_id,
)
from agent.wire.messages import LedgerCounts
from agent.wire.records import ClockInfo, Header

__all__ = ["WINDOW", "Damaged", "Limits", "Spool"]

RUNS_KEPT = 4


class Spool(SpoolGaps):
    """The rows of one file; see the module's text, and :class:`agent.spool.file.SpoolFile` for errors and times."""

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
