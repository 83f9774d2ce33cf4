"""Numbers that will never come: dropped rows, split rows, epochs that are over. Each is told to the hub as a numbered
record, so that its ``upto`` never hangs and its count of the loss is ours.
"""

from __future__ import annotations

from collections.abc import Iterable

from agent.spool import pack
from agent.spool.file import SpoolFile
from agent.spool.rows import DONE, FOREIGN, RETIRED, Epoch, Row, row_id, split_id
from agent.wire.records import Body, ClockInfo, Dropped, Header, decode_body, encode_body

GAPS_PER_RECORD = 1000


class SpoolGaps(SpoolFile):
    """The part of :class:`agent.spool.spool.Spool` that gives numbers up."""

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
