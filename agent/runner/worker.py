"""One plugin instance on its own thread: schedule, retries, commands, and the waits that a stop or a command ends."""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from agent.api import CommandRefused, ConfigError, Inbox, Message, Node, Plugin, Property, Reading, RetryLater
from agent.bus import Answer, Command, Done, Listen, LogLine, Order, Publish
from agent.runner.logs import CappedLog

FIRST_DELAY_S = 1.0
MAX_DELAY_S = 300.0
STEADY_S = 60.0
"""A ``run`` that lived this long starts its back-off anew."""
QUEUE_LIMIT = 5000
HEARTBEAT_S = 5.0
COMMIT_LOOK_S = 0.02
ORDER_LOOK_S = 0.05


class State(NamedTuple):
    """ok, degraded or failed, and why."""

    state: str
    reason: str


class Yield(NamedTuple):
    """What the plugin gave, its stamp, and ``io.kept`` as it was then (None: unchanged)."""

    what: object
    """A Reading or a Node, unless the plugin is wrong; None: only ``kept`` changed."""
    t_us: int
    kept: bytes | None


class Raised(NamedTuple):
    """An alert raised (text) or resolved (None)."""

    alert_id: str
    text: str | None


class Redeclared(NamedTuple):
    properties: tuple[Property, ...]


Item = Yield | Raised | State | Answer | Redeclared | LogLine | Listen | Publish | Order


def boottime_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class Worker(threading.Thread):
    """Runs one plugin until stopped. The bus side reads ``items`` and is woken through ``wake``."""

    def __init__(self, instance: str, make: Callable[[], Plugin], plugin: Plugin, interval_s: float,
                 wake: Callable[[], None], log: CappedLog) -> None:
        super().__init__(name=instance, daemon=True)
        self.instance = instance
        self.interval_s = interval_s
        self.items: deque[Item] = deque()
        self.kept: dict[str, Any] = {}
        self.kept_used = False
        """Set by the first look at ``io.kept``; until then no reading pays for a copy of it."""
        self.errors = 0
        self.refused: str | None = None
        """The ConfigError that ended it."""
        self.broken: str | None = None
        """Why the thread ended although nobody stopped it: a bug of ours."""
        self.stopping = False
        self.waiting = False
        """In a wait of ours: not hung, however long it takes."""
        self.alive_at_s = time.monotonic()
        self.safe = 0
        """How many of our yields are on disk; set by the bus side."""
        self._said = 0
        """How many yields went out."""
        self.io: Any = None
        """The :class:`agent.api.Io`; set before start."""
        self._make = make
        self._plugin = plugin
        self._wake_main = wake
        self._log = log
        self._eventfd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._commands: deque[Command] = deque()
        self._orders: dict[str, Done | None] = {}
        """Orders of ours that wait for their answer."""
        self._inbox: Inbox | None = None
        self._serving = False
        self._state = State("ok", "")
        self._degraded: str | None = None
        self._failing: str | None = None
        self._last_kept = b""

    @property
    def over(self) -> bool:
        """It ended without being stopped."""
        return self.refused is not None or self.broken is not None

    # --- called by the bus side -------------------------------------------------------------------------------

    def stop(self) -> None:
        self.stopping = True
        os.eventfd_write(self._eventfd, 1)

    def command(self, command: Command) -> None:
        self._commands.append(command)
        os.eventfd_write(self._eventfd, 1)

    # --- orders to other plugins --------------------------------------------------------------------------------

    def done(self, done: Done) -> None:
        """From the bus side."""
        if done.id in self._orders:
            self._orders[done.id] = done
            os.eventfd_write(self._eventfd, 1)

    def order(self, node: str, name: str, value: Any, timeout_s: float) -> Any:
        """:meth:`agent.api.OrderIo.order`."""
        id_ = os.urandom(8).hex()
        self._orders[id_] = None
        try:
            self._put(Order(self.instance, id_, "", node, name, value))
            until = time.monotonic() + timeout_s
            while (done := self._orders[id_]) is None and not self.stopping and time.monotonic() < until:
                self.wait(ORDER_LOOK_S)
        finally:
            del self._orders[id_]
        if done is None:
            raise RetryLater(f"{node}/{name}: no answer within {timeout_s:.0f} s")
        if not done.ok:
            raise CommandRefused(done.message)
        return done.value

    # --- MQTT topics of others --------------------------------------------------------------------------------

    def listen(self, filters: tuple[str, ...]) -> Inbox:
        """What the plugin asks for; a later call takes the place of an earlier one."""
        before, self._inbox = self._inbox, Inbox()
        if before is not None:
            before.close()
        self._put(Listen(self.instance, filters))
        return self._inbox

    def listen_no_more(self, inbox: Inbox) -> None:
        inbox.close()
        if self._inbox is inbox:  # else a newer one has taken over
            self._inbox = None
            self._put(Listen(self.instance, ()))

    def publish(self, topic: str, payload: bytes) -> None:
        self._put(Publish(self.instance, topic, payload))

    def heard(self, message: Message) -> None:
        """From the bus side."""
        inbox = self._inbox
        if inbox is None:
            return
        dropped = inbox.dropped
        inbox.put(message)
        if inbox.dropped > dropped:
            self.errors += inbox.dropped - dropped
            self._log.warning("MQTT messages come faster than they are read: %d dropped, the oldest first",
                              inbox.dropped)

    # --- the plugin's waits -----------------------------------------------------------------------------------

    def wait(self, seconds: float, fd: int | None = None) -> bool:
        """Sleep, or until ``fd`` is readable (then True). Commands are carried out meanwhile; a stop ends it."""
        until = time.monotonic() + seconds
        fds = [self._eventfd] if fd is None else [self._eventfd, fd]
        try:
            while not self.stopping:
                self.waiting = True
                left = until - time.monotonic()
                ready = select.select(fds, (), (), max(0.0, left))[0]
                self.waiting = False
                if self._eventfd in ready:
                    self._drain_eventfd()
                    self.serve()
                if fd is not None and fd in ready:
                    return True
                if left <= 0 or (fd is None and time.monotonic() >= until):
                    return False
            return False
        finally:
            self.waiting = False
            self.alive_at_s = time.monotonic()

    def _drain_eventfd(self) -> None:
        try:
            os.eventfd_read(self._eventfd)
        except BlockingIOError:
            return  # somebody read it before: nothing is lost, the queue itself says what to do

    def serve(self) -> None:
        """Carry out what was asked for, here on the instance's thread, never one inside another."""
        if self._serving:
            return
        self._serving = True
        try:
            while self._commands and not self.stopping:
                self._put(self._carry_out(self._commands.popleft()))
                self.keep()
        finally:
            self._serving = False

    def _carry_out(self, command: Command) -> Answer:
        if boottime_us() > command.deadline_us:
            return Answer(self.instance, command.id, False, "E_CMD_EXPIRED the command came too late; send it again")
        try:
            if command.node == self.instance:
                value = self._plugin.command(self.io, command.property, command.value)
            else:
                node = command.node.removeprefix(f"{self.instance}-")
                value = self._plugin.node_command(self.io, node, command.property, command.value)
        except CommandRefused as error:
            return Answer(self.instance, command.id, False, str(error))
        except RetryLater as error:
            return Answer(self.instance, command.id, False, f"not now: {error}")
        except Exception as error:
            self._bug(error, command.value)
            return Answer(self.instance, command.id, False, f"the plugin failed: {type(error).__name__}: {error}")
        return Answer(self.instance, command.id, True, "", value)

    def log_line(self, level: str, text: str) -> None:
        """For the bus side to pass on; from any thread, so it goes through the queue as everything does."""
        if level in ("warning", "error"):
            self.items.append(LogLine(self.instance, level, text, boottime_us()))
            self._wake_main()

    # --- out --------------------------------------------------------------------------------------------------

    def _put(self, item: Item) -> None:
        while len(self.items) >= QUEUE_LIMIT and not self.stopping:
            self._wake_main()
            time.sleep(0.005)  # a plugin faster than the bus side waits here instead of eating memory
        self.items.append(item)
        self._wake_main()

    def emit(self, what: object) -> None:
        """One yield of the plugin."""
        self._yield(what, self._kept_now())
        self.alive_at_s = time.monotonic()
        if self._failing is not None and isinstance(what, Reading):
            self._failing = None
            self._show()

    def _kept_now(self) -> bytes | None:
        if not self.kept_used:
            return None
        try:
            packed = msgspec.json.encode(self.kept)
        except (TypeError, ValueError, RecursionError) as error:
            self.errors += 1
            self._log.error("io.kept cannot be saved: %s", error)
            return None
        if packed == self._last_kept:
            return None
        self._last_kept = packed
        return packed

    def keep(self) -> None:
        """What ``io.kept`` became after the last yield of a poll."""
        packed = self._kept_now()
        if packed is not None:
            self._yield(None, packed)

    def _yield(self, what: object, kept: bytes | None) -> None:
        self._said += 1
        self._put(Yield(what, boottime_us(), kept))

    def committed(self, timeout_s: float) -> bool:
        """:meth:`agent.api.Io.committed`."""
        self.keep()
        goal, until = self._said, time.monotonic() + timeout_s
        while self.safe < goal and not self.stopping and time.monotonic() < until:
            self.wait(COMMIT_LOOK_S)
        return self.safe >= goal

    def alert(self, alert_id: str, text: str | None) -> None:
        self._put(Raised(alert_id, text))

    def degraded(self, reason: str | None) -> None:
        self._degraded = reason
        self._show()

    def _show(self) -> None:
        if self._failing is not None:
            state = State("failed", self._failing)
        elif self._degraded is not None:
            state = State("degraded", self._degraded)
        else:
            state = State("ok", "")
        if state != self._state:
            self._state = state
            self._put(state)

    # --- life -------------------------------------------------------------------------------------------------

    def run(self) -> None:
        try:
            if type(self._plugin).run is not Plugin.run:
                self._retrying(self._stream)
            else:
                self._retrying(self._poll_for_ever)
        except ConfigError as error:
            self.refused = str(error)
        except BaseException as error:
            self.broken = f"{type(error).__name__}: {error}"
            self._log.crash(error)
        finally:
            self._wake_main()

    def _over(self) -> bool:
        return self.stopping

    def _retrying(self, life: Callable[[], None]) -> None:
        self._attempt = 0
        while not self.stopping:
            began = time.monotonic()
            try:
                life()
                if self._over():
                    return
                raise RetryLater("the plugin's run ended on its own")
            except ConfigError:
                raise
            except RetryLater as error:
                delay_s = getattr(error, "max_delay_s", MAX_DELAY_S)
                self._failed(str(error))
            except Exception as error:
                if self._over():
                    return
                delay_s = MAX_DELAY_S
                self._bug(error)
                self._failing = f"{type(error).__name__}: {error}"
                self._show()
                self._renew()
            if time.monotonic() - began >= STEADY_S:
                self._attempt = 0
            self.wait(self._delay(delay_s))

    def _delay(self, most_s: float) -> float:
        """1, 2, 4 ... 300 s, each between 75 % and 125 % so that many plugins do not knock together."""
        base = min(most_s, FIRST_DELAY_S * 2.0 ** min(self._attempt, 16))
        self._attempt += 1
        jitter = 0.75 + int.from_bytes(os.urandom(2), "big") / 131072
        return min(MAX_DELAY_S, max(FIRST_DELAY_S, base * jitter))

    def _failed(self, reason: str) -> None:
        self.errors += 1
        if self._failing != reason:
            self._log.warning(reason)
        self._failing = reason
        self._show()

    def _bug(self, error: Exception, value: Any = None) -> None:
        """``value``: of the command that was carried out."""
        self.errors += 1
        self._log.crash(error, value)

    def _renew(self) -> None:
        """After a bug the plugin's own state is not to be trusted."""
        try:
            self._plugin = self._make()
            properties = self._plugin.declare()
        except ConfigError:
            raise
        except Exception as error:
            self._bug(error)
            return
        self._put(Redeclared(properties))

    def _poll_for_ever(self) -> None:
        """``poll`` every interval, on the grid of the first one: no drift; a slot that is over is left out."""
        due = time.monotonic()
        while not self.stopping:
            self._consume(self._plugin.poll(self.io))
            self._attempt = 0
            if self._failing is not None:
                self._failing = None
                self._show()
            now = time.monotonic()
            due += self.interval_s
            if due < now:
                due += ((now - due) // self.interval_s + 1) * self.interval_s
            self.wait(due - now)

    def _consume(self, items: Iterable[Reading | Node]) -> None:
        for item in items:
            self.emit(item)
            if self.stopping:
                close = getattr(items, "close", None)
                if close is not None:
                    close()
                return
            if self._commands:
                self.serve()
        self.keep()

    def _stream(self) -> None:
        stream: Iterator[Reading | Node] | AsyncIterator[Reading | Node] = self._plugin.run(self.io)
        if isinstance(stream, AsyncIterator):
            from agent.runner.async_run import drive  # asyncio costs 7 MB: only who needs it pays

            drive(self, stream, self._eventfd, HEARTBEAT_S)
        else:
            self._consume(stream)
