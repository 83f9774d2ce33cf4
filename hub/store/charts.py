"""A chart of any length from at most ``max_points`` points: the finest level that is cheap enough to read.

Under a minute a point, the samples themselves; else minute, hour or day roll-ups, joined in SQL to whole multiples of
the level. Each point is mean, minimum and maximum of its bucket, so a spike is never averaged away.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from msgspec import Struct

from hub.store.rollup import COUNTED, DAY_US, HOUR_US, MINUTE_US


class Chart(Struct, frozen=True):
    """Columns of equal length, in order of time; a bucket without samples is absent (a gap).

    ``t_us`` is the bucket's start, ``n`` how many samples it holds. ``rise`` (counters only) is what was counted in
    it, None where the counter was reset. ``level``: ``raw`` (each point is one sample), ``samples`` (joined samples),
    ``minute``, ``hour``, ``day``. ``width_us``: of a bucket, 0 for ``raw``."""

    t_us: list[int]
    mean: list[float | None]
    min: list[float | None]
    max: list[float | None]
    n: list[int]
    level: str
    width_us: int
    rise: list[float | None] | None = None


_COUNTS = (f"(quality IS NULL OR quality IN ({', '.join(repr(word) for word in sorted(filter(None, COUNTED)))})) "
           "AND typeof(value) IN ('integer', 'real')")
_RAW = (f"SELECT t_us, value FROM samples WHERE series_id = ? AND t_us >= ? AND t_us < ? AND {_COUNTS} "
        "ORDER BY t_us LIMIT ?")
_JOINED = (f"SELECT t_us / ? * ?, avg(value), min(value), max(value), count(*) FROM samples WHERE series_id = ? AND "
           f"t_us >= ? AND t_us < ? AND {_COUNTS} GROUP BY 1 ORDER BY 1")
_LEVEL = {
    table: f"SELECT t_us / ? * ?, sum(sum) / sum(n), min(min), max(max), sum(n) FROM {table} WHERE series_id = ? "
    "AND t_us >= ? AND t_us < ? GROUP BY 1 ORDER BY 1"
    for table in ("rollup_minute", "rollup_hour", "rollup_day")
}
_ENDS = {
    table: f"SELECT first, last FROM {table} WHERE series_id = ? AND t_us >= ? AND t_us < ? ORDER BY t_us"
    for table in ("rollup_minute", "rollup_hour", "rollup_day")
}


def chart(db: sqlite3.Connection, series_id: int, start_us: int, end_us: int, max_points: int = 1000) -> Chart:
    """Raises ValueError for a range that is none."""
    if not (start_us < end_us and 1 <= max_points <= 100_000):
        raise ValueError(f"chart of {max_points} points from {start_us} to {end_us}: nothing to draw")
    row = db.execute("SELECT state_class, raw_from_us, minute_from_us FROM series WHERE id = ?",
                     (series_id,)).fetchone()
    counter, raw_from, minute_from = (row[0] == "total_increasing", row[1] or 0, row[2] or 0) if row else (False, 0, 0)
    width = -(-(end_us - start_us) // max_points)
    if width < HOUR_US and start_us >= raw_from:  # a slow series: all its samples fit
        found = db.execute(_RAW, (series_id, start_us, end_us, max_points + 1)).fetchall()
        if len(found) <= max_points:
            return _raw(found, counter)
    if width < MINUTE_US and start_us >= raw_from:
        width = -(-(end_us - start_us) // (max_points - 1 or 1))  # room for the cut first bucket
        rows = db.execute(_JOINED, (width, width, series_id, start_us, end_us)).fetchall()
        chart_ = _columns(rows, "samples", width)
        if counter:
            ends = db.execute("SELECT t_us, value FROM samples WHERE series_id = ? AND t_us >= ? AND t_us < ? AND "
                              f"{_COUNTS} ORDER BY t_us", (series_id, start_us, end_us)).fetchall()
            return _with_rise(chart_, [(t, value, value) for t, value in ends])
        return chart_
    if width < HOUR_US and start_us >= minute_from:
        table, name, unit = "rollup_minute", "minute", MINUTE_US
    elif width < DAY_US:
        table, name, unit = "rollup_hour", "hour", HOUR_US
    else:
        table, name, unit = "rollup_day", "day", DAY_US
    first = start_us - start_us % unit
    width = max(1, -(-(end_us - first) // (max_points - 1 or 1) // unit)) * unit
    rows = db.execute(_LEVEL[table], (width, width, series_id, first, end_us)).fetchall()
    chart_ = _columns(rows[-max_points:], name, width)
    if counter:
        ends = db.execute(_ENDS[table].replace("SELECT first", "SELECT t_us, first"),
                          (series_id, first, end_us)).fetchall()
        return _with_rise(chart_, ends)
    return chart_


def _columns(rows: list[tuple[Any, ...]], level: str, width: int) -> Chart:
    if not rows:
        return Chart([], [], [], [], [], level, width)
    t, mean, low, high, n = (list(column) for column in zip(*rows, strict=True))
    return Chart(t, mean, low, high, n, level, width)


def _raw(rows: list[tuple[int, Any]], counter: bool) -> Chart:
    t, v = [row[0] for row in rows], [row[1] for row in rows]
    rise = None
    if counter:
        rise = [None, *(_grown(v[at - 1], v[at]) for at in range(1, len(v)))] if v else []
    return Chart(t, v, v, v, [1] * len(v), "raw", 0, rise)


def _with_rise(chart_: Chart, ends: list[tuple[int, Any, Any]]) -> Chart:
    """What a counter grew by in each bucket, counted from the last value before it."""
    grown: dict[int, float | None] = {}
    before = None
    for t, first, last in ends:
        bucket = t - t % chart_.width_us
        step = _grown(first if before is None else before, last)
        have = grown.get(bucket, 0)
        grown[bucket] = None if step is None or have is None else have + step
        before = last
    rise = [grown.get(t) for t in chart_.t_us]
    return Chart(chart_.t_us, chart_.mean, chart_.min, chart_.max, chart_.n, chart_.level, chart_.width_us, rise)


def _grown(before: Any, after: Any) -> float | None:
    grown: float = after - before
    return grown if grown >= 0 else None
