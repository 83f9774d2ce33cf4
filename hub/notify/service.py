"""The notify process: a second at a time, what is wrong becomes alerts, and alerts become messages.

Everything of one second is one transaction of alerts.db, so a kill at any moment leaves a state from which the next
process goes on. The parts (rules, watch, logbook, channels) are put together in :mod:`hub.notify.parts`.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import zmq

from agent.bus import BusTaken
from hub.alerts.book import Book
from hub.alerts.model import Condition
from hub.live import Feed, LiveClient, LiveTree
from hub.logbook import handler
from hub.logbook.book import Logbook
from hub.notify.asks import Desk
from hub.notify.clock import Clock, steady_us
from hub.notify.commander import Commander
from hub.notify.part import Hall, Part
from hub.settings import Settings
from hub.store.alerts_db import AlertsDb
from hub.store.errors import StoreError
from hub.store.reader import Reader
from hub.watch import homie

log = logging.getLogger(__name__)

STEP_S = 1.0


class Service:
    """``run`` until ``stopping`` is set. Raises StoreError, BusTaken."""

    def __init__(self, settings: Settings, make_parts: Callable[[Hall, Book], list[Part]],
                 now_us: Callable[[], int] | None = None, steady: Callable[[], int] | None = None) -> None:
        from msgspec.structs import replace

        from hub.web.server import connection

        self.db = AlertsDb(settings.alerts_db)
        try:
            self.desk = Desk(settings.hub.run_dir)
        except BaseException:
            self.db.close()
            raise
        feed = Feed()
        tree = LiveTree(feed)
        client = LiveClient(replace(connection(settings), client_id="hub-notify"), tree, feed,
                            will=homie.will())
        reader = Reader(settings.samples_db)
        self.hall = Hall(settings, db=self.db, tree=tree, feed=feed, client=client, reader=reader, desk=self.desk,
                         commander=Commander(client, tree, reader),
                         now_us=now_us or (lambda: time.time_ns() // 1000))
        self.hall.logbook = Logbook(self.hall)
        self.book = Book(self.hall)
        # a clock that somebody moves by hand moves for good, unless they say what time has really gone by
        self.clock = Clock(self.db, steady or now_us or steady_us)
        self.parts = [self.hall.logbook, *make_parts(self.hall, self.book)]
        self.faults: dict[str, tuple[str, int]] = {}
        """What a part raised, and since when (us)."""

    def run(self, stopping: threading.Event) -> None:
        for part in (self.book, *self.parts):
            part.begin()
        self.hall.client.start()
        self.hall.commander.start()
        due = time.monotonic()
        try:
            while not stopping.is_set() and self.hall.client.fault is None:
                wait_s = due - time.monotonic()
                if wait_s > 0:
                    if self.desk.socket.poll(int(wait_s * 1000) + 1, zmq.POLLIN):
                        self.desk.serve()
                    continue
                due = max(due + STEP_S, time.monotonic() + STEP_S / 4)
                self.step()
        finally:
            for part in reversed((self.book, *self.parts)):
                self._guarded(part, "close", part.close)
            self.hall.commander.close()
            self.hall.client.stop()
            self.hall.reader.close()
            self.desk.close()
            self.db.close()

    def step(self) -> None:
        """One second."""
        now_us = self.hall.now_us()
        try:
            with self.db.writing():
                by_us = self.clock.jump_us(now_us)
                if by_us:
                    log.warning("the hub's clock was set by %+.0f s: what waits keeps its time", by_us / 1e6)
                    for part in (self.book, *self.parts):
                        self._guarded(part, "jumped", part.jumped, by_us, now_us)
                for part in self.parts:
                    self._guarded(part, "step", part.step, now_us)
                found: dict[str, Condition] = {}
                for part in self.parts:
                    for one in self._guarded(part, "conditions", lambda part=part: list(part.conditions(now_us))) or ():
                        found[one.key] = one
                for key, (text, since_us) in self.faults.items():
                    found[f"hub:{key}"] = Condition(f"hub:{key}", "hub", "error", text, since_us,
                                                    do="look at the log of notify on the hub")
                events = self.book.update(found, now_us)
                for part in self.parts:
                    part.take(events, now_us)  # not guarded: an alert and its messages are committed together or not
        except StoreError as error:
            self._store_failed(str(error))
            return
        self.clock.keep()
        for part in self.parts:
            self._guarded(part, "after", part.after, now_us)

    def _store_failed(self, error: str) -> None:
        """Nothing of this second is kept, the next one tries again; whoever can speak without the database does."""
        log.error("%s", error)
        for part in self.parts:
            part.store_failed(error)

    def _guarded(self, part: Part, what: str, action: Callable[..., Any], *args: Any) -> Any:
        key = f"{type(part).__name__.lower()}:{what}"
        try:
            done = action(*args)
        except StoreError:
            raise
        except Exception as error:
            if key not in self.faults:
                log.exception("%s of %s failed", what, type(part).__name__)
            text = f"notify: {what} of {type(part).__name__}: {type(error).__name__}: {error}"[:300]
            self.faults[key] = (text, self.faults.get(key, ("", self.hall.now_us()))[1])
            return None
        self.faults.pop(key, None)
        return done


def main(settings: Settings) -> None:
    """Run in the foreground until SIGTERM; ends with one line and 1 when it cannot go on, to be started anew."""
    from hub.notify.parts import make_parts

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.install(settings.hub.run_dir, "notify")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        service = Service(settings, make_parts)
        service.run(stopping)
    except (StoreError, BusTaken, ValueError) as error:
        sys.exit(f"notify: {error}")
    if service.hall.client.fault is not None:
        sys.exit(f"notify: {service.hall.client.fault}")
