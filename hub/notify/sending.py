"""Messages on their way: each on a thread of its own, with a hard limit of time. A provider that hangs holds up its own
lane alone; its thread is left behind and counted.

The thread that got a provider's yes writes it down itself at once: the time between the two is what a kill can make a
second message of (B66).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from msgspec import Struct

from hub.notify.channels import Ack, Outcome, Way
from hub.notify.outbox import HELD_S, backoff_us
from hub.store import outbox_rows as rows
from hub.store.alerts_db import AlertsDb
from hub.store.errors import StoreError
from hub.store.outbox_rows import Message

log = logging.getLogger(__name__)

LEFT_BEHIND_MOST = 3
"""Hanging threads of one channel; then it is left alone until one of them ends."""


class Flight(Struct, eq=False):
    message: Message
    started_s: float
    """Monotonic."""
    thread: threading.Thread | None = None


class Sending:
    """``start`` never waits. All outcomes are written, if need be later, by ``settle``."""

    def __init__(self, db: AlertsDb, ways: Mapping[str, Way], now_us: Callable[[], int],
                 ack: Callable[[Message], Ack], clock_s: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._ways = ways
        self._now_us = now_us
        self._ack = ack
        self._clock_s = clock_s
        self._closed = False
        self._lock = threading.Lock()
        self._flights: dict[tuple[str, str], Flight] = {}
        self._left: dict[str, list[Flight]] = {}
        self._failing: set[tuple[str, str]] = set()
        """Lanes whose trouble is in the log already."""
        self._unwritten: list[tuple[Message, Outcome]] = []
        self._settling: list[tuple[Message, Outcome]] = []

    def busy(self, channel: str, recipient: str) -> bool:
        with self._lock:
            return (channel, recipient) in self._flights or any(
                (one.channel, one.recipient) == (channel, recipient) for one, _ in self._unwritten)

    def start(self, message: Message) -> None:
        """It is marked as being sent already."""
        way = self._ways[message.channel]
        flight = Flight(message, self._clock_s())
        with self._lock:
            hanging = [one for one in self._left.get(message.channel, ()) if one.thread and one.thread.is_alive()]
            self._left[message.channel] = hanging
            self._flights[message.channel, message.recipient] = flight
        if len(hanging) >= LEFT_BEHIND_MOST:
            self._land(flight, Outcome(False, f"{len(hanging)} messages before it hang"))
            return
        flight.thread = threading.Thread(target=self._fly, args=(flight, way), daemon=True,
                                         name=f"send-{message.channel}")
        flight.thread.start()

    def overdue(self) -> None:
        """Leave behind what takes too long."""
        now_s = self._clock_s()
        with self._lock:
            late = [one for one in self._flights.values()
                    if now_s - one.started_s > self._ways[one.message.channel].limit_s]
        for flight in late:
            message = flight.message
            with self._lock:
                self._left.setdefault(message.channel, []).append(flight)
            log.warning("channel %s did not answer within %.0f s: left behind", message.channel,
                        now_s - flight.started_s)
            error = f"no answer within {self._ways[message.channel].limit_s:.0f} s"
            self._land(flight, Outcome(False, error, unsure=True), abandoned=True)

    def settle(self) -> None:
        """In the transaction: outcomes that could not be written when they came. They stay in hand until it holds."""
        with self._lock:
            self._settling = list(self._unwritten)
        for message, outcome in self._settling:
            self._write(message, outcome)

    def settled(self) -> None:
        """The transaction of ``settle`` is committed."""
        if self._settling:
            with self._lock:
                self._unwritten = [one for one in self._unwritten if one not in self._settling]
            self._settling = []

    def close(self, wait_s: float = 2.0) -> None:
        """What is on its way may land; what does not is sent again after the next start."""
        end = time.monotonic() + wait_s
        with self._lock:
            threads = [one.thread for one in self._flights.values() if one.thread is not None]
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))
        self._closed = True

    def _fly(self, flight: Flight, way: Way) -> None:
        try:
            outcome = way.send(flight.message, self._ack(flight.message))
        except Exception as error:  # a thread that ends without a word would leave its message under way for ever
            log.exception("channel %s", flight.message.channel)
            outcome = Outcome(False, f"{type(error).__name__}", unsure=True)
        self._land(flight, outcome)

    def _land(self, flight: Flight, outcome: Outcome, *, abandoned: bool = False) -> None:
        message = flight.message
        lane = (message.channel, message.recipient)
        with self._lock:
            known = self._flights.get(lane) is flight
        if self._closed or (not known and not outcome.ok):
            return  # it was left behind, and nothing came of it
        try:
            with self._db.writing():
                self._write(message, outcome)
                if abandoned:
                    rows.count(self._db, *lane, "abandoned")
        except StoreError:
            with self._lock:
                self._unwritten.append((message, outcome))
        with self._lock:
            first = lane not in self._failing
            works = outcome.ok or outcome.later or outcome.declined
            self._failing.discard(lane) if works else self._failing.add(lane)
        if works and not first:
            log.info("channel %s delivers again", message.channel)
        elif not works and first:
            log.warning("channel %s: %s; trying on", message.channel, outcome.error)
        with self._lock:
            if self._flights.get(lane) is flight:
                del self._flights[lane]

    def _write(self, message: Message, outcome: Outcome) -> None:
        now = self._now_us()
        if outcome.ok:
            rows.end_sent(self._db, message, now)
        elif outcome.declined:
            rows.end_without(self._db, message, "dropped", outcome.error, now)
        elif outcome.later:
            rows.postpone(self._db, message, outcome.error, now + round(HELD_S * 1e6))
        else:
            rows.end_failed(self._db, message, outcome.error, now, now + backoff_us(message.tries), outcome.unsure)
