"""The process ``rules``: one loop over the local bus and a tick a second. What it decides goes to ``uplink``: alerts,
and orders for plugins of this device, which are carried out and recorded there as ``rule:<id>``."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import time
from collections import deque
from typing import Any

import msgspec
import zmq

from agent import bus
from agent.clock import ClockState, boottime_us
from agent.rules.declared import of_reported
from agent.rules.engine import Engine, Outcome, Sample, fingerprint
from agent.rules.model import Order, Rule
from agent.ruling import book, desired, standing
from agent.ruling.standing import Firing, Standing
from agent.runner.logs import CappedLog, to_stderr
from agent.settings import Settings
from agent.supervision.heartbeat import Heartbeat, Progress
from agent.supervision.plan import RULES, RULES_HANG_S
from agent.wire import messages
from agent.wire.messages import Desired, Reported
from agent.zones import zone_of

TICK_S = 1.0
SAVE_S = 60.0
REPEAT_S = 15.0
"""Alerts and state are said again: a new uplink knows nothing of them, and takes the same word twice for one."""
UNSENT_S = 60.0
"""An order that found no uplink is tried for so long."""
STEP_US = 5_000_000
"""Wall time moved by more than this against boot time: what the engine remembers would be of another time."""
SETTLE_US = 90_000_000
"""After that it is not believed that something is over until it has seen so much."""
ENGINE = "engine.bin"
DECLARED = "declared.json"
"""``<run_dir>/declared.json``: what uplink last said in ``reported``, for who cannot hear MQTT."""
AWAY_S = 2 * SAVE_S
"""Not seen for longer than that, a series' silence counts from now on: it was this process that did not look."""
MAX_READ = 2000


class Ruling:
    """:meth:`run` returns the exit code."""

    def __init__(self, settings: Settings) -> None:
        device = settings.device
        self._device, self._run_dir = device.id, device.run_dir
        self._folder = device.data_dir / "rules"
        self._lock = bus.lock(device.run_dir, RULES)
        self._log = CappedLog(to_stderr(RULES))
        self._log.sinks.append(self._log_line)
        self._wanted = desired.read(device.data_dir) or Desired(0, {})
        self.rules, self.refused = book.taken(self._wanted, device.id, device.inputs)
        self._by_id: dict[str, Rule] = {rule.id: rule for rule in self.rules}
        self._zone = zone_of("")
        self._clock = ClockState(device.clock)
        self._declared_ns = 0
        self._declared: list[Any] = []
        self._standing = Standing(self._folder)
        plugins = {entry.id for entry in settings.plugins.values() if entry.enabled}
        self._forgot = self._standing.keep_only(
            self._by_id, lambda subject: book.heard(subject, device.id, plugins, device.inputs))
        self._context: zmq.Context[Any] = zmq.Context(io_threads=1)
        self._lane = bus.connect(self._context, device.run_dir, RULES)
        self._lane.setsockopt(zmq.SNDTIMEO, 0)
        self._fan = bus.subscribe(self._context, device.run_dir, book.topics(self.rules, device.id))
        self._offset_us = self._kept_offset_us()
        self._settled_us = 0
        self._unsent: deque[tuple[float, bus.Order]] = deque()
        self._raised: dict[str, str | None] = dict.fromkeys(self._wanted.rules, "?")
        """What was told of each rule; of the process before this one nothing is known."""
        self._said_s = float("-inf")
        self._shown = b""
        self._stop = False
        self.engine = self._engine(restore=True)
        self._look_at_declared()

    def stop(self, *_: object) -> None:
        self._stop = True

    # --- life -------------------------------------------------------------------------------------------------

    def run(self) -> int:
        wakeup, wakeup_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_in, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        heartbeat = Heartbeat()
        heartbeat.start()
        progress = Progress(self._run_dir, RULES, RULES_HANG_S)
        for line in (self._standing.problem, *self.refused.values()):
            if line:
                self._log.warning("%s", line)
        if self._forgot:
            self._save_standing()
        poller = zmq.Poller()
        for item in (self._fan, self._lane, wakeup):
            poller.register(item, zmq.POLLIN)
        next_s = save_s = time.monotonic()
        try:
            while not self._stop:
                poller.poll(max(0, int((next_s - time.monotonic()) * 1000 + 0.999)))
                self._read()
                now_s = time.monotonic()
                if now_s >= next_s:
                    next_s = now_s + TICK_S
                    self._tick(now_s)
                if now_s >= save_s + SAVE_S:
                    save_s = now_s
                    self._save_engine()
                heartbeat.beat()
                progress.touch()
            return 0
        finally:
            heartbeat.stop()
            self._save_engine()
            self._lane.close(500)
            self._fan.close(0)
            self._context.term()
            os.close(self._lock)

    # --- time -------------------------------------------------------------------------------------------------

    def _kept_offset_us(self) -> int:
        """Wall minus boot time. While this machine does not know the time, rules go on with the last one known: a leak
        is one at any hour."""
        known = self._clock.offset().offset_us
        if known is not None:
            return known
        try:
            last_us = int((self._folder / "clock").read_text())
        except (OSError, ValueError):
            last_us = time.time_ns() // 1000
        return max(last_us, time.time_ns() // 1000) - boottime_us()

    def _look_at_clock(self) -> None:
        known = self._clock.offset().offset_us
        if known is None or known == self._offset_us:
            return
        step = abs(known - self._offset_us) > STEP_US
        self._offset_us = known
        if step:
            self._log.info("the clock was set: rules look at what comes from now on")
            self.engine = self._engine(restore=False)
            self._settled_us = boottime_us() + SETTLE_US

    def _now_us(self) -> int:
        return boottime_us() + self._offset_us

    # --- in ---------------------------------------------------------------------------------------------------

    def _engine(self, *, restore: bool) -> Engine:
        engine = Engine(self.rules, self._declared, self._zone)
        if restore:
            try:
                refused = engine.restore((self._folder / ENGINE).read_bytes(), later=True)
                if not 0 <= time.time() - (self._folder / ENGINE).stat().st_mtime < AWAY_S:
                    engine.resume(self._now_us())
            except FileNotFoundError:
                refused = None
            except OSError as error:
                refused = f"{self._folder / ENGINE}: {error.strerror}"
            if refused:
                self._log.warning("what the rules remembered is lost, they begin anew: %s", refused)
                self._settled_us = boottime_us() + SETTLE_US
        return engine

    def _read(self) -> None:
        for socket in (self._fan, self._lane):
            for _ in range(MAX_READ):
                try:
                    frames = socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                if socket is self._fan:
                    self._heard(frames[-1])

    def _heard(self, payload: bytes) -> None:
        try:
            message = bus.decode_fan(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self._log.warning("a message of the local bus cannot be read: %s", error)
            return
        if isinstance(message, bus.Remote):
            t_us = self._now_us() - round(message.age_s * 1e6)
            self._feed(Sample(message.device, message.node, message.property, t_us, message.value, message.quality))
            return
        for node, name, value, t_us, quality in message.values:
            self._feed(Sample(self._device, node, name, t_us + self._offset_us, value, quality))

    def _feed(self, sample: Sample) -> None:
        self.engine.feed(sample._replace(property=sample.property.replace("-", "_")))

    def _look_at_declared(self) -> None:
        path = self._run_dir / DECLARED
        try:
            stamp_ns = path.stat().st_mtime_ns
            if stamp_ns == self._declared_ns:
                return
            said = messages.decode(path.read_bytes(), Reported)
        except FileNotFoundError:
            return
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self._log.warning("%s: %s", path, error)
            return
        self._declared_ns = stamp_ns
        self._declared = list(of_reported(self._device, said))
        self.engine.declare(self._declared)

    # --- out --------------------------------------------------------------------------------------------------

    def _tick(self, now_s: float) -> None:
        self._look_at_clock()
        self._look_at_declared()
        self.engine.tick(self._now_us())
        outcomes = self.engine.outcomes()
        self._reconcile(outcomes)
        self._send_orders(now_s)
        again = now_s - self._said_s >= REPEAT_S
        if again:
            self._said_s = now_s
        self._say(outcomes, again)

    def _reconcile(self, outcomes: list[Outcome]) -> None:
        """What begins and what is over, against what is on disk: that is what makes it once."""
        began: list[Rule] = []
        over: list[Rule] = []
        firing = self._standing.firing
        before = {rule for rule, _ in firing}
        changed = False
        for one in outcomes:
            key = one.rule, one.subject
            if one.standing == "firing" and key not in firing:
                firing[key] = Firing(one.since_us, one.text, fingerprint(self._by_id[one.rule]))
                changed = True
            elif one.standing == "ok" and key in firing and boottime_us() >= self._settled_us:
                del firing[key]
                changed = True
        if not changed:
            return
        after = {rule for rule, _ in firing}
        began = [self._by_id[rule] for rule in sorted(after - before)]
        over = [self._by_id[rule] for rule in sorted(before - after)]
        if not self._save_standing() and (began or over):
            self._log.error("orders of %s are not given: they could be given twice",
                            ", ".join(rule.id for rule in (*began, *over)))
            return
        for rule, orders in (*((rule, rule.then) for rule in began), *((rule, rule.back) for rule in over)):
            self._order(rule, orders)

    def _save_standing(self) -> bool:
        try:
            self._standing.save()
        except OSError as error:
            self._log.error("what fires cannot be written down: %s: %s", self._folder, error.strerror)
            return False
        return True

    def _order(self, rule: Rule, orders: list[Order]) -> None:
        for order in orders:
            _, node, name = order.target()
            said = bus.Order(RULES, secrets.token_hex(8), f"rule:{rule.id}", node, name, order.value)
            self._unsent.append((time.monotonic() + UNSENT_S, said))

    def _send_orders(self, now_s: float) -> None:
        while self._unsent:
            until_s, order = self._unsent[0]
            if now_s > until_s:
                self._log.error("%s: %s/%s was not set: uplink did not take it in %.0f s", order.who, order.node,
                                order.property, UNSENT_S)
            elif not self._send(order):
                return
            self._unsent.popleft()

    def _say(self, outcomes: list[Outcome], again: bool) -> None:
        texts = {rule: self._standing.text_of(rule) for rule in self._by_id}
        for rule, text in (dict.fromkeys(self._wanted.rules) | texts).items():
            news = (again and text is not None) or self._raised.get(rule) != text
            if news and self._send(bus.Alert(RULES, f"rule-{rule}", text)):
                self._raised[rule] = text
        shown = messages.encode({
            "version": self._wanted.version, "refused": self.refused,
            "rules": {rule: {"title": self._by_id[rule].title, "firing": text is not None, "text": text or "",
                             "standing": sorted({one.standing for one in outcomes if one.rule == rule})}
                      for rule, text in texts.items()}})
        if again or shown != self._shown:
            self._send(bus.RulesState(RULES, self._wanted.version, self.refused))
        if shown != self._shown:
            self._shown = shown
            with contextlib.suppress(OSError):  # for people; the bus carries what matters
                standing.replace(self._run_dir / "rules.json", shown)

    def _send(self, message: bus.ToUplink) -> bool:
        try:
            self._lane.send(bus.encode(message), zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        return True

    def _log_line(self, level: str, text: str) -> None:
        if level in ("warning", "error"):
            self._send(bus.LogLine(RULES, level, text, boottime_us()))

    def _save_engine(self) -> None:
        try:
            standing.replace(self._folder / ENGINE, self.engine.kept())
            if self._clock.offset().offset_us is not None:
                standing.replace(self._folder / "clock", str(self._now_us()).encode())
        except OSError as error:
            self._log.error("what the rules remember cannot be kept: %s: %s", self._folder, error.strerror)
