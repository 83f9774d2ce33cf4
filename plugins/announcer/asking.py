"""What a command asks for: JSON of anybody to checked values, or one clear line. Pure."""

from __future__ import annotations

import difflib
from typing import Any, NamedTuple

from .gate import Refused
from .settings import PRIORITIES

SAY_KEYS = ("text", "priority", "volume", "key", "service", "id", "good_s")
MAX_NAME = 64


class Wish(NamedTuple):
    """One announcement as it was asked for."""

    text: str
    priority: str = "normal"
    volume_pct: int | None = None
    key: str | None = None
    service: str = "anybody"
    id: str | None = None
    good_s: float | None = None


def say(value: Any, max_chars: int) -> Wish:
    """``{"text", "priority", "volume", "key", "service", "id", "good_s"}``. Raises Refused."""
    fields = _table(value, SAY_KEYS, "say")
    text = plain(fields.get("text"), max_chars)
    priority = fields.get("priority", "normal")
    if priority not in PRIORITIES:
        raise Refused(f"priority: {str(priority)[:40]!r}: expected one of {', '.join(PRIORITIES)}")
    volume = fields.get("volume")
    if volume is not None and (not _number(volume) or not 0 <= volume <= 100):
        raise Refused(f"volume: {str(volume)[:40]}: expected 0..100 (%)")
    good_s = fields.get("good_s")
    if good_s is not None and (not _number(good_s) or not 0 < good_s <= 86_400):
        raise Refused(f"good_s: {str(good_s)[:40]}: expected more than 0 and at most 86400")
    return Wish(text, priority, None if volume is None else round(volume), _word(fields, "key"),
                _word(fields, "service") or "anybody", _word(fields, "id"), good_s)


def service_of(value: Any, what: str, keys: tuple[str, ...] = ("service",)) -> str:
    """``{"service": name}`` of lock and release. Raises Refused."""
    service = _word(_table(value, keys, what), "service")
    if not service:
        raise Refused('service: missing, expected {"service": "name"}')
    return service


def plain(text: Any, max_chars: int) -> str:
    """Without control characters, spaces drawn together. Raises Refused."""
    if not isinstance(text, str):
        raise Refused("text: missing, expected a string")
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    if not words:
        raise Refused("text: there is nothing to say")
    if len(words) > max_chars:
        raise Refused(f"text: {len(words)} characters, max_chars is {max_chars}")
    return words


def _table(value: Any, keys: tuple[str, ...], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"{what}: expected an object with {', '.join(keys)}")
    for name in value:
        if name not in keys:
            near = difflib.get_close_matches(str(name), keys, 1)
            raise Refused(f"{str(name)[:40]}: unknown key, " + (f"did you mean {near[0]}?" if near else
                                                               f"known are {', '.join(keys)}"))
    return value


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _word(fields: dict[str, Any], name: str) -> str | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.isprintable() or not 1 <= len(value) <= MAX_NAME:
        raise Refused(f"{name}: expected a string of 1 to {MAX_NAME} printable characters")
    return value
