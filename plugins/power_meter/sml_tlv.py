"""SML's binary encoding: type-length fields -> Python values. Strict: anything unexpected is a ValueError.

Source: BSI TR-03109-1 annex "SML 1.03/1.04", section 6. An octet string becomes ``bytes``, numbers ``int``, a list a
``list``, an optional that is left out (0x01) ``None``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

Tlv: TypeAlias = "bytes | int | bool | list[Tlv] | None"

#: Deepest real nesting is 6 (message, body, list response, value list, entry, time).
MAX_DEPTH = 10
MAX_ITEMS = 256


def header(data: bytes, at: int) -> tuple[int, int, int]:
    """(type, length, position behind the type-length field) at ``at``; of a list the length is its number of items,
    of everything else the number of value bytes. Raises ValueError."""
    try:
        byte = data[at]
        kind, length, size = byte & 0x70, byte & 0x0F, 1
        while byte & 0x80:
            byte = data[at + size]
            if byte & 0x70:
                raise ValueError("type in a second length byte")
            length, size = length << 4 | byte & 0x0F, size + 1
            if size > 4:
                raise ValueError("length field too long")
    except IndexError:
        raise ValueError("ends inside a length field") from None
    if kind != 0x70:
        length -= size
        if length < 0 or at + size + length > len(data):
            raise ValueError("length out of range")
    elif length > MAX_ITEMS:
        raise ValueError("list too long")
    return kind, length, at + size


def parse(data: bytes, at: int, depth: int = 0) -> tuple[Tlv, int]:
    """The value at ``at`` and the position behind it. Raises ValueError."""
    if at < len(data) and data[at] == 0x01:
        return None, at + 1
    kind, length, start = header(data, at)
    end = start + length
    if kind == 0x70:
        if depth >= MAX_DEPTH:
            raise ValueError("nested too deeply")
        items: list[Tlv] = []
        end = start
        for _ in range(length):
            item, end = parse(data, end, depth + 1)
            items.append(item)
        return items, end
    raw = data[start:end]
    if kind == 0x00:
        if start == at + 1 and length == 0 and data[at] == 0x00:
            raise ValueError("end of message inside a value")
        return raw, end
    if kind == 0x40:
        if length != 1:
            raise ValueError("boolean of a wrong size")
        return raw != b"\x00", end
    if kind in (0x50, 0x60):
        if not 1 <= length <= 8:
            raise ValueError("number of a wrong size")
        return int.from_bytes(raw, "big", signed=kind == 0x50), end
    raise ValueError(f"unknown type {kind:#x}")


def items(value: Tlv, length: int) -> Sequence[Tlv]:
    """``value`` as a list of exactly ``length`` items. Raises ValueError."""
    if not isinstance(value, list) or len(value) != length:
        raise ValueError("not the list it should be")
    return value
