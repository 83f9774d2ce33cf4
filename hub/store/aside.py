"""What is set aside (unreadable, newer than this program) and what the hub noticed (its event log)."""

from __future__ import annotations

import sqlite3

from agent.wire import faults
from hub.store.batch import Future, Noticed
from hub.store.state import SeriesState

MAX_QUARANTINE_ROWS = 10_000
MAX_FUTURE_BYTES = 256 << 20
MAX_EVENTS = 100_000
SAME_EVENT_US = 3_600_000_000
"""A fault that comes again within an hour is counted in its row."""


def quarantine(db: sqlite3.Connection, device: str, t_us: int, code: str, reason: str, prefix: bytes, sha256: str,
               size: int, n: int) -> None:
    """One row for each different payload; the oldest rows make room (the ledger keeps the counts)."""
    db.execute(
        "INSERT INTO quarantine (device, topic, code, reason, prefix, sha256, bytes, n, count, first_us, last_us) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?) ON CONFLICT (device, sha256, reason) DO UPDATE SET "
        "n = n + excluded.n, count = count + 1, last_us = excluded.last_us",
        (device, f"hutkeeper/1/{device}/records", code, reason, prefix, sha256, size, n, t_us, t_us))
    db.execute("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (MAX_QUARANTINE_ROWS,))


def has_room(db: sqlite3.Connection, item: Future) -> bool:
    """Whether the batch may be kept; else it gets no receipt, so its device keeps it."""
    held = db.execute("SELECT coalesce(sum(length(payload)), 0) FROM future").fetchone()[0]
    return bool(held + len(item.payload) <= MAX_FUTURE_BYTES)


def keep_future(db: sqlite3.Connection, item: Future) -> None:
    db.execute("INSERT INTO future (device, epoch, seq, n, version, payload, received_us) VALUES (?,?,?,?,?,?,?)",
               (item.device, item.header.epoch, item.header.seq, item.header.n, item.header.v, item.payload,
                item.received_us))


def notice(db: sqlite3.Connection, noticed: list[Noticed]) -> None:
    """Write events; equal ones (device and code) within an hour are one row with a count."""
    joined: dict[tuple[str, str], tuple[Noticed, int]] = {}
    for event in noticed:
        _, count = joined.get((event.device, event.code), (event, 0))
        joined[event.device, event.code] = (event, count + 1)
    for event, count in joined.values():
        row = db.execute("SELECT id FROM events WHERE device = ? AND code = ? AND last_us > ? ORDER BY last_us DESC "
                         "LIMIT 1", (event.device, event.code, event.received_us - SAME_EVENT_US)).fetchone()
        if row is not None:
            db.execute("UPDATE events SET count = count + ?, last_us = ?, text = ? WHERE id = ?",
                       (count, event.received_us, event.text, row[0]))
            continue
        db.execute("INSERT INTO events (t_us, last_us, count, device, code, severity, text) VALUES (?,?,?,?,?,?,?)",
                   (event.received_us, event.received_us, count, event.device, event.code, event.severity, event.text))
        db.execute("DELETE FROM events WHERE id <= (SELECT max(id) FROM events) - ?", (MAX_EVENTS,))


def refused(device: str, received_us: int, reason: str) -> Noticed:
    """Not taken and not receipted: taking it would let the tables grow without end."""
    return Noticed(device, received_us, "E_BAD_HEADER", "error", faults.line(
        "E_BAD_HEADER", device=device, reason=reason))


def ahead(series: SeriesState, t_us: int, now: int) -> Noticed:
    """A sample that is ahead of the hub's clock ``now`` (B28)."""
    ahead_s = (t_us - now) / 1e6
    text = f"{ahead_s / 86400:.0f} days" if ahead_s > 2 * 86400 else f"{ahead_s:.0f} s"
    return Noticed(series.device, now, "E_TS_FUTURE", "error", faults.line(
        "E_TS_FUTURE", device=series.device, ahead=text))
