"""The book of alerts: conditions of this second against those of the last, kept in alerts.db."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hub.alerts.model import Condition, Event
from hub.notify.part import Hall, Part


class Book(Part):
    def __init__(self, hall: Hall) -> None:
        super().__init__(hall)
        self.blind: dict[str, Callable[[str, str], bool]] = {}
        """A source's name -> whether it cannot see (key, subject) now: what it then leaves out is not over."""

    def update(self, conditions: Mapping[str, Condition], now_us: int) -> list[Event]:
        """In the transaction: what has happened since the last call."""
        return []

    def acknowledge(self, alert_id: int, who: str, now_us: int) -> None:
        """Somebody has seen it (page, answer to an SMS); the event comes with the next second. Raises Refused."""
        raise NotImplementedError

    def silence(self, match: str, minutes: float, why: str, who: str, now_us: int) -> int:
        """Nobody is told of what ``match`` fits (key, subject, device or ``<device>/<plugin>``; ``*``, ``?``) for so
        long; returns the silence's id. Raises Refused."""
        raise NotImplementedError

    def unsilence(self, silence_id: int, who: str, now_us: int) -> None:
        """Raises Refused."""
        raise NotImplementedError
