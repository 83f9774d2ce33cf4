"""The loop of ingest: gather a group of messages, commit it, send the receipts, tell the pages; upkeep in between.

Everything that touches the store happens on this one thread. A guard ends the process when the loop or the network
thread makes no progress (B64): the supervisor starts it anew, and the devices send again what has no receipt.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from pathlib import Path

import msgspec
import zmq

from agent import bus
from agent.wire import faults, messages, topics
from agent.wire.messages import LedgerCounts, Reported
from hub.broker import events
from hub.ingest import decode, status
from hub.ingest.link import Link, Message, look
from hub.ingest.status import Status
from hub.ingest.twins import Twins
from hub.settings import Settings
from hub.store import connect, future
from hub.store.batch import Committed, Counts, Declared, Item, Noticed, Samples
from hub.store.errors import StoreFull
from hub.store.upkeep import Days, Upkeep, days_of
from hub.store.writer import Writer, now_us
from hub.watch.pulse import Pulse

log = logging.getLogger(__name__)

LINGER_S = 0.02
"""When a device has half its window waiting for receipts, a quiet moment of this length is enough to commit."""
HURRY = 8
MAX_ITEMS = 1000
LAG_S = 5.0
STUCK_S = 30.0
FULL_RETRY_S = 2.0
BROKER_NEWS_S = 2.0
SIGN_OF_LIFE_S = 10.0
MAX_SMALL_BYTES = 1 << 20
"""``reported`` and ``sys/ledger``: larger than this is nothing of ours."""


class Stuck(RuntimeError):
    """No progress: the process must end with an error."""


class Ingest:
    """One run of ingest. :meth:`run` returns when ``stopping`` is set, and raises when it must be started anew."""

    def __init__(self, settings: Settings, stopping: threading.Event) -> None:
        self.settings = settings
        self.stopping = stopping
        self.status = Status(pid=os.getpid())
        self.twins = Twins()
        self._tick_s = time.monotonic()
        self._written_s = 0.0
        self._told: tuple[object, ...] = ()
        self._notes: list[Item] = []
        self._news: list[Path] = []
        self._news_s = float("-inf")
        self._lagging = False
        self._full_since: float | None = None
        self._pulse = Pulse(settings.hub.run_dir, "ingest")

    def wake(self) -> None:
        """Make the loop look at ``stopping`` now; may be called from a signal handler."""
        if hasattr(self, "link"):
            self.link.inbox.put(None)

    def run(self) -> None:
        """Raises StoreError, SettingsError, Stuck."""
        keep = self.settings.store
        run_dir = self.settings.hub.run_dir
        run_dir.mkdir(parents=True, exist_ok=True)
        with Writer(self.settings.samples_db, max_series=keep.max_series_per_device,
                    future_s=keep.future_s) as writer:
            self.writer = writer
            self.upkeep = Upkeep(writer, self._days)
            stored, waiting = future.replay(writer, decode.records_of)
            if stored or waiting:
                log.info("batches of a newer version: %d are stored now, %d wait for the next upgrade", stored, waiting)
            if connect.has_wal_reset_bug():
                import sqlite3

                log.info(faults.line("W_SQLITE_VERSION", version=sqlite3.sqlite_version))
            self._tell(force=True)
            seen = look(self.settings, self.stopping)
            if self.stopping.is_set():
                return
            self.status.term = writer.new_term(seen.term if seen is not None else 0)
            self.status.generation = writer.generation
            self.link = Link(self.settings, self.status.term, self.status.generation)
            self.status.state = "ready"
            context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
            self.pages = context.socket(zmq.PUB)
            bus.bounded(self.pages)
            self.pages.bind(bus.endpoint(run_dir, "committed"))
            self._tick_s = time.monotonic()
            threading.Thread(target=self._guard, name="ingest-guard", daemon=True).start()
            self.link.start()
            try:
                self._loop()
            finally:
                self.link.stop(say=self.link.rival is None)
                self.pages.close()
                context.term()
                self.status.state = "stopped"
                self._tell(force=True)

    def _days(self, name: str) -> Days:
        keep = self.settings.retention
        return days_of(name, Days(keep.raw_days, keep.minute_days, keep.hour_days, keep.day_days), keep.series)

    # --- the loop -------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self.stopping.is_set():
            self._tick_s = time.monotonic()
            if self.link.problem is not None:
                raise Stuck(self.link.problem)
            if self.link.rival is not None:
                self._second()
                return
            items, waited_since_s = self._gather()
            self._broker_news()
            self._pulse.beat()
            if self._full_since is not None:
                self._full()
            elif items or self._notes:
                self._commit(items, waited_since_s)
            elif self.upkeep.step(now_us()):
                self.upkeep.after_commit(now_us())
            self._tell()

    def _gather(self) -> tuple[list[Item], float]:
        """One transaction's worth of messages, and when the oldest of them came.

        Ends with enough samples, after enough time, or in a quiet moment when a device waits for its receipts."""
        keep = self.settings.store
        items: list[Item] = []
        try:
            message = self.link.inbox.get(timeout=1.0)
        except queue.Empty:
            message = None
        if message is None:
            return items, time.monotonic()  # look at link.problem, link.rival, stopping
        came_s = message.received_s
        ends = time.monotonic() + keep.commit_s
        of_topic: dict[str, int] = {}
        samples, hurry, woken = 0, False, False
        while True:
            quiet = message is None
            while message is not None:
                count = of_topic[message.topic] = of_topic.get(message.topic, 0) + 1
                hurry = hurry or count >= HURRY
                self.link.taken_bytes += len(message.payload)
                if self._full_since is None:  # else let go without a receipt
                    for item in self._items(message):
                        items.append(item)
                        samples += item.header.n if isinstance(item, Samples) else 0
                if samples >= keep.commit_samples or len(items) >= MAX_ITEMS:
                    return items, came_s
                message, woken = self._next()
            left = ends - time.monotonic()
            if left <= 0 or woken or (hurry and quiet):
                return items, came_s
            # Sleep, not wait: so the network thread reads a whole burst before the two of us share the interpreter.
            time.sleep(min(left, LINGER_S if hurry else keep.commit_s / 10))
            message, woken = self._next()

    def _next(self) -> tuple[Message | None, bool]:
        """The next message that is there already, and whether it was a call to look around instead."""
        try:
            message = self.link.inbox.get_nowait()
        except queue.Empty:
            return None, False
        return message, message is None

    def _commit(self, items: list[Item], waited_since_s: float) -> None:
        items += self._notes
        self._notes = []
        try:
            done = self.writer.commit(items)
        except StoreFull as error:
            self._news = []  # they stay where they are and are read again
            self._full_begins(error)
            return
        for path in self._news:
            path.unlink(missing_ok=True)
        self._news = []
        for device, receipt in done.receipts:
            self.link.receipt(device, receipt)
        self._announce(done)
        now = now_us()
        self.status.commits += 1
        self.status.samples += done.samples
        self.status.lag_s = time.monotonic() - waited_since_s
        self._watch_lag(now)
        try:
            self.upkeep.after_commit(now)
            self.upkeep.step(now)
        except StoreFull as error:
            self._full_begins(error)

    def _broker_news(self) -> None:
        """What the broker's keeper left for the event log, it has no way of its own to it (E_BROKER_STATE_RESET)."""
        if self._news or time.monotonic() - self._news_s < BROKER_NEWS_S:
            return
        self._news_s = time.monotonic()
        for path, event in events.take(self.settings.hub.run_dir):
            fault = faults.FAULTS.get(event.code)
            log.warning(event.line)
            self._notes.append(Noticed("hub", event.t_us, event.code, fault.severity if fault else "error", event.line))
            self._news.append(path)

    def _items(self, message: Message) -> list[Item]:
        """What a message is for the store. Raises nothing: it came from outside."""
        parts = message.topic.split("/")
        device = parts[2] if len(parts) > 3 else ""
        if not topics.is_id(device) or device == topics.HUB:
            return [decode.unreadable("hub", message.received_us, f"a topic that is not ours: {message.topic[:200]!a}")]
        kind = "/".join(parts[3:])
        received_us = max(message.received_us, 0)
        if kind == "records":
            item = decode.records_of(device, message.payload, received_us)
            if isinstance(item, Noticed):
                self.status.unreadable += 1
                return [item]
            self.status.batches += 1
            if isinstance(item, Samples):
                addresses = self.twins.saw(device, item.header.epoch, message.received_s)
                if addresses is not None:
                    return [item, Noticed(device, received_us, "E_DUP_CLIENT_ID", "error", faults.line(
                        "E_DUP_CLIENT_ID", device=device, addresses=addresses))]
            return [item]
        if len(message.payload) > MAX_SMALL_BYTES or not message.payload:
            return []  # an empty retained message only says that the topic was cleared
        if kind == "sys/address":
            self.twins.address(device, message.payload[:100].decode(errors="replace"))
            return []
        try:
            if kind == "sys/ledger":
                return [Counts(device, received_us, messages.decode(message.payload, LedgerCounts))]
            return [Declared(device, received_us, messages.decode(message.payload, Reported))]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return [decode.unreadable(device, received_us, f"{kind}: {error}")]

    def _announce(self, done: Committed) -> None:
        for device, series in done.changes.items():
            told = {"device": device, "series": {id_: [change.t_us, change.value, change.n]
                                                 for id_, change in series.items()}}
            try:
                self.pages.send(msgspec.msgpack.encode(told), zmq.NOBLOCK)
            except zmq.Again:
                pass  # a page that does not read misses a hint, the store has it all

    # --- when something is wrong ------------------------------------------------------------------------------

    def _watch_lag(self, now: int) -> None:
        behind = self.status.lag_s > LAG_S or self.link.overflowed > self.status.overflowed
        self.status.overflowed = self.link.overflowed
        if behind and not self._lagging:
            line = faults.line("W_INGEST_LAG", since_us=now, lag_s=self.status.lag_s)
            self.status.faults["W_INGEST_LAG"] = line
            log.warning(line)
            self._notes.append(Noticed("hub", now, "W_INGEST_LAG", "warning", line))
        elif not behind and self._lagging and self.status.lag_s < LAG_S / 2:
            self.status.faults.pop("W_INGEST_LAG", None)
        self._lagging = "W_INGEST_LAG" in self.status.faults

    def _full_begins(self, error: StoreFull) -> None:
        """No receipt, so the devices keep everything; the state topic makes them stop sending (B18)."""
        now = now_us()
        line = faults.line("E_DB_FULL", since_us=now, path=self.settings.samples_db)
        log.error("%s (%s)", line, error)
        self.status.state = "full"
        self.status.faults["E_DB_FULL"] = line
        self._full_since = time.monotonic()
        self._full_us = now
        self.link.say("full")
        self._tell(force=True)

    def _full(self) -> None:
        """Try again now and then; what comes meanwhile is let go without a receipt."""
        if self._full_since is None or time.monotonic() - self._full_since < FULL_RETRY_S:
            return
        try:
            # As much as a large group needs, so that it does not go to and fro at the edge.
            self.writer.probe(1 << 20)
        except StoreFull:
            self._full_since = time.monotonic()
            return
        log.info("%s has space again: going on", self.settings.samples_db)
        self._notes.append(Noticed("hub", now_us(), "E_DB_FULL", "critical", faults.line(
            "E_DB_FULL", since_us=self._full_us, path=self.settings.samples_db)))
        self._full_since = None
        self.status.state = "ready"
        self.status.faults.pop("E_DB_FULL", None)
        self.link.say("ready")
        self._tell(force=True)

    def _second(self) -> None:
        """Another hub speaks with a higher term: say nothing more until somebody stops one of the two (B13)."""
        rival = self.link.rival
        who = f"term {rival.term} of {rival.generation} against our {self.status.term}" if rival else "?"
        line = faults.line("E_SECOND_HUB", since_us=now_us(), who=who)
        log.error(line)
        self.status.state = "second"
        self.status.faults["E_SECOND_HUB"] = line
        self.link.stop(say=False)
        self.writer.commit([Noticed("hub", now_us(), "E_SECOND_HUB", "critical", line)])
        while not self.stopping.wait(1.0):
            self._tick_s = time.monotonic()
            self._pulse.beat()
            self._tell()

    def _guard(self) -> None:
        """Ends the process when the loop stands still (B64): a hang in C cannot be ended otherwise."""
        while not self.stopping.wait(1.0):
            still = time.monotonic() - self._tick_s
            if still > STUCK_S:
                print(f"ingest: no progress for {still:.0f} s, ending to be started anew", file=sys.stderr, flush=True)
                os._exit(3)

    def _tell(self, force: bool = False) -> None:
        """At once when something changed (at most five times a second), else as a sign of life."""
        now = time.monotonic()
        told = self.status
        if hasattr(self, "link"):
            told.connected = self.link.connected
            told.waiting = self.link.waiting()[0]
        news = (told.state, told.connected, told.batches, told.unreadable, told.overflowed, *told.faults)
        if not force and now - self._written_s < (SIGN_OF_LIFE_S if news == self._told else 0.2):
            return
        self._written_s, self._told = now, news
        try:
            status.write(self.settings.hub.run_dir, told)
        except OSError as error:
            log.warning("%s: %s", self.settings.hub.run_dir / status.FILE, error)
