"""What every codec hands out: a frame of its own kind or :class:`Garbage`; what a frame means: :class:`Measured`."""

from __future__ import annotations

from dataclasses import dataclass

#: Bytes of a 7E1 line that was read as 8N1 carry their parity in bit 7: such a byte has an even number of ones.
EVEN = tuple(bin(byte).count("1") % 2 == 0 for byte in range(256))
MASK_PARITY = bytes(byte & 0x7F for byte in range(256))


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes that are no good frame: why, and how many (counted for the link quality, never shown as a value)."""

    reason: str
    length: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One value of one property (in the property's own unit), of the meter itself or of a found ``node``."""

    property: str
    value: float | int | bool | str
    node: str | None = None


def seven_bit(data: bytes) -> bytes | None:
    """The 7-bit characters of ``data``: as it is, or with right parity bits masked off, or None if a parity is wrong.

    A line that strips parity never has bit 7 set; one that carries it has even parity in every byte."""
    if data.isascii():
        return data
    if all(EVEN[byte] for byte in data):
        return data.translate(MASK_PARITY)
    return None
