"""One transaction of the writer."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from hub.store.errors import StoreError, named


class Transaction:
    """``with``: BEGIN IMMEDIATE ... COMMIT; else ROLLBACK, and ``memory`` is emptied, to be read from the file again.

    Errors of SQLite leave it as StoreFull, StoreCorrupt, StoreIo or StoreError."""

    def __init__(self, db: sqlite3.Connection, path: Path, memory: dict[str, Any]) -> None:
        self.db = db
        self.path = path
        self.memory = memory

    def __enter__(self) -> sqlite3.Connection:
        try:
            self.db.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise self._named(error) from error
        return self.db

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            if error is None:
                self.db.execute("COMMIT")
                return
        except sqlite3.Error as failed:
            self._forget()
            raise self._named(failed) from failed
        self._forget()
        if isinstance(error, sqlite3.Error):
            raise self._named(error) from error

    def _forget(self) -> None:
        self.memory.clear()
        if self.db.in_transaction:
            try:
                self.db.execute("ROLLBACK")
            except sqlite3.Error as error:
                raise self._named(error) from error

    def _named(self, error: sqlite3.Error) -> StoreError:
        return named(error, self.path) or StoreError(f"{self.path}: {error}")
