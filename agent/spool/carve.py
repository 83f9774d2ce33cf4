"""Rows out of a SQLite file whose trees are damaged: every table leaf page is read by itself.

Source: "Database File Format" of sqlite.org, sections 1.6 (b-tree pages), 2.1 (record format), 1.6 "Cell Payload
Overflow Pages", and 4.3 (the write-ahead log). A page that is no longer part of the table may still hold rows, so the
caller must know which rows can be true; for batches their checksum and their number tell.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.spool import wal
from agent.spool.database import PAGE_BYTES

TABLE_LEAF = 0x0D
MAX_PAYLOAD = 16 << 20
Record = tuple[int, list[Any]]
"""Row id and column values; an INTEGER PRIMARY KEY column reads as None and is the row id."""


class BadPage(ValueError):
    """Something on this page cannot be."""


class Pages:
    """The pages of a file as its log leaves them; numbers count from 1."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.count = path.stat().st_size // PAGE_BYTES
        self._newer: dict[int, bytes] = {}
        with contextlib.suppress(OSError):
            self._newer = wal.pages(Path(f"{path}-wal"), PAGE_BYTES)
        self.count = max([self.count, *self._newer])

    def __getitem__(self, number: int) -> bytes:
        """Raises BadPage."""
        if number in self._newer:
            return self._newer[number]
        if not 1 <= number <= self.count:
            raise BadPage(f"no page {number}")
        self._file.seek((number - 1) * PAGE_BYTES)
        data = self._file.read(PAGE_BYTES)
        if len(data) != PAGE_BYTES:
            raise BadPage(f"page {number} is cut")
        return data

    def close(self) -> None:
        self._file.close()


def records(pages: Pages) -> Iterator[Record]:
    """Every row that a table leaf page holds; what cannot be read is passed over."""
    for number in range(1, pages.count + 1):
        try:
            page = pages[number]
        except BadPage:
            continue
        start = 100 if number == 1 else 0
        if page[start] != TABLE_LEAF:
            continue
        (cells,) = struct.unpack_from(">H", page, start + 3)
        for index in range(min(cells, (PAGE_BYTES - start - 8) // 2)):
            (offset,) = struct.unpack_from(">H", page, start + 8 + 2 * index)
            try:
                yield _cell(pages, page, offset)
            except (BadPage, IndexError, struct.error, UnicodeDecodeError, OverflowError):
                continue


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """(value, position behind it)"""
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9


def _cell(pages: Pages, page: bytes, offset: int) -> Record:
    size, at = _varint(page, offset)
    row, at = _varint(page, at)
    if not 0 < size <= MAX_PAYLOAD:
        raise BadPage(f"a payload of {size} bytes")
    most = PAGE_BYTES - 35
    local = size
    if size > most:
        least = (PAGE_BYTES - 12) * 32 // 255 - 23
        local = least + (size - least) % (PAGE_BYTES - 4)
        local = local if local <= most else least
    payload = page[at : at + local]
    if size > local:
        (link,) = struct.unpack_from(">I", page, at + local)
        payload += _overflow(pages, link, size - local)
    if len(payload) != size:
        raise BadPage("a cell that runs out of its page")
    return row, _record(payload)


def _overflow(pages: Pages, link: int, size: int) -> bytes:
    parts: list[bytes] = []
    seen: set[int] = set()
    while size > 0:
        if link in seen:
            raise BadPage("a chain of pages that bites its tail")
        seen.add(link)
        page = pages[link]
        parts.append(page[4 : 4 + min(size, PAGE_BYTES - 4)])
        size -= len(parts[-1])
        (link,) = struct.unpack_from(">I", page)
    return b"".join(parts)


def _record(payload: bytes) -> list[Any]:
    head, at = _varint(payload, 0)
    if head > len(payload) or head > 200:
        raise BadPage("a record's header that cannot be")
    kinds: list[int] = []
    while at < head:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    values: list[Any] = []
    for kind in kinds:
        if kind in (0, 8, 9):
            values.append({0: None, 8: 0, 9: 1}[kind])
        elif 1 <= kind <= 6:
            width = (1, 2, 3, 4, 6, 8)[kind - 1]
            values.append(int.from_bytes(_piece(payload, at, width), "big", signed=True))
            at += width
        elif kind == 7:
            values.append(struct.unpack(">d", _piece(payload, at, 8))[0])
            at += 8
        elif kind >= 12:
            width = (kind - 12) // 2
            data = _piece(payload, at, width)
            values.append(data.decode() if kind & 1 else data)
            at += width
        else:
            raise BadPage(f"a value of kind {kind}")
    return values


def _piece(payload: bytes, at: int, width: int) -> bytes:
    if at + width > len(payload):
        raise BadPage("a value that runs out of its record")
    return payload[at : at + width]
