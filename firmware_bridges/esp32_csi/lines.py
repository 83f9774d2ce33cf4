"""Bytes of the line to rows: an event is a row, a header, a bad line or another text. Nothing half is accepted.

No dialect has a checksum. A row counts when every column has its grammar, and there are as many values as its ``len``
says, each in range, up to the closing bracket: a line that is cut or has lost a separator is refused; a digit that
became another digit is not seen here, so whoever uses the values has to stand an outlier.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from .grammar import ALIASES, RANGES, head_pattern
from .row import DIALECTS, POLAR, POLAR_COUNT, CsiRow

MAX_LINE = 16 * 1024
MAX_VALUES = 2048
LEGACY_VALUES = 128
WIDE_AFTER = 8
"""Rows in a row with values beyond int8, right in all else, until they are believed: newer esp-csi multiplies them by
its gain compensation, and prints 16 bits."""
POLAR_MAGNITUDE = 181.1
"""Of the pair -128, -128."""
POLAR_PHASE = 3.1425
"""Pi as it is printed, with three decimals."""
_AFTER = re.compile(rb'"?[ -Z^-~\t]{0,120}\Z')
"""Behind the values, which are whole by then: a recorder's column with its own time, a log message that cut in."""
_NUMBERS = b"0123456789abcdefABCDEF-:, []\"."
_ints = msgspec.json.Decoder(list[int])
_POLAR_VALUE = re.compile(rb"-?\d{1,3}\.\d{3}").fullmatch


class BadLine(Struct, frozen=True):
    """A line of channel state that is not right."""

    reason: str
    text: str
    """How it began."""


class Other(Struct, frozen=True):
    """A line that is none: boot messages, logs."""

    text: str


class Header(Struct, frozen=True):
    """The line that names the columns."""

    columns: tuple[str, ...]


Event = CsiRow | BadLine | Other | Header


class LineDecoder:
    """Feed bytes in any pieces, get events. Learns columns from header lines."""

    def __init__(self) -> None:
        self._rest = b""
        self._skipping = False
        self._learned: dict[int, tuple[str, tuple[str, ...]]] = {}
        self._wide = 0

    def feed(self, data: bytes) -> list[Event]:
        """What was completed by these bytes."""
        events: list[Event] = []
        *lines, self._rest = (self._rest + data).split(b"\n") if self._rest else data.split(b"\n")
        for line in lines:
            if self._skipping:
                self._skipping = False
                continue
            events.extend(self._line(line))
        rest = self._rest
        if rest[:1] == b"[" and b"]" in rest:  # the polar frame's firmware ends no line
            whole, _, self._rest = rest.rpartition(b"]")
            events.extend(self._line(whole + b"]"))
        elif len(rest) > MAX_LINE:
            if not self._skipping:
                events.append(BadLine(f"no line end in {MAX_LINE} bytes", _start(rest)))
            self._rest, self._skipping = b"", True
        return events

    def finish(self) -> list[Event]:
        """The end of a datagram or of the stream: a last line needs no line end."""
        rest, self._rest = self._rest, b""
        if self._skipping or not rest.strip():
            self._skipping = False
            return []
        return list(self._line(rest))

    def _line(self, line: bytes) -> Iterator[Event]:
        line = line.strip()
        if not line:
            return
        if len(line) > MAX_LINE:
            yield BadLine(f"{len(line)} bytes in one line", _start(line))
            return
        if line[:1] == b"[" and line.count(b"]") > 1:
            for part in line.split(b"]"):
                if part.strip():
                    yield parse_line(part.strip() + b"]")
            return
        first = line.find(b"CSI_DATA")
        last = line.rfind(b"CSI_DATA,")
        if 0 <= first < last:  # a row that was cut by the next one
            yield BadLine("cut by another row", _start(line))
            line = line[last:]
        event = parse_line(line, self._learned)
        if isinstance(event, Header):
            self._learn(event)
        elif isinstance(event, CsiRow) and event.values and (max(event.values) > 127 or min(event.values) < -128):
            self._wide = min(WIDE_AFTER, self._wide + 1)
            if self._wide < WIDE_AFTER:
                event = BadLine("a value beyond 8 bits", _start(line))
        elif isinstance(event, CsiRow) and self._wide < WIDE_AFTER:
            self._wide = 0
        yield event

    def _learn(self, header: Header) -> None:
        columns = header.columns
        if columns in DIALECTS.values() or "len" not in columns or columns[-1] != "data" or len(columns) > 64:
            return
        if len(columns) not in _KNOWN and len(self._learned) < 8:
            self._learned[len(columns)] = ("header", columns)


def parse_line(line: bytes, learned: dict[int, tuple[str, tuple[str, ...]]] | None = None) -> Event:
    """One line without its end. ``learned``: number of columns -> (dialect, columns) beside the known ones."""
    at = line.rfind(b"CSI_DATA,")
    if at >= 0:
        return _row(line[at:] if at else line, learned or {})
    if line[:1] in b"[{" and (line[:1] == b"[" or b'"payload"' in line[:40]):
        return _polar(line)
    if line[:5] == b"type,":
        return _header(line)
    bracket = line.find(b"[")
    tail = line[bracket:] if bracket > 0 else line
    if line[:3] == b"CSI" or (len(tail) >= 24 and not tail.translate(None, _NUMBERS) and len(tail.split(b",")) +
                              len(tail.split()) > 6):
        return BadLine("the beginning of the row is missing", _start(line))
    return Other(_start(line))


def _row(line: bytes, learned: dict[int, tuple[str, tuple[str, ...]]]) -> Event:
    head, bracket, rest = line.partition(b"[")
    listed = b""
    encoded = b""
    if bracket:
        listed, closing, after = rest.partition(b"]")
        if not closing:
            return BadLine("the list of values has no end", _start(line))
        if _AFTER.match(after) is None:
            return BadLine("text behind the values", _start(line))
        head = head.removesuffix(b'"').removesuffix(b",")
    else:
        head, _, encoded = line.rpartition(b",")
    count = head.count(b",") + 2
    found = _KNOWN.get(count) or learned.get(count)
    if found is None:
        return BadLine(f"{count} columns, as no known firmware prints", _start(line))
    dialect, columns = found
    pattern, names = head_pattern(columns)
    match = pattern.match(head)
    if match is None:
        return BadLine(f"a column is not as {dialect} prints it", _start(line))
    fields: dict[str, Any] = {}
    for name, text in zip(names, match.groups(), strict=True):
        if name == "mac":
            fields["mac"] = text.decode().lower()
        elif name == "host_s":
            fields["host_s"] = float(text)
        else:
            number = int(text)
            low, high = RANGES.get(name, (-0x80000000, 0xFFFFFFFF))
            if not low <= number <= high:
                return BadLine(f"{name} {number} is out of range", _start(line))
            fields[name] = number
    length = fields.pop("len")
    try:
        values = _values(listed, encoded)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        return BadLine("a value is no number", _start(line))
    # The ESP32-CSI-Tool set to the legacy field alone still prints the length of all.
    right = len(values) == length or (dialect == "csi_tool" and len(values) == LEGACY_VALUES < length)
    if not right or length % 2 or not 2 <= length <= MAX_VALUES:
        return BadLine(f"{len(values)} values where {length} are announced", _start(line))
    if max(values) > 32767 or min(values) < -32768:
        return BadLine("a value beyond 16 bits", _start(line))
    fields["first_word_invalid"] = bool(fields.get("first_word_invalid", dialect == "csi_tool"))
    if "device_us" in fields:
        fields["device_us"] &= 0xFFFFFFFF  # printed as signed by some
    fields.setdefault("mac", "")
    return CsiRow(dialect=dialect, values=values, **fields)


def _values(listed: bytes, encoded: bytes) -> list[int]:
    if encoded:
        return memoryview(base64.b64decode(encoded.strip(), validate=True)).cast("b").tolist()
    if b"," not in listed:
        listed = b",".join(listed.split())
    return _ints.decode(b"[" + listed + b"]")


def _polar(line: bytes) -> Event:
    _, _, rest = line.partition(b"[")
    listed, closing, after = rest.partition(b"]")
    if not closing or after.strip(b'"} \t\r'):
        return BadLine("the polar frame has no end", _start(line))
    if listed.count(b",") != 2 * POLAR_COUNT - 1:
        return BadLine(f"{listed.count(b',') + 1} values in a polar frame of {2 * POLAR_COUNT}", _start(line))
    texts = [text.strip() for text in listed.split(b",")]
    if not all(map(_POLAR_VALUE, texts)):
        return BadLine("a value of the polar frame has not three decimals", _start(line))
    numbers = [float(text) for text in texts]
    magnitudes, phases = numbers[:POLAR_COUNT], numbers[POLAR_COUNT:]
    if not (min(magnitudes) >= 0 and max(magnitudes) <= POLAR_MAGNITUDE
            and max(phases) <= POLAR_PHASE and min(phases) >= -POLAR_PHASE):
        return BadLine("a magnitude or phase is out of range", _start(line))
    return CsiRow(dialect=POLAR, mac="", magnitudes=magnitudes, phases_rad=phases)


def _header(line: bytes) -> Event:
    words = tuple(word.strip().lower() for word in line.decode("ascii", "replace").split(","))
    columns = tuple(ALIASES.get(word, word) for word in words)
    return Header(columns) if columns[-1] == "data" else Other(_start(line))


def _start(line: bytes) -> str:
    return line[:60].decode("ascii", "backslashreplace")


_KNOWN = {len(columns): (name, columns) for name, columns in DIALECTS.items()}
