"""Payloads of the Homie tree: a value to bytes, and the bytes of a ``/set`` to a value.

Source: Homie convention 5.0, "Payload" and "Property Attributes". What a controller may not see is never made: no NaN,
no Infinity, no exponent, no word outside an enum, no number outside its ``format``. Such a value raises
:class:`BadValue`, which carries the quality that marks the sample instead (``agent.api.QUALITIES``).
"""

from __future__ import annotations

import json
import math
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from agent.api import Property, Value
from agent.wire.messages import MAX_SET_BYTES

EMPTY_STRING = b"\x00"
"""An empty payload deletes a retained topic, so the empty string travels as one zero byte."""

_INTEGER = re.compile(r"[+-]?[0-9]{1,19}\Z")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?\Z")
_DURATION = re.compile(r"P(?=.)(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?\Z")
_DATETIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d")


class BadValue(ValueError):
    """This value cannot be shown; ``quality`` is the word of ``QUALITIES`` that says why."""

    def __init__(self, text: str, quality: str = "bad") -> None:
        super().__init__(text)
        self.quality = quality


class Illegal(ValueError):
    """A ``/set`` payload that is not a legal value; the text names what is allowed."""


def number(value: float) -> str:
    """``0.00001``, never ``1e-05``; shortest text that reads back as the same number."""
    text = repr(value)
    return format(Decimal(text), "f") if "e" in text else text


def utc(when: datetime) -> str:
    """``2026-11-22T03:00:00.250Z``."""
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_us(wall_us: int) -> str:
    """The same, from microseconds since 1970 UTC (exact, no float between)."""
    return utc(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=wall_us))


def to_step(prop: Property, value: float) -> float:
    """Round to ``format``'s step, counted from the minimum, else the maximum, else 0 (Homie 5, "Formats")."""
    if not prop.step:
        return value
    base = prop.minimum if prop.minimum is not None else prop.maximum if prop.maximum is not None else 0.0
    # Decimal: 20.1 in steps of 0.1 must stay 20.1 and not become 20.1000000004.
    step, start = Decimal(repr(prop.step)), Decimal(repr(base))
    steps = ((Decimal(repr(value)) - start) / step + Decimal("0.5")).to_integral_value(rounding="ROUND_FLOOR")
    return float(start + steps * step)


def _in_range(prop: Property, value: float) -> bool:
    return not (
        (prop.minimum is not None and value < prop.minimum) or (prop.maximum is not None and value > prop.maximum)
    )


def _float(prop: Property, value: Any) -> bytes:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue(f"{value!r} is not a number")
    if not math.isfinite(value):
        raise BadValue(f"{value!r} is not finite", "not_finite")
    if prop.settable:
        value = to_step(prop, value)
    if not _in_range(prop, value):
        raise BadValue(f"{value!r} is outside {numeric_format(prop)}", "out_of_range")
    return number(value).encode()


def _integer(prop: Property, value: Any) -> bytes:
    if isinstance(value, float) and not math.isfinite(value):
        raise BadValue(f"{value!r} is not finite", "not_finite")
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise BadValue(f"{value!r} is not a whole number")
    whole = int(value)
    if prop.settable:
        whole = int(to_step(prop, whole))
    if not _in_range(prop, whole) or not -(1 << 63) <= whole < 1 << 63:
        raise BadValue(f"{whole} is outside {numeric_format(prop) or '64 bits'}", "out_of_range")
    return b"%d" % whole


def _boolean(prop: Property, value: Any) -> bytes:
    if not isinstance(value, bool):
        raise BadValue(f"{value!r} is not true or false")
    return b"true" if value else b"false"


def _string(prop: Property, value: Any) -> bytes:
    if not isinstance(value, str):
        raise BadValue(f"{value!r} is not text")
    try:
        return value.replace("\x00", "").encode() or EMPTY_STRING
    except UnicodeEncodeError:
        raise BadValue(f"{value!r} is not UTF-8 text") from None


def _enum(prop: Property, value: Any) -> bytes:
    if value not in prop.options or not isinstance(value, str):
        raise BadValue(f"{value!r} is not one of {', '.join(prop.options)}")
    return value.encode()


def _datetime(prop: Property, value: Any) -> bytes:
    if isinstance(value, str):
        value = parse_datetime(value)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise BadValue(f"{value!r} is not a date and time with its zone (ISO 8601)")
    return utc(value).encode()


def parse_datetime(text: str) -> datetime | None:
    """An ISO 8601 date and time with its zone, or None."""
    if not _DATETIME.match(text):
        return None
    try:
        when = datetime.fromisoformat(text)
        return when.astimezone(UTC) if when.tzinfo else None
    except (ValueError, OverflowError):
        return None


def duration_s(text: str) -> float | None:
    """Seconds of an ISO 8601 duration without years and months (``P1DT2H3M4.5S``), or None when it is not one."""
    match = _DURATION.match(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (float(part) if part else 0.0 for part in match.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


def _duration(prop: Property, value: Any) -> bytes:
    """From seconds (a number) or from ISO 8601 text; days become seconds, Homie knows only ``PT``."""
    if isinstance(value, str) and (seconds := duration_s(value)) is not None:
        return value.encode() if value.startswith("PT") else f"PT{number(seconds)}S".encode()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadValue(f"{value!r} is not a duration (seconds, or ISO 8601 text such as PT90S)")
    if not math.isfinite(value) or value < 0:
        raise BadValue(f"{value!r} is not a duration", "not_finite" if not math.isfinite(value) else "out_of_range")
    return f"PT{number(abs(value))}S".encode()  # of -0.0 the sign must go


def _json(prop: Property, value: Any) -> bytes:
    if not isinstance(value, dict | list):
        raise BadValue(f"{value!r} is not a JSON object or array")
    try:
        return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, TypeError, RecursionError) as error:
        raise BadValue(f"not JSON: {error}") from None


_FORMATTERS = {
    "float": _float,
    "integer": _integer,
    "boolean": _boolean,
    "string": _string,
    "enum": _enum,
    "datetime": _datetime,
    "duration": _duration,
    "json": _json,
}


def payload(prop: Property, value: Value | datetime) -> bytes:
    """What is published for ``value``. Raises BadValue when a controller must not see it."""
    return _FORMATTERS[prop.datatype](prop, value)


def numeric_format(prop: Property) -> str:
    """``min:max[:step]``, an open side left empty; "" without bounds. A step binds only who may set the value."""
    step = prop.step if prop.settable else None
    if prop.minimum is None and prop.maximum is None and not step:
        return ""
    whole = prop.datatype == "integer"

    def side(bound: float | None) -> str:
        return "" if bound is None else str(int(bound)) if whole else number(bound)

    text = f"{side(prop.minimum)}:{side(prop.maximum)}"
    return f"{text}:{side(step)}" if step else text


# --- /set ---------------------------------------------------------------------------------------------------


def parse_set(prop: Property, data: bytes) -> Value:
    """The value that a controller asks for. Raises Illegal with what would be legal.

    Numbers outside ``format`` are refused, numbers between two steps are rounded (Homie 5, "Formats")."""
    if len(data) > MAX_SET_BYTES:
        raise Illegal(f"{len(data)} bytes, at most {MAX_SET_BYTES} are taken")
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise Illegal("not UTF-8 text") from None
    return _PARSERS[prop.datatype](prop, text)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "...")


def _set_float(prop: Property, text: str) -> Value:
    # A thermostat card sends "20", "20.0" or "2e1": all are the same wish. float() alone would take "nan" and "1_0".
    if not _FLOAT.match(text):
        raise Illegal(f"{_shown(text)} is not a number")
    value = to_step(prop, float(text)) if math.isfinite(float(text)) else math.inf
    if not math.isfinite(value) or not _in_range(prop, value):
        raise Illegal(f"{_shown(text)} is outside {numeric_format(prop) or 'the range of a double'}")
    return value


def _set_integer(prop: Property, text: str) -> Value:
    if not _INTEGER.match(text):
        raise Illegal(f"{_shown(text)} is not a whole number")
    value = int(to_step(prop, int(text))) if prop.step else int(text)
    if not _in_range(prop, value) or not -(1 << 63) <= value < 1 << 63:
        raise Illegal(f"{_shown(text)} is outside {numeric_format(prop) or '64 bits'}")
    return value


def _set_boolean(prop: Property, text: str) -> Value:
    if text not in ("true", "false"):
        raise Illegal(f"{_shown(text)} is not true or false")
    return text == "true"


def _set_string(prop: Property, text: str) -> Value:
    if text == "\x00":
        return ""
    if "\x00" in text:
        raise Illegal("text with a zero byte in it")
    return text


def _set_enum(prop: Property, text: str) -> Value:
    if text not in prop.options:
        raise Illegal(f"{_shown(text)} is not one of {', '.join(prop.options)}")
    return text


def _set_datetime(prop: Property, text: str) -> Value:
    when = parse_datetime(text)
    if when is None:
        raise Illegal(f"{_shown(text)} is not a date and time with its zone (2026-11-22T03:00:00Z)")
    return utc(when)


def _set_duration(prop: Property, text: str) -> Value:
    if duration_s(text) is None:
        raise Illegal(f"{_shown(text)} is not a duration (PT90S)")
    return text


def _constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _set_json(prop: Property, text: str) -> Value:
    try:
        value = json.loads(text, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise Illegal(f"not JSON: {error}") from None
    if not isinstance(value, dict | list):
        raise Illegal("JSON, but not an object or array")
    return value


_PARSERS = {
    "float": _set_float,
    "integer": _set_integer,
    "boolean": _set_boolean,
    "string": _set_string,
    "enum": _set_enum,
    "datetime": _set_datetime,
    "duration": _set_duration,
    "json": _set_json,
}
