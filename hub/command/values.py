"""What a settable Homie property takes: from a form's text or an API's JSON to the typed value. Pure.

Homie 5, "Formats": ``min:max:step`` of a number (each may be missing), ``a,b,c`` of an enum, two labels of a boolean.
The device checks everything again; this is for an answer at once, in words.
"""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from msgspec import Struct

from agent.wire.messages import MAX_SET_BYTES
from hub.live import PropertyInfo

MAX_TEXT = 2_000
KINDS = {"boolean": "switch", "integer": "number", "float": "number", "enum": "select", "datetime": "moment",
         "json": "json"}


class BadValue(ValueError):
    """What is wrong and what would be right, one line."""


class Control(Struct, frozen=True):
    """How a page asks for a value."""

    kind: str
    """switch, number, select, moment, text or json"""
    options: tuple[str, ...] = ()
    """Of a select; of a switch the labels of false and true."""
    minimum: float | None = None
    maximum: float | None = None
    step: float | None = None
    current: str = ""
    """As published; '' when it never was."""
    momentary: bool = False
    """It is done once and has no state."""


def control(prop: PropertyInfo, raw: str | None, labels: tuple[str, str] = ("false", "true")) -> Control:
    """``labels``: of a boolean that brings none."""
    kind = KINDS.get(prop.datatype, "text")
    low, high, step = span(prop) if kind == "number" else (None, None, None)
    if kind == "number" and step is None:
        step = 1.0 if prop.datatype == "integer" else None
    options = words(prop) if kind in ("select", "switch") else ()
    if kind == "switch" and len(options) != 2:
        options = labels
    return Control(kind, options, low, high, step, raw or "" if prop.retained else "", not prop.retained)


def span(prop: PropertyInfo) -> tuple[float | None, float | None, float | None]:
    """(minimum, maximum, step) of a number's format."""
    found: list[float | None] = []
    for part in [*prop.format.split(":"), "", "", ""][:3]:
        try:
            value = float(part) if part else None
        except ValueError:
            value = None
        found.append(value if value is not None and math.isfinite(value) else None)
    low, high, step = found
    return low, high, step if step is None or step > 0 else None


def words(prop: PropertyInfo) -> tuple[str, ...]:
    return tuple(prop.format.split(",")) if prop.format else ()


def from_text(prop: PropertyInfo, text: str, zone: ZoneInfo | None = None) -> Any:
    """A form's field. ``zone``: of a moment without one. Raises BadValue."""
    text = text.strip() if prop.datatype != "string" else text.replace("\r\n", "\n").strip("\n")
    match prop.datatype:
        case "boolean":
            if text not in ("true", "false"):
                raise BadValue(f"{prop.name}: {text[:40]!r}: true or false")
            return text == "true"
        case "integer" | "float":
            try:
                number = float(text.replace(",", "."))
            except ValueError:
                raise BadValue(f"{prop.name}: {text[:40]!r} is no number") from None
            return from_json(prop, number)
        case "datetime":
            return moment(text, zone, prop.name)
        case "json":
            if len(text.encode()) > 2 * MAX_SET_BYTES:
                raise BadValue(f"{prop.name}: more than {MAX_SET_BYTES} bytes")
            try:
                return from_json(prop, json.loads(text))
            except (ValueError, RecursionError) as error:
                if isinstance(error, BadValue):
                    raise
                raise BadValue(f"{prop.name}: no JSON: {error}"[:200]) from None
    return from_json(prop, text)


def from_json(prop: PropertyInfo, value: Any) -> Any:
    """A value of an API call, checked for its kind and range. Raises BadValue."""
    match prop.datatype:
        case "boolean":
            if not isinstance(value, bool):
                raise BadValue(f"{prop.name}: true or false")
        case "integer" | "float":
            return _number(prop, value)
        case "enum":
            options = words(prop)
            if not isinstance(value, str) or (options and value not in options):
                raise BadValue(f"{prop.name}: {str(value)[:40]!r}: one of {', '.join(options)}")
        case "datetime":
            if not isinstance(value, str):
                raise BadValue(f"{prop.name}: a moment as 2026-11-26T17:30:00+01:00")
            return moment(value, None, prop.name)
        case "json":
            if not isinstance(value, dict | list):
                raise BadValue(f"{prop.name}: a JSON object or list")
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            if len(text.encode("utf-8", "replace")) > MAX_SET_BYTES:
                raise BadValue(f"{prop.name}: more than {MAX_SET_BYTES} bytes")
        case _:
            if not isinstance(value, str) or not value or len(value) > MAX_TEXT:
                raise BadValue(f"{prop.name}: a text of 1 to {MAX_TEXT} characters")
    return value


def _number(prop: PropertyInfo, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadValue(f"{prop.name}: a number")
    number: int | float = value
    if prop.datatype == "integer":
        if number != int(number):
            raise BadValue(f"{prop.name}: {number:g}: a whole number")
        number = int(number)
    low, high, _ = span(prop)
    if (low is not None and number < low) or (high is not None and number > high):
        ends = f"from {low:g} to {high:g}" if low is not None and high is not None else (
            f"at least {low:g}" if low is not None else f"at most {high:g}")
        raise BadValue(f"{prop.name}: {number:g} {prop.unit}".rstrip() + f": {ends}")
    return number


def moment(text: str, zone: ZoneInfo | None, name: str) -> str:
    """RFC 3339 with an offset. ``zone``: how a text without one is meant; None: it must bring its own."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BadValue(f"{name}: {text[:40]!r} is no moment: write it as 2026-11-26T17:30") from None
    if at.tzinfo is None:
        if zone is None:
            raise BadValue(f"{name}: {text[:40]!r} says no zone: write it as 2026-11-26T17:30:00+01:00")
        at = at.replace(tzinfo=zone)
    try:
        return at.astimezone(at.tzinfo).isoformat(timespec="seconds")
    except (ValueError, OverflowError):
        raise BadValue(f"{name}: {text[:40]!r} is no moment") from None
