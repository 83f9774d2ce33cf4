"""What the watch keeps in alerts.db: canaries by device, staged restarts, and how full the hub's disk was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    import sqlite3

    from hub.store.alerts_db import AlertsDb, Rows

TABLES = """
CREATE TABLE canary (
    device TEXT PRIMARY KEY,
    t_us INTEGER NOT NULL,
    got_us INTEGER NOT NULL,
    latency_us INTEGER,
    how TEXT NOT NULL,
    worst_us INTEGER,
    worst_t_us INTEGER,
    day INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE restarts (
    id INTEGER PRIMARY KEY,
    machine TEXT NOT NULL,
    what TEXT NOT NULL,
    who TEXT NOT NULL,
    asked_us INTEGER NOT NULL
);
CREATE TABLE hub_disk (
    t_us INTEGER PRIMARY KEY,
    free_bytes INTEGER NOT NULL,
    used_bytes INTEGER NOT NULL
);
"""
"""``canary.how``: timed, unsynced (the device's clock is not known), skewed (the clocks disagree) or late (it came
while notify did not run). ``worst_us`` is of the UTC ``day``. ``hub_disk``: once an hour; ``used_bytes``: the hub's own
data."""

KEEP_DISK_US = 60 * 86_400_000_000
DAY_US = 86_400_000_000


class Canary(Struct, frozen=True):
    """The last one of a device; times in microseconds."""

    device: str
    t_us: int
    got_us: int
    latency_us: int | None
    how: str
    worst_us: int | None
    worst_t_us: int | None
    day: int


class Staged(Struct, frozen=True):
    """A restart that waits."""

    id: int
    machine: str
    what: str
    who: str
    asked_us: int


class DiskPoint(Struct, frozen=True):
    t_us: int
    free_bytes: int
    used_bytes: int


def canaries(rows: Rows) -> dict[str, Canary]:
    return {row["device"]: Canary(*row) for row in rows.rows(
        "SELECT device, t_us, got_us, latency_us, how, worst_us, worst_t_us, day FROM canary ORDER BY device")}


def note_canary(db: AlertsDb, device: str, t_us: int, got_us: int, latency_us: int | None, how: str) -> bool:
    """Keep a canary and the worst of its day; False when a newer one is kept already."""
    day = got_us // DAY_US
    with db.writing() as open_db:
        before = open_db.execute("SELECT t_us, worst_us, worst_t_us, day FROM canary WHERE device = ?",
                                 (device,)).fetchone()
        if before is not None and before["t_us"] >= t_us:
            return False
        worst, at = (before["worst_us"], before["worst_t_us"]) if before is not None and before["day"] == day \
            else (None, None)
        if latency_us is not None and (worst is None or latency_us >= worst):
            worst, at = latency_us, t_us
        open_db.execute("INSERT OR REPLACE INTO canary VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                        (device, t_us, got_us, latency_us, how, worst, at, day))
    return True


def forget_canary(db: AlertsDb, device: str) -> None:
    with db.writing() as open_db:
        open_db.execute("DELETE FROM canary WHERE device = ?", (device,))


def staged(rows: Rows) -> list[Staged]:
    """In the order in which they were asked for."""
    return [Staged(*row) for row in rows.rows("SELECT id, machine, what, who, asked_us FROM restarts ORDER BY id")]


def stage(db: AlertsDb, machine: str, what: str, who: str, now_us: int) -> bool:
    """False when the same restart waits already: an asker that got no answer asks again."""
    with db.writing() as open_db:
        if open_db.execute("SELECT 1 FROM restarts WHERE machine = ? AND what = ?", (machine, what)).fetchone():
            return False
        open_db.execute("INSERT INTO restarts (machine, what, who, asked_us) VALUES (?, ?, ?, ?)",
                        (machine, what, who, now_us))
    return True


def unstage(db: AlertsDb, id_: int) -> None:
    with db.writing() as open_db:
        open_db.execute("DELETE FROM restarts WHERE id = ?", (id_,))


def forget_message(db: AlertsDb, message_id: int) -> None:
    """A canary's message: nobody reads it."""
    with db.writing() as open_db:
        open_db.execute("DELETE FROM messages WHERE id = ?", (message_id,))


def note_disk(db: AlertsDb, point: DiskPoint) -> None:
    with db.writing() as open_db:
        open_db.execute("INSERT OR REPLACE INTO hub_disk VALUES (?, ?, ?)",
                        (point.t_us, point.free_bytes, point.used_bytes))
        open_db.execute("DELETE FROM hub_disk WHERE t_us < ?", (point.t_us - KEEP_DISK_US,))


def disk_points(rows: Rows, since_us: int = 0) -> list[DiskPoint]:
    """Oldest first."""
    found: list[sqlite3.Row] = rows.rows(
        "SELECT t_us, free_bytes, used_bytes FROM hub_disk WHERE t_us >= ? ORDER BY t_us", since_us)
    return [DiskPoint(*row) for row in found]
