"""The samples of one series in one transaction become rows: checked, ordered, none of them at a taken time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from itertools import islice, repeat
from operator import lt
from typing import Any, NamedTuple

from hub.store import times, values
from hub.store.rollup import COUNTED
from hub.store.state import SeriesState

FLAG = "time_estimated"
"""Quality of a sample whose boot's clock is not known yet; with another one: ``uncertain+time_estimated``."""

_EXISTS = "SELECT 1 FROM samples WHERE series_id = ? AND t_us = ?"


class Unstorable(ValueError):
    """A batch holds what the store cannot keep: it is poison, the others of its transaction are not."""


class Rows(NamedTuple):
    samples: Iterable[tuple[int, int, Any, str | None]]
    t: list[int]
    v: list[Any]
    q: list[str | None] | None
    """All rows in order of time."""
    counted_t: list[int]
    counted_v: list[Any]
    """Those that roll-ups use."""
    guessed: list[tuple[int, int, int, int]]
    """(boot row, series, t_us, boot_us)"""


def flagged(quality: str | None) -> str:
    return FLAG if quality is None else f"{quality}+{FLAG}"


def unflagged(quality: str | None) -> str | None:
    """The quality before :func:`flagged`."""
    if quality is None or quality == FLAG:
        return None
    return quality.removesuffix(f"+{FLAG}")


def rows_of(series: SeriesState, db: sqlite3.Connection) -> Rows:
    """Raises Unstorable."""
    t, v = series.t, series.v
    kinds = set(map(type, v))
    plain = not series.q and not series.guesses and values.is_plain(kinds, v)
    if plain and t[0] > series.max_us and all(map(lt, t, islice(t, 1, None))):
        _check(t)  # the way of nearly every batch
        return Rows(zip(repeat(series.id), t, v, repeat(None)), t, v, None, t, v, [])
    return _rows_slowly(series, db)


def _rows_slowly(series: SeriesState, db: sqlite3.Connection) -> Rows:
    """Qualities, guesses, texts, late or equal times: one sample after another."""
    origin: list[tuple[int, int] | None] = [None] * len(series.t)
    for start, stop, boot, offset in series.guesses:
        for at in range(start, stop):
            origin[at] = (boot, series.t[at] - offset)
    parts = []
    for at, (t, raw) in enumerate(zip(series.t, series.v, strict=True)):
        value, made = values.stored(raw)
        quality = series.q.get(at)
        quality = made if quality is None else values.word(quality)
        if origin[at] is not None:
            quality = flagged(quality)
        parts.append((t, at, value, quality))
    parts.sort(key=lambda part: (part[0], part[1]))
    _check([parts[0][0], parts[-1][0]])
    rows, guessed, counted_t, counted_v = [], [], [], []
    previous = 0
    late = parts[0][0] <= series.max_us
    tries = 1000 + 2 * len(parts)  # equal times are rare; a device that invents them must not hold the others up
    for want, at, value, quality in parts:
        t = max(want, previous + 1)
        while late and t <= series.max_us and db.execute(_EXISTS, (series.id, t)).fetchone():
            t += 1
            tries -= 1
            if tries < 0:
                raise Unstorable("too many samples of one series at the same time")
        if t != want:
            series.moved += 1
        previous = t
        rows.append((series.id, t, value, quality))
        if quality in COUNTED and type(value) in values.NUMBERS:
            counted_t.append(t)
            counted_v.append(value)
        source = origin[at]
        if source is not None:
            guessed.append((source[0], series.id, t, source[1]))
    return Rows(rows, [row[1] for row in rows], [row[2] for row in rows], [row[3] for row in rows],
                counted_t, counted_v, guessed)


def _check(t: list[int]) -> None:
    if t[0] < times.FLOOR_US or t[-1] > times.CEILING_US:
        raise Unstorable("a time stamp before 2020 or after 2200")
