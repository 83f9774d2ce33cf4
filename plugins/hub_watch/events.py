"""What comes to know, as lines of JSON: so a capture of it can be replayed. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

WEB = ("alive", "not_ready", "foreign", "refused", "timeout", "unreachable", "reset", "no_name", "tls", "error")


class Event(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``web`` with ``ms``, or a reading of this device: ``node``, ``property``, ``value``; or ``now``, the time."""

    web: str | None = None
    ms: float = 0.0
    node: str | None = None
    property: str = ""
    value: Any = None
    now: str | None = None


def web_line(word: str, ms: float) -> bytes:
    return msgspec.json.encode(Event(web=word, ms=round(ms, 1)))


def decode(line: bytes) -> Event:
    """Raises ValueError with one line."""
    try:
        event = msgspec.json.decode(line, type=Event)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{line[:60]!r}: {error}") from None
    if event.web is not None and event.web not in WEB:
        raise ValueError(f"web: {event.web[:20]!r}: expected one of {', '.join(WEB)}")
    return event
