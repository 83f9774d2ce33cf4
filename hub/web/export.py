"""Samples as a download: CSV as spreadsheets read it, JSON as one array; made page by page."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from hub.store.reader import Sample, SeriesRow

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs a text that begins like this (CSV injection)."""


def csv_lines(series: SeriesRow, pages: Iterable[list[Sample]]) -> Iterator[str]:
    """A heading, then one line a sample: time (ISO 8601 UTC, microseconds), value, quality."""
    unit = f" [{series.unit}]" if series.unit else ""
    yield _line(["time", _safe(f"{series.property}{unit}"), "quality"])
    for page in pages:
        yield "".join(_line([_iso(one.t_us), _cell(one.value), one.quality or ""]) for one in page)


def json_lines(pages: Iterable[list[Sample]]) -> Iterator[bytes]:
    """``[[t_us, value, quality], …]``, in pieces."""
    first = True
    yield b"["
    for page in pages:
        body = b",\n".join(msgspec.json.encode(one) for one in page)
        yield body if first else b",\n" + body
        first = False
    yield b"]\n"


def _iso(t_us: int) -> str:
    seconds, us = divmod(t_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{us:06d}Z"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return _safe(value if isinstance(value, str) else msgspec.json.encode(value).decode())


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(FORMULA) else text


def _line(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(cells)
    return out.getvalue()
