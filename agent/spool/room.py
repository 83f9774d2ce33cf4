"""What leaves the spool without a receipt, and in which order: receipted rows first, then the lowest priority and
oldest; rows that may have reached the hub last of all. Every row is counted and its number noted as a gap.
"""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

from agent.spool import database as db
from agent.spool.rows import Epoch, row_id

if TYPE_CHECKING:
    from agent.spool.spool import Spool

CHUNK = 128
MARK_S = 600
LOG_BYTES = 2 * db.WAL_PAGES * db.PAGE_BYTES
"""Room that the log beside the file may need: one checkpoint's worth, and a large commit on top."""
SLACK = 16
"""One part in this many is freed beyond the need, so that a full spool does not drop at every commit."""
FULL, EXPIRED = "spool_full", "expired"


def limit_bytes(spool: Spool) -> int:
    """What the file may use now: the setting, or what the file system has left for it."""
    own = spool.limits.max_bytes
    if spool.path == db.MEMORY:
        return own
    own = max(own - LOG_BYTES, own // 2)
    disk = os.statvfs(os.path.dirname(os.path.abspath(spool.path)))
    used = sum(os.path.getsize(name) for name in (f"{spool.path}", f"{spool.path}-wal") if os.path.exists(name))
    return min(own, max(disk.f_bavail * disk.f_frsize + used - LOG_BYTES, db.PAGE_BYTES * 16))


def make(spool: Spool) -> int:
    """Inside a transaction: bring the file below its limit; returns the samples that were dropped for it."""
    limit = limit_bytes(spool)
    if spool.used_bytes() <= limit:
        return 0
    goal = limit - limit // SLACK
    while spool.used_bytes() > goal and purge_receipted(spool):
        pass
    lost = 0
    for tried_too in (False, True):
        for prio in range(4):
            while spool.used_bytes() > goal:
                rows = lowest(spool, prio, tried_too)
                if not rows:
                    break
                lost += spool.drop_in_transaction(rows, FULL)
    return lost


def lowest(spool: Spool, prio: int, tried_too: bool) -> list[int]:
    """The oldest unsettled rows of a priority. Rows in flight stay: their receipt is on the way."""
    for epoch in spool.epochs.values():
        if not epoch.waiting:
            continue
        start, end = row_id(epoch.id, 1), row_id(epoch.id, epoch.next_seq)
        # Below the cursor no row of this priority is left that may go: it only moves on, so the whole file is passed
        # over once and not at every commit. An index would be written at every commit instead.
        key = epoch.id, prio, tried_too
        start = max(start, spool.cursors.get(key, 0))
        while start < end:
            found = [row for (row,) in spool.db.execute(
                "SELECT id FROM batches WHERE id >= ? AND id < ? AND prio = ? ORDER BY id LIMIT ?",
                (start, end, prio, CHUNK))]
            rows = [row for row in found if row not in spool.taken and (tried_too or row not in spool.tried)]
            if rows:
                spool.cursors[key] = rows[0]
                return rows
            start = spool.cursors[key] = found[-1] + 1 if found else end
    return []


def purge_receipted(spool: Spool, epoch: Epoch | None = None, upto: int | None = None) -> int:
    """Inside a transaction: delete some receipted rows, oldest first; returns how many."""
    for one in [epoch] if epoch else spool.epochs.values():
        for first, last in one.settled:
            if upto is not None:
                last = min(last, upto)
            if last < max(first, spool.purged.get(one.id, 0)):
                continue
            deleted = spool.db.execute(
                "DELETE FROM batches WHERE id IN (SELECT id FROM batches WHERE id BETWEEN ? AND ? ORDER BY id LIMIT ?)",
                (row_id(one.id, max(first, spool.purged.get(one.id, 0))), row_id(one.id, last), CHUNK)).rowcount
            if deleted:
                return deleted
            if first <= spool.purged.get(one.id, 1):
                spool.purged[one.id] = last + 1
    return 0


def age_out(spool: Spool) -> int:
    """Own transaction, about once a minute: receipted rows past their keeping time, and rows too old to be sent.

    Returns the samples that were dropped."""
    now_s = spool.now_s
    lost = 0
    with spool.transaction():
        for epoch in list(spool.epochs.values()):
            lost += _expire(spool, epoch, now_s)
            _purge_old(spool, epoch, now_s)
        spool.save()
    return lost


def _expire(spool: Spool, epoch: Epoch, now_s: int) -> int:
    lost = 0
    for _ in range(64):  # bounded, as below: the rest goes a minute later
        rows = [row for row in spool.unsettled_ids(epoch, CHUNK) if row not in spool.taken]
        if not rows or now_s - spool.created_s(rows[0]) <= spool.limits.max_age_s:
            break  # they lie in the order of their age
        old = [row for row in rows if now_s - spool.created_s(row) > spool.limits.max_age_s]
        if not old:
            break
        lost += spool.drop_in_transaction(old, EXPIRED)
    return lost


def _purge_old(spool: Spool, epoch: Epoch, now_s: int) -> None:
    """Receipts carry no time of their own: a mark every ten minutes says how far they went, and how many samples that
    was. Marks outlive their rows (one a day), so that a loss of the hub's is counted exactly from there."""
    keep = now_s - spool.limits.keep_receipted_s
    upto = epoch.settled.upto
    row = spool.db.execute("SELECT max(at_s), max(upto) FROM marks WHERE epoch=?", (epoch.id,)).fetchone()
    if upto > (row[1] or 0) and now_s - (row[0] if row[0] is not None else -MARK_S) >= MARK_S:
        total = spool.db.execute("SELECT total FROM batches WHERE id<=? AND id>? ORDER BY id DESC LIMIT 1",
                                 (row_id(epoch.id, upto), row_id(epoch.id, 0))).fetchone()
        if total is not None:
            spool.db.execute("INSERT OR REPLACE INTO marks VALUES(?,?,?,?)", (epoch.id, now_s, upto, total[0]))
    (upto,) = spool.db.execute("SELECT max(upto) FROM marks WHERE epoch=? AND at_s<=?", (epoch.id, keep)).fetchone()
    if upto:
        spool.db.execute("""DELETE FROM marks WHERE epoch=?1 AND at_s<=?2 AND at_s NOT IN
            (SELECT max(at_s) FROM marks WHERE epoch=?1 GROUP BY at_s / 86400)""", (epoch.id, keep))
        for _ in range(64):  # bounded: a commit must not wait for a day's worth of deletions
            if not purge_receipted(spool, epoch, upto):
                break


def samples_before(spool: Spool, epoch: Epoch, first: int, oldest: int) -> tuple[int, int]:
    """Numbers below ``oldest`` are no longer here, the hub lacks some from ``first`` on: ``(start, n)``, a range
    ``start..oldest-1`` and its samples. The hub takes off what it has of that range."""
    mark = spool.db.execute("SELECT upto, total FROM marks WHERE epoch=? AND upto<? ORDER BY upto DESC LIMIT 1",
                            (epoch.id, first)).fetchone() or (0, 0)
    after = spool.db.execute("SELECT total - n FROM batches WHERE id>=? AND id<? ORDER BY id LIMIT 1",
                             (row_id(epoch.id, oldest), row_id(epoch.id + 1, 0))).fetchone()
    end = after[0] if after is not None else epoch.produced
    return mark[0] + 1, max(0, end - mark[1])


def recover_space(spool: Spool) -> None:
    """After SQLITE_FULL: empty the log into the file, so that its space serves the deletions. May raise again."""
    try:
        spool.db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
    except sqlite3.OperationalError:
        pass  # what counts is whether the next commit works
    with spool.transaction():
        goal = spool.used_bytes() * (SLACK - 1) // SLACK
        while spool.used_bytes() > goal and purge_receipted(spool):
            pass
        for tried_too in (False, True):
            for prio in range(4):
                while spool.used_bytes() > goal and (rows := lowest(spool, prio, tried_too)):
                    spool.drop_in_transaction(rows, FULL)
        spool.save()

