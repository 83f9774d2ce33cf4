"""Days and slices of the day, as people write them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOLIDAY = 7
"""A day on which the heater's profile is one of the holidays', whatever its name in the week."""
SETS = {"weekdays": range(5), "weekend": range(5, 7), "everyday": range(8), "holiday": (HOLIDAY,)}
DAY_MIN = 1440
TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\Z")
SLICE = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*(?:(24:00)|([01]\d|2[0-3]):([0-5]\d))\Z")


class Slice(NamedTuple):
    """Minutes of the day, both ends included: "06:00-21:00" has a mark at 21:00."""

    begin: int
    end: int

    def has(self, minute: int) -> bool:
        if self.begin <= self.end:
            return self.begin <= minute <= self.end
        return minute >= self.begin or minute <= self.end


def parse_days(words: Iterable[str]) -> frozenset[int]:
    """``["mon", "weekend", "holiday"]``. Raises ValueError in the words of agent.toml."""
    found: set[int] = set()
    for word in words:
        if word in SETS:
            found.update(SETS[word])
        elif word in DAYS:
            found.add(DAYS.index(word))
        else:
            raise ValueError(f'days: "{word[:30]}": expected {", ".join(DAYS)}, {" or ".join(sorted(SETS))}')
    return frozenset(found)


def parse_slice(text: str) -> Slice:
    """``"06:00-21:00"``; ``"22:00-02:00"`` goes over midnight, within one and the same day. Raises ValueError."""
    found = SLICE.match(text.strip())
    if found is None:
        raise ValueError(f'slices: "{text[:40]}": expected HH:MM-HH:MM, as "06:00-21:00"')
    end = DAY_MIN if found[3] else int(found[4]) * 60 + int(found[5])
    return Slice(int(found[1]) * 60 + int(found[2]), end)


def parse_time(text: str, key: str) -> int:
    """Minutes of the day. Raises ValueError naming the key."""
    found = TIME.match(text.strip())
    if found is None:
        raise ValueError(f'{key}: "{text[:40]}": expected HH:MM')
    return int(found[1]) * 60 + int(found[2])


def on_day(days: frozenset[int], weekday: int, holiday: bool, any_for_holidays: bool) -> bool:
    """Whether a rule counts today. On a holiday those count that name it; where no rule does, Sunday's."""
    if not holiday:
        return weekday in days
    return HOLIDAY in days if any_for_holidays else 6 in days
