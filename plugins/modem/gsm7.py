"""The GSM 7-bit default alphabet with its extension table, and septets in octets (TS 23.038, 6.1.2, 6.2.1). Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

BASIC = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\x1bÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
EXTENSION = {
    "\f": 0x0A, "^": 0x14, "{": 0x28, "}": 0x29, "\\": 0x2F, "[": 0x3C, "~": 0x3D, "]": 0x3E, "|": 0x40, "€": 0x65,
}
ESCAPE = 0x1B

_PLAIN = {"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "œ": "oe", "Œ": "OE", "°": "o",
          "«": '"', "»": '"', "\t": " "}
_CODES = {character: code for code, character in enumerate(BASIC) if code != ESCAPE}
_EXTENDED = {code: character for character, code in EXTENSION.items()}


def septets_of(character: str) -> tuple[int, ...] | None:
    """One or two septets; None: the alphabet does not have it."""
    if character in _CODES:
        return (_CODES[character],)
    if character in EXTENSION:
        return ESCAPE, EXTENSION[character]
    return None


def encode(text: str) -> list[int] | None:
    """The septets of a text; None when a character has no place in the alphabet."""
    septets: list[int] = []
    for character in text:
        codes = septets_of(character)
        if codes is None:
            return None
        septets += codes
    return septets


def nearest(text: str) -> str:
    """The text in the letters of the alphabet: accents that it lacks are left out, other strangers become ``?``."""
    out: list[str] = []
    for character in text:
        if septets_of(character) is None:
            bare = "".join(one for one in unicodedata.normalize("NFKD", character) if not unicodedata.combining(one))
            character = "".join(one if septets_of(one) else "?" for one in _PLAIN.get(character, bare))
        out.append(character)
    return "".join(out)


def decode(septets: Iterable[int]) -> str:
    """The text. An escape before an unknown code shows the basic character, as 6.2.1.1 asks; a lonely one: a space."""
    out: list[str] = []
    escaped = False
    for code in septets:
        if escaped:
            out.append(_EXTENDED.get(code, " " if code == ESCAPE else BASIC[code]))
            escaped = False
        elif code == ESCAPE:
            escaped = True
        else:
            out.append(BASIC[code])
    return "".join(out) + (" " if escaped else "")


def pack(septets: list[int], fill_bits: int = 0) -> bytes:
    """Septets in octets, least significant bit first, after ``fill_bits`` bits of 0."""
    bits = 0
    for index, septet in enumerate(septets):
        bits |= septet << (7 * index + fill_bits)
    return bits.to_bytes((7 * len(septets) + fill_bits + 7) // 8, "little")


def unpack(data: bytes, count: int, fill_bits: int = 0) -> list[int]:
    """``count`` septets. Raises ValueError when the octets do not hold so many."""
    if len(data) * 8 < count * 7 + fill_bits:
        raise ValueError(f"{len(data)} octets hold no {count} septets")
    bits = int.from_bytes(data, "little") >> fill_bits
    return [(bits >> (7 * index)) & 0x7F for index in range(count)]
