"""A heater's week: seven lists of comfort slices ``06:00-08:00``, Monday first; outside is eco. Pure.

``24:00`` is the end of a day, and a slice whose end is not after its start goes on into the next day. Minutes count
from the day's local midnight.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

DAY = 1440
DAYS = 7
MAX_SLICES = 48
"""A day, as the heater takes them."""
TIME = re.compile(r"(\d{1,2})[:h.](\d{2})\Z")


class Row(Struct):
    """One slice as it stands in the form, and what is wrong with it."""

    start: str
    end: str
    error: str = ""


class Bar(Struct, frozen=True):
    """A piece of a slice on one day."""

    start: int
    end: int
    tail: bool
    """It began on the day before."""


Week = list[list[Row]]


def minute(text: str) -> int | None:
    """``06:00`` -> 360, ``24:00`` -> 1440; None when it is no time of day."""
    found = TIME.match(text.strip())
    if found is None:
        return None
    at = int(found[1]) * 60 + int(found[2])
    return at if int(found[2]) < 60 and at <= DAY else None


def clock(at: int) -> str:
    return f"{at // 60:02d}:{at % 60:02d}"


def of_calendar(calendar: Any) -> Week:
    """From a schedule; what is no slice keeps its words, so that it is seen and can be mended."""
    days = calendar if isinstance(calendar, list) else []
    week: Week = []
    for day in range(DAYS):
        slices = days[day] if day < len(days) and isinstance(days[day], list) else []
        rows = []
        for text in slices[:MAX_SLICES]:
            start, _, end = str(text).partition("-")
            rows.append(Row(start.strip()[:8], end.strip()[:8]))
        week.append(rows)
    return week


def of_form(form: Mapping[str, str]) -> Week:
    """Fields ``s-<day>-<n>`` and ``e-<day>-<n>``; a slice without both is no slice."""
    week: Week = []
    for day in range(DAYS):
        rows = []
        for n in range(MAX_SLICES + 1):
            start, end = (form.get(f"{kind}-{day}-{n}", "").strip()[:8] for kind in "se")
            if start or end:
                rows.append(Row(start, end))
        week.append(rows)
    return week


def calendar_of(week: Week) -> list[list[str]]:
    """For the schedule; the week has been checked."""
    return [[f"{clock(start)}-{clock(end)}" for start, end in sorted(_spans(rows))] for rows in week]


def check(week: Week, texts: Mapping[str, str]) -> bool:
    """Write what is wrong at each slice; True when all is well. ``texts``: time, same, many. Slices may overlap, as the
    heater takes them."""
    good = True
    for rows in week:
        for n, row in enumerate(rows):
            start, end = minute(row.start), minute(row.end)
            row.error = ""
            if start is None or end is None or start == DAY:
                row.error = texts["time"]
            elif start == end:
                row.error = texts["same"]
            elif n >= MAX_SLICES:
                row.error = texts["many"].format(n=MAX_SLICES)
            good = good and not row.error
    return good


def bars(week: Week) -> list[list[Bar]]:
    """What each day shows, with what the day before brings along; slices that are wrong are left out."""
    pieces = [_pieces(rows) for rows in week]
    return [
        [bar for bar in pieces[day - 1] if bar.tail] + [bar for bar in pieces[day] if not bar.tail]
        for day in range(DAYS)
    ]


def copied(week: Week, source: int, targets: list[int]) -> Week:
    return [[Row(row.start, row.end) for row in week[source]] if day in targets else rows
            for day, rows in enumerate(week)]


def _spans(rows: list[Row]) -> list[tuple[int, int]]:
    found = []
    for row in rows:
        start, end = minute(row.start), minute(row.end)
        if start is not None and end is not None and start != end and start < DAY:
            found.append((start, end))
    return found


def _pieces(rows: list[Row]) -> list[Bar]:
    made = []
    for start, end in _spans(rows):
        made.append(Bar(start, end if end > start else DAY, False))
        if 0 < end < start:
            made.append(Bar(0, end, True))
    return made
