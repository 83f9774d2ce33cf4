"""A book on a real alerts.db with a clock that the test moves, and conditions by hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from hub.alerts.book import Book
from hub.alerts.graph import House
from hub.alerts.model import Condition, Event
from hub.settings import Hub, Settings
from hub.store.alerts_db import AlertsDb

S = 1_000_000
T0 = 1_780_000_000 * S


def condition(key: str, subject: str = "", severity: Any = "error", *, absent: bool = False, since_us: int = T0,
              title: str = "", code: str = "") -> Condition:
    return Condition(key, subject or f"device:{key}", severity, title or key, since_us, code, "all samples are kept",
                     "look", absent)


class Bench:
    """``tick`` is a second of the notify process: one transaction."""

    def __init__(self, folder: Path, house: House | None = None, *, started_s: int = -1000) -> None:
        self.settings = Settings(hub=Hub(data_dir=folder, run_dir=folder / "run"))
        self.now_us = T0 + started_s * S
        self.house = house or House()
        self.events: list[Event] = []
        self.wrong: dict[str, Condition] = {}
        self.blind: dict[str, Any] = {}
        self.start()

    def start(self) -> None:
        """A process: its memory is what it reads."""
        self.db = AlertsDb(self.settings.alerts_db)
        hall: Any = SimpleNamespace(db=self.db, settings=self.settings, now_us=lambda: self.now_us,
                                    desk=SimpleNamespace(handlers={}))
        self.book = Book(hall)
        self.book.house = self.house
        self.book.blind = self.blind
        self.book.begin()
        self.handlers = hall.desk.handlers

    def kill(self) -> None:
        """Nothing is said to the process: its file is all that is left."""
        self.db.close()
        self.start()

    def set(self, *conditions: Condition) -> None:
        for one in conditions:
            self.wrong[one.key] = one

    def clear(self, *keys: str) -> None:
        for key in keys:
            self.wrong.pop(key, None)

    def at(self, seconds: float) -> list[Event]:
        """Second by second until ``seconds`` after T0; gives what happened in between."""
        found: list[Event] = []
        until_us = T0 + round(seconds * S)
        while self.now_us < until_us:
            self.now_us = min(until_us, max(self.now_us + S, T0) if self.now_us < T0 else self.now_us + S)
            found += self.tick()
        return found

    def tick(self) -> list[Event]:
        with self.db.writing():
            events = self.book.update(dict(self.wrong), self.now_us)
        self.events += events
        return events


def said(events: Iterable[Event]) -> list[tuple[str, str]]:
    return [(event.what, event.alert.key) for event in events]
