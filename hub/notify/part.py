"""What every part of the notify process is given, and what it may do in each second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from hub.alerts.model import Condition, Event
from hub.live import Feed, LiveClient, LiveTree
from hub.notify.asks import Desk
from hub.settings import Settings
from hub.store.alerts_db import AlertsDb
from hub.store.reader import Reader

if TYPE_CHECKING:
    from hub.logbook.book import Logbook
    from hub.notify.commander import Commander


class Hall:
    """Shared by the parts; made once."""

    def __init__(self, settings: Settings, *, db: AlertsDb, tree: LiveTree, feed: Feed, client: LiveClient,
                 reader: Reader, desk: Desk, commander: Commander,
                 now_us: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        self.settings = settings
        self.db = db
        self.tree = tree
        """All devices as they are now."""
        self.feed = feed
        self.client = client
        self.reader = reader
        """The samples, read-only."""
        self.desk = desk
        """Questions of pages and commands: ``desk.handlers["alert.acknowledge"] = ...``."""
        self.commander = commander
        self.logbook: Logbook
        self.now_us = now_us


class Part:
    """One of the things that the notify process does. Each hook is called about once a second on the one thread that
    writes alerts.db; none may wait for the network. What raises is logged, shown as a condition, and tried again."""

    def __init__(self, hall: Hall) -> None:
        self.hall = hall

    def begin(self) -> None:
        """Once, before the first second: read what was kept, add handlers to the desk, start own threads."""

    def step(self, now_us: int) -> None:
        """In the transaction: take in what has happened."""

    def conditions(self, now_us: int) -> Iterable[Condition]:
        """In the transaction: all that is wrong at this moment, as this part sees it."""
        return ()

    def take(self, events: list[Event], now_us: int) -> None:
        """In the transaction: what has happened to alerts. What is written here is committed with it."""

    def after(self, now_us: int) -> None:
        """The transaction is committed: now something may leave this process (by a thread or a queue)."""

    def jumped(self, by_us: int, now_us: int) -> None:
        """In the transaction, before ``step``: the hub's clock was set by so much (B27), and is ``now_us``. What is
        kept with a time is to go on as if nothing had happened."""

    def store_failed(self, error: str) -> None:
        """alerts.db cannot be written (full, damaged): say so by a way that does not need it (B18)."""

    def close(self) -> None:
        """The end: threads end within a second or two."""
