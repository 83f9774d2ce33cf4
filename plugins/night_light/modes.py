"""AUTO, and ON and OFF, which always end. Pure: times are CLOCK_BOOTTIME and wall time in microseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

Word = Literal["auto", "on", "off"]
WORDS: tuple[Word, ...] = ("auto", "on", "off")
US = 1_000_000
DAY_US = 86_400 * US
LEFT_EVERY_US = 600 * US


class Mode:
    """``word`` is what is in force; a forced one ends by itself at ``end_us``."""

    def __init__(self) -> None:
        self.word: Word = "auto"
        self.by = ""
        self.end_us: int | None = None
        self._end_wall_us: int | None = None
        self._latest_us = 0
        """When it ends whatever the clock is set to meanwhile."""
        self._left_us = 0
        """What was left when it was last kept: all that is known after a restart without a clock."""

    def auto(self) -> None:
        self.word, self.by, self.end_us, self._end_wall_us = "auto", "", None, None

    def force(self, word: Word, by: str, now_us: int, wall_us: int | None, for_us: int) -> None:
        """``on`` or ``off`` for so long, at most a day."""
        for_us = min(for_us, DAY_US)
        self.word, self.by, self.end_us = word, by, now_us + for_us
        self._end_wall_us = None if wall_us is None else wall_us + for_us
        self._left_us, self._latest_us = for_us, self.end_us

    def tick(self, now_us: int, wall_us: int | None) -> None:
        """Ends what is over; a clock that has become known puts the end where it was promised."""
        if self.end_us is None:
            return
        if wall_us is not None:
            if self._end_wall_us is None:
                self._end_wall_us = wall_us + self.end_us - now_us
            self.end_us = min(self._latest_us, now_us + self._end_wall_us - wall_us)
        if now_us >= self.end_us:
            self.auto()
        elif self._left_us - (self.end_us - now_us) >= LEFT_EVERY_US:
            self._left_us = self.end_us - now_us

    def until(self, now_us: int, wall_us: int | None) -> str | None:
        """The end as RFC 3339, where there is one and the clock is known."""
        if self.end_us is None or wall_us is None:
            return None
        return rfc3339(wall_us + self.end_us - now_us)

    # --- over a restart ---------------------------------------------------------------------------------------

    def kept(self) -> dict[str, Any]:
        if self.word == "auto":
            return {"word": "auto"}
        return {"word": self.word, "by": self.by, "end_wall_us": self._end_wall_us, "left_us": self._left_us}

    def restore(self, kept: object, now_us: int) -> None:
        """Anything that is not from :meth:`kept` is AUTO."""
        match kept:
            case {"word": "on" | "off" as word, "by": str() as by, "end_wall_us": int() | None as wall_us,
                  "left_us": int() as left_us} if 0 < left_us <= DAY_US:
                self.word, self.by = word, by
                self._end_wall_us, self._left_us = wall_us, left_us
                self.end_us = self._latest_us = now_us + left_us


def rfc3339(wall_us: int) -> str:
    return datetime.fromtimestamp(wall_us // US, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parsed(text: str) -> int:
    """Microseconds since 1970 of an RFC 3339 time with its zone. Raises ValueError."""
    told = datetime.fromisoformat(text.strip())
    if told.tzinfo is None:
        raise ValueError("no zone")
    return round(told.timestamp() * US)
