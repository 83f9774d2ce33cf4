"""The spool's file: schema, pragmas, and the one connection that may exist.

SQLite in WAL with ``synchronous=FULL``: a commit is on the disk when it returns (``NORMAL`` lost 300 of 300 committed
rows in a power cut). One connection in one process, exclusively locked, writes and checkpoints: that also keeps away
from the WAL-reset bug of SQLite 3.7.0 to 3.51.2, which needs two.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

MEMORY = ":memory:"
SCHEMA_VERSION = 1
PAGE_BYTES = 4096
WAL_PAGES = 256
"""Checkpoint at this size: a small log is what a full disk still has room for."""
CACHE_KIB = 1024
FIXED_WAL_RESET = (3, 51, 3)
EPOCH_SHIFT = 40
"""A row's id is ``epoch << 40 | seq``: rows lie in the file in the order they are sent, without a second index."""
SEQ_MASK = (1 << EPOCH_SHIFT) - 1

SCHEMA = (
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID",
    """CREATE TABLE epochs(id INTEGER PRIMARY KEY, epoch TEXT NOT NULL UNIQUE, hardware TEXT NOT NULL,
        next_seq INTEGER NOT NULL, produced INTEGER NOT NULL, receipted INTEGER NOT NULL, settled TEXT NOT NULL,
        dropped TEXT NOT NULL, state TEXT NOT NULL, waiting INTEGER NOT NULL,
        crc INTEGER NOT NULL)""",
    """CREATE TABLE batches(id INTEGER PRIMARY KEY, n INTEGER NOT NULL, prio INTEGER NOT NULL, boot INTEGER NOT NULL,
        enc TEXT NOT NULL, created_s INTEGER NOT NULL, total INTEGER NOT NULL, crc INTEGER NOT NULL,
        body BLOB NOT NULL)""",
    """CREATE TABLE gaps(id INTEGER PRIMARY KEY, last INTEGER NOT NULL, n INTEGER NOT NULL, reason TEXT NOT NULL,
        alone INTEGER NOT NULL)""",
    """CREATE TABLE boots(id INTEGER PRIMARY KEY, boot TEXT NOT NULL UNIQUE, offset_us INTEGER, quality TEXT NOT NULL,
        first_us INTEGER NOT NULL, last_us INTEGER NOT NULL, base_s INTEGER NOT NULL)""",
    """CREATE TABLE runs(instance TEXT, run TEXT, n INTEGER NOT NULL, at_s INTEGER NOT NULL,
        PRIMARY KEY(instance, run)) WITHOUT ROWID""",
    "CREATE TABLE kept(instance TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    """CREATE TABLE marks(epoch INTEGER, at_s INTEGER, upto INTEGER NOT NULL, total INTEGER NOT NULL,
        PRIMARY KEY(epoch, at_s)) WITHOUT ROWID""",
)

_open: set[str] = set()
"""Real paths that are open in this process."""


class SpoolBusy(RuntimeError):
    """The spool is already open, here or in another process."""


def open_database(path: str | Path) -> sqlite3.Connection:
    """The one connection, ready for use; a new file gets its schema.

    Raises SpoolBusy, or sqlite3.Error when the file cannot be opened or read (damaged, read-only, no space)."""
    name = MEMORY if str(path) == MEMORY else os.path.realpath(path)
    if name != MEMORY and name in _open:
        raise SpoolBusy(f"{name} is open twice in one process: this is an error in the program")
    database = sqlite3.connect(name, timeout=1.0, isolation_level=None, check_same_thread=True, cached_statements=64)
    database.text_factory = any_text
    try:
        database.execute("PRAGMA locking_mode=EXCLUSIVE")  # before the first read: the lock is then never given up
        database.execute(f"PRAGMA page_size={PAGE_BYTES}")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
        database.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        database.execute("PRAGMA temp_store=MEMORY")
        if not database.execute("SELECT 1 FROM sqlite_master").fetchone():
            create(database)
    except sqlite3.OperationalError as error:
        database.close()
        if "locked" in str(error):
            raise SpoolBusy(f"{name} is held by another process: is a second uplink running?") from None
        raise
    except BaseException:
        database.close()
        raise
    if name != MEMORY:
        _open.add(name)
    return database


def any_text(data: bytes) -> str:
    """Text of a damaged file need not be UTF-8; what is wrong with it is judged where it is used."""
    return data.decode(errors="replace")


def create(database: sqlite3.Connection) -> None:
    """The empty schema, in one transaction."""
    database.execute("BEGIN IMMEDIATE")
    for statement in SCHEMA:
        database.execute(statement)
    database.execute("INSERT INTO meta VALUES('schema', ?)", (SCHEMA_VERSION,))
    database.execute("COMMIT")


def has_our_schema(database: sqlite3.Connection) -> bool:
    """Whether the tables are as :func:`create` makes them; SQLite does not notice a flipped bit in a column's name."""
    made = [sql for (sql,) in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")]
    return not made or made == list(SCHEMA)


def close_database(database: sqlite3.Connection, path: str | Path) -> None:
    """Checkpoint and close; never raises (the disk may be gone)."""
    try:
        if database.in_transaction:
            database.execute("ROLLBACK")
        database.close()
    except sqlite3.Error:
        pass
    finally:
        _open.discard(os.path.realpath(path))


def connections() -> frozenset[str]:
    """The files that this process has open as a spool: never more than one connection each (B23)."""
    return frozenset(_open)


def has_wal_reset_bug() -> bool:
    """SQLite 3.7.0 to 3.51.2: two connections that write and checkpoint at once can corrupt the file (B23)."""
    return sqlite3.sqlite_version_info < FIXED_WAL_RESET


_DISK = frozenset((sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_FULL,
                   sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PERM, sqlite3.SQLITE_NOMEM,
                   sqlite3.SQLITE_AUTH, sqlite3.SQLITE_NOLFS))


def is_corrupt(error: sqlite3.Error) -> bool:
    """Whether the file's content is wrong, and not the disk or the lock: our own statements never fail otherwise, so
    also a missing column or a constraint that does not hold is damage."""
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF not in _DISK


def is_full(error: sqlite3.Error) -> bool:
    """No space is left on the device."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def hardware_ids(root: Path = Path("/")) -> list[str]:
    """What this board is called, surest first: a copied card in another board has none of its names (B12).

    A device tree's serial number (Raspberry Pi), then the burnt-in addresses of the network cards. Only what every
    user may read, so that a start as root and one as a service see the same board. Empty where nothing tells."""
    found = []
    try:
        serial = (root / "proc/device-tree/serial-number").read_text(errors="replace").strip("\0 \n")
        if set(serial) - {"0"}:
            found.append(f"serial:{serial}")
    except OSError:
        pass
    for card in sorted((root / "sys/class/net").glob("*")):
        try:
            if (card / "device").exists() and (card / "addr_assign_type").read_text().strip() == "0":
                found.append(f"mac:{(card / 'address').read_text().strip()}")
        except OSError:
            continue
    return found
