"""web.db: users, sessions, tokens, one-time codes and the audit, as the web process and its commands keep them.

Not WAL but a rollback journal: two processes write here (the pages, and ``hutkeeper-hub user`` at the console), and
SQLite before 3.51.3 can corrupt a WAL file that two connections checkpoint (B23). Secrets arrive as hashes; this
module never sees a password, a session or a token. Times are microseconds since 1970 UTC.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from hub.store.errors import SchemaNewer, StoreError, named

SCHEMA = 2
ROLES = ("viewer", "operator", "admin")
KEEP_CODES = 5

TABLES = """
CREATE TABLE users (name TEXT PRIMARY KEY, role TEXT NOT NULL, password TEXT NOT NULL, made_us INTEGER NOT NULL,
    changed_us INTEGER NOT NULL);
CREATE TABLE sessions (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, user TEXT NOT NULL, made_us INTEGER NOT NULL,
    seen_us INTEGER NOT NULL, address TEXT NOT NULL, agent TEXT NOT NULL);
CREATE TABLE tokens (id INTEGER PRIMARY KEY, hash TEXT NOT NULL UNIQUE, name TEXT NOT NULL, scope TEXT NOT NULL,
    user TEXT NOT NULL, made_us INTEGER NOT NULL, expires_us INTEGER NOT NULL, used_us INTEGER);
CREATE TABLE first_codes (hash TEXT PRIMARY KEY, made_us INTEGER NOT NULL, expires_us INTEGER NOT NULL);
CREATE TABLE audit (n INTEGER PRIMARY KEY, t_us INTEGER NOT NULL, who TEXT NOT NULL, address TEXT NOT NULL,
    action TEXT NOT NULL, target TEXT NOT NULL, detail TEXT NOT NULL, result TEXT NOT NULL, hash TEXT NOT NULL);
CREATE TABLE removed_devices (device TEXT PRIMARY KEY, t_us INTEGER NOT NULL);
"""
COMMANDS = """
CREATE TABLE commands (key TEXT PRIMARY KEY, asked TEXT NOT NULL, t_us INTEGER NOT NULL, status INTEGER, answer TEXT);
"""
STEPS = (TABLES, COMMANDS)
"""From version n to n + 1, for an older file as for a new one."""


class User(Struct, frozen=True):
    name: str
    role: str
    password: str
    made_us: int
    changed_us: int


class Session(Struct, frozen=True):
    id: int
    user: str
    role: str
    made_us: int
    seen_us: int
    address: str
    agent: str


class Token(Struct, frozen=True):
    id: int
    name: str
    scope: str
    user: str
    made_us: int
    expires_us: int
    used_us: int | None


class AuditRow(Struct, frozen=True):
    """One command: who, from where, what, on what, before and after, and what came of it."""

    n: int
    t_us: int
    who: str
    address: str
    action: str
    target: str
    detail: str
    result: str
    hash: str


class WebDb:
    """One connection behind a lock. Raises StoreError with one line that says what to do."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        # only its owner reads hashes and addresses; made before SQLite would make it by the umask
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            owner = path.parent.stat()
            if os.geteuid() == 0 and owner.st_uid != 0:  # `sudo hutkeeper-hub user`: the hub must still write it
                os.fchown(fd, owner.st_uid, owner.st_gid)
        finally:
            os.close(fd)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10.0)
        self._db.row_factory = sqlite3.Row
        try:
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA foreign_keys = ON")
            self._migrate()
        except sqlite3.Error as error:
            self._db.close()
            raise named(error, path) or StoreError(f"{path}: {error}") from error
        except StoreError:
            self._db.close()
            raise

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _migrate(self) -> None:
        with self.writing() as db:
            have = int(db.execute("PRAGMA user_version").fetchone()[0])
            if have > SCHEMA:
                raise SchemaNewer(have=have, want=SCHEMA)
            for version, step in enumerate(STEPS[have:], have + 1):
                for statement in step.split(";"):
                    if statement.strip():
                        db.execute(statement)
                db.execute(f"PRAGMA user_version = {version}")

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, for this package: all of it or nothing."""
        with self._lock:
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

    def _rows(self, sql: str, *values: object) -> list[sqlite3.Row]:
        with self._lock:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise named(error, self.path) or StoreError(f"{self.path}: {error}") from error

    # --- users -------------------------------------------------------------------------------------------

    def users(self) -> list[User]:
        return [User(**dict(row)) for row in self._rows("SELECT * FROM users ORDER BY name")]

    def user(self, name: str) -> User | None:
        rows = self._rows("SELECT * FROM users WHERE name = ?", name)
        return User(**dict(rows[0])) if rows else None

    def add_user(self, name: str, role: str, password: str, now_us: int) -> bool:
        """False when the name is taken."""
        with self.writing() as db:
            done = db.execute("INSERT OR IGNORE INTO users VALUES (?, ?, ?, ?, ?)",
                              (name, role, password, now_us, now_us))
            return done.rowcount == 1

    def add_first_admin(self, name: str, password: str, code_hash: str, now_us: int) -> bool:
        """Spend the one-time code and make the first user, at once. False when the code is unknown, old or late."""
        with self.writing() as db:
            if db.execute("SELECT 1 FROM users LIMIT 1").fetchone():
                return False
            found = db.execute("SELECT 1 FROM first_codes WHERE hash = ? AND expires_us > ?", (code_hash, now_us))
            if found.fetchone() is None:
                return False
            db.execute("DELETE FROM first_codes")
            db.execute("INSERT INTO users VALUES (?, 'admin', ?, ?, ?)", (name, password, now_us, now_us))
            return True

    def add_first_code(self, code_hash: str, now_us: int, expires_us: int) -> bool:
        """False when there is a user already. The newest few codes are good, so that printing it again at the
        console does not void the one that somebody is typing."""
        with self.writing() as db:
            if db.execute("SELECT 1 FROM users LIMIT 1").fetchone():
                return False
            db.execute("INSERT OR REPLACE INTO first_codes VALUES (?, ?, ?)", (code_hash, now_us, expires_us))
            db.execute("DELETE FROM first_codes WHERE expires_us <= ? OR hash NOT IN "
                       "(SELECT hash FROM first_codes ORDER BY made_us DESC LIMIT ?)", (now_us, KEEP_CODES))
            return True

    def set_password(self, name: str, password: str, now_us: int, keep_session: int | None = None) -> bool:
        """A new password ends the user's other sessions."""
        with self.writing() as db:
            done = db.execute("UPDATE users SET password = ?, changed_us = ? WHERE name = ?", (password, now_us, name))
            db.execute("DELETE FROM sessions WHERE user = ? AND id IS NOT ?", (name, keep_session))
            return done.rowcount == 1

    def set_role(self, name: str, role: str, now_us: int) -> bool:
        """False when there is no such user, or when no admin would be left."""
        with self.writing() as db:
            if role != "admin" and self._last_admin(db, name):
                return False
            done = db.execute("UPDATE users SET role = ?, changed_us = ? WHERE name = ?", (role, now_us, name))
            return done.rowcount == 1

    def remove_user(self, name: str) -> bool:
        """With sessions and tokens. False when there is no such user, or when no admin would be left."""
        with self.writing() as db:
            if self._last_admin(db, name):
                return False
            db.execute("DELETE FROM sessions WHERE user = ?", (name,))
            db.execute("DELETE FROM tokens WHERE user = ?", (name,))
            return db.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount == 1

    @staticmethod
    def _last_admin(db: sqlite3.Connection, name: str) -> bool:
        admins = [row[0] for row in db.execute("SELECT name FROM users WHERE role = 'admin'")]
        return admins == [name]

    # --- sessions ----------------------------------------------------------------------------------------

    def add_session(self, token_hash: str, user: str, now_us: int, address: str, agent: str) -> None:
        with self.writing() as db:
            db.execute("INSERT INTO sessions (hash, user, made_us, seen_us, address, agent) VALUES (?, ?, ?, ?, ?, ?)",
                       (token_hash, user, now_us, now_us, address, agent))

    def session(self, token_hash: str) -> Session | None:
        found = self._rows("SELECT s.id, s.user, u.role, s.made_us, s.seen_us, s.address, s.agent FROM sessions s "
                           "JOIN users u ON u.name = s.user WHERE s.hash = ?", token_hash)
        return Session(**dict(found[0])) if found else None

    def seen_session(self, session_id: int, now_us: int) -> None:
        with self.writing() as db:
            db.execute("UPDATE sessions SET seen_us = ? WHERE id = ?", (now_us, session_id))

    def sessions(self) -> list[Session]:
        return [Session(**dict(row)) for row in self._rows(
            "SELECT s.id, s.user, u.role, s.made_us, s.seen_us, s.address, s.agent FROM sessions s "
            "JOIN users u ON u.name = s.user ORDER BY s.seen_us DESC")]

    def end_session(self, session_id: int) -> bool:
        with self.writing() as db:
            return db.execute("DELETE FROM sessions WHERE id = ?", (session_id,)).rowcount == 1

    def end_old_sessions(self, idle_before_us: int, made_before_us: int) -> None:
        with self.writing() as db:
            db.execute("DELETE FROM sessions WHERE seen_us < ? OR made_us < ?", (idle_before_us, made_before_us))

    # --- API tokens --------------------------------------------------------------------------------------

    def add_token(self, token_hash: str, name: str, scope: str, user: str, now_us: int, expires_us: int) -> int:
        with self.writing() as db:
            done = db.execute("INSERT INTO tokens (hash, name, scope, user, made_us, expires_us) "
                              "VALUES (?, ?, ?, ?, ?, ?)", (token_hash, name, scope, user, now_us, expires_us))
            return int(done.lastrowid or 0)

    def token(self, token_hash: str) -> Token | None:
        found = self._rows("SELECT id, name, scope, user, made_us, expires_us, used_us FROM tokens WHERE hash = ?",
                           token_hash)
        return Token(**dict(found[0])) if found else None

    def used_token(self, token_id: int, now_us: int) -> None:
        with self.writing() as db:
            db.execute("UPDATE tokens SET used_us = ? WHERE id = ?", (now_us, token_id))

    def tokens(self) -> list[Token]:
        return [Token(**dict(row)) for row in self._rows(
            "SELECT id, name, scope, user, made_us, expires_us, used_us FROM tokens ORDER BY id")]

    def end_token(self, token_id: int) -> bool:
        with self.writing() as db:
            return db.execute("DELETE FROM tokens WHERE id = ?", (token_id,)).rowcount == 1

    # --- audit -------------------------------------------------------------------------------------------

    def audit(self, now_us: int, who: str, address: str, action: str, target: str, detail: str, result: str) -> str:
        """Append a row whose hash covers it and the row before; returns the hash (an anchor to be kept elsewhere)."""
        with self.writing() as db:
            last = db.execute("SELECT n, hash FROM audit ORDER BY n DESC LIMIT 1").fetchone()
            n, before = (last["n"] + 1, last["hash"]) if last else (1, "")
            link = _link(before, n, now_us, who, address, action, target, detail, result)
            db.execute("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                       (n, now_us, who, address, action, target, detail, result, link))
            return link

    def audit_rows(self, limit: int = 200, before: int | None = None) -> list[AuditRow]:
        """Newest first."""
        return [AuditRow(**dict(row)) for row in self._rows(
            "SELECT * FROM audit WHERE n < ? ORDER BY n DESC LIMIT ?", before or 1 << 62, limit)]

    def audit_break(self) -> int | None:
        """Number of the first row that was changed, or that follows a missing one; None when the chain is whole.

        Rows cut off at the end show only against an anchor kept elsewhere."""
        before, expected = "", 1
        for row in self._rows("SELECT * FROM audit ORDER BY n"):
            link = _link(before, *tuple(row)[:-1])
            if row["n"] != expected or row["hash"] != link:
                return int(row["n"])
            before, expected = link, expected + 1
        return None

    # --- devices that were taken off the fleet -------------------------------------------------------------

    def remove_device(self, device: str, now_us: int) -> None:
        with self.writing() as db:
            db.execute("INSERT OR REPLACE INTO removed_devices VALUES (?, ?)", (device, now_us))

    def removed_devices(self) -> set[str]:
        return {row["device"] for row in self._rows("SELECT device FROM removed_devices")}


def _link(before: str, *fields: object) -> str:
    return hashlib.sha256(json.dumps([before, *fields], ensure_ascii=True).encode()).hexdigest()
