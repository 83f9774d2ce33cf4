"""Roll-ups of one series: per minute, hour and day the count, extremes, sum, first and last value.

A value counts when it is a number (a boolean is 0 or 1) whose quality does not say that it is wrong. Everything per
sample is done by ``bisect``, ``min``, ``max`` and ``sum`` on slices, so the cost in Python is per bucket.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
LEVELS = (("rollup_minute", MINUTE_US), ("rollup_hour", HOUR_US), ("rollup_day", DAY_US))

COUNTED = frozenset({None, "uncertain", "estimated", "time_estimated", "uncertain+time_estimated",
                     "estimated+time_estimated"})
"""Qualities whose value is used; the others only say why there is none."""

Row = tuple[int, int, int, Any, Any, float, int, Any, int, Any]
"""series, start of the bucket, n, min, max, sum, first_us, first, last_us, last"""

INSERT = {
    table: f"INSERT INTO {table} VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (series_id, t_us) DO UPDATE SET "
    "n = n + excluded.n, min = min(min, excluded.min), max = max(max, excluded.max), sum = sum + excluded.sum, "
    "first = CASE WHEN excluded.first_us < first_us THEN excluded.first ELSE first END, "
    "last = CASE WHEN excluded.last_us >= last_us THEN excluded.last ELSE last END, "
    "first_us = min(first_us, excluded.first_us), last_us = max(last_us, excluded.last_us)"
    for table, _ in LEVELS
}
"""Adding a bucket to what is there. (Table names are ours; every value is bound.)"""


def buckets(series: int, t: list[int], v: list[Any], width_us: int) -> list[Row]:
    """The buckets of ``width_us`` that the samples (in order of time, all of them counting) fall into."""
    rows: list[Row] = []
    at, end = 0, len(t)
    while at < end:
        start = t[at] - t[at] % width_us
        stop = end if t[-1] < start + width_us else bisect_left(t, start + width_us, at)
        if stop - at == 1:
            value = v[at]
            rows.append((series, start, 1, value, value, float(value), t[at], value, t[at], value))
        else:
            part = v[at:stop] if at or stop < end else v
            rows.append((series, start, stop - at, min(part), max(part), float(sum(part)),
                         t[at], v[at], t[stop - 1], v[stop - 1]))
        at = stop
    return rows
