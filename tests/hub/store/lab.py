"""Makes batches as devices do, for the tests of the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.wire import records
from agent.wire.records import Body, ClockInfo, Columns, Dropped, Header
from hub.ingest.decode import records_of
from hub.store.batch import Item

NOW = 1_790_000_000_000_000
"""The hub's clock, us since 1970."""
BOOT_AT = NOW - 86_400_000_000
"""When the devices' boot began: the true offset."""
EPOCH = "00aa11bb22cc33dd"
BOOT = "b" * 32

Series = Mapping[str, Sequence[tuple[Any, ...]]]
"""``<node>/<property>`` -> (t_us since boot, value[, quality])"""


def payload(seq: int, series: Series | None = None, *, epoch: str = EPOCH, boot: str = BOOT,
            offset_us: int | None = BOOT_AT, sent_us: int | None = None, dropped: Sequence[Dropped] = (),
            retires: str | None = None, version: int = records.VERSION) -> bytes:
    """The bytes on the topic."""
    body = Body(dropped=list(dropped), retires=retires)
    n = 0
    for name, samples in (series or {}).items():
        n += len(samples)
        q = [sample[2] if len(sample) > 2 else None for sample in samples]
        body.series[name] = Columns([sample[0] for sample in samples], [sample[1] for sample in samples],
                                    q if any(q) else None)
    enc, packed = records.encode_body(body)
    clock = ClockInfo(offset_us, "unsynced" if offset_us is None else "synced", sent_us)
    return records.encode_batch(Header(epoch, seq, n, 1, boot, clock, enc, version), packed)


def batch(seq: int, series: Series | None = None, *, device: str = "dev", received_us: int = NOW,
          **fields: Any) -> Item:
    """What ingest hands to the writer."""
    return records_of(device, payload(seq, series, **fields), received_us)
