"""A value of the wire as a value of the store, so that nothing becomes NULL without saying why (B36). Pure.

Stored are: integers and floats as they are, booleans as 0 and 1 (the series knows that it is boolean), texts, and
JSON objects and lists as a blob of JSON. What cannot be one of these is NULL with a quality.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from agent.api import QUALITIES
from hub.store.batch import WORD

INT64 = 1 << 63
NUMBERS = frozenset({float, int})
_known = frozenset(QUALITIES)
_json = msgspec.json.Encoder()


def is_plain(kinds: set[type], values: list[Any]) -> bool:
    """True when every value (of these types) can be stored and rolled up as it is."""
    if not kinds <= NUMBERS:
        return False
    if int in kinds and not (min(values) >= -INT64 and max(values) < INT64):
        return False  # (a NaN among them compares false here, too)
    return float not in kinds or math.isfinite(sum(values)) or all(map(math.isfinite, values))


def stored(value: Any) -> tuple[Any, str | None]:
    """``(value for the store, quality that it got by that)``."""
    kind = type(value)
    if kind is bool:
        return int(value), None
    if kind is int:
        if -INT64 <= value < INT64:
            return value, None
        try:
            return float(value), "uncertain"  # beyond 64 bits: the leading 53 bits are kept
        except OverflowError:
            return None, "not_finite"
    if kind is float:
        return (value, None) if math.isfinite(value) else (None, "not_finite")
    if kind is str:
        return value, None
    if value is None:
        return None, "not_finite"  # how JSON writes NaN and infinity
    return _json.encode(value), None


def loaded(value: Any, boolean: bool) -> Any:
    """The value as it came: the reverse of :func:`stored`."""
    if type(value) is bytes:
        return msgspec.json.decode(value)
    if boolean and value is not None and value in (0, 1):
        return bool(value)
    return value


def word(quality: str) -> str:
    """A quality that may be shown and compared: one of the known words, another well-formed one, or ``bad``."""
    return quality if quality in _known or WORD.match(quality) else "bad"


def datatype_of(value: Any) -> str | None:
    """The Homie datatype that a value suggests, for a series that nobody has declared yet."""
    if value is None:
        return None
    names = {bool: "boolean", int: "integer", float: "float", str: "string"}
    return names.get(type(value), "json")
