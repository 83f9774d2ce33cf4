"""Bus batches into ready-to-send bodies: one per priority and boot, none larger than the wire allows. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from agent.bus import Batch
from agent.wire.records import (
    MAX_BATCH_BYTES,
    MAX_BODY_BYTES,
    MAX_HEADER_BYTES,
    MAX_SAMPLES,
    Body,
    Columns,
    encode_body,
)

MAX_PACKED_BYTES = MAX_BATCH_BYTES - MAX_HEADER_BYTES
RAW_BYTES_PER_SAMPLE = 64
"""A rough measure, so that a body far too large is cut before it is encoded and not after."""
SMALL_BYTES = MAX_BODY_BYTES // 1032
"""zlib shrinks at most 1032 to 1 (its manual, "Maximum Expansion Factor"): what is smaller unpacks within bounds."""


class Packed(Struct, frozen=True):
    """A body that fits, or ``data`` None: ``n`` samples that no splitting can make fit, or that cannot be encoded."""

    boot: str
    prio: int
    n: int
    enc: str
    data: bytes | None
    reason: str = ""


def merge(batches: Iterable[Batch]) -> dict[tuple[str, int], dict[str, Columns]]:
    """The samples of several batches by (boot, priority), series joined in the order of the batches."""
    merged: dict[tuple[str, int], dict[str, Columns]] = {}
    for batch in batches:
        for part in batch.parts:
            series = merged.setdefault((batch.boot, part.prio), {})
            for name, columns in part.series.items():
                if (mine := series.get(name)) is None:
                    series[name] = Columns(list(columns.t), list(columns.v), columns.q and list(columns.q))
                    continue
                if columns.q is not None or mine.q is not None:
                    mine.q = (mine.q or [None] * len(mine.t)) + (columns.q or [None] * len(columns.t))
                mine.t += columns.t
                mine.v += columns.v
    return merged


def count(series: dict[str, Columns]) -> int:
    """Samples in all series."""
    return sum(len(columns.t) for columns in series.values())


def raw_bytes(series: dict[str, Columns]) -> int:
    """Size of the body before compression."""
    return len(msgspec.json.encode(Body(series=series)))


def halves(series: dict[str, Columns]) -> tuple[dict[str, Columns], dict[str, Columns]]:
    """Two parts of about the same number of samples: by series, or by time where there is only one."""
    if len(series) == 1:
        ((name, columns),) = series.items()
        cut = len(columns.t) // 2
        low = Columns(columns.t[:cut], columns.v[:cut], columns.q and columns.q[:cut])
        high = Columns(columns.t[cut:], columns.v[cut:], columns.q and columns.q[cut:])
        return {name: low}, {name: high}
    total, seen = count(series), 0
    first: dict[str, Columns] = {}
    second: dict[str, Columns] = {}
    for name, columns in series.items():
        (first if seen * 2 < total and len(first) < len(series) - 1 else second)[name] = columns
        seen += len(columns.t)
    return first, second


def pack(boot: str, prio: int, series: dict[str, Columns], limit: int = MAX_PACKED_BYTES) -> Iterator[Packed]:
    """Bodies of at most ``limit`` bytes that hold all samples together."""
    n = count(series)
    if n == 0:
        return
    if n <= min(MAX_SAMPLES, MAX_BODY_BYTES // RAW_BYTES_PER_SAMPLE):
        try:
            enc, data = encode_body(Body(series=series))
        except (TypeError, ValueError, OverflowError, RecursionError, UnicodeError):
            if n == 1:  # one value that JSON cannot say: counted, not allowed to hold up the others
                yield Packed(boot, prio, 1, "", None, "unencodable")
                return
        else:
            if len(data) <= limit and (enc == "json" or len(data) < SMALL_BYTES or raw_bytes(series) <= MAX_BODY_BYTES):
                yield Packed(boot, prio, n, enc, data)
                return
            if n == 1:
                yield Packed(boot, prio, 1, "", None, "too_large")
                return
    for half in halves(series):
        yield from pack(boot, prio, half, limit)


def pack_all(batches: Iterable[Batch]) -> list[Packed]:
    """Everything of one commit, ready for its rows. Bodies whose boot differs are never mixed."""
    return [packed for (boot, prio), series in merge(batches).items() for packed in pack(boot, prio, series)]
