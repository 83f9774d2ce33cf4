"""The log beside the spool (SQLite file format, section 4 "The Write-Ahead Log"), looked at before SQLite does.

SQLite reads a log up to the first frame whose checksum is wrong and forgets the rest without a word. After a power cut
that is right: the rest was never committed. After a flipped bit it would forget commits, and their numbers would be
given a second time. Frames of the same log behind a wrong one tell the two apart.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HEADER = 32
FRAME = 24
MAGIC = (0x377F0682, 0x377F0683)


class Frame(NamedTuple):
    """Where a frame starts, whether it ends a commit, whether its salt is this log's and its checksum right."""

    offset: int
    commit: bool
    ours: bool
    right: bool


def _sums(data: bytes, order: str, before: tuple[int, int]) -> tuple[int, int]:
    s0, s1 = before
    for x0, x1 in struct.iter_unpack(f"{order}II", data):
        s0 = (s0 + x0 + s1) & 0xFFFFFFFF
        s1 = (s1 + x1 + s0) & 0xFFFFFFFF
    return s0, s1


def _frames(data: bytes) -> Iterator[Frame]:
    """Frames in their order; after the first wrong one the chain is followed as if it had been right."""
    if len(data) < HEADER:
        return
    magic, _version, page, _sequence, salt0, salt1, *_ = struct.unpack(">8I", data[:HEADER])
    if magic not in MAGIC or not 512 <= page <= 65536:
        return
    order = ">" if magic & 1 else "<"
    sums = _sums(data[: HEADER - 8], order, (0, 0))
    for offset in range(HEADER, len(data) - FRAME - page + 1, FRAME + page):
        _number, commit, one, two, c0, c1 = struct.unpack(">6I", data[offset : offset + FRAME])
        body = data[offset + FRAME : offset + FRAME + page]
        made = _sums(body, order, _sums(data[offset : offset + 8], order, sums))
        yield Frame(offset, commit != 0, (one, two) == (salt0, salt1), made == (c0, c1))
        sums = c0, c1


def _broken_at(data: bytes) -> tuple[int, int] | None:
    """(first wrong frame, end of the last commit behind it), when commits stand behind a wrong frame."""
    wrong: int | None = None
    commits: list[int] = []
    frames = list(_frames(data))
    for index, frame in enumerate(frames):
        if wrong is None:
            if not (frame.ours and frame.right):
                wrong = index
        elif frame.ours and frame.right and frame.commit:
            commits.append(index)
    # One commit that ends the file may be the transaction that a power cut tore. Two cannot: the second one was only
    # begun after the first was on the disk, whole.
    if wrong is None or not commits or (len(commits) == 1 and not frames[wrong].commit):
        return None
    return wrong, commits[-1]


def looks_sound(path: Path) -> bool:
    """False when commits stand behind a wrong frame: SQLite would forget them."""
    try:
        return _broken_at(path.read_bytes()) is None
    except OSError:
        return True


def pages(path: Path, size: int) -> dict[int, bytes]:
    """The newest committed version of each page in the log. Raises OSError."""
    data = path.read_bytes()
    committed: dict[int, bytes] = {}
    pending: dict[int, bytes] = {}
    for frame in _frames(data):
        if not (frame.ours and frame.right):
            break
        (number,) = struct.unpack_from(">I", data, frame.offset)
        body = data[frame.offset + FRAME : frame.offset + FRAME + size]
        if len(body) != size:
            break
        pending[number] = body
        if frame.commit:
            committed |= pending
            pending = {}
    return committed


def repair(path: Path) -> bool:
    """Make the chain of checksums whole again, so that every commit is read; the wrong page is then found by the rows'
    own checksums. Returns whether there was something to do."""
    try:
        data = bytearray(path.read_bytes())
    except OSError:
        return False
    broken = _broken_at(bytes(data))
    if broken is None:
        return False
    page = struct.unpack(">I", data[8:12])[0]
    order = ">" if struct.unpack(">I", data[:4])[0] & 1 else "<"
    sums = _sums(bytes(data[: HEADER - 8]), order, (0, 0))
    data[HEADER - 8 : HEADER] = struct.pack(">2I", *sums)
    end = HEADER + (broken[1] + 1) * (FRAME + page)
    for offset in range(HEADER, end, FRAME + page):
        data[offset + 8 : offset + 16] = data[16:24]
        sums = _sums(bytes(data[offset : offset + 8]), order, sums)
        sums = _sums(bytes(data[offset + FRAME : offset + FRAME + page]), order, sums)
        data[offset + 16 : offset + 24] = struct.pack(">2I", *sums)
    with contextlib.suppress(OSError):
        path.write_bytes(data[:end])
        return True
    return False
