"""A plugin process: its instances, the wake-up pipe, signals, and an orderly end."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import zmq

from agent import bus, loader
from agent.api import ConfigError, Plugin
from agent.clock import ClockState, boot_id
from agent.guard.pins import stand_in
from agent.runner.endpoint import Endpoint
from agent.runner.io import RunnerIo
from agent.runner.logs import CappedLog, to_stderr
from agent.runner.worker import Worker
from agent.settings import PluginEntry, Settings, plugin_config
from agent.supervision import child
from agent.supervision.heartbeat import Heartbeat, Progress, default_hang_after_s

STOP_S = 0.9
"""What a plugin has to end after SIGTERM."""
FLUSH_S = 1.5
"""Then: until ``uplink`` has acknowledged what was left (its group commit takes a second)."""


class Process:
    """All instances of one process. :meth:`run` returns the exit code: 0 stopped, 1 failed, 2 configuration refused."""

    def __init__(self, settings: Settings, instances: Sequence[str]) -> None:
        self.settings = settings
        self.endpoints: list[Endpoint] = []
        self._contexts = contextlib.ExitStack()
        self._stop = False
        self._broken = False
        self._controls = False
        """One of them drives an actuator."""
        self._pipe, self._pipe_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._zmq: zmq.Context[Any] = zmq.Context.instance()
        self._clock = ClockState(settings.device.clock)
        self._boot = boot_id()
        self._instances = instances
        self._poller = zmq.Poller()

    # --- life -------------------------------------------------------------------------------------------------

    def run(self) -> int:
        try:
            for instance in self._instances:
                self._set_up(self.settings.plugins[instance])
            if not self.endpoints:
                return 2
            if not self._controls:
                child.last_to_go(child.OOM_PLUGIN)
            return self._loop()
        except bus.BusTaken as error:
            print(f"hutkeeper-agent: {error}", file=sys.stderr)
            return 1
        finally:
            self._contexts.close()

    def _thread_died(self, args: threading.ExceptHookArgs) -> None:
        """A thread of a plugin's own (its instance is not known): told, and this process ends and is started anew: it
        would live on deaf or dumb (B64). Without the threads of what is only simulated, nothing is lost."""
        if args.exc_value is None or isinstance(args.exc_value, SystemExit) or not self.endpoints:
            return
        self.endpoints[0].log.crash(args.exc_value)
        if args.thread is None or not args.thread.name.startswith(("simulated", "fake")):
            self._broken = True
            self._wake()

    def stop(self) -> None:
        """From any thread or a signal handler."""
        self._stop = True
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the pipe is full: it wakes all the same
            os.write(self._pipe_in, b"w")

    def _set_up(self, entry: PluginEntry) -> None:
        """One instance; a configuration that is refused is one line and leaves the others alone."""
        run_dir = self.settings.device.run_dir
        try:
            kind = loader.load(entry.use)
            config = plugin_config(entry, kind)
            if entry.simulate and kind.actuator:
                config = msgspec.structs.replace(config, relay=stand_in(config.relay, run_dir, entry.id))
            if entry.simulate:
                config = self._contexts.enter_context(kind.simulate(config))
            plugin = kind(config)
            plugin.declare()
        except ConfigError as error:
            print(f"hutkeeper-agent: {error}", file=sys.stderr)
            return
        run_dir.mkdir(parents=True, exist_ok=True)
        lock = bus.lock(run_dir, f"plugin-{entry.id}")
        self._contexts.callback(os.close, lock)
        interval_s = float(entry.interval_s or getattr(config, "interval_s", None) or kind.interval_s)
        hang_after_s = entry.hang_after_s or default_hang_after_s(interval_s)
        self._controls = self._controls or kind.actuator
        log = CappedLog(to_stderr(entry.id))
        worker = Worker(entry.id, _maker(kind, config), plugin, interval_s, lambda: self._wake_for(entry.id), log)
        log.sinks.append(worker.log_line)
        worker.io = RunnerIo(worker, log, self._offset_us, run_dir, self.settings.path)
        progress = Progress(run_dir, entry.id, hang_after_s)
        self.endpoints.append(Endpoint(
            kind.name, plugin, worker, log, progress, self._zmq, run_dir, self._boot, simulated=entry.simulate,
            hang_after_s=hang_after_s, clock_offset_us=self._offset_us))

    def _offset_us(self) -> int | None:
        return self._clock.offset().offset_us

    def _wake_for(self, instance: str) -> None:
        for endpoint in self.endpoints:
            if endpoint.instance == instance and (endpoint.wants_wake or endpoint.worker.over):
                self._wake()

    # --- the loop ---------------------------------------------------------------------------------------------

    def _loop(self) -> int:
        on_main = threading.current_thread() is threading.main_thread()
        heartbeat = Heartbeat()
        if on_main:
            signal.set_wakeup_fd(self._pipe_in, warn_on_full_buffer=False)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, lambda *_: self.stop())
            heartbeat.start()
            threading.excepthook = self._thread_died
        poller = self._poller
        poller.register(self._pipe, zmq.POLLIN)
        for endpoint in self.endpoints:
            poller.register(endpoint.lane, zmq.POLLIN)
        try:
            while not self._stop:
                code = self._ended()
                if code is not None:
                    return code
                for endpoint in self.endpoints:
                    endpoint.step()
                due = min(endpoint.due_s() for endpoint in self.endpoints)
                poller.poll(max(0, int((due - time.monotonic()) * 1000 + 0.999)))
                self._empty_pipe()
                if on_main:
                    heartbeat.beat()
            return 0
        finally:
            self._end()
            if on_main:
                heartbeat.stop()
                signal.set_wakeup_fd(-1)

    def _empty_pipe(self) -> None:
        try:
            while os.read(self._pipe, 4096):
                pass
        except BlockingIOError:
            pass
        for endpoint in self.endpoints:
            endpoint.woken()

    def _ended(self) -> int | None:
        """The exit code when nothing is left to run, or when a thread of ours broke (B64)."""
        if self._broken:
            return 1
        for endpoint in list(self.endpoints):
            if endpoint.worker.broken is not None:
                return 1
            if endpoint.worker.refused is not None:
                print(f"hutkeeper-agent: {endpoint.instance}: {endpoint.worker.refused}", file=sys.stderr)
                endpoint.flush()
                self._poller.unregister(endpoint.lane)
                endpoint.close("failed", endpoint.worker.refused)
                self.endpoints.remove(endpoint)
        return None if self.endpoints else 2

    def _end(self) -> None:
        """Stop the plugins, then hand over what they gave, then say goodbye."""
        for endpoint in self.endpoints:
            endpoint.worker.stop()
        deadline = time.monotonic() + STOP_S
        for endpoint in self.endpoints:
            if endpoint.worker.ident is not None:
                endpoint.worker.join(max(0.0, deadline - time.monotonic()))
                if endpoint.worker.is_alive():
                    endpoint.log.warning("the plugin did not end within a second of being asked")
            endpoint.flush()
        deadline = time.monotonic() + FLUSH_S
        while any(e.welcomed and not e.empty for e in self.endpoints) and time.monotonic() < deadline:
            self._poller.poll(100)
            for endpoint in self.endpoints:
                endpoint.receive_and_send()
        for endpoint in self.endpoints:
            endpoint.close("disabled", "stopped")


def _maker(kind: type[Plugin], config: Any) -> Callable[[], Plugin]:
    return lambda: kind(config)
