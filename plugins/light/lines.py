"""What boards print about light, line by line. Pure.

Taken are ``Lit 23%``, ``Lit: 23``, ``lux=120.5``, ``illuminance 350 lx`` and the JSON of the sub-GHz room units,
``{"Lit": "23%", "Tmp": "20.5C"}``; a line may end in the checksum ``*hh`` of NMEA 0183 (exclusive or of all before it).
Anything else that is a label and a value is another sensor's and left out; the rest is bad. A whole line or nothing: no
half number is taken.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

MAX_LINE = 256
PERCENT = ("lit", "luminosity", "luminosity_pct")
LUX = ("lux", "lx", "light", "illuminance", "illuminance_lx")
_LABEL = r"[A-Za-z][A-Za-z0-9_*]{0,23}"
_GAP = r"(?:[ \t]*[:=][ \t]*|[ \t]+)"
_PAIR = re.compile(rf"({_LABEL}){_GAP}(-?\d{{1,6}}(?:\.\d{{1,3}})?)[ \t]*([%A-Za-z]{{0,4}})")
_VALUE = re.compile(r"(-?\d{1,6}(?:\.\d{1,3})?)[ \t]*([%A-Za-z]{0,4})")
_OTHER = re.compile(rf"{_LABEL}{_GAP}[A-Za-z0-9.+-]{{1,16}}[%A-Za-z]{{0,4}}|[A-Za-z]{{1,23}}\d")
"""Another sensor's: ``Tmp: 20.5C``, ``PIR1``."""
_CHECKSUM = re.compile(rb"(.*)\*([0-9A-Fa-f]{2})")


class Measured(NamedTuple):
    """One value: in lx, or in percent of the sensor's range."""

    value: float
    percent: bool
    step: float
    """What the last printed digit stands for."""
    checked: bool
    """A checksum was right."""


def parse(line: bytes) -> Measured | None:
    """None: it is another sensor's. Raises ValueError for what is no line of any."""
    checked = _CHECKSUM.fullmatch(line.strip())
    if checked is not None:
        line = checked[1].removeprefix(b"$")
        if _xor(line) != int(checked[2], 16):
            raise ValueError("wrong checksum")
    if len(line) > MAX_LINE:
        raise ValueError("too long")
    try:
        text = line.decode("ascii").strip()
    except UnicodeDecodeError:
        raise ValueError("no text") from None
    if text.startswith("{"):
        return _json(text, checked is not None)
    found = _PAIR.fullmatch(text)
    if found is not None and found[1].lower() in PERCENT + LUX:
        return _measured(found[1].lower(), found[2], found[3], checked is not None)
    label = re.match(_LABEL, text)
    if label is not None and label[0].lower() in PERCENT + LUX:
        raise ValueError("no number")
    if found is None and _OTHER.fullmatch(text) is None:
        raise ValueError("neither a label and a value nor JSON")
    return None


def _json(text: str, checked: bool) -> Measured | None:
    try:
        table: Any = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("JSON cut off") from None
    for name, value in table.items():
        if name.lower() not in PERCENT + LUX:
            continue
        found = _VALUE.fullmatch(value.strip() if isinstance(value, str) else repr(value))
        if isinstance(value, bool) or found is None:
            raise ValueError(f"{name} without a number")
        return _measured(name.lower(), found[1], found[2], checked)
    return None


def _measured(name: str, digits: str, unit: str, checked: bool) -> Measured:
    unit = unit.lower()
    if unit not in ("", "%", "lx", "lux"):
        raise ValueError(f"{unit!r} is no unit of light")
    percent = unit == "%" if unit else name in PERCENT
    if percent and not 0 <= float(digits) <= 100:
        raise ValueError(f"{digits} % is no share")
    return Measured(float(digits), percent, 10.0 ** -len(digits.partition(".")[2]), checked)


def _xor(data: bytes) -> int:
    total = 0
    for byte in data:
        total ^= byte
    return total


class Doubt:
    """A line has no checksum: a value that is far from the last one must come ``times`` times in a row, since the same
    byte is lost twice in a row soon enough where many lines come. The first value must come twice. Light itself may
    jump, so a real jump costs a line or two."""

    def __init__(self, times: int = 3) -> None:
        self._times = times
        self._believed: float | None = None
        self._doubted: list[float] = []

    def believe(self, measured: Measured) -> bool:
        value = measured.value
        if measured.checked or (self._believed is not None and near(value, self._believed)):
            self._believed = value
            self._doubted.clear()
            return True
        if not all(near(value, other) for other in self._doubted):
            self._doubted.clear()
        self._doubted.append(value)
        if len(self._doubted) < (2 if self._believed is None else self._times):
            return False
        self._believed = value
        self._doubted.clear()
        return True


def near(a: float, b: float) -> bool:
    """Within a third of the larger, or 5."""
    return abs(a - b) <= max(5.0, max(abs(a), abs(b)) / 3)
