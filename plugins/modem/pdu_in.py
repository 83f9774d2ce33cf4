"""What the network sends: SMS-DELIVER and SMS-STATUS-REPORT (3GPP TS 23.040, 9.2.2.1 and 9.2.2.3), both ways. Pure.

Reading raises :class:`BadPdu` and nothing else, whatever the octets are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

from . import gsm7
from .pdu import ALPHANUMERIC, INTERNATIONAL, Alphabet, Part, address, centre, coding, semi_octets, user_data


class BadPdu(ValueError):
    """These octets are no such unit, in one line."""


class Concatenation(NamedTuple):
    reference: int
    total: int
    number: int


class Deliver(NamedTuple):
    """One SMS that came; of a long message, one part."""

    sender: str
    sent_at: datetime | None
    part: Part
    concatenation: Concatenation | None


class StatusReport(NamedTuple):
    reference: int
    recipient: str
    status: int
    """TP-Status, 9.2.3.15."""
    sent_at: datetime | None
    done_at: datetime | None

    @property
    def outcome(self) -> str:
        """``delivered``, ``trying`` (the network goes on) or ``failed``."""
        if self.status < 0x20:
            return "delivered"
        return "trying" if self.status < 0x40 else "failed"


class _Octets:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, count: int, what: str) -> bytes:
        if self._at + count > len(self._data):
            raise BadPdu(f"ends within its {what} ({len(self._data)} octets)")
        self._at += count
        return self._data[self._at - count : self._at]

    def byte(self, what: str) -> int:
        return self.take(1, what)[0]

    @property
    def left(self) -> int:
        return len(self._data) - self._at


def read(unit: bytes) -> Deliver | StatusReport:
    """One unit with its service centre in front, as ``+CMGL``, ``+CMGR`` and ``+CDS`` give it. Raises BadPdu."""
    octets = _Octets(unit)
    octets.take(octets.byte("service centre"), "service centre")
    first = octets.byte("first octet")
    kind = first & 0x03
    if kind == 0:
        return _deliver(octets, bool(first & 0x40))
    if kind == 2:
        return _report(octets)
    raise BadPdu(f"type {kind} is neither a message that came nor a report")


def _deliver(octets: _Octets, has_header: bool) -> Deliver:
    sender = _address(octets)
    octets.byte("protocol identifier")
    scheme = octets.byte("coding scheme")
    stamp = _time(octets.take(7, "time stamp"))
    count = octets.byte("length")
    alphabet = alphabet_of(scheme)
    need = (count * 7 + 7) // 8 if alphabet == "gsm7" else count
    if need > 140:
        raise BadPdu(f"{need} octets of user data, at most 140 are possible")
    data = octets.take(need, "user data")
    header = b""
    if has_header:
        if not data or len(data) < data[0] + 1:
            raise BadPdu("ends within its user data header")
        header, data = data[: data[0] + 1], data[data[0] + 1 :]
    return Deliver(sender, stamp, Part(alphabet, header, _units(alphabet, header, data, count)), concatenation(header))


def _units(alphabet: Alphabet, header: bytes, data: bytes, count: int) -> tuple[int, ...]:
    if alphabet == "gsm7":
        header_septets = (len(header) * 8 + 6) // 7
        if count < header_septets:
            raise BadPdu("its length is shorter than its header")
        try:
            return tuple(gsm7.unpack(data, count - header_septets, header_septets * 7 - len(header) * 8))
        except ValueError as error:
            raise BadPdu(str(error)) from None
    if alphabet == "ucs2":
        return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data) - 1, 2))
    return tuple(data)


def _report(octets: _Octets) -> StatusReport:
    reference = octets.byte("reference")
    recipient = _address(octets)
    sent, done = _time(octets.take(7, "time stamp")), _time(octets.take(7, "discharge time"))
    return StatusReport(reference, recipient, octets.byte("status"), sent, done)


def alphabet_of(scheme: int) -> Alphabet:
    """Of a data coding scheme (TS 23.038, 4). Compressed text is given as octets."""
    if scheme < 0x80:
        if scheme & 0x20:
            return "binary"
        return ("gsm7", "binary", "ucs2", "gsm7")[scheme >> 2 & 3]
    if scheme >> 4 == 0xE:
        return "ucs2"
    if scheme >> 4 == 0xF:
        return "binary" if scheme & 0x04 else "gsm7"
    return "gsm7"


def concatenation(header: bytes) -> Concatenation | None:
    """Which part this is (9.2.3.24.1 and .8); None: the message is whole, or its header makes no sense."""
    at = 1
    while at + 2 <= len(header):
        kind, size = header[at], header[at + 1]
        data = header[at + 2 : at + 2 + size]
        if len(data) == size and (kind, size) in ((0x00, 3), (0x08, 4)):
            reference, (total, number) = int.from_bytes(data[:-2], "big"), data[-2:]
            if total > 1 and 1 <= number <= total:
                return Concatenation(reference, total, number)
        at += 2 + size
    return None


def text_of(parts: Sequence[Part] | Iterable[Part]) -> str:
    """The text of parts in their order; a character that lies across a border is whole again. Octets as hexadecimal."""
    out: list[str] = []
    septets: list[int] = []
    wide = b""
    for part in parts:
        if part.alphabet == "gsm7":
            septets += part.units
            continue_wide, continue_septets = False, True
        elif part.alphabet == "ucs2":
            wide += b"".join(unit.to_bytes(2, "big") for unit in part.units)
            continue_wide, continue_septets = True, False
        else:
            continue_wide = continue_septets = False
        if not continue_septets and septets:
            out.append(gsm7.decode(septets))
            septets = []
        if not continue_wide and wide:
            out.append(wide.decode("utf-16-be", "replace"))
            wide = b""
        if part.alphabet == "binary":
            out.append(bytes(part.units).hex())
    out.append(gsm7.decode(septets))
    out.append(wide.decode("utf-16-be", "replace"))
    return "".join(out)


def _address(octets: _Octets) -> str:
    count, kind = octets.byte("address"), octets.byte("address")
    if count > 20 and kind & 0x70 != ALPHANUMERIC & 0x70:
        raise BadPdu(f"an address of {count} digits, at most 20 are possible")
    data = octets.take((count + 1) // 2, "address")
    if kind & 0x70 == ALPHANUMERIC & 0x70:
        return gsm7.decode(gsm7.unpack(data, count * 4 // 7))
    digits = "".join("0123456789*#abc"[code] if code < 15 else "" for byte in data for code in (byte & 15, byte >> 4))
    return ("+" if kind & 0x70 == INTERNATIONAL & 0x70 else "") + digits[:count]


def _time(data: bytes) -> datetime | None:
    """9.2.3.11; None where it is no time. The zone is in quarters of an hour."""
    swapped = [(byte & 15) * 10 + (byte >> 4) for byte in data[:6]]
    zone = data[6]
    quarters = (zone & 7) * 10 + (zone >> 4)
    try:
        offset = timezone(timedelta(minutes=15 * (-quarters if zone & 8 else quarters)))
        year, month, day, hour, minute, second = swapped
        return datetime(2000 + year, month, day, hour, minute, second, tzinfo=offset)
    except ValueError:
        return None


# --- the other way round: for the simulated network ---------------------------------------------------------------


def time_octets(at: datetime) -> bytes:
    offset = at.utcoffset() or timedelta()
    quarters = round(abs(offset) / timedelta(minutes=15))
    zone = (quarters % 10) << 4 | quarters // 10 | (8 if offset < timedelta() else 0)
    return semi_octets(at.strftime("%y%m%d%H%M%S")) + bytes((zone,))


def deliver(sender: str, part: Part, at: datetime, *, smsc: str = "") -> bytes:
    """One SMS-DELIVER with the service centre in front."""
    count, data = user_data(part)
    first = 0x40 if part.header else 0x00
    return (centre(smsc) + bytes((first,)) + address(sender) + bytes((0, coding(part.alphabet))) + time_octets(at)
            + bytes((count,)) + data)


def status_report(reference: int, recipient: str, status: int, at: datetime) -> bytes:
    stamp = time_octets(at)
    return b"\0" + bytes((0x06, reference)) + address(recipient) + stamp + stamp + bytes((status,))


def rfc3339(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat().replace("+00:00", "Z")
