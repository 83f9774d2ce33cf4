"""alerts.db: rules, alerts, outbox and logbook, as the notify process keeps them; it alone writes (B23).

An alert's change of state and the messages that it makes are one transaction (:meth:`AlertsDb.writing`), so a kill
between the two is a kill before or after both (B65, B66). Pages read it by :class:`AlertsReader` and ask the owner over
the hub's bus for changes. Each part has its tables and its SQL in a module of its own here. Times are microseconds
since 1970 UTC.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hub.store import alert_rows, connect, logbook_rows, outbox_rows, rules_rows, watch_rows
from hub.store.errors import SchemaNewer, StoreError, named

META = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""
STEPS: list[str] = [META, rules_rows.TABLES, alert_rows.TABLES, outbox_rows.TABLES, logbook_rows.TABLES,
                    watch_rows.TABLES]
"""From version n to n + 1. A shipped step is never edited."""
CHECKPOINT_PAGES = 1000


class AlertsDb:
    """The one connection that writes. Raises SecondHub, SchemaNewer, StoreError, each one line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        if path.exists() and path.stat().st_size:
            _refuse_newer(path)
        self._db = connect.open_writer(path)
        self._db.row_factory = sqlite3.Row
        try:
            path.chmod(0o600)  # it holds telephone numbers
            self._db.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
            self._db.execute("PRAGMA cache_size = -8192")
            self._migrate()
        except BaseException as error:
            self._db.close()
            if isinstance(error, sqlite3.Error):
                raise named(error, path) or StoreError(f"{path}: {error}") from error
            raise

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it or nothing. Within another one it is a part of that."""
        with self._lock:
            if self._depth:
                try:
                    yield self._db
                except sqlite3.Error as error:  # whoever is in between must know it from a fault of its own
                    raise named(error, self.path) or StoreError(f"{self.path}: {error}") from error
                return
            self._depth += 1
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise named(error, self.path) or StoreError(f"{self.path}: {error}") from error
                raise
            finally:
                self._depth -= 1

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """For the modules of this package."""
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise named(error, self.path) or StoreError(f"{self.path}: {error}") from error

    def meta(self, key: str) -> bytes | None:
        rows = self.rows("SELECT value FROM meta WHERE key = ?", key)
        return bytes(rows[0]["value"]) if rows else None

    def set_meta(self, key: str, value: bytes) -> None:
        with self.writing() as db:
            db.execute("INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                       (key, value))

    def _migrate(self) -> None:
        with self.writing() as db:
            have = int(db.execute("PRAGMA user_version").fetchone()[0])
            for version, step in enumerate(STEPS[have:], have + 1):
                for statement in statements(step):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {version}")


class AlertsReader:
    """What other processes read: never a lock that the writer would feel. Raises StoreError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None

    def rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        """[] while there is no file yet, or not yet its tables: notify makes them at its first start."""
        with self._lock:
            if self._db is None:
                if not self.path.exists():
                    return []
                self._db = connect.open_reader(self.path)
                self._db.row_factory = sqlite3.Row
            try:
                with connect.reading(self._db, self.path) as db:
                    try:
                        return db.execute(sql, values).fetchall()
                    except sqlite3.OperationalError:
                        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
                            return []
                        raise
            except StoreError:
                self._db.close()
                self._db = None
                raise

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None


Rows = AlertsDb | AlertsReader
"""Whatever has ``rows``."""


def statements(script: str) -> list[str]:
    """One by one, triggers whole, so that they run inside a transaction (``executescript`` would commit it)."""
    found, held = [], ""
    for line in script.splitlines(keepends=True):
        held += line
        if sqlite3.complete_statement(held):
            if held.strip():
                found.append(held.strip())
            held = ""
    return found


def _refuse_newer(path: Path) -> None:
    connection: Any = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5.0)
    try:
        have = int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.DatabaseError as error:
        raise named(error, path) or StoreError(f"{path}: {error}") from error
    finally:
        connection.close()
    if have > len(STEPS):
        raise SchemaNewer(have=have, want=len(STEPS))
