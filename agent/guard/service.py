"""``hutkeeper-agent guard ID``: the process. One poll loop on one thread; it imports no library but msgspec.

Started twice (by supervisord and by a control loop that found its guard mute), the second waits for the lock, and kills
a holder that stands still. So there is always one that moves the pins, and the next one is ready.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import sys
import time

import msgspec

from agent import loader
from agent.api import AnyRelay, ConfigError, Duty
from agent.guard import pins, wire
from agent.guard.drive import Driver
from agent.guard.hardware import HardwareWatchdog
from agent.guard.keeper import Keeper
from agent.settings import PluginEntry, Settings, plugin_config
from agent.supervision.heartbeat import Heartbeat, Progress
from agent.supervision.plan import GUARD_HANG_S

log = logging.getLogger("guard")

TICK_S = 1.0
STANDBY_S = 0.5
HANG_S = 10.0


def boottime_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def wiring(settings: Settings, entry: PluginEntry) -> tuple[AnyRelay, Duty]:
    """What agent.toml says of an actuator. Raises ConfigError."""
    kind = loader.load(entry.use)
    if not kind.actuator:
        raise ConfigError(f"{entry.id}: {entry.use} switches nothing, so it has no guard")
    config = plugin_config(entry, kind)
    relay: AnyRelay = config.relay
    if entry.simulate:
        relay = pins.stand_in(relay, settings.device.run_dir, entry.id)
    return relay, kind.duty(config)


class Guard:
    """One actuator. :meth:`run` returns the exit code."""

    def __init__(self, settings: Settings, instance: str) -> None:
        entry = settings.plugins[instance]
        self._relay, self._duty = wiring(settings, entry)
        self._instance = instance
        self._run_dir = settings.device.run_dir
        self._lock = wire.GuardLock(self._run_dir, instance)
        self._told = wire.Told(settings.device.data_dir, instance)
        self._hardware = HardwareWatchdog(settings.device.hardware_watchdog, self._run_dir)
        self._client: socket.socket | None = None
        self._last: tuple[object, ...] = ()
        self._stop = False

    def stop(self, *_: object) -> None:
        self._stop = True

    def run(self) -> int:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)
        wakeup, wakeup_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wakeup_in, warn_on_full_buffer=False)
        try:
            self._run_dir.mkdir(parents=True, exist_ok=True)
            if not self._wait_for_the_lock(wakeup):
                return 0
        except OSError as error:
            return self._off_and_end(error)
        heartbeat = Heartbeat(limit_s=HANG_S)
        heartbeat.start()
        progress: Progress | None = None
        with contextlib.suppress(OSError):  # a full disk: others cannot see that it moves, but it moves
            progress = Progress(self._run_dir, wire.progress_name(self._instance), GUARD_HANG_S)
        self._keeper = self._kept()
        self._keeper.look(boottime_us())  # OFF before anything else
        try:
            listening = self._listen()
        except OSError as error:
            return self._off_and_end(error)
        try:
            while not self._stop:
                self._wait(listening, wakeup)
                heartbeat.beat()
                if progress is not None:
                    progress.touch()
                self._hardware.feed()
                if self._lock.replaced():
                    log.error("guard %s: its lock in %s was deleted: another guard may have the relay; OFF and out",
                              self._instance, self._run_dir)
                    return 1
            return 0
        finally:
            self._keeper.off(boottime_us())
            self._keeper.close()
            self._hardware.close()
            heartbeat.stop()
            listening.close()

    # --- starting -------------------------------------------------------------------------------------------

    def _kept(self) -> Keeper:
        return Keeper(self._instance, self._duty, boottime_us(),
                      open_driver=lambda: Driver(self._relay, pins.open_pins(self._relay, active=self._keeps_on())),
                      told=self._told.read() if self._duty.kind == "hold" else None, remember=self._remember)

    def _keeps_on(self) -> bool:
        return self._keeper.holds

    def _off_and_end(self, error: OSError) -> int:
        """No place for lock or socket (full, read-only): a heater is OFF all the same. OFF needs no right: the kernel
        gives a line of a living guard to nobody else, and the only word said here is OFF."""
        log.error("guard %s: %s: %s: make room, or make it writable; until then the heater is OFF", self._instance,
                  self._run_dir, error.strerror)
        if self._duty.kind == "heat":
            self._keeper = self._kept()
            self._keeper.look(boottime_us())
            self._keeper.close()
        return 1

    def _wait_for_the_lock(self, wakeup: int) -> bool:
        """False: stopped meanwhile."""
        told = False
        since_s = time.monotonic()
        while not self._lock.take():
            if not told:
                told = True
                log.info("guard %s: process %s has the relay, waiting for it", self._instance, self._lock.holder())
            if time.monotonic() - since_s > STANDBY_S and wire.stands_still(self._run_dir, self._instance):
                wire.kill(self._lock.holder(), self._instance, self._lock)
            select.select([wakeup], [], [], STANDBY_S)
            if self._stop:
                return False
        return True

    def _listen(self) -> socket.socket:
        path = wire.socket_path(self._run_dir, self._instance)
        path.unlink(missing_ok=True)  # the lock is ours, so whoever made it is gone
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        before = os.umask(0o177)
        try:
            listening.bind(os.fspath(path))
        finally:
            os.umask(before)
        listening.listen(4)
        return listening

    def _remember(self, on: bool) -> None:
        try:
            self._told.write(on)
        except OSError as error:
            log.error("guard %s: where it was told to be is not kept (%s): after a restart it may stand elsewhere",
                      self._instance, error.strerror)

    # --- the loop -------------------------------------------------------------------------------------------

    def _wait(self, listening: socket.socket, wakeup: int) -> None:
        due_us = self._keeper.due_us
        wait_s = TICK_S if due_us is None else min(TICK_S, max(0.0, (due_us - boottime_us()) / 1e6))
        readable: list[int | socket.socket] = [listening, wakeup, *([self._client] if self._client is not None else [])]
        ready = select.select(readable, [], [], wait_s)[0]
        if listening in ready:
            with contextlib.suppress(OSError):
                self._accept(listening.accept()[0])
        if self._client is not None and self._client in ready:
            self._receive()
        self._say(self._keeper.look(boottime_us()))

    def _accept(self, client: socket.socket) -> None:
        """The newest control is the right one: an older one is an orphan, or has hung up."""
        client.setblocking(False)
        if self._client is not None:
            self._client.close()
        self._client = client
        self._last = ()

    def _receive(self) -> None:
        assert self._client is not None
        try:
            data = self._client.recv(wire.MAX_PACKET)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        now_us = boottime_us()
        if not data:
            self._client.close()
            self._client = None
            self._say(self._keeper.gone(now_us))
            return
        try:
            ask = wire.decode_ask(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.warning("guard %s: control said what cannot be read: %s", self._instance, error)
            return
        self._keeper.ask(ask, now_us)
        self._last = ()  # every word is answered, that is how control knows we live

    def _say(self, state: msgspec.Struct) -> None:
        now = msgspec.structs.astuple(state)[:-1]
        if now[3] and now[3] != (self._last[3] if self._last else getattr(self, "_told_fault", "")):
            log.error("guard %s: %s", self._instance, now[3])
        self._told_fault = now[3]
        if self._client is None or now == self._last:
            return
        self._last = now
        try:
            self._client.send(wire.encode(state))
        except BlockingIOError:
            self._last = ()  # it does not read; what holds now is told when it does
        except OSError:
            return  # it hung up: the next receive says so


def main(settings: Settings, instance: str) -> int:
    """Exit code 0 stopped, 2 configuration refused."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    return Guard(settings, instance).run()
