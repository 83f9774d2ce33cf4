"""One value of an UPDATE: a label of three characters, a type byte, one or two bytes.

Type byte: bits 7-6 the kind, 5 signed, 4 writable, 3-0 the unit. uint16 comes low byte first, fixed16 its hundredths
byte first. A signed value is what it would be without the sign, less 256 (65 536 for uint16) in the upper half; for
fixed16 that is the whole part, so -2.5 comes as 253.5.
"""

from __future__ import annotations

import enum
import math
from typing import NamedTuple

FALSE, TRUE = 0xF0, 0xFF
#: Transmit power of a unit by the number that its ``Pwr`` holds.
POWER_MW = (20.0, 10.0, 5.0, 2.5, 1.2, 0.6, 0.3, 0.15)


class Kind(enum.IntEnum):
    UINT8 = 0
    UINT16 = 1
    FIXED16 = 2
    BOOL = 3


class Unit(enum.IntEnum):
    NONE = 0
    CELSIUS = 1
    VOLT = 2
    PERCENT = 3
    MINUTE = 4
    SECOND = 5
    HOUR = 6
    DAY = 7
    MILLIWATT = 8


SUFFIX = {Unit.NONE: "", Unit.CELSIUS: "°C", Unit.VOLT: "V", Unit.PERCENT: "%", Unit.MINUTE: "min", Unit.SECOND: "s",
          Unit.HOUR: "h", Unit.DAY: "d", Unit.MILLIWATT: "mW"}


class ValueField(NamedTuple):
    """A decoded value with all that is needed to write another one in its place."""

    label: str
    value: float | int | bool
    kind: Kind
    unit: Unit
    signed: bool = False
    writable: bool = False


def is_label(data: bytes) -> bool:
    """Three characters, a letter first (``Tmp``, ``Lit``, ``Vb1``)."""
    return len(data) == 3 and data.isalnum() and data[:1].isalpha() and data.isascii()


def decode_field(data: bytes, at: int) -> tuple[ValueField, int]:
    """The value at ``at`` and where the next one begins. Raises ValueError for anything the format does not allow."""
    label = data[at : at + 3]
    if not is_label(label):
        raise ValueError(f"label {label.hex(' ')}")
    kind_byte = data[at + 3 : at + 4]
    if not kind_byte:
        raise ValueError("no type byte")
    kind, unit_bits = Kind(kind_byte[0] >> 6), kind_byte[0] & 0x0F
    signed, writable = bool(kind_byte[0] & 0x20), bool(kind_byte[0] & 0x10)
    if unit_bits > Unit.MILLIWATT:
        raise ValueError(f"unit {unit_bits}")
    size = 2 if kind in (Kind.UINT16, Kind.FIXED16) else 1
    raw = data[at + 4 : at + 4 + size]
    if len(raw) < size:
        raise ValueError(f"half a value of {label.decode()}")
    value: float | int | bool
    if kind is Kind.BOOL:
        if raw[0] not in (FALSE, TRUE) or signed or unit_bits:
            raise ValueError(f"boolean 0x{raw[0]:02x}")
        value = raw[0] == TRUE
    elif kind is Kind.FIXED16:
        if raw[0] > 99:
            raise ValueError(f"{raw[0]} hundredths")
        whole = raw[1] - 256 if signed and raw[1] >= 128 else raw[1]
        value = round(whole + raw[0] / 100, 2)
    else:
        value = int.from_bytes(raw, "little")
        if signed and value >= 1 << (8 * size - 1):
            value -= 1 << (8 * size)
    field = ValueField(label.decode(), value, kind, Unit(unit_bits), signed, writable)
    return field, at + 4 + size


def encode_field(field: ValueField, *, swapped: bool = False) -> bytes:
    """The bytes of a value. Raises ValueError where it does not fit.

    ``swapped``: two-byte values high byte (whole part) first, as the operator program of 2016 wrote them."""
    label = field.label.encode("ascii", "replace")
    if not is_label(label):
        raise ValueError(f"{field.label!r} is no label of three letters or digits")
    kind_byte = field.kind << 6 | field.signed << 5 | field.writable << 4 | field.unit
    if field.kind is Kind.BOOL:
        if not isinstance(field.value, bool):
            raise ValueError(f"{field.label} is true or false")
        return label + bytes((kind_byte, TRUE if field.value else FALSE))
    if not math.isfinite(field.value):
        raise ValueError(f"{field.label} takes no {field.value}")
    if field.kind is Kind.FIXED16:
        hundredths = round(field.value * 100)
        low, high = (-12800, 12799) if field.signed else (0, 25599)
        if not low <= hundredths <= high:
            raise ValueError(f"{field.label} goes from {low / 100:g} to {high / 100:g}")
        raw = bytes((hundredths % 100, hundredths // 100 % 256))
    else:
        size = 1 if field.kind is Kind.UINT8 else 2
        if field.value != int(field.value):
            raise ValueError(f"{field.label} takes whole numbers")
        try:
            raw = int(field.value).to_bytes(size, "little", signed=field.signed)
        except OverflowError:
            top = 1 << 8 * size
            low, high = (-top // 2, top // 2 - 1) if field.signed else (0, top - 1)
            raise ValueError(f"{field.label} goes from {low} to {high}") from None
    return label + bytes((kind_byte,)) + (raw[::-1] if swapped else raw)


def encode_like(known: ValueField, value: float | int | bool, *, swapped: bool = False) -> bytes:
    """``value`` in the dress that the unit itself uses for this label. Raises ValueError."""
    return encode_field(known._replace(value=value, writable=True), swapped=swapped)
