"""Hours of the local day in which the camera stays off. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

RANGE = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*([01]\d|2[0-4]):([0-5]\d)\Z")


class Hours(NamedTuple):
    """Minutes of the day; ``end`` before ``begin`` goes over midnight."""

    begin: int
    end: int

    def __contains__(self, minute: object) -> bool:
        if not isinstance(minute, int):
            return False
        if self.begin <= self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end


def parse_hours(text: str) -> Hours:
    """``"22:00-06:30"``. Raises ValueError in the words of agent.toml."""
    found = RANGE.match(text.strip())
    if found is None:
        raise ValueError(f'off_hours: "{text[:40]}": expected HH:MM-HH:MM, as "22:00-06:30"')
    begin, end = int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])
    if begin == end or end > 1440:
        raise ValueError(f'off_hours: "{text[:40]}": expected two different times of a day')
    return Hours(begin, end)


def is_off(hours: Iterable[Hours], wall_us: int | None) -> bool:
    """Whether the camera is to be off. An unknown time is inside: privacy is not for the clock to break."""
    ranges = tuple(hours)
    if not ranges:
        return False
    if wall_us is None:
        return True
    local = datetime.fromtimestamp(wall_us / 1e6).astimezone()
    return any(local.hour * 60 + local.minute in one for one in ranges)
