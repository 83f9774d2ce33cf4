"""The process itself: one poll loop over the local bus, the MQTT socket and a wake-up pipe; all logic on one thread."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import secrets
import signal
import sqlite3
import time
from typing import Any

import msgspec
import zmq

from agent import __version__, bus, settings
from agent.api import Priority
from agent.clock import ClockState, SystemClock, boot_id, boottime_us
from agent.discovery import DeviceInfo
from agent.settings import Settings, SettingsError
from agent.spool import database, room
from agent.spool.keeper import Keeper
from agent.spool.rows import FOREIGN
from agent.spool.spool import Damaged, Limits, Spool
from agent.supervision.heartbeat import UPLINK_HANG_S, Heartbeat, Progress
from agent.uplink import state as state_plane
from agent.uplink.canary import Canary
from agent.uplink.drain import Drain
from agent.uplink.faultbook import Faultbook
from agent.uplink.foreign import ForeignLane
from agent.uplink.held import Held
from agent.uplink.link import TAKEN_OVER, Link, Lost, Message
from agent.uplink.live import LiveLane
from agent.uplink.logs import JsonLines
from agent.uplink.orders import Orders
from agent.uplink.plugins import Plugins
from agent.uplink.requests import Requests
from agent.uplink.rules import Rules
from agent.uplink.state_commands import Order
from agent.uplink.telling import Telling
from agent.wire import faults, messages, topics
from agent.wire.messages import Reported
from agent.wire.records import Body, Columns

log = logging.getLogger(__name__)

TICK_S = 1.0
IDLE_TICK_S = 5.0
AGE_EVERY_S = 60.0
FLUSH_S = 5.0
CLOCK_S = 5.0
DOWN_AFTER_S = 20.0
STOP_S = 3.0
TAKEOVERS_PER_MIN = 3
TWIN_OVER_S = 600.0
SALVAGE_S = 1800.0
"""A large spool on a slow card may take so long to be saved."""


def _tidy() -> None:
    """What importing and reading agent.toml left behind is not carried along for months (malloc_trim(3) of glibc)."""
    import ctypes

    gc.collect()
    with contextlib.suppress(AttributeError):  # another C library has no such function and needs none
        ctypes.CDLL(None).malloc_trim(0)


class Uplink:
    """:meth:`run` returns the exit code: 0 after SIGTERM, 1 when the process has to be started anew."""

    def __init__(self, loaded: Settings, handler: JsonLines | None = None) -> None:
        self.settings = loaded
        self.log_tail = handler
        device = loaded.device
        device.data_dir.mkdir(parents=True, exist_ok=True)
        device.run_dir.mkdir(parents=True, exist_ok=True)
        self._lock = bus.lock(device.run_dir, "uplink")
        self._progress = Progress(device.run_dir, "uplink", UPLINK_HANG_S)
        self._progress.busy_for(SALVAGE_S)
        self._wake_r, self._wake_w = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.stopping = False
        self.exit_code = 0
        self.reload_wanted = False
        self.clock = ClockState(device.clock)
        self.book = Faultbook(self.clock.wall_us, lambda alert: self.state.on_alert(alert))
        limits = Limits(loaded.spool.max_bytes, loaded.spool.max_age_days * 86400, loaded.spool.keep_receipted_h * 3600)
        self.keeper = Keeper(device.data_dir / "spool.db", limits, hardware=database.hardware_ids(),
                            fault=self.book.fault, clear=self.book.clear)
        self.link = Link(loaded.mqtt, device.id, state_plane.will(device.id), self.wake)
        self.state = state_plane.State(
            DeviceInfo(id=device.id, name=device.name, version=__version__, suggested_area=device.suggested_area),
            self.link, self._send_command, SystemClock(self.clock), instances=self._instances(loaded),
            data_dir=device.data_dir)
        self.keeper.open()
        self.drain = Drain(self.keeper, self.link, self.clock, device.id, fault=self.book.fault, clear=self.book.clear)
        self.context: zmq.Context[Any] = zmq.Context(io_threads=1)
        self.lane, self.fan = bus.bind(self.context, device.run_dir)
        self.held = Held(device.run_dir)
        self.live = LiveLane(device.id, device.publish_live, device.inputs,
                             publish=lambda topic, payload: self.link.publish(topic, payload, qos=0, retain=False),
                             fan_out=self._fan_out_live,
                             wall_us=self.clock.wall_us)
        self.plugins = Plugins(self.lane, self.fan, self.keeper, self.state, commit_s=loaded.spool.commit_s,
                               commit_rows=loaded.spool.commit_rows, on_answer=self.state.on_answer,
                               on_now=self._on_now, on_mqtt=self._on_mqtt,
                               on_rules=lambda message, answer: self.rules.on_rules(message, answer),
                               on_rule_alert=lambda alert: self.rules.on_alert(alert))
        self.foreign = ForeignLane(device.id, subscribe=self.link.subscribe, unsubscribe=self.link.unsubscribe,
                                   publish=lambda topic, data: self.link.publish(topic, data, qos=1, retain=False),
                                   send=self.plugins.send_mqtt)
        self.orders = Orders(loaded, self)
        self.rules = Rules(self)
        self.requests = Requests(device.id, self.orders.handlers(),
                                 publish=lambda topic, data: self.link.publish(topic, data, qos=1, retain=False),
                                 clear=lambda topic: self.link.publish(topic, b"", qos=1, retain=True),
                                 wall_us=self.clock.wall_us, term=lambda: self.drain.highest_term)
        self.telling = Telling(self)
        self._run = secrets.token_hex(8)
        self._own = 0
        self.canary = Canary()
        self.state.on_order = self._note_order
        if handler is not None:
            handler.on_crash = lambda text: self.state.on_log(bus.LogLine("uplink", "error", text, boottime_us()))
        self.link.on_connect = self._on_connect
        self.link.on_lost = self._on_lost
        self.link.on_message = self._on_message
        self.link.on_sent = lambda token, code: self.drain.on_sent(token, code, time.monotonic())
        self._takeovers: list[float] = []
        self._connected_s = 0.0
        self._was_unsynced = False
        self._due = dict.fromkeys(("tick", "age", "clock", "flush"), 0.0)

    @staticmethod
    def _instances(loaded: Settings) -> list[str]:
        return [name for name, entry in loaded.plugins.items() if entry.enabled]

    @property
    def spool(self) -> Spool:
        return self.keeper.spool

    # --- life ---------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """From any thread or signal handler."""
        with contextlib.suppress(OSError):
            os.write(self._wake_w, b"w")

    def stop(self) -> None:
        self.stopping = True
        self.wake()

    def run(self) -> int:
        heartbeat = Heartbeat()
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        signal.signal(signal.SIGHUP, lambda *_: self._want_reload())
        heartbeat.start()
        self._progress.touch()
        _tidy()
        if database.has_wal_reset_bug():
            log.info("%s", faults.line("W_SQLITE_VERSION", version=sqlite3.sqlite_version))
        log.info("uplink %s of %s started, spool %s with %d batches", __version__, self.settings.device.id,
                 self.spool.current.epoch, self.spool.counts().batches)
        try:
            self._loop(heartbeat)
        finally:
            heartbeat.stop()
            self._end()
        return self.exit_code

    def _want_reload(self) -> None:
        self.reload_wanted = True
        self.soon()

    def _loop(self, heartbeat: Heartbeat) -> None:
        poller = zmq.Poller()
        poller.register(self.lane, zmq.POLLIN)
        poller.register(self._wake_r, zmq.POLLIN)
        fd: int | None = None
        flags = 0
        while not self.stopping:
            now_s = time.monotonic()
            new_fd = self.link.fileno()
            new_flags = zmq.POLLIN | (zmq.POLLOUT if self.link.want_write() else 0)
            if (new_fd, new_flags) != (fd, flags):
                if fd is not None and fd != new_fd:
                    poller.unregister(fd)
                if new_fd is not None:
                    poller.register(new_fd, new_flags)
                fd, flags = new_fd, new_flags
            timeout_s = 0.0 if self.link.pending() else max(0.0, self._due_s(now_s) - now_s)
            ready = dict(poller.poll(min(10_000, int(timeout_s * 1000 + 0.999))))
            now_s = time.monotonic()
            if self._wake_r in ready:
                with contextlib.suppress(OSError):
                    os.read(self._wake_r, 4096)
            event = ready.get(fd, 0) if fd is not None else 0
            try:
                if self.lane in ready:
                    self.plugins.receive(now_s)
                self.link.step(now_s, readable=bool(event & ~zmq.POLLOUT), writable=bool(event & zmq.POLLOUT))
                if self.plugins.due_s is not None and now_s >= self.plugins.due_s:
                    self.plugins.commit()
                    self._soon(now_s)
                self._ticks(now_s)
                self.drain.pump(now_s)
            except (sqlite3.Error, Damaged, UnicodeDecodeError) as error:
                # Whatever was begun is rolled back; a group that was to be committed is still held and comes again.
                self._progress.busy_for(SALVAGE_S)
                heartbeat.stop()  # to salvage a large file on a slow card takes longer than a heart may stand still
                self.keeper.failed(error)
                heartbeat.start()
                self.drain.spool_changed(now_s)
            heartbeat.beat()
            self._progress.touch()

    def _due_s(self, now_s: float) -> float:
        """When there is something to do although nothing comes."""
        due = [self._due["tick"], self.link.due_s(now_s)]
        if self.plugins.due_s is not None:
            due.append(self.plugins.due_s)
        if self._state_due_us is not None:
            due.append(now_s + (self._state_due_us - boottime_us()) / 1e6)
        return min(due)

    _state_due_us: int | None = None

    def _ticks(self, now_s: float) -> None:
        now_us = boottime_us()
        self._state_due_us = self.state.tick(now_us)
        self.telling.at_rest(now_s, now_us)
        if now_s < self._due["tick"]:
            return
        busy = self.telling.changed() or bool(self.drain.flights) or self.plugins.due_s is not None
        self._due["tick"] = now_s + (TICK_S if busy or not self.link.connected else IDLE_TICK_S)
        if self.reload_wanted:
            self.reload_wanted = False
            self._reload()
        self.drain.tick(now_s)
        self.plugins.watch(now_s)
        if now_s >= self._due["clock"]:
            self._due["clock"] = now_s + CLOCK_S
            self._look_at_clock(now_us)
        if now_s >= self._due["age"]:
            self._due["age"] = now_s + AGE_EVERY_S
            room.age_out(self.spool)
        if now_s >= self._due["flush"]:
            self._due["flush"] = now_s + FLUSH_S
            self.spool.flush()
        if self.keeper.tick(now_s):
            self.drain.spool_changed(now_s)
        self.orders.tick(now_s)
        if self.canary.due(now_s, self.link.connected):
            self._sing(now_us)
        if self.link.connected and now_s - self._connected_s > TWIN_OVER_S:
            self.book.clear("dup-client-id")
        if not self.link.connected and self.link.since_s is not None and now_s - self.link.since_s > DOWN_AFTER_S:
            self.book.fault("E_BROKER_DOWN", "broker-down", where=self.link.where)
        self.telling.tick(now_s, now_us)

    def soon(self) -> None:
        """The next tick is now."""
        self._due["tick"] = 0.0
        self.wake()

    def _soon(self, now_s: float) -> None:
        """Something happened: the next tick is not to wait for the slow pace of an idle device."""
        self._due["tick"] = min(self._due["tick"], now_s + TICK_S)

    def _look_at_clock(self, now_us: int) -> None:
        info = self.clock.offset()
        self._was_unsynced = self._was_unsynced or info.offset_us is None
        if self.spool.set_clock(info) and (self._was_unsynced or not self.spool.fresh_boot):
            self.spool.record(Body())  # samples went without it, and none may follow: the offset comes by itself
        if info.offset_us is None and now_us - self.spool.boot.first_us > 60_000_000:
            self.book.fault("W_CLOCK_UNSYNCED", "clock-unsynced")
        elif info.offset_us is not None:
            self.book.clear("clock-unsynced")

    def _reload(self) -> None:
        """SIGHUP: agent.toml was changed and the processes of plugins are already dealt with."""
        try:
            fresh = settings.load(self.settings.path)
        except SettingsError as error:
            self.book.fault("E_CONFIG", "config", error=str(error))
            return
        self.book.clear("config")
        self.settings = fresh
        instances = self._instances(fresh)
        self.plugins.receive(time.monotonic())  # the last batches of what has just been stopped
        self.plugins.commit()
        gone = self.plugins.keep_only([*instances, "sys"])
        self.state.on_plugins(instances)
        self.foreign.forget(gone)
        self.live.wanted, before = frozenset(fresh.device.publish_live), self.live.subscriptions()
        self.live.inputs = frozenset(fresh.device.inputs)
        for topic in set(self.live.subscriptions()) - set(before):
            self.link.subscribe(topic)
        self.telling.reported()
        log.info("agent.toml was read again%s", f", gone are {', '.join(gone)}" if gone else "")

    def _end(self) -> None:
        """Commit what came, say ``disconnected``, close. Also after an error, as far as it goes."""
        steps = (lambda: self.plugins.receive(time.monotonic()), self.plugins.commit, self.state.stop,
                 lambda: self.link.stop(STOP_S), lambda: self.spool.flush(),
                 lambda: self.telling.tick(time.monotonic(), boottime_us(), ending=True), lambda: self.spool.close())
        for step in steps:
            try:
                step()
            except Exception as error:
                log.error("at the end: %s: %s", type(error).__name__, error)
        self.lane.close(0)
        self.fan.close(0)
        self.context.term()
        os.close(self._lock)

    # --- MQTT ---------------------------------------------------------------------------------------------

    def _on_connect(self) -> None:
        log.info("connected to %s", self.link.where)
        self._connected_s = time.monotonic()
        self._soon(self._connected_s)
        self.link.subscribe(topics.reported(self.settings.device.id))  # before we write there ourselves
        for alert in ("broker-down", "broker-stall"):
            self.book.clear(alert)
        self.drain.on_connect()
        for topic in self.requests.subscriptions():
            self.link.subscribe(topic, commands=True)
        for topic in (self.rules.subscription(), *self.live.subscriptions(), *self.foreign.subscriptions()):
            self.link.subscribe(topic)
        self.state.on_connect()
        self.telling.connected()

    def _on_lost(self, lost: Lost) -> None:
        self._soon(time.monotonic())
        self.drain.on_lost(lost)
        self.state.on_disconnect()
        if lost.silent:
            self.book.fault("E_BROKER_STALL", "broker-stall", where=self.link.where)
        if lost.was_connected:
            log.warning("connection to %s lost: %s", self.link.where, lost.reason)
        else:
            log.warning("no connection to %s: %s", self.link.where, lost.reason)
        if lost.code == TAKEN_OVER:
            self._taken_over()

    def _on_reported(self, payload: bytes, retained: bool) -> None:
        """What stood on our own topic when we connected. Mosquitto before 2.0.12 closes a connection that is taken over
        without MQTT 5's word for it, so the other one's epoch in our place is what tells."""
        if not retained:
            return
        self.link.unsubscribe(topics.reported(self.settings.device.id))
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            epoch = messages.decode(payload, Reported).epoch
            ours = {known.epoch for known in self.spool.epochs.values() if known.state != FOREIGN}
            if epoch and epoch not in ours and epoch not in self.telling.own_epochs:
                self._taken_over()

    def _taken_over(self) -> None:
        """Somebody else is connected under our id. Once it may be this device before its card was changed; again and
        again it is a twin."""
        now_s = time.monotonic()
        self._takeovers = [at for at in self._takeovers if now_s - at < 60.0] + [now_s]
        if len(self._takeovers) > TAKEOVERS_PER_MIN:
            self.book.fault("E_DUP_CLIENT_ID", "dup-client-id", device=self.settings.device.id,
                            addresses=f"this one is {self.link.address() or os.uname().nodename}")

    def _on_message(self, message: Message) -> None:
        now_s = time.monotonic()
        if message.topic == topics.reported(self.settings.device.id):
            self._on_reported(message.payload, message.retained)
            return
        handled = (self.drain.on_message(message.topic, message.payload, now_s)
                   or self.requests.on_message(message.topic, message.payload, message.retained)
                   or self.rules.on_message(message.topic, message.payload)
                   or self.live.on_message(message.topic, message.payload, message.retained)
                   or self.state.on_message(message.topic, message.payload, message.retained)
                   or self.foreign.on_message(message.topic, message.payload, message.retained, boottime_us()))
        if not handled:
            log.info("a message nobody asked for on %s", message.topic[:200])

    def _on_now(self, now: bus.Now) -> None:
        self.live.on_now(now, boottime_us())
        self.held.note_all(now.instance, now.values)

    def _fan_out_live(self, topic: str, message: bus.Remote) -> None:
        self.plugins.fan_out(topic, message)
        if message.property == "restarts_held" and message.quality is None:
            self.held.note(f"{message.device}/{message.node}", message.value)

    def _on_mqtt(self, message: bus.Listen | bus.Publish) -> None:
        if isinstance(message, bus.Listen):
            self.foreign.on_listen(message)
        else:
            self.foreign.on_publish(message)

    def _send_command(self, instance: str, command: bus.Command) -> bool:
        if instance == "sys":
            self.state_answer(self.orders.command(command))
            return True
        return self.plugins.send_command(instance, command)

    def _note_order(self, order: Order) -> None:
        """Each command goes into the record, with who gave it and what came of it: stored exactly once, as samples."""
        now_us = boottime_us()
        said = {"node": order.node, "property": order.property, "who": order.who, "result": order.refusal or "done"}
        if order.value is not None:
            said["value"] = order.value
        self.state.on_now(bus.Now("sys", [("sys", "command", said, now_us, None)]))
        self._add_own("sys/command", said, now_us, Priority.ALARM)

    def _sing(self, now_us: int) -> None:
        self.state.on_now(bus.Now("sys", [("sys", "canary", self.canary.sent, now_us, None)]))
        self._add_own("sys/canary", self.canary.sent, now_us, Priority.NORMAL)

    def _add_own(self, series: str, value: Any, now_us: int, priority: Priority) -> None:
        self._own += 1
        part = bus.Part(int(priority), {series: Columns([now_us], [value])})
        self.plugins.add_own(bus.Batch("sys", self._run, self._own, boot_id(), [part]), time.monotonic())

    def state_answer(self, answer: bus.Answer) -> None:
        self.state.on_answer(answer)
