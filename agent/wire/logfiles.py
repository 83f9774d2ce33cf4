"""Log files as a supervisor keeps them, read from the end or from where a reader was, in bounded pieces: what the
request ``log_tail`` answers, and how the hub reads its own.

A cursor is ``<inode>:<offset>``: after a rotation the rest of the older file comes first. Secrets are taken out here,
before a line leaves the machine.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from agent.wire.private import redacted

MAX_BYTES = 48 * 1024
MAX_LINE = 4000
START = "start"
_CURSOR = re.compile(r"(\d{1,20}):(\d{1,15})\Z")


class Piece(NamedTuple):
    lines: list[str]
    cursor: str
    """To be given back for what comes after it."""
    more: bool
    """There is more already."""


class BadCursor(ValueError):
    pass


def read(path: Path, lines: int, after: str = "") -> Piece:
    """The last ``lines`` lines, or at most so many after the cursor ``after`` (``start``: from the oldest kept).

    Raises BadCursor; OSError when there is no such file."""
    if not after:
        return _tail(path, lines)
    older = path.with_name(path.name + ".1")
    if after == START:
        first = older if older.exists() else path
        return _from(first, 0, lines, newer=path if first is older else None)
    found = _CURSOR.match(after)
    if found is None:
        raise BadCursor("after: expected what an earlier answer gave as cursor")
    inode, offset = int(found[1]), int(found[2])
    if path.stat().st_ino == inode:
        return _from(path, offset, lines)
    if older.exists() and older.stat().st_ino == inode:
        return _from(older, offset, lines, newer=path)
    return _from(older if older.exists() else path, 0, lines, newer=path if older.exists() else None)


def _tail(path: Path, lines: int) -> Piece:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        start = max(0, status.st_size - MAX_BYTES)
        file.seek(start)
        data = file.read(MAX_BYTES)
    whole, _, _ = data.rpartition(b"\n")
    if start:  # the first line is a part of one
        whole = whole.partition(b"\n")[2]
    end = start + data.rfind(b"\n") + 1
    told = whole.split(b"\n")[-lines:] if whole else []
    return Piece([_text(line) for line in told], f"{status.st_ino}:{end}", False)


def _from(path: Path, offset: int, lines: int, newer: Path | None = None) -> Piece:
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if offset > status.st_size:  # cut short: it begins anew
            offset = 0
        file.seek(offset)
        data = file.read(MAX_BYTES)
    end = data.rfind(b"\n") + 1
    if not end and len(data) == MAX_BYTES:  # one endless line
        end = MAX_BYTES
    told, taken = [], 0
    for line in data[:end].splitlines(keepends=True)[:lines]:
        told.append(_text(line.rstrip(b"\r\n")))
        taken += len(line)
    more = offset + taken < status.st_size and bool(taken)
    if newer is not None and not more:
        try:
            return Piece(told, f"{newer.stat().st_ino}:0", True)
        except OSError:
            pass  # rotated this very moment: the reader comes again
    return Piece(told, f"{status.st_ino}:{offset + taken}", more)


def _text(line: bytes) -> str:
    return redacted(line[:MAX_LINE].decode("utf-8", "replace"))
