"""What a message tells, in words that all projects share, and reading payloads without trust. Pure."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from typing import Any, Protocol

from msgspec import Struct

from agent.api import Property, Value

MAX_BYTES = 64 * 1024
"""A node's message is shorter; lists of devices have limits of their own (:meth:`Preset.limit`)."""
MAX_VALUES = 200
"""Values taken out of one message."""
MAX_TEXT = 256
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\Z")
NOT_FINITE = {"nan", "+nan", "-nan", "inf", "+inf", "-inf", "infinity", "+infinity", "-infinity"}


class BadMessage(ValueError):
    """The message cannot be read: why, in a few words."""


class Seen(Struct, frozen=True):
    """A value of a node. ``key`` says where the project has it and never changes; names may."""

    raw: str
    """The node as the project names it."""
    key: str
    prop: Property
    value: Value
    quality: str | None = None
    longer: str = ""
    """The name to take when ``prop.name`` belongs to another key of the node."""
    suspect: float | None = None
    """What the sensor says when it fails: believed only next to a value like it (B43)."""


class Known(Struct, frozen=True):
    """A node described by the project itself: declared before it speaks."""

    raw: str
    title: str
    props: tuple[tuple[str, Property], ...]
    """(key, property)"""


class Online(Struct, frozen=True):
    raw: str
    online: bool
    below: bool = False
    """All nodes whose name begins with ``raw/`` too; all nodes of the project where ``raw`` is ""."""


Finding = Seen | Known | Online


class Preset(Protocol):
    """One project's conventions."""

    name: str
    silent_after_s: float | None
    """A node that says nothing for so long is offline; None: the project tells."""

    def filters(self, own_broker: bool) -> tuple[str, ...]:
        """MQTT filters; ``own_broker``: on another broker, where a wildcard may stand first."""
        ...

    def limit(self, topic: str) -> int:
        """Most bytes of a message on this topic."""
        ...

    def read(self, topic: str, payload: bytes) -> Iterable[Finding]:
        """Nothing where the topic is not the project's. Raises BadMessage."""
        ...

    def command(self, raw: str, key: str, prop: Property, value: Value) -> tuple[str, str]:
        """Topic and payload that set a value."""
        ...


def as_text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise BadMessage("not UTF-8 text") from None


def as_json(payload: bytes) -> Any:
    """Any JSON, NaN and Infinity as numbers (they are judged later). Raises BadMessage."""
    text = as_text(payload)
    try:
        return json.loads(text)
    except RecursionError:
        raise BadMessage("JSON nested too deeply") from None
    except ValueError as error:
        raise BadMessage(f"not JSON: {str(error)[:80]}") from None


def as_object(payload: bytes) -> dict[str, Any]:
    found = as_json(payload)
    if not isinstance(found, dict):
        raise BadMessage("JSON, but not an object")
    if len(found) > MAX_VALUES:
        raise BadMessage(f"{len(found)} values in one message, at most {MAX_VALUES}")
    return found


def as_number(value: Any) -> tuple[float | None, str | None]:
    """(value, quality) of a JSON number or a text that is one. Raises BadMessage for anything else (B36)."""
    if isinstance(value, str):
        word = value.strip()
        if word.lower() in NOT_FINITE:
            return None, "not_finite"
        if not NUMBER.match(word):  # float() alone would take "1_0" and "١"
            raise BadMessage(f"{value[:40]!r} is not a number")
        value = float(word)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadMessage(f"{str(value)[:40]!r} is not a number")
    try:
        number = float(value)
    except OverflowError:
        return None, "not_finite"
    return (number + 0.0, None) if math.isfinite(number) else (None, "not_finite")


def number_or_bad(value: Any) -> tuple[float | None, str | None]:
    """The same without an exception, for one value among others."""
    try:
        return as_number(value)
    except BadMessage:
        return None, "bad"


def as_word(payload: bytes, words: dict[str, bool]) -> bool:
    """One of a few words, whatever their case. Raises BadMessage."""
    text = as_text(payload).strip().lower()
    if text not in words:
        raise BadMessage(f"{text[:40]!r} is none of {', '.join(words)}")
    return words[text]


ON_OFF = {"on": True, "off": False}
ONLINE = {"online": True, "offline": False}


def plain(value: float) -> str:
    """A number as devices read it: no exponent, no ``.0``."""
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    return format(value, ".10f").rstrip("0").rstrip(".")
