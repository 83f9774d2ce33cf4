"""Samples as CSV or JSON, streamed: reads of a few thousand rows, each a short snapshot of its own."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from hub.store.errors import StoreError
from hub.store.reader import Reader, Sample, SeriesRow

CHUNK = 5_000
_json = msgspec.json.Encoder()


def iso(t_us: int) -> str:
    """``2026-11-22T03:04:05.123456Z``"""
    return f"{datetime.fromtimestamp(t_us // 1_000_000, UTC):%Y-%m-%dT%H:%M:%S}.{t_us % 1_000_000:06d}Z"


def from_iso(text: str) -> int:
    """A day or a time, UTC unless it says otherwise, as microseconds. Raises ValueError."""
    moment = datetime.fromisoformat(text.strip())
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds


def choose(reader: Reader, device: str | None, patterns: Sequence[str]) -> list[SeriesRow]:
    """Series of a device (or all) whose ``<node>/<property>`` fits a pattern. Raises StoreError when none does."""
    rows = reader.series(device)
    if patterns:
        rows = [row for row in rows if any(fnmatchcase(f"{row.node}/{row.property}", pattern) for pattern in patterns)]
    if not rows:
        what = f"{device or 'any device'}: no series {' or '.join(patterns) or 'yet'}"
        raise StoreError(f"{what}: list them with hutkeeper-hub export --list")
    return rows


def samples(reader: Reader, series: int, start_us: int, end_us: int) -> Iterator[Sample]:
    """All of them, in order of time, without holding a read open between the chunks."""
    while True:
        part = reader.samples(series, start_us, end_us, CHUNK)
        yield from part
        if len(part) < CHUNK:
            return
        start_us = part[-1].t_us + 1


def csv_lines(reader: Reader, rows: Iterable[SeriesRow], start_us: int, end_us: int) -> Iterator[str]:
    """One series: ``time_utc, <property> (<unit>), quality``; several: a line names its series and its unit."""
    rows = list(rows)
    single = len(rows) == 1
    out = io.StringIO()
    write = csv.writer(out, lineterminator="\n").writerow

    def flush() -> str:
        text = out.getvalue()
        out.seek(0)
        out.truncate()
        return text

    if single:
        unit = f" ({rows[0].unit})" if rows[0].unit else ""
        write(("time_utc", f"{rows[0].device}/{rows[0].node}/{rows[0].property}{unit}", "quality"))
    else:
        write(("time_utc", "device", "node", "property", "value", "unit", "quality"))
    yield flush()
    for row in rows:
        for number, sample in enumerate(samples(reader, row.id, start_us, end_us)):
            value, quality = _text(sample.value), sample.quality or "good"
            if single:
                write((iso(sample.t_us), value, quality))
            else:
                write((iso(sample.t_us), row.device, row.node, row.property, value, row.unit or "", quality))
            if number % 1000 == 999:
                yield flush()
        yield flush()


def json_chunks(reader: Reader, rows: Iterable[SeriesRow], start_us: int, end_us: int) -> Iterator[bytes]:
    """``[{"device", "node", "property", "unit", "datatype", "samples": [{"t": ISO, "v": value, "q": quality}]}]``."""
    yield b"["
    for number, row in enumerate(rows):
        head = _json.encode({"device": row.device, "node": row.node, "property": row.property, "unit": row.unit,
                             "datatype": row.datatype})
        yield (b",\n" if number else b"\n") + head[:-1] + b',"samples":['
        comma = b""
        for sample in samples(reader, row.id, start_us, end_us):
            yield comma + _json.encode({"t": iso(sample.t_us), "v": sample.value, "q": sample.quality or "good"})
            comma = b",\n"
        yield b"]}"
    yield b"\n]\n"


def _text(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return _json.encode(value).decode()
    return value
