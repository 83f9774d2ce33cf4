"""Weekly calendars: seven lists of slices, Monday first. Pure.

A slice is what a clock on the wall shows: ``06:00-08:00`` (or ``06h00-08h00``) is in force from the moment the clock
first shows 06:00 until it first shows 08:00. So where the clock is set, each change still comes exactly once:

* set forward (02:00 becomes 03:00): what was to change in the skipped hour changes at 03:00; a slice that lies within
  the skipped hour does not happen;
* set back (03:00 becomes 02:00): what changes between 02:00 and 03:00 changes in the first of the two hours, and the
  second one goes on like the end of the first.

``24:00`` is the end of the day; a slice that ends before it begins crosses midnight and belongs to the day it starts
on; slices may overlap.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from datetime import datetime, tzinfo

from msgspec import Struct

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
US = 1_000_000
MINUTE_US = 60 * US
DAY_MIN = 24 * 60
WEEK_MIN = 7 * DAY_MIN
MAX_SLICES = 48
"""A day; more is no calendar that anybody wrote."""
LOOK_US = 26 * 3600 * US
"""A clock is never set by more than a day (the date line); two settings are never that close."""
_SLICE = re.compile(r"\s*([0-9]{1,2})[:h]([0-9]{2})\s*-\s*([0-9]{1,2})[:h]([0-9]{2})\s*")
_ANY_MONDAY_MIN = 4 * DAY_MIN
"""1970-01-05."""


class Calendar(Struct, frozen=True):
    """Made by :func:`parse`."""

    days: tuple[tuple[str, ...], ...]
    """As written, in one form: ``06:00-08:00``."""
    edges: tuple[int, ...]
    """Minutes of the week (Monday 00:00 is 0) where it begins, ends, begins ...; ascending, none twice."""
    first: bool
    """Whether it is inside at minute 0."""


def parse(days: list[list[str]] | dict[str, list[str]]) -> Calendar:
    """From seven lists, or from ``{"mon-fri": [...], "sun": [...], "all": [...]}``. Raises ValueError: one line that
    names the day and the slice and says what is right."""
    lists = _by_name(days) if isinstance(days, dict) else days
    if not isinstance(lists, list | tuple) or len(lists) != 7:
        count = f"{len(lists)} lists" if isinstance(lists, list | tuple) else type(lists).__name__
        raise ValueError(f"a calendar is 7 lists of slices, Monday first, not {count}")
    inside = bytearray(WEEK_MIN)
    texts: list[tuple[str, ...]] = []
    ends: set[int] = set()
    for number, (name, slices) in enumerate(zip(DAYS, lists, strict=True)):
        if not isinstance(slices, list | tuple):
            raise ValueError(f'{name}: a list of slices is needed, as ["06:00-08:00"], not {slices!r:.60}')
        if len(slices) > MAX_SLICES:
            raise ValueError(f"{name}: {len(slices)} slices, at most {MAX_SLICES}")
        day = []
        for text in slices:
            start, end = _slice(name, text)
            day.append(f"{_clock(start)}-{_clock(end)}")
            start, end = number * DAY_MIN + start, number * DAY_MIN + (end if end > start else end + DAY_MIN)
            inside[start : min(end, WEEK_MIN)] = b"\1" * (min(end, WEEK_MIN) - start)
            if end > WEEK_MIN:
                inside[: end - WEEK_MIN] = b"\1" * (end - WEEK_MIN)
            ends.update((start, end % WEEK_MIN))
        texts.append(tuple(day))
    edges = tuple(minute for minute in sorted(ends) if inside[minute] != inside[minute - 1])
    return Calendar(tuple(texts), edges, bool(inside[0]))


def _slice(day: str, text: object) -> tuple[int, int]:
    """Begin and end in minutes of the day, end up to 1440."""
    found = _SLICE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f"{day}: {text!r:.60} is no slice; write it as 06:00-08:00")
    hours = int(found[1]), int(found[3])
    minutes = int(found[2]), int(found[4])
    if max(minutes) > 59:
        raise ValueError(f"{day}: {text!r}: minutes go from 00 to 59")
    start, end = hours[0] * 60 + minutes[0], hours[1] * 60 + minutes[1]
    if start >= DAY_MIN or end > DAY_MIN:
        raise ValueError(f"{day}: {text!r}: a slice begins from 00:00 to 23:59 and ends at 24:00 at the latest")
    if start == end:
        raise ValueError(f"{day}: {text!r} is empty; the whole day is 00:00-24:00")
    return start, end


def _by_name(named: dict[str, list[str]]) -> list[list[str]]:
    short = [day[:3].lower() for day in DAYS]
    lists: list[list[str]] = [[] for _ in DAYS]
    for key, slices in named.items():
        begin, dash, end = str(key).strip().lower().partition("-")
        if key == "all":
            begin, end = "mon", "sun"
        elif not dash:
            end = begin
        if begin not in short or end not in short:
            raise ValueError(f"{key!r:.60} is no day: mon, tue, wed, thu, fri, sat, sun, a range as mon-fri, or all")
        if not isinstance(slices, list | tuple):
            raise ValueError(f'{key}: a list of slices is needed, as ["06:00-08:00"], not {slices!r:.60}')
        at = short.index(begin)
        while True:
            lists[at].extend(slices)
            if short[at] == end:
                break
            at = (at + 1) % 7
    return lists


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


# --- by what the clock on the wall shows --------------------------------------------------------------------


def inside(calendar: Calendar, local: datetime) -> bool:
    """Whether the calendar is inside a slice when the clock shows ``local``; its zone and fold are not looked at."""
    return _state(calendar, (local.weekday() * 24 + local.hour) * 60 + local.minute)


def inside_at(calendar: Calendar, wall_us: int, zone: tzinfo | None) -> bool:
    """The same at a moment, in microseconds since 1970 UTC; ``zone`` None is this machine's."""
    return _state(calendar, _minute_of_week(shown_us(wall_us, zone)))


def next_change(calendar: Calendar, wall_us: int, zone: tzinfo | None) -> int | None:
    """The next moment after ``wall_us`` at which :func:`inside_at` changes; None: it never does."""
    if not calendar.edges:
        return None
    shown = shown_us(wall_us, zone)
    now = _state(calendar, _minute_of_week(shown))
    minutes = shown // MINUTE_US
    monday = minutes - (minutes - _ANY_MONDAY_MIN) % WEEK_MIN
    for week in range(3):  # a clock set forward can swallow the only slice of a week
        for edge in calendar.edges:
            at_us = (monday + week * WEEK_MIN + edge) * MINUTE_US
            if at_us <= shown:
                continue
            moment = moment_us(at_us, zone)
            if moment > wall_us and inside_at(calendar, moment, zone) != now:
                return moment
    return None


def _state(calendar: Calendar, minute: int) -> bool:
    passed = bisect_right(calendar.edges, minute) - (0 in calendar.edges[:1])
    return calendar.first != bool(passed % 2)


def _minute_of_week(shown: int) -> int:
    return (shown // MINUTE_US - _ANY_MONDAY_MIN) % WEEK_MIN


# --- from UTC to the clock on the wall, and back ------------------------------------------------------------


def _offset_us(at_us: int, zone: tzinfo | None) -> int:
    seconds = at_us // US
    if zone is None:
        return time.localtime(seconds).tm_gmtoff * US
    offset = datetime.fromtimestamp(seconds, zone).utcoffset()
    return 0 if offset is None else round(offset.total_seconds()) * US


def shown_us(wall_us: int, zone: tzinfo | None) -> int:
    """The latest time that the clock on the wall has shown up to this moment, in microseconds since 1970 of the local
    clock: it never runs back, so between 03:00 set back to 02:00 and the next 03:00 it stays just below 03:00."""
    offset, before = _offset_us(wall_us, zone), _offset_us(wall_us - LOOK_US, zone)
    if before <= offset:
        return wall_us + offset
    return max(wall_us + offset, _turn_us(wall_us - LOOK_US, wall_us, zone) + before - 1)


def moment_us(local_us: int, zone: tzinfo | None) -> int:
    """The first moment at which :func:`shown_us` is ``local_us`` or later: the way back."""
    early, late = local_us - LOOK_US, local_us + LOOK_US
    before, after = _offset_us(early, zone), _offset_us(late, zone)
    if before == after:
        return local_us - after
    turn = _turn_us(early, late, zone)
    return local_us - before if local_us - before < turn else max(turn, local_us - after)


def _turn_us(early_us: int, late_us: int, zone: tzinfo | None) -> int:
    """When, between two moments, the clock is set."""
    low, high = early_us // US, late_us // US
    before = _offset_us(early_us, zone)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset_us(middle * US, zone) == before:
            low = middle
        else:
            high = middle
    return high * US
