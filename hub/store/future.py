"""Batches of a newer version, kept whole until a program that can read them starts (B38)."""

from __future__ import annotations

from collections.abc import Callable

from hub.store.batch import Item, Poison, Samples
from hub.store.writer import Writer

Decode = Callable[[str, bytes, int], Item]
"""(device, payload, received_us) -> item"""


def replay(writer: Writer, decode: Decode) -> tuple[int, int]:
    """Store what can be read by now; returns ``(batches stored, batches that still wait)``.

    Each batch leaves ``future`` in the transaction that stores its samples. One whose body turns out to be
    unreadable moves to the quarantine, where the ledger counts it already."""
    stored = 0
    for id_, device, payload, received_us in writer.db.execute(
        "SELECT id, device, payload, received_us FROM future ORDER BY id").fetchall():
        item = decode(device, payload, received_us)
        if isinstance(item, Samples):
            writer.commit([item._replace(future_id=id_)])
            stored += 1
        elif isinstance(item, Poison):
            writer.give_up_future(id_, item)
    waiting = int(writer.db.execute("SELECT count(*) FROM future").fetchone()[0])
    return stored, waiting
