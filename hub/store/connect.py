"""Opening the file, so that exactly one connection writes and checkpoints (B23).

SQLite before 3.51.3 can corrupt a WAL file when two connections write or checkpoint at the same moment; Debian 12
has 3.40.1. The writer therefore takes a lock file for as long as it lives, this module refuses a second one in the
same process too, and a reader is opened read-only, where SQLite cannot checkpoint.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub.store import schema
from hub.store.errors import ReadTooLong, SecondHub, StoreCorrupt, StoreError, named

MAX_READ_S = 30.0
"""A read transaction keeps the write-ahead log from shrinking: none is longer than this (B19)."""
CORRUPT_MARK = ".damaged"
WAL_RESET_FIXED = (3, 51, 3)

_guard = threading.Lock()
_writers: dict[str, int] = {}
"""Real paths with a writer in this process -> descriptor of their lock file."""


def has_wal_reset_bug() -> bool:
    """True when this SQLite is one that the rule of the single writer is for (W_SQLITE_VERSION)."""
    return sqlite3.sqlite_version_info < WAL_RESET_FIXED


class WriteConnection(sqlite3.Connection):
    """The one connection that writes and checkpoints; gives its lock back when it is closed."""

    path: Path | None = None
    lock = -1

    def close(self) -> None:
        super().close()
        if self.path is not None:
            give_lock(self.path, self.lock)


def open_writer(path: Path) -> WriteConnection:
    """The writer's connection, unmigrated. Raises SecondHub, StoreCorrupt, StoreError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    refuse_damaged(path)
    fd = take_lock(path)
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=WriteConnection,
                                     cached_statements=256, timeout=5.0)
        connection.path, connection.lock = path, fd
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # the writer does it, when it can be afforded
        connection.execute("PRAGMA foreign_keys = OFF")  # the writer makes the parents itself
        connection.execute("PRAGMA cache_size = -65536")
        connection.execute("PRAGMA temp_store = MEMORY")
        return connection
    except sqlite3.Error as error:
        give_lock(path, fd)
        raise named(error, path) or StoreError(f"{path}: {error}") from error


def take_lock(path: Path) -> int:
    """The writer's lock on this database, as a descriptor for :func:`give_lock`. Raises SecondHub."""
    real = str(path.resolve())
    with _guard:
        if real in _writers:
            raise SecondHub(who=f"this process already writes {path}")
        fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(fd, 20, 0).decode(errors="replace").strip()
            os.close(fd)
            raise SecondHub(who=f"process {holder or '?'} writes {path}") from None
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        _writers[real] = fd
        return fd


def give_lock(path: Path, fd: int) -> None:
    with _guard:
        if _writers.get(real := str(path.resolve())) == fd:
            del _writers[real]
            os.close(fd)


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that can neither write nor checkpoint. Raises StoreError."""
    if not path.exists():
        refuse_damaged(path)
        raise StoreError(f"{path}: no such database, start the hub first: hutkeeper-hub run")
    connection = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, isolation_level=None, timeout=5.0,
                                 check_same_thread=False)
    connection.execute("PRAGMA query_only = ON")
    return connection


@contextmanager
def reading(connection: sqlite3.Connection, path: Path, limit_s: float = MAX_READ_S) -> Iterator[sqlite3.Connection]:
    """One snapshot of the file, given back at the latest after ``limit_s``. Raises ReadTooLong, StoreError."""
    ends = time.monotonic() + limit_s
    try:
        connection.set_progress_handler(lambda: time.monotonic() > ends, 10_000)
        connection.execute("BEGIN")
        yield connection
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
            raise ReadTooLong(limit_s) from None
        raise named(error, path) or StoreError(f"{path}: {error}") from error
    finally:
        connection.set_progress_handler(None, 0)
        if connection.in_transaction:
            connection.execute("ROLLBACK")  # it only read


def _quoted(path: Path) -> str:
    return str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def refuse_damaged(path: Path) -> None:
    """A file that was set aside is not replaced by an empty one without a word (B20). Raises StoreCorrupt."""
    mark = Path(f"{path}{CORRUPT_MARK}")
    if mark.exists() and not path.exists():
        raise StoreCorrupt(path=path, error=f"set aside as {mark.read_text().strip() or '?'}")


def set_aside(path: Path, reason: str) -> Path:
    """Move a damaged file with its log out of the way and leave a mark that :func:`refuse_damaged` sees."""
    aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}")
    mark = Path(f"{path}{CORRUPT_MARK}")
    mark.write_text(f"{aside} ({reason})\n")
    for tail in ("-wal", "-shm", ""):
        part = Path(f"{path}{tail}")
        if part.exists():
            part.replace(f"{aside}{tail}")
    return aside


def quick_check(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreCorrupt when SQLite finds the file damaged."""
    try:
        found = [row[0] for row in connection.execute("PRAGMA quick_check(5)")]
    except sqlite3.DatabaseError as error:
        raise named(error, path) or StoreCorrupt(path=path, error=error) from error
    if found != ["ok"]:
        raise StoreCorrupt(path=path, error="; ".join(str(line) for line in found)[:300])


def open_checked(path: Path) -> WriteConnection:
    """The writer's connection to a sound, migrated file. Raises SchemaNewer, StoreCorrupt (file set aside), ..."""
    existed = path.exists() and path.stat().st_size > 0
    connection: WriteConnection | None = None
    try:
        if existed:
            refuse_newer(path)
        connection = open_writer(path)
        if existed:
            quick_check(connection, path)
        schema.migrate(connection, path)
        return connection
    except StoreCorrupt as error:
        if connection is not None:
            connection.close()
        if path.exists():
            set_aside(path, str(error))
        raise
    except BaseException:
        if connection is not None:
            connection.close()
        raise


def refuse_newer(path: Path) -> None:
    """Look before writing a byte: switching to WAL alone would change a file that is not ours to change (B74)."""
    connection = sqlite3.connect(f"file:{_quoted(path)}?mode=ro", uri=True, isolation_level=None, timeout=5.0)
    try:
        schema.check_known(connection)
    except sqlite3.DatabaseError as error:
        raise named(error, path) or StoreCorrupt(path=path, error=error) from error
    finally:
        connection.close()
