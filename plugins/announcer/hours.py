"""Quiet hours by the wall clock of a zone. Pure but for the zone's own file."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, tzinfo
from typing import NamedTuple

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MIN = 1440
RANGE = re.compile(r"(?:([a-z,]+)\s+)?([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-3]|24(?=:00)):([0-5]\d)\Z")


class Hours(NamedTuple):
    """Minutes of the day; ``end`` at or before ``begin`` is on the next day. ``days``: on which it begins."""

    days: frozenset[int]
    begin: int
    end: int

    def left_min(self, weekday: int, minute: int) -> int:
        """Minutes until it ends, 0 outside."""
        over_midnight = self.end <= self.begin
        if weekday in self.days and minute >= self.begin and (over_midnight or minute < self.end):
            return self.end - minute + (DAY_MIN if over_midnight else 0)
        if over_midnight and (weekday - 1) % 7 in self.days and minute < self.end:
            return self.end - minute
        return 0


def parse_hours(text: str) -> Hours:
    """``"22:00-06:30"``, ``"sat,sun 00:00-24:00"``. Raises ValueError in the words of agent.toml."""
    found = RANGE.match(text.strip())
    if found is None:
        raise ValueError(f'quiet_hours: "{text[:40]}": expected HH:MM-HH:MM, as "22:00-06:30" or "sat,sun 20:00-09:00"')
    words = found[1].split(",") if found[1] else DAYS
    for word in words:
        if word not in DAYS:
            raise ValueError(f'quiet_hours: "{text[:40]}": a day is one of {", ".join(DAYS)}')
    begin, end = int(found[2]) * 60 + int(found[3]), int(found[4]) * 60 + int(found[5])
    if begin == end:
        raise ValueError(f'quiet_hours: "{text[:40]}": expected two different times of a day')
    return Hours(frozenset(map(DAYS.index, words)), begin, end)


def quiet_until(hours: Iterable[Hours], zone: tzinfo, wall_us: int | None) -> str | None:
    """``"07:00"`` inside quiet hours, None outside. An unknown time is inside: nobody is woken by a stopped clock."""
    ranges = tuple(hours)
    if not ranges:
        return None
    if wall_us is None:
        return "the time is known"
    local = datetime.fromtimestamp(wall_us / 1e6, zone)
    minute = local.hour * 60 + local.minute
    left = max(one.left_min(local.weekday(), minute) for one in ranges)
    end = (minute + left) % DAY_MIN
    return f"{end // 60:02d}:{end % 60:02d}" if left else None
