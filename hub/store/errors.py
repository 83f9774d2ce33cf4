"""What can go wrong with the store, sorted by what the caller does next. Each text is one whole line."""

from __future__ import annotations

import sqlite3
from typing import Any

from agent.wire import faults


class StoreError(Exception):
    """One line: what happened, what is kept, what to do. ``code`` is its fault code."""

    code = ""

    def __init__(self, text: str = "", **fields: Any) -> None:
        super().__init__(text or faults.line(self.code, **fields))


class SchemaNewer(StoreError):
    """The file was written by a newer hutkeeper: read, never write (B74)."""

    code = "E_SCHEMA_NEWER"


class SecondHub(StoreError):
    """Another process owns this database (B13)."""

    code = "E_SECOND_HUB"


class StoreFull(StoreError):
    """The disk is full: nothing was committed, try again later (B18)."""

    code = "E_DB_FULL"


class StoreCorrupt(StoreError):
    """The file is damaged: set it aside and restore (B20)."""

    code = "E_DB_CORRUPT"


class StoreIo(StoreError):
    """The disk fails."""

    code = "E_DISK_IO"


class ReadTooLong(StoreError):
    """A read took longer than a reader may (B19)."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the read took longer than {limit_s:.0f} s and was ended, so that the write-ahead log stays "
                         "small: ask for a shorter range")


_FULL = {sqlite3.SQLITE_FULL}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_IO = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM}


def named(error: sqlite3.Error, path: object) -> StoreError | None:
    """The store's own error for what SQLite said about the world, or None when the fault is ours."""
    primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if primary in _FULL:
        return StoreFull(path=path)
    if primary in _CORRUPT:
        return StoreCorrupt(path=path, error=error)
    if primary in _IO:
        return StoreIo(path=path, error=error)
    return None
