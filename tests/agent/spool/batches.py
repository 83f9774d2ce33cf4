"""Made-up plugin batches for spool tests."""

from __future__ import annotations

import sqlite3

from agent.bus import Batch, Part
from agent.spool.rows import split_id
from agent.spool.spool import Spool
from agent.wire.records import Columns

BOOT = "b0" * 16


def batch(n: int, samples: int = 10, prio: int = 1, *, instance: str = "meter", run: str = "r1", boot: str = BOOT,
          kept: bytes | None = None, width: int = 0) -> Batch:
    """Batch ``n`` of a run: ``samples`` readings of one series, of about ``width`` bytes each when given."""
    start = n * 1_000_000
    values = [f"{n}-{i}".ljust(width, "\u00e9") if width else n * 1000 + i for i in range(samples)]
    part = Part(prio, {f"{instance}/power_w": Columns([start + i for i in range(samples)], values)})
    return Batch(instance, run, n, boot, [part] if samples else [], kept)


def true_waiting(spool: Spool) -> tuple[int, int]:
    """(rows, samples) without a receipt, counted in the file itself and not in the counters."""
    rows = samples = 0
    for row, n in spool.db.execute("SELECT id, n FROM batches"):
        epoch, seq = split_id(row)
        if seq not in spool.epochs[epoch].settled:
            rows += 1
            samples += n
    return rows, samples


def check_ledger(spool: Spool) -> None:
    """produced = receipted + dropped + spooled + in flight, and the counters agree with the rows."""
    for epoch in spool.epochs.values():
        counts = spool.ledger(epoch)
        assert counts.produced == counts.receipted + sum(counts.dropped.values()) + counts.spooled + counts.in_flight
        assert counts.spooled >= 0
    waiting = sum(epoch.waiting for epoch in spool.epochs.values())
    unsettled = sum(epoch.unsettled for epoch in spool.epochs.values())
    assert (waiting, unsettled) == true_waiting(spool)


def integrity(path: object) -> str:
    database = sqlite3.connect(str(path))
    try:
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        return str(database.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        database.close()
