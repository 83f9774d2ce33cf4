"""The book of alerts: conditions of this second against those of the last, kept in alerts.db."""

from __future__ import annotations

from collections.abc import Mapping

from hub.alerts.model import Condition, Event
from hub.notify.part import Part


class Book(Part):
    def update(self, conditions: Mapping[str, Condition], now_us: int) -> list[Event]:
        """In the transaction: what has happened since the last call."""
        return []
