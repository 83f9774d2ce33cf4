"""A text to SMS-SUBMIT units, as the modem takes them (3GPP TS 23.040, 9.2.2.2; TS 23.038). Pure.

Units have no "transaction" of their own: one :class:`Part` is one SMS on the air, at most 140 octets of user data.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from . import gsm7

Alphabet = Literal["gsm7", "ucs2", "binary"]

SINGLE_SEPTETS, PART_SEPTETS = 160, 153
SINGLE_UNITS, PART_UNITS = 70, 67
"""UTF-16 code units. With the header of a concatenated message (6 octets) fewer fit."""
MAX_PARTS = 255
INTERNATIONAL, UNKNOWN, ALPHANUMERIC = 0x91, 0x81, 0xD0
_DIGITS = "0123456789*#abc"
VALIDITY_MAX = 0xFF
"""63 weeks: the network decides."""


class Part(NamedTuple):
    """The user data of one SMS."""

    alphabet: Alphabet
    header: bytes
    """User data header with its length octet, or nothing."""
    units: tuple[int, ...]
    """Septets, UTF-16 code units, or octets."""


def alphabet_of(text: str) -> Literal["gsm7", "ucs2"]:
    return "ucs2" if gsm7.encode(text) is None else "gsm7"


def split(text: str, reference: int, alphabet: Literal["gsm7", "ucs2"] | None = None) -> list[Part]:
    """The parts of a text; ``reference`` (0..255) ties those of one message together.

    ``gsm7`` asked for and not possible: the nearest letters (a third of the price, š as s). No part ends within an
    extension character or a surrogate pair. Raises ValueError above 255 parts."""
    alphabet = alphabet or alphabet_of(text)
    if alphabet == "gsm7":
        text = gsm7.nearest(text)
    whole = [unit for character in text for unit in _units(character, alphabet)]
    single, most = (SINGLE_SEPTETS, PART_SEPTETS) if alphabet == "gsm7" else (SINGLE_UNITS, PART_UNITS)
    if len(whole) <= single:
        return [Part(alphabet, b"", tuple(whole))]
    portions: list[list[int]] = [[]]
    for character in text:
        units = _units(character, alphabet)
        if len(portions[-1]) + len(units) > most:
            portions.append([])
        portions[-1] += units
    if len(portions) > MAX_PARTS:
        raise ValueError(f"the text needs {len(portions)} SMS, at most {MAX_PARTS} make one message")
    # Information element 0x00: 8-bit reference, how many, which (9.2.3.24.1).
    return [Part(alphabet, bytes((5, 0, 3, reference & 0xFF, len(portions), number)), tuple(units))
            for number, units in enumerate(portions, 1)]


def _units(character: str, alphabet: str) -> tuple[int, ...]:
    if alphabet == "gsm7":
        codes = gsm7.septets_of(character)
        assert codes is not None, "split() made the text fit"
        return codes
    data = character.encode("utf-16-be", "surrogatepass")
    return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def user_data(part: Part) -> tuple[int, bytes]:
    """Length field and octets: the length counts septets for ``gsm7`` (header included), else octets."""
    if part.alphabet == "gsm7":
        header_septets = (len(part.header) * 8 + 6) // 7
        fill_bits = header_septets * 7 - len(part.header) * 8
        return header_septets + len(part.units), part.header + gsm7.pack(list(part.units), fill_bits)
    if part.alphabet == "ucs2":
        data = part.header + b"".join(unit.to_bytes(2, "big") for unit in part.units)
    else:
        data = part.header + bytes(part.units)
    return len(data), data


def semi_octets(digits: str) -> bytes:
    """``123`` -> 21 F3 (9.1.2.3). Raises ValueError for what is no digit of an address."""
    codes = [_DIGITS.index(digit) for digit in digits.lower()]
    if len(codes) % 2:
        codes.append(0xF)
    return bytes(codes[at] | codes[at + 1] << 4 for at in range(0, len(codes), 2))


def address(number: str) -> bytes:
    """Address field (9.1.2.5): length in digits, type, digits; text (``Free Mobile``) as alphanumeric."""
    digits = number.removeprefix("+")
    if not digits or any(character not in _DIGITS for character in digits.lower()):
        septets = gsm7.encode(number)
        if not septets or len(septets) > 11:
            raise ValueError(f"{number!r} is no address: digits with or without +, or up to 11 letters")
        packed = gsm7.pack(septets)
        return bytes(((len(septets) * 7 + 3) // 4, ALPHANUMERIC)) + packed
    if len(digits) > 20:
        raise ValueError(f"{number!r}: an address has at most 20 digits")
    return bytes((len(digits), INTERNATIONAL if number.startswith("+") else UNKNOWN)) + semi_octets(digits)


def centre(number: str) -> bytes:
    """Service centre address as the modem wants it in front of the unit; empty: the one on the SIM.

    Its length counts octets with the type (TS 27.005, 3.3.1), unlike :func:`address`."""
    if not number:
        return b"\0"
    digits = semi_octets(number.removeprefix("+"))
    return bytes((len(digits) + 1, INTERNATIONAL if number.startswith("+") else UNKNOWN)) + digits


def submit(to: str, part: Part, *, report: bool = False, smsc: str = "", flash: bool = False,
           validity: int = VALIDITY_MAX) -> bytes:
    """One SMS-SUBMIT with the service centre in front, as ``AT+CMGS`` takes it in hexadecimal.

    ``validity``: relative, 9.2.3.12.1. The message reference is the modem's to fill in. Raises ValueError."""
    first = 0x01 | 0x10 | (0x20 if report else 0) | (0x40 if part.header else 0)
    return (centre(smsc) + bytes((first, 0)) + address(to) + bytes((0, coding(part.alphabet, flash), validity))
            + _body(part))


def length(unit: bytes) -> int:
    """What ``AT+CMGS=`` is told: octets without the service centre."""
    return len(unit) - 1 - unit[0]


def coding(alphabet: Alphabet, flash: bool = False) -> int:
    """Data coding scheme, general group (TS 23.038, 4)."""
    return {"gsm7": 0x00, "binary": 0x04, "ucs2": 0x08}[alphabet] | (0x10 if flash else 0)


def _body(part: Part) -> bytes:
    count, data = user_data(part)
    if len(data) > 140:
        raise ValueError(f"{len(data)} octets of user data, at most 140 make one SMS")
    return bytes((count,)) + data
