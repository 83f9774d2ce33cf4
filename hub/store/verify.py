"""Does the store hold what it says? Each check reads one snapshot, so it is right while ingest writes."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from hub.store import rollup
from hub.store.reader import Reader
from hub.store.rollup import DAY_US, LEVELS
from hub.store.upkeep import counted

SUM_TOLERANCE = 1e-9
"""Sums of floats depend on the order of adding; everything else must be equal."""
MAX_FINDINGS = 100
CHECK_S = 3600.0


class Report(Struct, frozen=True):
    devices: int
    series: int
    samples: int
    days: int
    """Days of series whose roll-ups were computed again."""
    findings: list[str]
    """What is wrong, one line each; empty: everything holds"""


def verify(reader: Reader) -> Report:
    """SQLite's integrity check, the ledger against the samples, every roll-up against its samples."""
    findings: list[str] = []
    whole = Reader(reader.path, limit_s=CHECK_S)  # the one read that may be long: the log grows meanwhile
    with whole.snapshot() as db:
        findings += [f"integrity: {row[0]}" for row in db.execute("PRAGMA integrity_check(20)") if row[0] != "ok"]
    whole.close()
    with reader.snapshot() as db:
        findings += list(_ledger(db))
    rows = reader.series()
    samples = days = 0
    for row in rows:
        found, count, checked = _series(reader, row.id, f"{row.device} {row.node}/{row.property}")
        findings += found
        samples += count
        days += checked
        if len(findings) > MAX_FINDINGS:
            findings.append("... and more")
            break
    return Report(len({row.device for row in rows}), len(rows), samples, days, findings)


def _ledger(db: sqlite3.Connection) -> Iterator[str]:
    """What the keys say was stored is what the series say that they got."""
    for device, by_epoch, by_series in db.execute(
        "SELECT d.device, (SELECT coalesce(sum(stored), 0) FROM epochs WHERE device_id = d.id), "
        "(SELECT coalesce(sum(st.n), 0) FROM series s JOIN series_state st ON st.series_id = s.id "
        "WHERE s.device_id = d.id) FROM devices d"):
        if by_epoch != by_series:
            yield f"{device}: the ledger says {by_epoch} samples, its series say {by_series}"
    for boot, series in db.execute(
        "SELECT g.boot_id, g.series_id FROM guessed g LEFT JOIN samples s ON s.series_id = g.series_id AND "
        "s.t_us = g.t_us JOIN series x ON x.id = g.series_id WHERE s.t_us IS NULL AND g.t_us >= x.raw_from_us LIMIT 5"):
        yield f"boot {boot}: a sample of series {series} with a guessed time is not there"


def _series(reader: Reader, series: int, name: str) -> tuple[list[str], int, int]:
    findings: list[str] = []
    with reader.snapshot() as db:
        raw_from = db.execute("SELECT raw_from_us FROM series WHERE id = ?", (series,)).fetchone()[0] or 0
        count = int(db.execute("SELECT count(*) FROM samples WHERE series_id = ?", (series,)).fetchone()[0])
        n = db.execute("SELECT n FROM series_state WHERE series_id = ?", (series,)).fetchone()
        if not raw_from and count != (n[0] if n else 0):
            findings.append(f"{name}: {count} samples are there, {n[0] if n else 0} were stored")
    day = raw_from - raw_from % DAY_US
    checked = 0
    while True:
        with reader.snapshot() as db:
            # The next day that has samples or roll-ups
            starts = [row[0] for table, column in (("samples", "t_us"), *((table, "t_us") for table, _ in LEVELS))
                      for row in db.execute(f"SELECT {column} FROM {table} WHERE series_id = ? AND t_us >= ? "
                                            "ORDER BY t_us LIMIT 1", (series, day))]
            if not starts:
                break
            day = min(starts)
            day -= day % DAY_US
            findings += [f"{name}: {text}" for text in _day(db, series, day)]
        checked += 1
        day += DAY_US
        if len(findings) > MAX_FINDINGS:
            break
    return findings, count, checked


def _day(db: sqlite3.Connection, series: int, day: int) -> Iterator[str]:
    t, v = counted(db, series, day, day + DAY_US)
    for table, width in LEVELS:
        want = rollup.buckets(series, t, v, width)
        have = db.execute(f"SELECT series_id, t_us, n, min, max, sum, first_us, first, last_us, last FROM {table} "
                          "WHERE series_id = ? AND t_us >= ? AND t_us < ? ORDER BY t_us",
                          (series, day, day + DAY_US)).fetchall()
        if len(want) != len(have):
            yield f"{table} of day {day}: {len(have)} buckets instead of {len(want)}"
            continue
        for expected, row in zip(want, have, strict=True):
            if not same(expected, row):
                yield f"{table} at {row[1]}: {row[2:]} instead of {expected[2:]}"
                break


def same(a: rollup.Row | tuple[Any, ...], b: rollup.Row | tuple[Any, ...]) -> bool:
    """Equal but for the rounding of the sum."""
    scale = a[2] * max(abs(float(a[3])), abs(float(a[4])), 1e-300)
    return a[:5] == b[:5] and a[6:] == b[6:] and (
        math.isclose(a[5], b[5], rel_tol=SUM_TOLERANCE, abs_tol=SUM_TOLERANCE * scale) or a[5] == b[5])
