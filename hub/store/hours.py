"""What counters grew by and what powers were, hour by hour, from the hourly roll-ups: they are kept for ever."""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from hub.store.rollup import HOUR_US, MINUTE_US

SEEN_US = 40 * MINUTE_US
ROUNDING = 1e-6


class Hour(NamedTuple):
    """``t_us``: the hour's start, UTC. ``value``: growth in the counter's unit, or the hour's mean."""

    t_us: int
    value: float
    estimated: bool = False
    """The counter was silent for longer than an hour: its growth is spread evenly over that time."""


Step = tuple[int, float]
"""When somebody set a counter (us), and by how much: that was not counted."""


def growth(db: sqlite3.Connection, series_id: int, start_us: int, end_us: int, steps: Sequence[Step] = ()
           ) -> list[Hour]:
    """What a counter grew by in each hour of [start, end), counted from its last value before, without ``steps`` (in
    order of time). A counter that fell (a new meter behind the same name) adds nothing in that hour but what it counted
    since."""
    row = db.execute("SELECT last_us, last FROM rollup_hour WHERE series_id = ? AND t_us < ? "
                     "ORDER BY t_us DESC LIMIT 1", (series_id, start_us)).fetchone()
    rows = db.execute("SELECT t_us, first, first_us, last_us, last FROM rollup_hour WHERE series_id = ? AND t_us >= ? "
                      "ORDER BY t_us", (series_id, start_us))
    hours: list[Hour] = []
    before_us, before = row if row is not None else (None, None)
    left = deque(steps)
    for t_us, first, first_us, last_us, last in rows:
        from_us = first_us if before_us is None else before_us
        grown = last - (first if before is None else before)
        while left and left[0][0] <= last_us:
            at_us, step = left.popleft()
            grown -= step if at_us > from_us else 0.0
        if grown < -ROUNDING:
            grown, before_us = max(0.0, last - first), None
        grown = max(0.0, grown)
        silent_from = t_us if before_us is None else before_us - before_us % HOUR_US + HOUR_US
        if silent_from < t_us:
            hours += _spread(grown, before_us or 0, last_us, start_us, end_us)
        elif t_us < end_us:
            hours.append(Hour(t_us, grown))
        before_us, before = last_us, last
        if t_us >= end_us:
            break  # one hour more than asked for: it says how much of a silence fell into the range
    return hours


def _spread(grown: float, from_us: int, to_us: int, start_us: int, end_us: int) -> list[Hour]:
    """Evenly over the time since the last value, cut to [start, end)."""
    hours = []
    for t_us in range(from_us - from_us % HOUR_US, to_us + 1, HOUR_US):
        share = min(to_us, t_us + HOUR_US) - max(from_us, t_us)
        if share > 0 and start_us <= t_us < end_us:
            hours.append(Hour(t_us, grown * share / (to_us - from_us), True))
    return hours


def means(db: sqlite3.Connection, series_id: int, start_us: int, end_us: int) -> list[Hour]:
    """The mean of each hour of [start, end) that was seen for most of it and was never below zero (feeding in)."""
    return [Hour(t_us, mean) for t_us, mean in db.execute(
        "SELECT t_us, sum / n FROM rollup_hour WHERE series_id = ? AND t_us >= ? AND t_us < ? AND min >= 0 AND "
        "last_us - first_us >= ? ORDER BY t_us", (series_id, start_us, end_us, SEEN_US))]
