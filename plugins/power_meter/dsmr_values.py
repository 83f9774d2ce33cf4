"""What the lines of a P1 telegram mean: OBIS -> property, with the form each value must have.

Source: P1 companion standard 5.0.2 section 6.12, 4.2.2, 3.0 and 2.2; e-MUCS P1 1.7.1 for the Belgian lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from .dsmr import Line, Telegram
from .frames import Measured
from .obis import PROPERTY, scaled
from .properties import BY_NAME, MBUS_KINDS

_NUMBER = re.compile(r"(\d{1,9}(?:\.\d{1,4})?)\*([A-Za-z0-9]{1,5})", re.ASCII)
_INTEGER = re.compile(r"\d{1,9}", re.ASCII)
_STAMP = re.compile(r"(\d{12})([SW])", re.ASCII)
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})*", re.ASCII)
_OBIS = re.compile(r"(\d+)-(\d+):(\d+)\.(\d+)\.(\d+)", re.ASCII)
#: Counts and texts by the end of their OBIS code.
_COUNTS = {
    "96.7.21": "power_failures", "96.7.9": "long_power_failures",
    **{f"{32 + 20 * n}.32.0": f"voltage_sags_l{n + 1}" for n in range(3)},
    **{f"{32 + 20 * n}.36.0": f"voltage_swells_l{n + 1}" for n in range(3)},
}
_POSITIONS = {"96.3.10": "switch_position"}
#: Lines that are known and are not reported: logs, addresses, calendars.
_SILENT = frozenset({
    "99.97.0", "96.1.2", "96.13.1", "98.1.0", "24.4.0", "96.1.9", "96.2.0", "42.0.0", "94.32.1", "96.14.1", "0.9.1",
    "0.9.2", "96.3.0", "96.13.2", "96.13.3", "96.13.4", "96.13.5",
})


def stamp(text: str) -> str | None:
    """``170102192002W`` -> ISO 8601; S is summer (+02:00), W winter. None if it is no date, or of 1970 (no reading)."""
    match = _STAMP.fullmatch(text)
    if match is None:
        return None
    try:
        moment = datetime.strptime(match[1], "%y%m%d%H%M%S")
    except ValueError:
        return None
    if not 2000 <= moment.year < 2069:
        return None
    return moment.replace(tzinfo=timezone(timedelta(hours=2 if match[2] == "S" else 1))).isoformat()


def octets(text: str) -> str | None:
    """A text that is written as hexadecimal octets; left as it is where the octets are no ASCII."""
    if not _HEX.fullmatch(text):
        return None
    raw = bytes.fromhex(text)
    return raw.decode("ascii") if raw.isascii() and raw.decode("ascii").isprintable() else text


@dataclass(slots=True)
class Child:
    """One M-Bus channel as the telegram shows it."""

    channel: int
    kind: int = 0
    serial: str = ""
    value: float | None = None
    measured_at: str = ""

    @property
    def node(self) -> str:
        return f"{MBUS_KINDS[self.kind][0]}-{self.channel}"


@dataclass(slots=True)
class Content:
    """The values of one telegram; ``unknown`` lines we have no meaning for, ``malformed`` ones whose form is wrong."""

    values: list[Measured] = field(default_factory=list)
    children: dict[int, Child] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    malformed: list[str] = field(default_factory=list)


def content(telegram: Telegram) -> Content:
    """All that a telegram says, in its order, then the sums that follow from it."""
    out = Content()
    seen: set[str] = set()
    for line in telegram.lines:
        if line.obis in seen:
            continue
        seen.add(line.obis)
        try:
            _line(line, out)
        except ValueError:
            out.malformed.append(line.obis)
    out.values.append(Measured("meter_model", telegram.header[1:].strip()))
    out.values.extend(_derived({m.property: m.value for m in out.values}))
    out.children = {n: c for n, c in out.children.items() if c.value is not None and c.kind in MBUS_KINDS}
    return out


def _line(line: Line, out: Content) -> None:
    """Put one line's value where it belongs. Raises ValueError if its form is wrong."""
    match = _OBIS.match(line.obis)
    if match is None:
        raise ValueError(line.obis)
    medium, channel, *group = (int(part) for part in match.groups())
    ending = line.obis.partition(":")[2]
    first, last = line.values[0], line.values[-1]
    if medium == 0 and channel and (group[0] == 24 or group[:2] == [96, 1] or ending == "96.3.10"):
        _child(line, channel, ending, out)
    elif ending in ("0.2.8", "96.1.4"):
        out.values.append(Measured("protocol_version", _checked(_INTEGER, first)))
    elif ending == "1.0.0":
        moment = stamp(first)
        if moment is None:
            raise ValueError(first)
        out.values.append(Measured("meter_time", moment))
    elif ending in ("96.1.1", "96.1.0"):
        _text("meter_id", first, out)
    elif ending == "96.13.0":
        _text("message", first, out)
    elif ending == "96.14.0":
        tariff = int(_checked(_INTEGER, first))
        if not 0 <= tariff <= 10:
            raise ValueError(first)
        if tariff:
            out.values.append(Measured("tariff", f"t{tariff}"))
    elif ending in _COUNTS:
        out.values.append(Measured(_COUNTS[ending], int(_checked(_INTEGER, first))))
    elif ending in _POSITIONS:
        out.values.append(Measured(_POSITIONS[ending], int(_checked(_INTEGER, first))))
    elif ending in ("17.0.0", "31.4.0"):
        number, unit = _number(last)
        out.values.append(Measured({"W": "power_limit_w", "A": "current_limit_a"}[_known(unit, "WA")], number))
    elif medium == 1 and (group[0], group[1], group[2]) in PROPERTY:
        name = PROPERTY[group[0], group[1], group[2]]
        if name == "power_factor" and "*" not in last:
            out.values.append(Measured(name, float(last)))
            return
        number, unit = _number(last)
        if unit != (BY_NAME[name].unit or ""):
            raise ValueError(last)
        out.values.append(Measured(name, number))
    elif ending not in _SILENT:
        out.unknown.append(line.obis)


def _child(line: Line, channel: int, ending: str, out: Content) -> None:
    child = out.children.setdefault(channel, Child(channel))
    if ending == "24.1.0":
        child.kind = int(_checked(_INTEGER, line.values[0]))
    elif ending in ("96.1.0", "96.1.1"):
        text = octets(line.values[0])
        if text is None:
            raise ValueError(line.values[0])
        child.serial = text
    elif ending in ("24.2.1", "24.2.3") and len(line.values) == 2:
        moment = stamp(line.values[0])
        if moment is None or "*" not in line.values[1]:
            return  # 1970, or a number without a unit: the channel has no meter that answers
        child.value, unit = _number(line.values[1])
        _known(unit, MBUS_KINDS[child.kind][2].unit or "") if child.kind in MBUS_KINDS else None
        child.measured_at = moment
    elif ending == "24.3.0" and len(line.values) == 7:
        # (YYMMDDhhmmss)(..)(interval)(count)(OBIS of the value)(unit)(value): DSMR 2 and 3
        moment = stamp(line.values[0] + "W")
        scale = scaled(_checked(re.compile(r"\d{1,9}(?:\.\d{1,4})?", re.ASCII), line.values[6]), line.values[5])
        if moment is None or scale is None:
            raise ValueError(line.values[0])
        child.value = scale[0]
        child.measured_at = moment[:19]  # these versions do not say which time it is


def _checked(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(text)
    return text


def _known(unit: str, allowed: str) -> str:
    if unit not in allowed:
        raise ValueError(unit)
    return unit


def _number(text: str) -> tuple[float, str]:
    match = _NUMBER.fullmatch(text)
    row = scaled(match[1], match[2]) if match else None
    if row is None:
        raise ValueError(text)
    return row


def _text(name: str, coded: str, out: Content) -> None:
    text = octets(coded)
    if text is None:
        raise ValueError(coded)
    if text:
        out.values.append(Measured(name, text))


def _derived(by_name: dict[str, float | int | bool | str]) -> Iterator[Measured]:
    """Net power, and the sum over the tariffs where the meter does not send it itself."""
    for phase in ("", "_l1", "_l2", "_l3"):
        into, back = by_name.get(f"active_power_import{phase}_w"), by_name.get(f"active_power_export{phase}_w")
        if f"active_power{phase}_w" not in by_name and isinstance(into, float):
            yield Measured(f"active_power{phase}_w", into - back if isinstance(back, float) else into)
    for way in ("import", "export"):
        tariffs = [by_name.get(f"active_energy_{way}_t{n}_kwh") for n in (1, 2, 3, 4)]
        known = [value for value in tariffs if isinstance(value, float)]
        if known and f"active_energy_{way}_kwh" not in by_name:
            yield Measured(f"active_energy_{way}_kwh", round(sum(known), 3))


def shape(telegram: Telegram) -> str:
    """The telegram with every digit of a value made 0: what stays the same from one telegram to the next.

    Texts between brackets without a digit pattern (messages, serials, logs) count by their presence only."""
    parts = [telegram.header]
    for line in telegram.lines:
        values = (re.sub(r"\d", "0", v) if "*" in v or "." in v or len(v) < 14 else "x" for v in line.values)
        parts.append(line.obis + "".join(f"({v})" for v in values))
    return "\n".join(parts)
