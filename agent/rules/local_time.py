"""``between = "23:00-06:00"``: a part of each day by local time, over midnight and over the changes of the clock."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, tzinfo

from msgspec import Struct

_FORM = re.compile(r"([01]\d|2[0-3]):([0-5]\d)\s*-\s*(?:([01]\d|2[0-3]):([0-5]\d)|(24):(00))\Z")


class Window(Struct, frozen=True):
    """From ``start`` up to, not including, ``end``; an ``end`` before it is on the next day."""

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Window:
        """Raises ValueError."""
        found = _FORM.match(text.strip())
        if found is None:
            raise ValueError('expected "23:00-06:00", from and to by the local clock')
        start = time(int(found[1]), int(found[2]))
        end = time(0) if found[5] else time(int(found[3]), int(found[4]))
        if start == end:
            raise ValueError("from and to are the same: leave between out for the whole day")
        return cls(start, end)

    def holds(self, at: time) -> bool:
        if self.start < self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end

    def span(self, t_us: int, zone: tzinfo) -> tuple[bool, int]:
        """Whether ``t_us`` lies within it, and when that changes next (us; at most a day and an hour ahead)."""
        local = datetime.fromtimestamp(t_us / 1e6, UTC).astimezone(zone)
        inside = self.holds(local.time())
        edge = self.end if inside else self.start
        for days in (0, 1, 2):
            at = datetime.combine(local.date() + timedelta(days=days), edge, tzinfo=zone)
            at_us = round(at.timestamp() * 1e6)
            if at_us > t_us:
                return inside, at_us
        return inside, t_us + 3600 * 1_000_000
