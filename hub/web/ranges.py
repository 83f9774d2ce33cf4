"""A range of time as a URL says it: ``?range=day``, or ``?start=…&end=…`` in ISO 8601 or microseconds."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from hub.fleet.facts import stamp_us

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
RANGES = {
    "hour": HOUR_US, "six_hours": 6 * HOUR_US, "day": DAY_US, "week": 7 * DAY_US, "month": 31 * DAY_US,
    "year": 366 * DAY_US, "years": 5 * 366 * DAY_US,
}
MAX_SPAN_US = 100 * 366 * DAY_US


class BadRange(ValueError):
    """What is wrong with it and what would be right."""


class Span(Struct, frozen=True):
    name: str
    """A word of RANGES, or ``custom``."""
    start_us: int
    end_us: int


def moment_us(text: str, name: str) -> int:
    """Raises BadRange."""
    at = int(text) if text.isdecimal() and len(text) < 18 else stamp_us(text)
    if at is None:
        raise BadRange(f"{name}={text[:40]}: give ISO 8601 (2026-11-22T03:00Z) or microseconds since 1970")
    return at


def span(query: Mapping[str, str], now_us: int, default: str = "day") -> Span:
    """Raises BadRange. Without ``end`` it ends now, so a page that is loaded again goes on."""
    name = query.get("range", "")
    if name not in RANGES and not (query.get("start") or query.get("from")):
        if name:
            raise BadRange(f"range={name[:40]}: choose one of {', '.join(RANGES)}")
        name = default
    if name in RANGES:
        return Span(name, now_us - RANGES[name], now_us + 1)
    start_us = moment_us(query.get("start") or query.get("from", ""), "start")
    end = query.get("end") or query.get("to", "")
    end_us = moment_us(end, "end") if end else now_us + 1
    if not 0 < end_us - start_us <= MAX_SPAN_US:
        raise BadRange("start must lie before end, and not a hundred years")
    return Span("custom", start_us, end_us)
