"""One instance's end of the local bus: Hello, values at once, batches until acknowledged, health, commands."""

from __future__ import annotations

import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq

from agent import bus
from agent.api import Message, Node, Plugin, Reading
from agent.runner.intake import COUNTER_EVENT, Accepted, Intake, check
from agent.runner.kept import Kept
from agent.runner.logs import CappedLog
from agent.runner.outbox import Outbox
from agent.runner.worker import Raised, Redeclared, State, Worker, Yield, boottime_us
from agent.supervision.heartbeat import Progress
from agent.wire.messages import PluginDeclaration

HELLO_S = 1.0
HELLO_FIRST_S = 0.02
"""The first ones come quickly: a connection takes milliseconds."""
START_WAIT_S = 10.0
"""How long a plugin waits for its kept state before it starts without ``uplink``."""
NOW_S = 0.05
HEALTH_S = 30.0
TICK_S = 10.0
BLOCKED_S = 0.5
HELD = 50_000
REMEMBERED = 256
"""Ids of commands that are never carried out again."""


class Endpoint:
    """Everything of one instance that runs on the process's main thread."""

    def __init__(self, use: str, plugin: Plugin, worker: Worker, log: CappedLog, progress: Progress,
                 context: zmq.Context[Any], run_dir: Path, boot: str, *, simulated: bool, hang_after_s: float,
                 clock_offset_us: Callable[[], int | None]) -> None:
        self.instance = worker.instance
        self.worker = worker
        self.log = log
        self.run = os.urandom(8).hex()
        self._use = use
        self._title = plugin.title or plugin.name
        self._simulated = simulated
        self._climate = type(plugin).climate
        self._hang_after_s = hang_after_s
        self._progress = progress
        self._intake = Intake(self.instance, self._title, plugin.declare(), log.error)
        self._outbox = Outbox(self.instance, self.run, boot)
        self._kept = Kept(self._intake, worker, log, boot, clock_offset_us)
        self._clock_offset_us = clock_offset_us
        self.lane = bus.connect(context, run_dir, self.instance)
        self.lane.setsockopt(zmq.LINGER, 500)
        now = time.monotonic()
        self._began_s = now
        self._welcomed = False
        self._hello_at_s = now
        self._hello_wait_s = HELLO_FIRST_S
        self._health_at_s = now
        self._tick_at_s = now
        self._now_at_s = now
        self._draining_at_s: float | None = now
        """When the worker's queue is to be emptied; None: the worker wakes us with its next item."""
        self._blocked_until_s = 0.0
        """After a send that found no room or nobody."""
        self._held: deque[Yield] = deque(maxlen=HELD)
        """Yields before the kept state is known: counters must first know where they stood."""
        self._taken = 0
        """Yields of the worker that were taken in."""
        self._marks: deque[tuple[int, int]] = deque()
        """Batch number, and how many yields were taken in when it was cut."""
        self._state = State("ok", "")
        self._alerts: dict[str, str] = {}
        self._filters: tuple[str, ...] = ()
        """MQTT topics of others that the plugin listens to; told to every new uplink."""
        self._newest: dict[tuple[str, str], tuple[str, str, Any, int, str | None]] = {}
        self._momentary: list[tuple[str, str, Any, int, str | None]] = []
        self._commands: dict[str, bus.Command] = {}
        self._answered: OrderedDict[str, bus.Answer | None] = OrderedDict()
        self._last_reading_us = boottime_us()
        self._hung = False

    # --- the main loop's handles ------------------------------------------------------------------------------

    def woken(self) -> None:
        """The worker put something into its queue."""
        if self._draining_at_s is None:
            self._draining_at_s = self._now_at_s

    @property
    def wants_wake(self) -> bool:
        return self._draining_at_s is None

    def due_s(self) -> float:
        """When :meth:`step` has something to do (monotonic seconds)."""
        times = [self._health_at_s, self._tick_at_s]
        if self._draining_at_s is not None:
            times.append(self._draining_at_s)
        if not self._welcomed:
            times.append(self._hello_at_s)
        else:
            sends = [self._outbox.cut_due_s(), self._outbox.send_due_s()]
            if self._newest or self._momentary:
                sends.append(self._now_at_s)
            times += [max(at, self._blocked_until_s) for at in sends if at is not None]
        return min(times)

    def step(self) -> None:
        """Receive, drain, send what is due."""
        now = time.monotonic()
        self._receive()
        if self._draining_at_s is not None and now >= self._draining_at_s:
            self._draining_at_s = None  # before the queue is read: an item that comes now wakes us again
            self._drain(now)
        if not self._welcomed:
            if now >= self._hello_at_s:
                self._hello_wait_s = min(HELLO_S, self._hello_wait_s * 2)
                self._hello_at_s = now + self._hello_wait_s
                self._hello()
            if not self.worker.is_alive() and self.worker.ident is None and now - self._began_s >= START_WAIT_S:
                self.log.warning("uplink does not answer: started without it, readings wait in memory")
                self.worker.start()
        elif self._intake.grown:
            self._hello()
        due = self._outbox.cut_due_s()
        if due is not None and now >= due:
            self._cut(now)
        self._settle()
        if self._welcomed:
            self._send(now)
        if now >= self._tick_at_s:
            self._tick_at_s = now + TICK_S
            self._look(now)
        if now >= self._health_at_s:
            self._health(now)

    def flush(self) -> None:
        """The worker has ended: hand over everything."""
        now = time.monotonic()
        self._drain(now)
        if self._intake.grown:
            self._hello()
        self._cut(now)
        self._send(now)

    @property
    def empty(self) -> bool:
        return self._outbox.empty

    @property
    def welcomed(self) -> bool:
        return self._welcomed

    def close(self, state: str, reason: str) -> None:
        """The last word, and the end of the line."""
        self._state, self._hung = State(state, reason), False
        self._health(time.monotonic())
        self.lane.close()

    def receive_and_send(self) -> None:
        self._receive()
        if self._welcomed:
            self._send(time.monotonic())

    # --- up ---------------------------------------------------------------------------------------------------

    def _post(self, message: bus.ToUplink) -> bool:
        """False when there is nobody, or no room: whatever matters is repeated."""
        try:
            self.lane.send(bus.encode(message), zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def _hello(self) -> None:
        declaration = PluginDeclaration(self.instance, self._use, self._title, self.worker.interval_s,
                                        self._intake.nodes(), self._simulated, self._climate)
        if not self._post(bus.Hello(self.instance, self.run, os.getpid(), declaration)):
            self._intake.grown = True

    def _send(self, now: float) -> None:
        if now < self._blocked_until_s:
            return
        for batch in self._outbox.to_send(now):
            if not self._post(batch):
                self._blocked_until_s = now + BLOCKED_S
                return
            self._outbox.sent(batch.n, now)
        if (self._newest or self._momentary) and now >= self._now_at_s:
            values = [*self._momentary, *self._newest.values()]
            if self._post(bus.Now(self.instance, values)):
                self._newest.clear()
                self._momentary.clear()
            else:
                del self._momentary[:-1000]
                self._blocked_until_s = now + BLOCKED_S
            self._now_at_s = now + NOW_S

    def _health(self, now: float) -> None:
        self._health_at_s = now + HEALTH_S
        state, reason = self._state
        if self._hung:
            state, reason = "failed", f"no sign of life for {now - self.worker.alive_at_s:.0f} s"
        errors = self.worker.errors + self._intake.errors
        self._post(bus.Health(self.instance, state, reason, errors, self._last_reading_us, self._outbox.dropped))

    def _look(self, now: float) -> None:
        """Tell the watchdog that the worker moves (or waits in a wait of ours)."""
        self._progress.touch(now if self.worker.ident is None or self.worker.waiting else self.worker.alive_at_s)
        hung = (self.worker.is_alive() and not self.worker.waiting
                and now - self.worker.alive_at_s > self._hang_after_s)
        if hung != self._hung:
            self._hung = hung
            self._health(now)

    # --- down -------------------------------------------------------------------------------------------------

    def _receive(self) -> None:
        while True:
            try:
                frame = self.lane.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                message = bus.decode_to_plugin(frame)
            except msgspec.DecodeError as error:
                self.log.error("a message of uplink cannot be read: %s", error)
                continue
            if isinstance(message, bus.Command):
                self._command(message)
            elif isinstance(message, bus.Mqtt):
                self.worker.heard(Message(message.payload, message.t_us, message.topic, message.retained))
            elif isinstance(message, bus.Done):
                self.worker.done(message)
            elif isinstance(message, bus.Again):
                self._welcomed = False
                self._hello_at_s, self._hello_wait_s = 0.0, HELLO_FIRST_S
            elif message.run != self.run:
                continue  # meant for our predecessor
            elif isinstance(message, bus.Ack):
                self._acknowledged(message.n, time.monotonic())
            else:
                self._welcome(message)

    def _welcome(self, message: bus.Welcome) -> None:
        now = time.monotonic()
        self._kept.restore(message.kept)
        self._acknowledged(message.committed, now)
        if not self._welcomed:
            self._welcomed = True
            self._outbox.again()
            for alert_id, text in self._alerts.items():
                self._post(bus.Alert(self.instance, alert_id, text))
            if self._filters:
                self._post(bus.Listen(self.instance, self._filters))
            self._health(now)
        if self.worker.ident is None:
            self.worker.start()
        while self._held:
            self._yielded(self._held.popleft(), now)

    def _command(self, command: bus.Command) -> None:
        if command.id in self._answered:
            answer = self._answered[command.id]
            if answer is not None:  # else it is being carried out
                self._post(answer)
            return
        self._answered[command.id] = None
        while len(self._answered) > REMEMBERED:
            self._answered.popitem(last=False)
        refusal = self._refusal(command)
        if refusal is not None:
            self._answer(bus.Answer(self.instance, command.id, False, refusal))
            return
        prop = self._intake.find(command.node, command.property)
        if prop is not None and prop.state_class == "total_increasing":
            accepted = self._intake.reconcile(command.node, command.property, float(command.value), boottime_us())
            if accepted is not None:
                self._take(accepted, time.monotonic())
                self._answer(bus.Answer(self.instance, command.id, True, "the counter goes on from here",
                                        command.value))
                return
        self._commands[command.id] = command
        self.worker.command(command)

    def _refusal(self, command: bus.Command) -> str | None:
        where = f"{command.node}/{command.property}"
        if boottime_us() > command.deadline_us:
            return f"E_CMD_EXPIRED {where}: the command came too late; send it again"
        prop = self._intake.find(command.node, command.property)
        if prop is None:
            return f"{where}: no such property"
        if prop.state_class != "total_increasing" and not prop.settable:
            return f"{where}: not settable"
        value, reason, why = check(prop, command.value)
        if reason is not None or value is None:
            return f"{where}: {why}"
        if not self.worker.is_alive():
            return f"{where}: the plugin does not run yet; send it again"
        return None

    def _answer(self, answer: bus.Answer) -> None:
        self._answered[answer.id] = answer
        self._post(answer)

    # --- from the plugin --------------------------------------------------------------------------------------

    def _drain(self, now: float) -> None:
        items = self.worker.items
        for _ in range(len(items)):
            item = items.popleft()
            if isinstance(item, Yield):
                if self._kept.restored:
                    self._yielded(item, now)
                else:
                    self._hold(item)
            elif isinstance(item, State):
                self._state = item
                self._health(now)
            elif isinstance(item, Raised):
                self._raised(item)
            elif isinstance(item, Redeclared):
                self._intake.redeclare(self._title, item.properties)
                self._kept.attach()
            elif isinstance(item, bus.LogLine | bus.Publish | bus.Order):
                self._post(item)
            elif isinstance(item, bus.Listen):
                self._filters = item.filters
                self._post(item)
            else:
                self._carried_out(item, now)

    def _cut(self, now: float) -> None:
        self._outbox.cut(self._kept.packed(), now)
        self._marks.append((self._outbox.last, self._taken))

    def _acknowledged(self, n: int, now: float) -> None:
        """Everything up to batch ``n`` is on disk: the worker may wait for that (``io.committed``)."""
        self._outbox.acknowledged(n, now)
        while self._marks and self._marks[0][0] <= n:
            self.worker.safe = self._marks.popleft()[1]

    def _settle(self) -> None:
        if self._outbox.empty:  # what was yielded made no batch: a Node, a reading that was refused
            self._marks.clear()
            self.worker.safe = self._taken

    def _hold(self, item: Yield) -> None:
        if len(self._held) == HELD:
            self._outbox.dropped += 1
            self._taken += 1
        self._held.append(item)

    def _yielded(self, item: Yield, now: float) -> None:
        self._taken += 1
        if isinstance(item.what, Reading):
            try:
                offset = self._clock_offset_us() if self._kept.needs_wall else None
                self._take(self._intake.accept(item.what, item.t_us, offset), now)
            except Exception as error:  # a value of a kind nobody thought of must not end the process
                self.worker.errors += 1
                self.log.error(f"{item.what.property}: reading left out: {type(error).__name__}: %s", error)
            self._last_reading_us = item.t_us
        elif isinstance(item.what, Node):
            self._intake.add_node(item.what)
            self._kept.attach()
        elif item.what is not None:
            self.worker.errors += 1
            self.log.error("%s is neither a Reading nor a Node, it is left out", type(item.what).__name__)
        if item.kept is not None:
            self._kept.plugin_changed(item.kept)
        if self._outbox.full():
            self._cut(now)
        elif item.kept is not None and self._outbox.cut_due_s() is None:
            self._cut(now)  # kept without a reading must not wait for one

    def _take(self, accepted: list[Accepted], now: float) -> None:
        for sample, node, prop in accepted:
            self._outbox.add(sample, now)
            if prop.name == COUNTER_EVENT.name:
                self.log.warning(f"{node}: counter event %s", sample.value)
            value = (node, prop.name, sample.value, sample.t_us, sample.quality)
            if prop.event:
                self._momentary.append(value)
            else:
                self._newest[node, prop.name] = value

    def _raised(self, item: Raised) -> None:
        if item.text is None:
            self._alerts.pop(item.alert_id, None)
        else:
            self._alerts[item.alert_id] = item.text
        self._post(bus.Alert(self.instance, item.alert_id, item.text))

    def _carried_out(self, answer: bus.Answer, now: float) -> None:
        command = self._commands.pop(answer.id, None)
        prop = self._intake.find(command.node, command.property) if command is not None else None
        if answer.ok and answer.value is not None and command is not None and not (prop is not None and prop.event):
            # answered by a reading, so the hub learns what is so and not what was asked; the answer to a momentary
            # command (the key of a lock) is the asker's alone
            node = None if command.node == self.instance else command.node.removeprefix(f"{self.instance}-")
            reading = Reading(command.property, answer.value, node=node)
            self._take(self._intake.accept(reading, boottime_us()), now)
        try:
            self._answer(answer)
        except TypeError:
            self._answer(bus.Answer(self.instance, answer.id, answer.ok, "the answer's value cannot be sent"))
