"""What the spool keeps, as plain values: a row ready to send, an epoch with its counters, a running boot."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
from msgspec import Struct

from agent.spool.database import EPOCH_SHIFT, SEQ_MASK
from agent.spool.ranges import Ranges

CURRENT = "current"
OLD = "old"
"""An earlier epoch of ours, over but not yet sent: nothing new is produced in it."""
FOREIGN = "foreign"
"""Begun on another board: its rows are sent under their numbers, but no number is given in it any more."""
DONE = "done"
"""An old epoch of which everything is settled: the hub is to be told that it is over."""
RETIRED = "retired"
"""Over, and the hub knows."""


def row_id(epoch_id: int, seq: int) -> int:
    return epoch_id << EPOCH_SHIFT | seq


def split_id(row: int) -> tuple[int, int]:
    """(epoch id, seq)"""
    return row >> EPOCH_SHIFT, row & SEQ_MASK


def checksum(row: int, n: int, prio: int, boot: int, enc: str, body: bytes) -> int:
    """CRC-32 of a whole row: SQLite's own checks do not see a flipped bit in a value (B21)."""
    return zlib.crc32(body, zlib.crc32(f"{row},{n},{prio},{boot},{enc}".encode()))


def is_whole(row: int, n: object, prio: object, boot: object, enc: object, crc: object, body: object) -> bool:
    """Whether a row read from a file is what was written: right types first, then its checksum."""
    return (isinstance(n, int) and isinstance(prio, int) and isinstance(boot, int) and isinstance(enc, str)
            and isinstance(body, bytes) and checksum(row, n, prio, boot, enc, body) == crc)


class Row(Struct, frozen=True):
    """One numbered batch as it will be sent."""

    id: int
    epoch: str
    seq: int
    n: int
    prio: int
    boot: int
    enc: str
    body: bytes
    created_s: int


EPOCH_COLUMNS = "epoch, hardware, next_seq, produced, receipted, settled, dropped, state, waiting"
INSERT_EPOCH = f"INSERT INTO epochs({EPOCH_COLUMNS}, crc, id) VALUES(?,?,?,?,?,?,?,?,?,?,?)"
SELECT_EPOCHS = f"SELECT {EPOCH_COLUMNS}, crc, id FROM epochs ORDER BY id"


class Epoch(Struct):
    """Numbers of one spool file on one board; ``produced = receipted + dropped + (rows not settled)``, in samples."""

    id: int
    epoch: str
    hardware: str
    next_seq: int = 1
    produced: int = 0
    receipted: int = 0
    settled: Ranges = msgspec.field(default_factory=Ranges)
    """Numbers that have a receipt."""
    dropped: dict[str, int] = {}
    state: str = CURRENT
    waiting: int = 0
    """Rows without a receipt."""

    @property
    def unsettled(self) -> int:
        """Samples that wait for a receipt."""
        return self.produced - self.receipted - sum(self.dropped.values())

    def copy(self) -> Epoch:
        return msgspec.structs.replace(self, settled=Ranges(self.settled), dropped=dict(self.dropped))

    def columns(self) -> tuple[Any, ...]:
        """As the table ``epochs`` keeps it: :data:`EPOCH_COLUMNS`, then its checksum and the id."""
        values = (self.epoch, self.hardware, self.next_seq, self.produced, self.receipted,
                  msgspec.json.encode(list(self.settled)).decode(), msgspec.json.encode(self.dropped).decode(),
                  self.state, self.waiting)
        return (*values, zlib.crc32(repr((*values, self.id)).encode()), self.id)

    @classmethod
    def of(cls, row: tuple[Any, ...]) -> Epoch:
        """From a row of ``epochs``, checksum and id last. Raises ValueError when it is not what was written."""
        epoch, hardware, next_seq, produced, receipted, settled, dropped, state, waiting, crc, number = row
        if zlib.crc32(repr((*row[:-2], number)).encode()) != crc:
            raise ValueError(f"epoch {epoch!r}: its counters are not what was written")
        found = cls(number, epoch, hardware, next_seq, produced, receipted,
                    Ranges(msgspec.json.decode(settled, type=list[tuple[int, int]])),
                    msgspec.json.decode(dropped, type=dict[str, int]), state, waiting)
        plain = (number, next_seq, produced, receipted, waiting, *found.dropped.values())
        if not all(isinstance(value, int) and value >= 0 for value in plain) or found.unsettled < 0 or next_seq < 1:
            raise ValueError(f"epoch {epoch!r}: counters that cannot be")
        return found


class Boot(Struct):
    """A boot of this machine. ``base_s`` makes one clock of all boots: seconds this machine was on before it."""

    id: int
    boot: str
    offset_us: int | None
    quality: str
    first_us: int
    last_us: int
    base_s: int

    def seconds(self, boottime_us: int) -> int:
        """Age clock of the spool: time powered on, over all boots, whatever the wall clock did."""
        return self.base_s + max(0, boottime_us - self.first_us) // 1_000_000


def is_boot(row: tuple[Any, ...]) -> bool:
    """Whether a row of ``boots`` makes sense."""
    number, boot, offset_us, quality, *rest = row
    return (isinstance(number, int) and isinstance(boot, str) and 0 < len(boot) <= 64 and isinstance(quality, str)
            and (offset_us is None or isinstance(offset_us, int)) and all(isinstance(value, int) for value in rest))


class Counts(Struct, frozen=True):
    """What the spool holds, in a glance."""

    batches: int
    samples: int
    oldest_age_s: float | None
    bytes: int
