"""Uplink's end of the local bus: hellos, group commit, acknowledgements, health; commands down to the plugins."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec
import zmq
from msgspec import Struct

from agent import bus
from agent.wire.messages import PluginDeclaration

log = logging.getLogger(__name__)

MIN_SILENCE_S = 90.0
SILENT_INTERVALS = 3.0
MAX_GROUP = 2000
"""Batches read at one wake-up, so that a flood does not hold up link and commits."""
LOCAL = ("sys", "supervision", "watchdog", "rules")


class Store(Protocol):
    """What is needed of the spool here."""

    def welcome(self, instance: str, run: str) -> tuple[int, bytes | None]: ...

    def commit(self, batches: Iterable[bus.Batch]) -> dict[tuple[str, str], int]: ...


class Sink(Protocol):
    """Who hears what is not a batch: the state plane."""

    def on_hello(self, declaration: PluginDeclaration, run: str = "") -> None: ...

    def on_now(self, now: bus.Now) -> None: ...

    def on_health(self, health: bus.Health) -> None: ...

    def on_alert(self, alert: bus.Alert) -> None: ...

    def on_log(self, line: bus.LogLine) -> None: ...


class Known(Struct):
    """A plugin that said Hello."""

    run: str
    declaration: PluginDeclaration
    heard_s: float
    health: bus.Health | None = None
    silent: bool = False
    last: int = 0
    """Highest batch of the run that is committed or in the group."""
    fresh: bool = True
    """Nothing came since Welcome."""


class Plugins:
    """Call :meth:`receive` when the lane is readable and :meth:`commit` at :attr:`due_s`."""

    def __init__(self, lane: zmq.Socket[bytes], fan: zmq.Socket[bytes], store: Store, sink: Sink, *,
                 commit_s: float, commit_rows: int, on_answer: Callable[[bus.Answer], object],
                 on_now: Callable[[bus.Now], object] = lambda now: None,
                 on_mqtt: Callable[[bus.Listen | bus.Publish], object] = lambda message: None,
                 on_rules: Callable[[bus.RulesState | bus.Order, Callable[[bus.Done], object]], object]
                 = lambda message, answer: None,
                 on_rule_alert: Callable[[bus.Alert], object] = lambda alert: None) -> None:
        self.lane = lane
        self.fan = fan
        self.store = store
        self.sink = sink
        self.commit_s = commit_s
        self.commit_rows = commit_rows
        self.on_answer = on_answer
        self.on_now = on_now
        self.on_mqtt = on_mqtt
        self.on_rules = on_rules
        self.on_rule_alert = on_rule_alert
        self.known: dict[str, Known] = {}
        self._gone: dict[str, str] = {}
        """Instance -> run of the process that agent.toml no longer names."""
        self.due_s: float | None = None
        """When the group that waits is to be committed (monotonic)."""
        self._group: dict[tuple[str, str, int], bus.Batch] = {}
        self._samples = 0

    # --- from the lane ------------------------------------------------------------------------------------

    def receive(self, now_s: float) -> None:
        for _ in range(MAX_GROUP):
            try:
                frames = self.lane.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            peer, payload = frames[0], frames[-1]
            try:
                message = bus.decode_to_uplink(payload)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                log.warning("a message of %r cannot be read: %s", peer[:64], error)
                continue
            self._take(peer.decode(errors="replace"), message, now_s)
            if self._samples >= self.commit_rows:
                self.due_s = now_s
                return  # commit first, the rest stays in the socket

    def _take(self, peer: str, message: bus.ToUplink, now_s: float) -> None:
        known = self.known.get(message.instance)
        if known is not None:
            known.heard_s = now_s
        elif message.instance in self._gone:
            # The bus may deliver a last word after the end: it must not bring a removed plugin back for good.
            if not isinstance(message, bus.Hello) or message.run == self._gone[message.instance]:
                return
            del self._gone[message.instance]  # agent.toml names it again
        match message:
            case bus.Hello():
                self._hello(peer, message, now_s)
            case bus.Batch():
                if known is None or known.run != message.run:
                    self._down(peer, bus.Again())
                    return
                if not self._follows(known, message):
                    # One before it was lost on the way (we were started anew in between). To commit this one first
                    # would make the lost one look like a repeat.
                    self._down(peer, bus.Again())
                    return
                key = message.instance, message.run, message.n
                if key not in self._group:
                    self._group[key] = message
                    self._samples += sum(len(columns.t) for part in message.parts for columns in part.series.values())
                if self.due_s is None:
                    self.due_s = now_s + self.commit_s
            case bus.Now():
                self._now(message)
            case bus.Health():
                if known is not None:
                    known.health, known.silent = message, False
                self.sink.on_health(message)
            case bus.Alert():
                (self.on_rule_alert if message.instance == "rules" else self.sink.on_alert)(message)
            case bus.LogLine():
                self.sink.on_log(message)
            case bus.Answer():
                self.on_answer(message)
            case bus.Listen() | bus.Publish():
                if known is not None:
                    self.on_mqtt(message)
            case bus.RulesState() | bus.Order():
                if peer == message.instance and (known is not None or peer == "rules"):
                    self.on_rules(message, lambda done: self._down(peer, done))
        if known is None and not isinstance(message, bus.Hello | bus.Batch) and peer not in LOCAL:
            self._down(peer, bus.Again())  # we are new here, or it is: who are you?

    @staticmethod
    def _follows(known: Known, batch: bus.Batch) -> bool:
        """Whether nothing between the last batch and this one can still come."""
        given_up = batch.oldest >= batch.n if batch.oldest else known.fresh
        if batch.n > known.last + 1 and not given_up:
            return False
        known.fresh = False
        known.last = max(known.last, batch.n)
        return True

    def add_own(self, batch: bus.Batch, now_s: float) -> None:
        """Samples of ``uplink`` itself, numbered by it; committed with the next group."""
        self._group[batch.instance, batch.run, batch.n] = batch
        self._samples += sum(len(columns.t) for part in batch.parts for columns in part.series.values())
        if self.due_s is None:
            self.due_s = now_s + self.commit_s

    def _hello(self, peer: str, hello: bus.Hello, now_s: float) -> None:
        committed, kept = self.store.welcome(hello.instance, hello.run)
        old = self.known.get(hello.instance)
        if old is not None and old.run != hello.run:
            self.on_mqtt(bus.Listen(hello.instance, ()))  # a new process says anew what it wants to hear
        health = old.health if old is not None and old.run == hello.run else None
        grouped = [n for instance, run, n in self._group if (instance, run) == (hello.instance, hello.run)]
        self.known[hello.instance] = Known(hello.run, hello.declaration, now_s, health, last=max([committed, *grouped]))
        self._down(peer, bus.Welcome(hello.run, committed, kept))
        self.sink.on_hello(hello.declaration, hello.run)

    def _now(self, now: bus.Now) -> None:
        self.sink.on_now(now)
        self.on_now(now)
        by_node: dict[str, list[tuple[str, str, Any, int, str | None]]] = {}
        for value in now.values:
            by_node.setdefault(value[0], []).append(value)
        for node, values in by_node.items():
            self.fan_out(f"now/{node}", bus.Now(now.instance, values))

    def fan_out(self, topic: str, message: bus.FanOut) -> None:
        try:
            self.fan.send_multipart([topic.encode(), bus.encode(message)], zmq.NOBLOCK)
        except zmq.Again:
            pass  # a reader that is too slow loses the oldest; PUB never waits

    # --- down the lane ------------------------------------------------------------------------------------

    def _down(self, peer: str, message: bus.ToPlugin) -> bool:
        try:
            self.lane.send_multipart([peer.encode(), bus.encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError:  # it is gone, or its queue is full: what matters is repeated
            return False
        return True

    def send_command(self, instance: str, command: bus.Command) -> bool:
        """False when the plugin is not there."""
        return instance in self.known and self._down(instance, command)

    def send_mqtt(self, instance: str, message: bus.Mqtt) -> bool:
        """False when the plugin is not there or too slow."""
        return instance in self.known and self._down(instance, message)

    def commit(self) -> int:
        """Commit the group and acknowledge it; returns its samples. Raises what the store raises, keeping the group."""
        if not self._group:
            self.due_s = None
            return 0
        committed = self.store.commit(self._group.values())
        samples = self._samples
        self._group.clear()
        self._samples = 0
        self.due_s = None
        for (instance, run), n in committed.items():
            self._down(instance, bus.Ack(run, n))
        return samples

    # --- time ---------------------------------------------------------------------------------------------

    def watch(self, now_s: float) -> None:
        """A plugin whose heartbeat is missing is shown as failed; its supervisor deals with it."""
        for instance, known in self.known.items():
            limit = max(MIN_SILENCE_S, SILENT_INTERVALS * known.declaration.interval_s)
            if not known.silent and now_s - known.heard_s > limit:
                known.silent = True
                last = known.health
                known.health = bus.Health(instance, "failed", f"nothing heard for {limit:.0f} s",
                                          last.errors if last else 0, last.progress_us if last else 0)
                self.sink.on_health(known.health)

    def keep_only(self, instances: Iterable[str]) -> list[str]:
        """agent.toml was read again: forget the others; returns which are gone."""
        gone = [name for name in self.known if name not in set(instances)]
        for name in gone:
            self._gone[name] = self.known.pop(name).run
        return gone


