"""What the plugin hears while it is replayed: the time, the bus, commands, a calendar. Live each has its own way."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from . import calendars

REPLAY_DAYS = 8


class Event(Struct, frozen=True, omit_defaults=True):
    """One at least of ``now``, ``bus``, ``set``, ``ics``."""

    t: float | None = None
    """Seconds; in recordings only."""
    now: str | None = None
    """The wall time at this moment, RFC 3339."""
    bus: str | None = None
    """A node of the local bus, with ``property`` and ``value``."""
    property: str = ""
    value: Any = None
    set: str | None = None
    """A command to this property, with its ``value``."""
    ics: str | None = None
    """The text of a calendar."""


_decoder = msgspec.json.Decoder(Event)


def decode(line: bytes) -> Event:
    """Raises ValueError with what is wrong."""
    try:
        event = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no event: {error}") from None
    if event.now is event.bus is event.set is event.ics is None:
        raise ValueError("no event: now, bus, set or ics says what it is")
    return event


def wall_us(text: str) -> int:
    """Microseconds since 1970; without an offset it is UTC. Raises ValueError, OverflowError."""
    wall = datetime.fromisoformat(text)
    return round((wall if wall.tzinfo is not None else wall.replace(tzinfo=UTC)).timestamp() * 1e6)


def recorded(data: bytes) -> list[tuple[float, bytes]] | None:
    """A calendar: itself, from the evening before its first event on, for eight days. Lines of an NDJSON recording:
    with their seconds since the first. None: neither."""
    if data.lstrip()[:15].upper() == b"BEGIN:VCALENDAR":
        return _calendar(data)
    found: list[tuple[float, bytes]] = []
    first: float | None = None
    for line in filter(bytes.strip, data.splitlines()):
        t_s = _stamp(line)
        first = t_s if first is None else first
        last_s = found[-1][0] if found else 0.0
        found.append((max(last_s, t_s - first) if t_s is not None and first is not None else last_s, line))
    return found if first is not None else None


def _calendar(data: bytes) -> list[tuple[float, bytes]]:
    text = data.decode("utf-8", "replace")
    try:
        day = calendars.first_day(calendars.parse(data))
        begin = datetime.combine(day - timedelta(days=1), time(12), UTC)
        end_s = REPLAY_DAYS * 86_400.0
    except (ValueError, ArithmeticError, ImportError):
        begin, end_s = datetime(2000, 1, 1, tzinfo=UTC), 60.0  # the reader will say what is wrong with it
    return [(0.0, msgspec.json.encode(Event(now=begin.isoformat(), ics=text))), (end_s, b"")]


def _stamp(line: bytes) -> float | None:
    try:
        t_s = float(json.loads(line)["t"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return t_s if 0 <= t_s < 1e11 else None
