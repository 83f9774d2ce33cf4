"""Reading the samples, from any process and thread, while ingest writes.

Each call is one short snapshot (at most 30 s, B19) on a read-only connection that never checkpoints (B23). Values are
as they came: numbers, booleans, texts, JSON. Times are microseconds since 1970 UTC; ranges are [start, end).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from agent.api import Property, title_of
from agent.wire.messages import LedgerCounts
from hub.store import charts, connect, hours, schema, values
from hub.store.balance import balance
from hub.store.charts import Chart
from hub.store.hours import Hour

__all__ = ["Chart", "DeviceRow", "EventRow", "LedgerRow", "QuarantineRow", "Reader", "Sample", "SeriesRow", "Span"]


class DeviceRow(Struct, frozen=True):
    id: int
    device: str
    name: str
    agent_version: str
    first_us: int
    last_us: int
    """When a batch last arrived (written at most every 10 s)."""
    series: int
    samples: int


class SeriesRow(Struct, frozen=True):
    id: int
    device: str
    node: str
    property: str
    unit: str | None
    title: str
    datatype: str | None
    state_class: str | None
    device_class: str | None
    max_age_s: float | None
    event: bool
    diagnostic: bool
    samples: int
    moved: int
    """Samples that came with a taken time and were moved on by 1 us."""
    t_us: int
    """The newest sample that is not in the future; 0: none yet."""
    value: Any
    quality: str | None

    def is_counter(self) -> bool:
        return self.state_class == "total_increasing"


class Sample(Struct, frozen=True, array_like=True):
    t_us: int
    value: Any
    quality: str | None


class Span(Struct, frozen=True, array_like=True):
    """An hour or a minute of a series."""

    first_us: int
    first: float
    last_us: int
    last: float
    min: float
    max: float
    mean: float


class LedgerRow(Struct, frozen=True):
    """Both sides of one epoch. ``difference`` is None until the device has told its counts."""

    device: str
    epoch: str
    produced: int | None
    stored: int
    quarantined: int
    dropped: dict[str, int]
    spooled: int | None
    in_flight: int | None
    difference: int | None
    """produced - stored - quarantined - dropped - spooled - in_flight (:mod:`hub.store.balance`): 0, or a fault"""
    duplicates: int
    batches: int
    upto: int
    above: list[tuple[int, int]]
    retired: bool
    agent_us: int | None
    last_us: int


class QuarantineRow(Struct, frozen=True):
    id: int
    device: str
    topic: str
    code: str
    reason: str
    prefix: bytes
    sha256: str
    bytes: int
    n: int
    count: int
    first_us: int
    last_us: int


class EventRow(Struct, frozen=True):
    id: int
    t_us: int
    last_us: int
    count: int
    device: str
    code: str
    severity: str
    text: str


_SERIES = ("SELECT s.id, d.device, s.node, s.property, s.unit, s.title, s.datatype, s.state_class, s.device_class, "
           "s.max_age_s, s.event, s.diagnostic, st.n, st.moved, st.live_us, st.live_value, st.live_quality "
           "FROM series s JOIN devices d ON d.id = s.device_id LEFT JOIN series_state st ON st.series_id = s.id ")


class Reader:
    """Reads ``samples.db``; safe to share between threads. Raises StoreError with one line, ReadTooLong."""

    def __init__(self, path: Path, *, limit_s: float = connect.MAX_READ_S) -> None:
        self.path = path
        self.limit_s = limit_s
        self._idle: list[sqlite3.Connection] = []
        self._file: tuple[int, int] | None = None
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """For this package: a connection in a read transaction."""
        connection = self._take()
        try:
            with connect.reading(connection, self.path, self.limit_s):
                yield connection
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)

    def _take(self) -> sqlite3.Connection:
        try:
            status = os.stat(self.path)
        except OSError:
            return connect.open_reader(self.path)  # says what is wrong
        with self._lock:
            if self._file != (status.st_dev, status.st_ino):  # restored: the old file's connections are of no use
                old, self._idle, self._file = self._idle, [], (status.st_dev, status.st_ino)
                for connection in old:
                    connection.close()
            if self._idle:
                return self._idle.pop()
        connection = connect.open_reader(self.path)
        try:
            with connect.reading(connection, self.path):
                schema.check_known(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    # --- who and what ---------------------------------------------------------------------------------------

    def devices(self) -> list[DeviceRow]:
        with self.snapshot() as db:
            rows = db.execute(
                "SELECT d.id, d.device, coalesce(d.name, d.device), coalesce(d.agent_version, ''), d.first_us, "
                "d.last_us, count(s.id), coalesce(sum(st.n), 0) FROM devices d LEFT JOIN series s ON "
                "s.device_id = d.id LEFT JOIN series_state st ON st.series_id = s.id GROUP BY d.id ORDER BY d.device")
            return [DeviceRow(*row) for row in rows]

    def series(self, device: str | None = None) -> list[SeriesRow]:
        """All series of a device (or of all), by node and property."""
        with self.snapshot() as db:
            if device is None:
                rows = db.execute(f"{_SERIES} ORDER BY d.device, s.node, s.property").fetchall()
            else:
                rows = db.execute(f"{_SERIES} WHERE d.device = ? ORDER BY s.node, s.property", (device,)).fetchall()
        return [_series(row) for row in rows]

    def series_by_id(self, series_id: int) -> SeriesRow | None:
        with self.snapshot() as db:
            row = db.execute(f"{_SERIES} WHERE s.id = ?", (series_id,)).fetchone()
        return None if row is None else _series(row)

    def series_named(self, node: str, prop: str) -> list[tuple[int, str]]:
        """(series id, device) of one property of every device."""
        with self.snapshot() as db:
            return [(row[0], row[1]) for row in db.execute(
                "SELECT s.id, d.device FROM series s JOIN devices d ON d.id = s.device_id WHERE s.node = ? AND "
                "s.property = ?", (node, prop))]

    # --- samples --------------------------------------------------------------------------------------------

    def latest(self, series_ids: Iterable[int]) -> dict[int, Sample]:
        """The newest sample of each series that has one (never one from the future, B28)."""
        found = {}
        with self.snapshot() as db:
            for series_id in series_ids:
                row = db.execute("SELECT st.live_us, st.live_value, st.live_quality, s.datatype FROM series_state st "
                                 "JOIN series s ON s.id = st.series_id WHERE st.series_id = ?",
                                 (series_id,)).fetchone()
                if row is not None and row[0]:
                    found[series_id] = Sample(row[0], values.loaded(row[1], row[3] == "boolean"), row[2])
        return found

    def samples(self, series_id: int, start_us: int, end_us: int, limit: int = 10_000) -> list[Sample]:
        """In order of time; at most ``limit``. To go on: ``start_us = last.t_us + 1``."""
        with self.snapshot() as db:
            row = db.execute("SELECT datatype FROM series WHERE id = ?", (series_id,)).fetchone()
            boolean = row is not None and row[0] == "boolean"
            rows = db.execute("SELECT t_us, value, quality FROM samples WHERE series_id = ? AND t_us >= ? AND "
                              "t_us < ? ORDER BY t_us LIMIT ?", (series_id, start_us, end_us, limit)).fetchall()
        return [Sample(t, values.loaded(value, boolean), quality) for t, value, quality in rows]

    def before(self, series_id: int, t_us: int) -> Sample | None:
        """The newest sample that is older than so."""
        with self.snapshot() as db:
            row = db.execute("SELECT t_us, value, quality, (SELECT datatype = 'boolean' FROM series WHERE id = ?1) "
                             "FROM samples WHERE series_id = ?1 AND t_us < ?2 ORDER BY t_us DESC LIMIT 1",
                             (series_id, t_us)).fetchone()
        return None if row is None else Sample(row[0], values.loaded(row[1], bool(row[3])), row[2])

    def since(self, after: Iterable[tuple[int, int]], until_us: int, limit: int
              ) -> tuple[list[tuple[int, Sample]], list[int]]:
        """What is newer than so many (series, us), up to ``until_us``, series by series, and the series whose newer
        samples were not all taken: about ``limit`` in all, so that a long silence is caught up with bit by bit."""
        found: list[tuple[int, Sample]] = []
        left: list[int] = []
        with self.snapshot() as db:
            for series_id, t_us in after:
                room = limit - len(found)
                if room <= 0:
                    left.append(series_id)
                    continue
                rows = db.execute(
                    "SELECT t_us, value, quality, (SELECT datatype = 'boolean' FROM series WHERE id = ?1) FROM samples "
                    "WHERE series_id = ?1 AND t_us > ?2 AND t_us <= ?3 ORDER BY t_us LIMIT ?4",
                    (series_id, t_us, until_us, room)).fetchall()
                found += [(series_id, Sample(t, values.loaded(value, bool(boolean)), quality))
                          for t, value, quality, boolean in rows]
                if len(rows) == room:
                    left.append(series_id)
        return found, left

    def spans(self, series_id: int, start_us: int, end_us: int, *, minutes: bool = False, limit: int = 100_000
              ) -> list[Span]:
        """The hours (or minutes) of a series of numbers, from its roll-ups, in order."""
        table = "rollup_minute" if minutes else "rollup_hour"
        with self.snapshot() as db:
            rows = db.execute(f"SELECT first_us, first, last_us, last, min, max, sum / n FROM {table} WHERE "
                              "series_id = ? AND t_us >= ? AND t_us < ? ORDER BY t_us LIMIT ?",
                              (series_id, start_us, end_us, limit)).fetchall()
        return [Span(*row) for row in rows]

    def count(self, series_id: int, start_us: int, end_us: int) -> int:
        """About how many samples there are: from the hourly roll-ups, 0 for what has none (texts)."""
        with self.snapshot() as db:
            row = db.execute("SELECT coalesce(sum(n), 0) FROM rollup_hour WHERE series_id = ? AND t_us >= ? AND "
                             "t_us < ?", (series_id, start_us, end_us)).fetchone()
        return int(row[0])

    def newest(self, node: str, prop: str, limit: int, device: str | None = None) -> list[tuple[str, Sample]]:
        """(device, sample) of one property of every device, or of one, newest first: at most ``limit``."""
        found: list[tuple[str, Sample]] = []
        with self.snapshot() as db:
            every = db.execute(
                "SELECT s.id, d.device, s.datatype FROM series s JOIN devices d ON d.id = s.device_id "
                "WHERE s.node = ? AND s.property = ? AND (? IS NULL OR d.device = ?)", (node, prop, device, device))
            for series_id, of, datatype in every.fetchall():
                rows = db.execute("SELECT t_us, value, quality FROM samples WHERE series_id = ? ORDER BY t_us DESC "
                                  "LIMIT ?", (series_id, limit))
                found += [(of, Sample(t, values.loaded(value, datatype == "boolean"), quality))
                          for t, value, quality in rows]
        found.sort(key=lambda one: one[1].t_us, reverse=True)
        return found[:limit]

    def chart(self, series_id: int, start_us: int, end_us: int, max_points: int = 1000) -> Chart:
        """At most ``max_points`` points; see :mod:`hub.store.charts`."""
        with self.snapshot() as db:
            return charts.chart(db, series_id, start_us, end_us, max_points)

    def growth(self, series_id: int, start_us: int, end_us: int, steps: Sequence[hours.Step] = ()) -> list[Hour]:
        """What a counter grew by, hour by hour; see :mod:`hub.store.hours`."""
        with self.snapshot() as db:
            return hours.growth(db, series_id, start_us, end_us, steps)

    def means(self, series_id: int, start_us: int, end_us: int) -> list[Hour]:
        with self.snapshot() as db:
            return hours.means(db, series_id, start_us, end_us)

    # --- ledger, quarantine, events ---------------------------------------------------------------------------

    def ledger(self, device: str | None = None) -> list[LedgerRow]:
        with self.snapshot() as db:
            rows = db.execute(
                "SELECT d.device, e.epoch, e.stored, e.quarantined, e.dropped, e.duplicates, e.batches, e.upto, "
                "e.above, e.retired, e.agent, e.agent_us, e.last_us, (SELECT coalesce(sum(n), 0) FROM batches b "
                "WHERE b.epoch_id = e.id AND b.seq >= json_extract(e.agent, '$.next_seq')) "
                "FROM epochs e JOIN devices d ON d.id = e.device_id "
                "WHERE ? IS NULL OR d.device = ? ORDER BY d.device, e.first_us",
                (device, device)).fetchall()
        return [_ledger(*row) for row in rows]

    def quarantine(self, limit: int = 100, device: str | None = None) -> list[QuarantineRow]:
        """The newest first."""
        with self.snapshot() as db:
            rows = db.execute(
                "SELECT id, device, topic, code, reason, prefix, sha256, bytes, n, count, first_us, last_us "
                "FROM quarantine WHERE ? IS NULL OR device = ? ORDER BY last_us DESC LIMIT ?",
                (device, device, limit)).fetchall()
        return [QuarantineRow(*row) for row in rows]

    def events(self, device: str | None = None, since_us: int = 0, limit: int = 200) -> list[EventRow]:
        """What the hub noticed, the newest first."""
        with self.snapshot() as db:
            rows = db.execute(
                "SELECT id, t_us, last_us, count, device, code, severity, text FROM events WHERE last_us >= ? AND "
                "(? IS NULL OR device = ?) ORDER BY last_us DESC LIMIT ?", (since_us, device, device, limit)).fetchall()
        return [EventRow(*row) for row in rows]

    def meta(self) -> dict[str, str]:
        """``term``, ``generation``."""
        with self.snapshot() as db:
            return dict(db.execute("SELECT key, value FROM meta").fetchall())


def _series(row: tuple[Any, ...]) -> SeriesRow:
    (id_, device, node, name, unit, title, datatype, state_class, device_class, max_age, event, diagnostic, n, moved,
     live_us, value, quality) = row
    return SeriesRow(id_, device, node, name, unit, title or title_of(Property(name=name, datatype="float", unit=unit)),
                     datatype, state_class, device_class, max_age, bool(event), bool(diagnostic), n or 0, moved or 0,
                     live_us or 0, values.loaded(value, datatype == "boolean"), quality)


def _ledger(device: str, epoch: str, stored: int, quarantined: int, dropped: str, duplicates: int, batches: int,
            upto: int, above: str, retired: int, agent: str | None, agent_us: int | None, last_us: int,
            newer: int) -> LedgerRow:
    lost = msgspec.json.decode(dropped, type=dict[str, int])
    counts = None if agent is None else msgspec.json.decode(agent, type=LedgerCounts)
    now = None if counts is None else balance(counts, stored + quarantined + sum(lost.values()), newer)
    return LedgerRow(
        device=device, epoch=epoch, produced=now and now.produced, stored=stored,
        quarantined=quarantined, dropped=lost, spooled=now and now.spooled,
        in_flight=now and now.in_flight, difference=now and now.difference,
        duplicates=duplicates, batches=batches, upto=upto,
        above=msgspec.json.decode(above, type=list[tuple[int, int]]), retired=bool(retired), agent_us=agent_us,
        last_us=last_us)
