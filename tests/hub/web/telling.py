"""The notify process's own loop beside the web process of :class:`tests.hub.web.lab.Web`, with troubles that the test
names."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Any

from hub.alerts.book import Book
from hub.alerts.model import Condition
from hub.notify.part import Hall, Part
from hub.notify.parts import make_parts
from hub.notify.service import Service
from hub.settings import Settings


class Troubles(Part):
    """A source of conditions."""

    def __init__(self, hall: Hall) -> None:
        super().__init__(hall)
        self.now: dict[str, Condition] = {}

    def add(self, title: str, severity: Any = "critical", *, kept: str = "", do: str = "") -> None:
        key = f"rule:{title.lower().replace(' ', '-')}"
        self.now[key] = Condition(key, f"property:hut/{len(self.now)}/x", severity, title, time.time_ns() // 1000,
                                  kept=kept, do=do)

    def conditions(self, now_us: int) -> Iterable[Condition]:
        return list(self.now.values())


class Notifying:
    """``with Notifying(web.settings) as notify: notify.troubles.add("Water in the cellar")``"""

    def __init__(self, settings: Settings) -> None:
        self.stopping = threading.Event()
        self.service = Service(settings, self._parts)
        self._thread = threading.Thread(target=self.service.run, args=(self.stopping,), daemon=True)

    def _parts(self, hall: Hall, book: Book) -> list[Part]:
        self.troubles = Troubles(hall)
        return [*make_parts(hall, book), self.troubles]

    def __enter__(self) -> Notifying:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        self._thread.join(15)
