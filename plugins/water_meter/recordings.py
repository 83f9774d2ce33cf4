"""Recordings with stamps of their own -> messages: edges as CSV or NDJSON, or an index as a utility exports it.

* NDJSON: ``{"t": 12.5, "level": 1}``, with ``"line"`` where there are two contacts; ``t`` in seconds, or ``t_us``.
* CSV of edges: a head with ``t`` (or ``t_us``) and ``level``, perhaps ``line``.
* CSV of an index: a head with a time (``datetime``, ``time``, ``date``) and a reading (``index``, ``reading``,
  ``volume``), or what flowed since the row above (``consumption``, ``usage``); litres, or m³ where the head says so.
  Where a file has several meters, the first one is taken.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections.abc import Iterator
from datetime import UTC, datetime

from .meter import INDEX

LONGEST_S = 100 * 366 * 86400.0
FORMATS = ("%d/%m/%Y %H:%M:%S", "%d/%m/%Y %H:%M",
           "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M")


def messages(data: bytes, line: str) -> list[tuple[float, bytes]] | None:
    """(seconds since the first, message) in order; None when it is no such recording."""
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError):
            return None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    rows = [row for row in text.splitlines() if row.strip() and not row.startswith("#")]
    if not rows:
        return None
    try:
        found = list(_ndjson(rows, line)) if rows[0].lstrip().startswith("{") else list(_table(rows, line))
    except (csv.Error, RecursionError):
        return None
    found = [pair for pair in found if math.isfinite(pair[0])]
    found.sort(key=lambda pair: pair[0])
    if not found or found[-1][0] - found[0][0] > LONGEST_S:
        return None
    return [(t_s - found[0][0], message) for t_s, message in found]


def _ndjson(rows: list[str], line: str) -> Iterator[tuple[float, bytes]]:
    for row in rows:
        try:
            record = json.loads(row)
            t_s = float(record["t"]) if "t" in record else float(record["t_us"]) / 1e6
            yield t_s, f"{record.get('line', line)} {_level(record['level'])}".encode()
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            continue


def _level(value: object) -> str:
    return str(int(value)) if isinstance(value, bool | int | float) else str(value).strip()


def _table(rows: list[str], line: str) -> Iterator[tuple[float, bytes]]:
    delimiter = max(";,\t", key=rows[0].count)
    head, *body = csv.reader(rows, delimiter=delimiter)
    names = [name.strip().lower() for name in head]

    def column(*wanted: str) -> int | None:
        return next((n for n, name in enumerate(names) for word in wanted if name == word or
                     (len(word) > 4 and word in name)), None)

    level, lines = column("level", "value"), column("line", "pin", "gpio")
    seconds, micros = column("t", "t_s", "seconds"), column("t_us")
    when, reading = column("datetime", "timestamp", "time", "date"), column("reading", "index", "volume")
    meter = column("user.key", "meter_id", "serial")
    grows = reading is None
    reading = column("consumption", "usage") if grows else reading
    unit = 1000.0 if reading is not None and ("m3" in names[reading] or "m³" in names[reading]) else 1.0
    first: str | None = None
    sum_l = 0.0
    for row in body:
        try:
            if level is not None and (seconds is not None or micros is not None):
                t_s = float(row[seconds]) if seconds is not None else float(row[micros or 0]) / 1e6
                yield t_s, f"{row[lines] if lines is not None else line} {row[level].strip()}".encode()
            elif when is not None and reading is not None:
                if meter is not None:
                    first = first or row[meter]
                    if row[meter] != first:
                        continue
                litres = float(row[reading].replace(",", ".")) * unit
                at = _time(row[when].strip())
                sum_l += litres if grows and math.isfinite(litres) else 0.0
                yield at, f"{INDEX} {sum_l if grows else litres:.10g}".encode()
        except (ValueError, IndexError):
            continue


def _time(text: str) -> float:
    """Seconds of a time; a local one as if every day had 24 hours. Raises ValueError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        for form in FORMATS:
            try:
                return datetime.strptime(text, form).replace(tzinfo=UTC).timestamp()
            except ValueError:
                continue
        return float(text)  # seconds since 1970
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
