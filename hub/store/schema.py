"""The tables, as a history: each migration runs once, in one explicit transaction, after a copy of the file.

sqlite-utils makes the plain tables. The large ones are written in SQL because they are ``WITHOUT ROWID``: a row lies
where ``(series, time)`` says, so that a chart reads neighbours, and the ``value`` column has no type so that SQLite
keeps an integer, a float and a text as what they were. Never edit a migration that was shipped: add one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from sqlite_utils import Database

from hub.store.errors import SchemaNewer

Migration = Callable[[Database], None]
MIGRATIONS: list[tuple[str, Migration]] = []


def migration(name: str) -> Callable[[Migration], Migration]:
    def keep(step: Migration) -> Migration:
        MIGRATIONS.append((name, step))
        return step

    return keep


@migration("001_devices_and_series")
def _devices(db: Database) -> None:
    """Who reports, and what."""
    db["meta"].create({"key": str, "value": str}, pk="key")  # type: ignore[union-attr]
    db["devices"].create({  # type: ignore[union-attr]
        "id": int, "device": str, "name": str, "agent_version": str, "first_us": int, "last_us": int,
    }, pk="id", not_null={"device"})
    db["devices"].create_index(["device"], unique=True)  # type: ignore[union-attr]
    db["series"].create({  # type: ignore[union-attr]
        "id": int, "device_id": int, "node": str, "property": str, "unit": str, "title": str, "datatype": str,
        "state_class": str, "device_class": str, "max_age_s": float, "event": int, "diagnostic": int,
        "raw_from_us": int, "minute_from_us": int,
    }, pk="id", foreign_keys=[("device_id", "devices", "id")], not_null={"device_id", "node", "property"},
        defaults={"raw_from_us": 0, "minute_from_us": 0})
    db["series"].create_index(["device_id", "node", "property"], unique=True)  # type: ignore[union-attr]
    # Changed by every commit, so it is apart from the wide row that hardly ever changes.
    db["series_state"].create({  # type: ignore[union-attr]
        "series_id": int, "n": int, "moved": int, "max_us": int, "live_us": int,
    }, pk="series_id")
    db.execute("ALTER TABLE series_state ADD COLUMN live_value")
    db.execute("ALTER TABLE series_state ADD COLUMN live_quality TEXT")


@migration("002_samples_and_roll_ups")
def _samples(db: Database) -> None:
    """The samples, ordered by series and time, and what a chart reads instead of them."""
    db.execute("CREATE TABLE samples (series_id INTEGER NOT NULL, t_us INTEGER NOT NULL, value, quality TEXT, "
               "PRIMARY KEY (series_id, t_us)) WITHOUT ROWID")
    for table in ("rollup_minute", "rollup_hour", "rollup_day"):
        # "first" and "last" with their times: the difference of a counter, whatever order the samples came in.
        db.execute(f"CREATE TABLE {table} (series_id INTEGER NOT NULL, t_us INTEGER NOT NULL, n INTEGER NOT NULL, "
                   "min NOT NULL, max NOT NULL, sum REAL NOT NULL, first_us INTEGER NOT NULL, first NOT NULL, "
                   "last_us INTEGER NOT NULL, last NOT NULL, PRIMARY KEY (series_id, t_us)) WITHOUT ROWID")


@migration("003_what_was_taken")
def _taken(db: Database) -> None:
    """The batch keys and both sides of the ledger, per device and epoch."""
    db["epochs"].create({  # type: ignore[union-attr]
        "id": int, "device_id": int, "epoch": str, "upto": int, "above": str, "batches": int, "stored": int,
        "quarantined": int, "dropped": str, "duplicates": int, "retired": int, "first_us": int, "last_us": int,
        "agent": str, "agent_us": int,
    }, pk="id", foreign_keys=[("device_id", "devices", "id")], not_null={"device_id", "epoch"})
    db["epochs"].create_index(["device_id", "epoch"], unique=True)  # type: ignore[union-attr]
    # The last batches of each epoch with their sample counts: a range that the device gives up may hold some of them.
    db.execute("CREATE TABLE batches (epoch_id INTEGER NOT NULL, seq INTEGER NOT NULL, n INTEGER NOT NULL, "
               "PRIMARY KEY (epoch_id, seq)) WITHOUT ROWID")


@migration("004_boots")
def _boots(db: Database) -> None:
    """Boots of devices, and the samples whose time is a guess until the boot's clock offset is known."""
    db["boots"].create({  # type: ignore[union-attr]
        "id": int, "device_id": int, "boot": str, "offset_us": int, "quality": str, "guess_us": int, "flagged": int,
        "moved": int, "first_us": int, "last_us": int, "end_us": int,
    }, pk="id", foreign_keys=[("device_id", "devices", "id")], not_null={"device_id", "boot"})
    db["boots"].create_index(["device_id", "boot"], unique=True)  # type: ignore[union-attr]
    db.execute("CREATE INDEX boots_flagged ON boots (flagged) WHERE flagged > 0")
    db.execute("CREATE TABLE guessed (boot_id INTEGER NOT NULL, series_id INTEGER NOT NULL, t_us INTEGER NOT NULL, "
               "boot_us INTEGER NOT NULL, PRIMARY KEY (boot_id, series_id, t_us)) WITHOUT ROWID")


@migration("005_set_aside")
def _aside(db: Database) -> None:
    """What could not be read, what a newer agent sent, and what the hub noticed."""
    db["quarantine"].create({  # type: ignore[union-attr]
        "id": int, "device": str, "topic": str, "code": str, "reason": str, "prefix": bytes, "sha256": str,
        "bytes": int, "n": int, "count": int, "first_us": int, "last_us": int,
    }, pk="id", not_null={"device", "sha256"})
    db["quarantine"].create_index(["device", "sha256", "reason"], unique=True)  # type: ignore[union-attr]
    db["future"].create({  # type: ignore[union-attr]
        "id": int, "device": str, "epoch": str, "seq": int, "n": int, "version": int, "payload": bytes,
        "received_us": int,
    }, pk="id")
    db["events"].create({  # type: ignore[union-attr]
        "id": int, "t_us": int, "last_us": int, "count": int, "device": str, "code": str, "severity": str,
        "text": str,
    }, pk="id")
    db["events"].create_index(["device", "code", "last_us"])  # type: ignore[union-attr]
    db["events"].create_index(["t_us"])  # type: ignore[union-attr]


def version(connection: sqlite3.Connection) -> int:
    """How many migrations this file has."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check_known(connection: sqlite3.Connection) -> None:
    """Raises SchemaNewer for a file of a newer program."""
    have = version(connection)
    if have > len(MIGRATIONS):
        raise SchemaNewer(have=have, want=len(MIGRATIONS))


def migrate(connection: sqlite3.Connection, path: Path, steps: list[tuple[str, Migration]] | None = None) -> list[str]:
    """Bring the file up to date; returns the names of the steps that ran.

    Each step and its number are one transaction, so a cut leaves the old or the new schema and never half of one
    (B73). A file that holds data is copied to ``<file>.before-<first step>`` first. Raises SchemaNewer, and leaves
    the file as it is, when it has more steps than this program knows (B74)."""
    steps = MIGRATIONS if steps is None else steps
    have = version(connection)
    if have > len(steps):
        raise SchemaNewer(have=have, want=len(steps))
    if have == len(steps):
        return []
    if have:
        _copy(connection, path.with_name(f"{path.name}.before-{steps[have][0]}"))
    done = []
    for number in range(have, len(steps)):
        name, step = steps[number]
        connection.execute("BEGIN IMMEDIATE")
        try:
            step(Database(connection))
            connection.execute(f"PRAGMA user_version = {number + 1:d}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        done.append(name)
    return done


def _copy(connection: sqlite3.Connection, target: Path) -> None:
    """A whole copy beside the file, made under another name until it is complete."""
    scratch = target.with_name(f"{target.name}.part")
    scratch.unlink(missing_ok=True)
    copy = sqlite3.connect(scratch)
    try:
        connection.backup(copy)
    finally:
        copy.close()
    scratch.replace(target)
