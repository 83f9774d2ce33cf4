"""What the plugin hears while it is replayed: the speaker's words, and what came by command or over the bus.

Live, only the speaker's words come this way; commands and the bus have ways of their own.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Struct


class Event(Struct, frozen=True, omit_defaults=True):
    """Exactly one of ``did``, ``set``, ``bus``, ``now``."""

    t: float | None = None
    """Seconds; in recordings only."""
    did: str | None = None
    """The speaker: ``playing`` (``seconds``, ``cached``), ``played``, ``failed`` (``at``, ``why``), ``plain``."""
    job: int = 0
    seconds: float = 0.0
    cached: bool = False
    at: str = ""
    why: str = ""
    set: str | None = None
    """A command to this property, with its ``value``."""
    bus: str | None = None
    """A node of the local bus, with ``property`` and ``value``."""
    property: str = ""
    value: Any = None
    now: str | None = None
    """The wall time at this moment, RFC 3339: what a replay does not know by itself."""


KINDS = ("did", "set", "bus", "now")
_decoder = msgspec.json.Decoder(Event)


def decode(line: bytes) -> Event:
    """Raises ValueError with what is wrong."""
    try:
        event = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"no event: {error}") from None
    if sum(getattr(event, kind) is not None for kind in KINDS) != 1:
        raise ValueError(f"no event: exactly one of {', '.join(KINDS)} says what it is")
    return event


def recorded(data: bytes) -> list[tuple[float, bytes]] | None:
    """Lines of an NDJSON recording with their seconds since the first; None: no line has a ``t``."""
    found: list[tuple[float, bytes]] = []
    first: float | None = None
    for line in filter(bytes.strip, data.splitlines()):
        t_s = _stamp(line)
        first = t_s if first is None else first
        last_s = found[-1][0] if found else 0.0
        found.append((max(last_s, t_s - first) if t_s is not None and first is not None else last_s, line))
    return found if first is not None else None


def _stamp(line: bytes) -> float | None:
    try:
        t_s = float(json.loads(line)["t"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return t_s if 0 <= t_s < 1e11 else None
