"""What the writer does between commits, in small steps: moving guessed times, retention, the write-ahead log.

Each step is one short transaction, so samples never wait long; a step that is cut short is done again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from agent.wire import faults
from hub.store import aside, rollup, times
from hub.store.batch import Noticed
from hub.store.errors import StoreError, named
from hub.store.rollup import COUNTED, DAY_US
from hub.store.rows import unflagged
from hub.store.values import NUMBERS
from hub.store.writer import Writer

STEP_ROWS = 5_000
CHECKPOINT_BYTES = 16 << 20
"""The log is written back when it is this large, and cut when nobody reads it."""
WAL_BIG_BYTES = 64 << 20
KEEP_BATCH_KEYS = 10_000
"""Counts of single batches that are kept below ``upto``; a device gives up at most what is above it."""
RETENTION_EVERY_US = 3_600_000_000


COUNTER_EVENT = "counter_event"
"""The property of a node in which its counters tell resets, swaps and manual readings (agent.runner.intake)."""


class Days(NamedTuple):
    """How long each level is kept; 0: for ever."""

    raw: int
    minute: int
    hour: int
    day: int


class RetentionRule(Protocol):
    """``[[retention.series]]`` of hub.toml."""

    @property
    def match(self) -> str: ...
    @property
    def raw_days(self) -> int | None: ...
    @property
    def minute_days(self) -> int | None: ...
    @property
    def hour_days(self) -> int | None: ...
    @property
    def day_days(self) -> int | None: ...


def days_of(name: str, default: Days, rules: Sequence[RetentionRule]) -> Days:
    """Of the series ``<device>/<node>/<property>``: the first rule that fits, laid over the default.

    What happened to counters is kept for ever unless a rule names it: the roll-ups cannot be read rightly without."""
    if name.endswith(f"/{COUNTER_EVENT}"):
        default = Days(0, *default[1:])
    for rule in rules:
        if fnmatchcase(name, rule.match):
            own = (rule.raw_days, rule.minute_days, rule.hour_days, rule.day_days)
            return Days(*(mine if mine is not None else base for mine, base in zip(own, default, strict=True)))
    return default


class Upkeep:
    """Call :meth:`step` whenever there is time, and :meth:`after_commit` after each commit."""

    def __init__(self, writer: Writer, keep: Callable[[str], Days]) -> None:
        self.writer = writer
        self.keep = keep
        """Days for the series ``<device>/<node>/<property>`` (see :func:`days_of`)."""
        self._retention: list[tuple[int, str]] | None = None
        self._retention_due_us = 0
        self._big = False
        self._checkpoint_at = CHECKPOINT_BYTES
        self._now_us = times.FLOOR_US

    def step(self, now_us: int) -> bool:
        """One small piece of work; False when there is none."""
        self._now_us = now_us
        return self._move() or self._forget_keys() or self._delete_old(now_us)

    # --- B25, B26: the boot's clock became known --------------------------------------------------------------

    def _move(self) -> bool:
        """Move samples of one series of a boot from their guessed to their true time, with their roll-ups."""
        db = self.writer.db
        found = db.execute(
            "SELECT b.id, b.offset_us, g.series_id, d.device FROM boots b JOIN guessed g ON g.boot_id = b.id "
            "JOIN devices d ON d.id = b.device_id WHERE b.flagged > 0 AND b.offset_us IS NOT NULL LIMIT 1").fetchone()
        if found is None:
            return False
        boot, offset, series, device = found
        with self.writer.transaction():
            rows = db.execute(
                "SELECT g.t_us, g.boot_us, s.value, s.quality FROM guessed g JOIN samples s ON "
                "s.series_id = g.series_id AND s.t_us = g.t_us WHERE g.boot_id = ? AND g.series_id = ? "
                "ORDER BY g.boot_us LIMIT ?", (boot, series, STEP_ROWS)).fetchall()
            if not rows:  # retention took the samples before the clock was known
                gone = db.execute("DELETE FROM guessed WHERE boot_id = ? AND series_id = ?", (boot, series)).rowcount
                db.execute("UPDATE boots SET flagged = max(0, flagged - ?) WHERE id = ?", (gone, boot))
                self.writer.devices.pop(device, None)
                return True
            keys = [(series, row[0]) for row in rows]
            db.executemany("DELETE FROM samples WHERE series_id = ? AND t_us = ?", keys)
            db.executemany("DELETE FROM guessed WHERE boot_id = ? AND series_id = ? AND t_us = ?",
                           [(boot, series, row[0]) for row in rows])
            placed = self._insert_moved(series, [(offset + row[1], row[2], unflagged(row[3])) for row in rows])
            self._roll_up_again(series, {t - t % DAY_US for _, t in keys}, placed)
            db.execute("UPDATE boots SET moved = moved + ?, flagged = max(0, flagged - ?) WHERE id = ?",
                       (len(rows), len(rows), boot))
            self._newest_again(series)
            self.writer.devices.pop(device, None)  # its series know other newest samples now
        return True

    def _insert_moved(self, series: int, rows: list[tuple[int, Any, str | None]]) -> list[tuple[int, Any, str | None]]:
        db = self.writer.db
        placed = []
        for want, value, quality in rows:
            t = want
            while db.execute("SELECT 1 FROM samples WHERE series_id = ? AND t_us = ?", (series, t)).fetchone():
                t += 1
            db.execute("INSERT INTO samples VALUES (?, ?, ?, ?)", (series, t, value, quality))
            placed.append((t, value, quality))
        return placed

    def _roll_up_again(self, series: int, old_days: set[int],
                       placed: list[tuple[int, Any, str | None]]) -> None:
        """Compute the days that lost or got samples from the samples; where those are gone, add what came."""
        db = self.writer.db
        raw_from = db.execute("SELECT raw_from_us FROM series WHERE id = ?", (series,)).fetchone()[0] or 0
        days = old_days | {t - t % DAY_US for t, _, _ in placed}
        for day in sorted(days):
            if day < raw_from:
                parts = [(t, value) for t, value, quality in sorted(placed, key=lambda row: row[0])
                         if day <= t < day + DAY_US and quality in COUNTED and type(value) in NUMBERS]
                rows = [part[0] for part in parts], [part[1] for part in parts]
            else:
                for table, _ in rollup.LEVELS:
                    db.execute(f"DELETE FROM {table} WHERE series_id = ? AND t_us >= ? AND t_us < ?",
                               (series, day, day + DAY_US))
                rows = counted(db, series, day, day + DAY_US)
            for table, width in rollup.LEVELS:
                db.executemany(rollup.INSERT[table], rollup.buckets(series, *rows, width))

    def _newest_again(self, series: int) -> None:
        db = self.writer.db
        newest = db.execute("SELECT t_us, value, quality FROM samples WHERE series_id = ? ORDER BY t_us DESC LIMIT 1",
                            (series,)).fetchone()
        if newest is not None:
            db.execute("UPDATE series_state SET max_us = ? WHERE series_id = ?", (newest[0], series))
            limit = db.execute("SELECT t_us, value, quality FROM samples WHERE series_id = ? AND t_us <= ? "
                               "ORDER BY t_us DESC LIMIT 1", (series, self._now_us + self.writer.future_us)).fetchone()
            if limit is not None:
                db.execute("UPDATE series_state SET live_us = ?, live_value = ?, live_quality = ? "
                           "WHERE series_id = ?", (*limit, series))

    # --- retention --------------------------------------------------------------------------------------------

    def _forget_keys(self) -> bool:
        db = self.writer.db
        for device in self.writer.devices.values():
            for epoch in device.epochs.values():
                limit = epoch.seqs.upto - KEEP_BATCH_KEYS
                if limit > 0 and limit - epoch.forgot >= KEEP_BATCH_KEYS:
                    with self.writer.transaction():
                        db.execute("DELETE FROM batches WHERE epoch_id = ? AND seq <= ?", (epoch.id, limit))
                    epoch.forgot = limit
                    return True
        return False

    def _delete_old(self, now_us: int) -> bool:
        db = self.writer.db
        if self._retention is None:
            if now_us < self._retention_due_us:
                return False
            self._retention_due_us = now_us + RETENTION_EVERY_US
            self._retention = [(row[0], f"{row[1]}/{row[2]}/{row[3]}") for row in db.execute(
                "SELECT s.id, d.device, s.node, s.property FROM series s JOIN devices d ON d.id = s.device_id")]
        while self._retention:
            series, name = self._retention[-1]
            if self._delete_some(series, self.keep(name), now_us):
                return True
            self._retention.pop()
        self._retention = None
        return False

    def _delete_some(self, series: int, keep: Days, now_us: int) -> bool:
        """Whole UTC days only, so that a roll-up is either computable from its samples or final."""
        db = self.writer.db
        midnight = now_us - now_us % DAY_US
        levels = (("samples", keep.raw, "raw_from_us"), ("rollup_minute", keep.minute, "minute_from_us"),
                  ("rollup_hour", keep.hour, None), ("rollup_day", keep.day, None))
        for table, days, mark in levels:
            if not days:
                continue
            before = midnight - days * DAY_US
            last = db.execute(f"SELECT t_us FROM {table} WHERE series_id = ? AND t_us < ? ORDER BY t_us LIMIT 1 "
                              "OFFSET ?", (series, before, STEP_ROWS)).fetchone()
            some = last is not None or db.execute(
                f"SELECT 1 FROM {table} WHERE series_id = ? AND t_us < ? LIMIT 1", (series, before)).fetchone()
            if not some:
                continue
            with self.writer.transaction():
                if mark is not None:  # first the mark: what is half deleted is no longer computable
                    db.execute(f"UPDATE series SET {mark} = max(coalesce({mark}, 0), ?) WHERE id = ?",
                               (before, series))
                db.execute(f"DELETE FROM {table} WHERE series_id = ? AND t_us < ?",
                           (series, before if last is None else last[0]))
            return True
        return False

    # --- the write-ahead log ------------------------------------------------------------------------------------

    def after_commit(self, now_us: int) -> None:
        """Write the log back once it is large; W_WAL_BIG when a reader keeps it from being cut (B19)."""
        self._now_us = now_us
        size = self._wal_bytes()
        if size < self._checkpoint_at:
            return
        db = self.writer.db
        db.execute("PRAGMA busy_timeout = 100")  # a reader goes on; a later commit tries again
        try:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise named(error, self.writer.path) or StoreError(f"{self.writer.path}: {error}") from error
        finally:
            db.execute("PRAGMA busy_timeout = 5000")
        size = self._wal_bytes()
        # While somebody reads it cannot be cut: then not at every commit, only after a quarter more.
        self._checkpoint_at = max(CHECKPOINT_BYTES, size + CHECKPOINT_BYTES // 4)
        if size < CHECKPOINT_BYTES:
            self._big = False
        if size > WAL_BIG_BYTES and not self._big:
            self._big = True
            with self.writer.transaction():
                aside.notice(db, [Noticed("hub", now_us, "W_WAL_BIG", "warning", faults.line(
                    "W_WAL_BIG", path=self.writer.path, mib=size / 2**20))])

    def _wal_bytes(self) -> int:
        try:
            return Path(f"{self.writer.path}-wal").stat().st_size
        except FileNotFoundError:
            return 0


def counted(db: Any, series: int, start_us: int, end_us: int) -> tuple[list[int], list[Any]]:
    """Times and values of the samples that roll-ups use, in order of time."""
    rows = [row for row in db.execute("SELECT t_us, value, quality FROM samples WHERE series_id = ? AND t_us >= ? AND "
                                      "t_us < ? ORDER BY t_us", (series, start_us, end_us))
            if row[2] in COUNTED and type(row[1]) in NUMBERS]
    return [row[0] for row in rows], [row[1] for row in rows]
