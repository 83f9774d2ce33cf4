"""Days of the house: from midnight to midnight on its clock, 23 or 25 hours long twice a year. Pure."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def day_of(t_us: int, zone: ZoneInfo) -> date:
    return datetime.fromtimestamp(t_us / 1e6, UTC).astimezone(zone).date()


def span(day: date, zone: ZoneInfo) -> tuple[int, int]:
    """(start, end) in microseconds, [start, end)."""
    return _midnight(day, zone), _midnight(day + timedelta(days=1), zone)


def _midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime.combine(day, time(), zone).timestamp()) * 1_000_000


def parse(text: str) -> date | None:
    """``2026-11-25``; None for what is no day."""
    try:
        found = date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        return None
    return found if found is not None and 1970 < found.year < 9999 else None
