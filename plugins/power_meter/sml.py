"""SML bytes -> the value lists of a meter. No port, no clock.

Source: BSI TR-03109-1 annex SML, sections 5 (messages), 6 (encoding), 8 (transport protocol version 1). A file is
``1B1B1B1B 01010101 messages fill 1B1B1B1B 1A n crc crc``; the file has a CRC-16 and every message in it has one of
its own. So a damaged file need not be lost: its messages whose own CRC is right are kept, and in a whole file whose
meter encodes one entry wrongly only that entry is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from . import crc
from .frames import Garbage
from .sml_tlv import Tlv, items, parse

ESCAPE = b"\x1b\x1b\x1b\x1b"
BEGIN = ESCAPE + b"\x01\x01\x01\x01"
#: Longest file that is met is under 1 KiB; more without an end is torn.
MAX_FILE = 8192
#: Shortest thing that could be a message.
MIN_MESSAGE = 12
GET_LIST_RESPONSE = 0x0701


@dataclass(frozen=True, slots=True)
class Entry:
    """One SML_ListEntry: six octets of OBIS, unit by DLMS code, value x 10^scaler."""

    obis: bytes
    status: int | None
    val_time: int | None
    unit: int | None
    scaler: int
    value: int | bytes | bool

    @property
    def code(self) -> str:
        a, b, c, d, e, f = self.obis
        return f"{a}-{b}:{c}.{d}.{e}*{f}"


@dataclass(frozen=True, slots=True)
class ValueList:
    """One GetList response. ``whole``: its file's CRC was right too; ``skipped`` entries could not be read."""

    server_id: bytes
    entries: tuple[Entry, ...]
    whole: bool
    skipped: int = 0
    at: float = field(default=0.0, compare=False)
    """What ``feed`` was told with the last byte of the list: one out of a file without an end is found late."""


def _entry(value: Tlv) -> Entry:
    obis, status, val_time, unit, scaler, content, _signature = items(value, 7)
    if not isinstance(obis, bytes) or len(obis) != 6:
        raise ValueError("no OBIS code")
    if not isinstance(content, (int, bytes)):
        raise ValueError("no value")
    if not (unit is None or isinstance(unit, int)) or not (scaler is None or isinstance(scaler, int)):
        raise ValueError("unit or scaler is no number")
    if scaler is not None and not -9 <= scaler <= 9:
        raise ValueError("scaler out of range")
    if isinstance(val_time, list) and len(val_time) == 2:
        val_time = val_time[1]  # a choice: 1 seconds index, 2 timestamp; Holley sends the number alone
    return Entry(
        obis, status if isinstance(status, int) else None, val_time if isinstance(val_time, int) else None,
        unit, scaler or 0, content,
    )


def message(data: bytes, at: int, check: bool = True) -> tuple[Tlv, int]:
    """The body ``[tag, content]`` of the message at ``at`` and the position behind it. Raises ValueError, also when
    its CRC is wrong (with ``check``)."""
    if at >= len(data) or data[at] != 0x76:
        raise ValueError("no message")
    _transaction, end = parse(data, at + 1)
    _group, end = parse(data, end)
    _abort, end = parse(data, end)
    body, end = parse(data, end)
    given, after = parse(data, end)
    if after >= len(data) or data[after] != 0x00 or not isinstance(given, int) or data[end] & 0xF0 != 0x60:
        raise ValueError("no end of message")
    if check and not _crc_right(data[at:end], given):
        raise ValueError("wrong message CRC")
    items(body, 2)
    return body, after + 1


def _crc_right(checked: bytes, given: int) -> bool:
    swapped = (given & 0xFF) << 8 | given >> 8
    return swapped in (crc.x25(checked), crc.kermit(checked))


def _sealed_end(data: bytes, at: int) -> int:
    """Where the message at ``at`` ends if its structure cannot be followed: behind the CRC that fits; 0 if none."""
    end = at
    while (end := data.find(b"\x63", end + 1)) >= 0:
        given = int.from_bytes(data[end + 1 : end + 3], "big")
        if data[end + 3 : end + 4] == b"\x00" and _crc_right(data[at:end], given):
            return end + 4
    return 0


def _value_list(body: Tlv, whole: bool) -> ValueList | None:
    tag, content = items(body, 2)
    if tag != GET_LIST_RESPONSE:
        return None
    _client, server, _name, _time, values, _signature, _gateway = items(content, 7)
    if not isinstance(values, list):
        raise ValueError("no value list")
    entries, skipped = [], 0
    for value in values:
        try:
            entries.append(_entry(value))
        except ValueError:
            skipped += 1
    return ValueList(server if isinstance(server, bytes) else b"", tuple(entries), whole, skipped)


def salvage(data: bytes) -> Iterator[tuple[ValueList, int]]:
    """The value lists in bytes that are no whole file, and where each ends: every message whose own CRC is right."""
    at = data.find(b"\x76")
    while 0 <= at <= len(data) - MIN_MESSAGE:
        try:
            body, end = message(data, at)
            found = _value_list(body, False)
            if found is not None:
                yield found, end
            at = data.find(b"\x76", end)
        except ValueError:
            at = data.find(b"\x76", at + 1)


def _loose_entries(data: bytes) -> Iterator[Entry]:
    """Entries in a stretch whose structure is broken (a length that lies), found by their own beginning."""
    at = data.find(b"\x77\x07")
    while at >= 0:
        try:
            value, end = parse(data, at)
            yield _entry(value)
            at = data.find(b"\x77\x07", end)
        except ValueError:
            at = data.find(b"\x77\x07", at + 1)


def read_file(payload: bytes) -> list[ValueList | Garbage]:
    """The value lists of a file whose CRC was right. One CRC-16 is not enough to believe what else looks wrong: a list
    is ``whole`` when its message's own CRC was right too."""
    out: list[ValueList | Garbage] = []
    at = 0
    server = b""
    while at < len(payload):
        if payload[at] == 0x00:  # fill bytes
            at += 1
            continue
        try:
            body, at = message(payload, at)
            found = _value_list(body, True)
            if found is not None:
                out.append(found)
                server = found.server_id
            continue
        except ValueError:
            pass
        end = _sealed_end(payload, at)
        if end:  # the meter's encoder is wrong somewhere in here: what can be found by itself is right
            loose = tuple(_loose_entries(payload[at:end]))
            out.append(ValueList(server, loose, True, 1) if loose else Garbage("message", end - at))
            at = end
            continue
        try:
            body, end = message(payload, at, check=False)
            found = _value_list(body, False)
            if found is not None:
                out.append(found)
        except ValueError:
            end = _next_message(payload, at + 1)
            out.append(Garbage("message", end - at))
        at = end
    return out


def _next_message(payload: bytes, at: int) -> int:
    while (at := payload.find(b"\x76", at)) >= 0:
        try:
            message(payload, at)
            return at
        except ValueError:
            at += 1
    return len(payload)


class SmlCodec:
    """``feed`` bytes in any portions; value lists and garbage come out in order."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self._buffer = b""
        self._scanned = 0
        self._times: list[tuple[int, float]] = []
        """(length of the buffer, time) after each feed that is still in it."""

    def feed(self, data: bytes, at: float = 0.0) -> list[ValueList | Garbage]:
        """``at``: the time of these bytes, on the caller's clock; it comes back with the lists."""
        self._buffer += data
        self._times.append((len(self._buffer), at))
        out: list[ValueList | Garbage] = []
        while self._step(out):
            pass
        return out

    def finish(self) -> list[ValueList | Garbage]:
        """What can be read of the file that the bytes end in."""
        out: list[ValueList | Garbage] = []
        self._salvage(self._buffer, out)
        self.reset()
        return out

    def _step(self, out: list[ValueList | Garbage]) -> bool:
        """Take one file, or the junk before it, off the buffer; False when more bytes are needed."""
        begin = self._buffer.find(BEGIN)
        if begin:
            cut = begin if begin > 0 else len(self._buffer) - MAX_FILE
            if cut <= 0:
                return False
            self._junk(cut, "no file", out)
            return True
        at = max(8, self._scanned)
        while (at := self._buffer.find(ESCAPE, at)) >= 0:
            behind = self._buffer[at + 4 : at + 8]
            if len(behind) < 4:
                self._scanned = at
                return False
            if behind[0] == 0x1A and behind[1] <= 3:
                self._take(at, out)
                return True
            if behind == BEGIN[4:]:
                self._junk(at, "torn", out)
                return True
            # An escape in the data is sent twice; anything else starts one byte later.
            at += 8 if behind == ESCAPE else 1
        self._scanned = max(8, len(self._buffer) - 7)
        if len(self._buffer) > MAX_FILE:
            self._junk(len(BEGIN), "no end", out)
            return True
        return False

    def _take(self, mark: int, out: list[ValueList | Garbage]) -> None:
        """The file that ends with the escape at ``mark``."""
        raw = self._buffer[: mark + 8]
        given = int.from_bytes(raw[-2:], "little")
        fill = raw[mark + 5]
        if given not in (crc.x25(raw[:-2]), crc.kermit(raw[:-2])):
            self._junk(mark + 8, "crc", out)
            return
        at = self._time(len(raw))
        self._cut(len(raw))
        for event in read_file(raw[8 : mark - fill].replace(ESCAPE * 2, ESCAPE)):
            out.append(replace(event, at=at) if isinstance(event, ValueList) else event)

    def _junk(self, length: int, reason: str, out: list[ValueList | Garbage]) -> None:
        out.append(Garbage(reason, length))
        self._salvage(self._buffer[:length], out)
        self._cut(length)

    def _salvage(self, junk: bytes, out: list[ValueList | Garbage]) -> None:
        out.extend(replace(found, at=self._time(end)) for found, end in salvage(junk))

    def _time(self, end: int) -> float:
        """When the byte before ``end`` of the buffer came."""
        return next((at for length, at in self._times if length >= end), 0.0)

    def _cut(self, length: int) -> None:
        self._buffer, self._scanned = self._buffer[length:], 0
        self._times = [(have - length, at) for have, at in self._times if have > length]
