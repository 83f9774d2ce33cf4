"""A real uplink process with plugins that speak the real bus, for tests: start, kill -9, feed, read its status."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import zmq

from agent import bus
from agent.api import Property
from agent.clock import boot_id, boottime_us
from agent.wire.messages import NodeDeclaration, PluginDeclaration
from agent.wire.records import Columns
from tests.waiting import until

CHECKOUT = Path(__file__).parents[3]
TOML = """\
[device]
id = "{device}"
data_dir = "{data}"
run_dir = "{run}"
clock = "{clock}"
[mqtt]
host = "127.0.0.1"
port = {port}
keepalive_s = {keepalive}
[spool]
commit_s = {commit_s}
{spool}
[plugins.meter]
use = "power_meter"
"""
RUN = ("import sys; from pathlib import Path; from agent import settings, uplink; "
       "sys.exit(uplink.main(settings.load(Path(sys.argv[1]))))")


class FakePlugin:
    """A plugin's end of the bus: numbered batches, repeated until acknowledged, as the runner does."""

    def __init__(self, run_dir: Path, instance: str = "meter") -> None:
        self.instance, self.run = instance, secrets.token_hex(8)
        self.context: zmq.Context[Any] = zmq.Context()
        self.lane = bus.connect(self.context, run_dir, instance)
        self.n = self.acked = 0
        self.value = 0
        self.waiting: dict[int, bus.Batch] = {}
        self.welcomed: bus.Welcome | None = None
        self.commands: list[bus.Command] = []
        self._sent_s = 0.0
        self._sent = 0
        self.declaration = PluginDeclaration(instance, "power_meter", "Meter", 1.0, (
            NodeDeclaration(instance, "Meter", (Property(name="power_w", datatype="float", unit="W"),)),))

    def hello(self) -> None:
        self._post(bus.Hello(self.instance, self.run, os.getpid(), self.declaration))

    def _post(self, message: bus.ToUplink) -> None:
        try:
            self.lane.send(bus.encode(message), zmq.NOBLOCK)
        except zmq.Again:
            return

    def make(self, samples: int = 10, prio: int = 1, values: list[Any] | None = None) -> None:
        """One more batch of rising whole numbers (every value once)."""
        self.n += 1
        values = values or list(range(self.value, self.value + samples))
        self.value += samples
        now = boottime_us()
        part = bus.Part(prio, {f"{self.instance}/power_w": Columns([now + i for i in range(len(values))], values)})
        self.waiting[self.n] = bus.Batch(self.instance, self.run, self.n, boot_id(), [part])
        if self.welcomed and self._sent == self.n - 1:
            self._send(self.n)

    def _send(self, n: int) -> None:
        self._post(msgspec.structs.replace(self.waiting[n], oldest=min(self.waiting)))
        self._sent = n

    def now(self, value: float) -> None:
        self._post(bus.Now(self.instance, [(self.instance, "power_w", value, boottime_us(), None)]))

    def health(self, state: str = "ok") -> None:
        self._post(bus.Health(self.instance, state, "", 0, boottime_us()))

    def step(self) -> None:
        """Receive, and repeat what is not acknowledged."""
        while self.lane.poll(0):
            message = bus.decode_to_plugin(self.lane.recv(zmq.NOBLOCK))
            match message:
                case bus.Welcome() if message.run == self.run:
                    self.welcomed = message
                    self.acked = max(self.acked, message.committed)
                    self._sent_s = 0.0
                case bus.Ack() if message.run == self.run:
                    self.acked = max(self.acked, message.n)
                case bus.Again():
                    self.welcomed = None
                case bus.Command():
                    self.commands.append(message)
                    self._post(bus.Answer(self.instance, message.id, True, "", message.value))
        for n in [n for n in self.waiting if n <= self.acked]:
            del self.waiting[n]
        if time.monotonic() - self._sent_s > 0.5:
            self._sent_s = time.monotonic()
            if self.welcomed is None:
                self.hello()
            else:
                self._sent = min(self.waiting, default=self.n + 1) - 1
                for n in list(self.waiting)[:50]:
                    self._send(n)

    def wait_acked(self, timeout_s: float = 30.0) -> None:
        def done() -> bool:
            self.step()
            return not self.waiting

        until("all batches acknowledged", done, timeout_s, 0.005)

    def close(self) -> None:
        self.lane.close(0)
        self.context.term()


class Rig:
    """``with Rig(tmp_path, port) as rig``; the process is started with :meth:`start`."""

    def __init__(self, folder: Path, port: int, *, device: str = "rig", commit_s: float = 0.05, spool: str = "",
                 clock: str = "trust", keepalive: int = 10, env: dict[str, str] | None = None) -> None:
        self.device = device
        self.run_dir = Path(tempfile.mkdtemp(prefix="hku-", dir="/tmp"))  # unix sockets need a short path
        self.data = folder / device
        self.toml = folder / f"{device}.toml"
        self.log_path = folder / f"{device}.log"
        self.env = {**os.environ, **(env or {}), "PYTHONPATH": str(CHECKOUT)}
        self.toml.write_text(TOML.format(device=device, data=self.data, run=self.run_dir, port=port, commit_s=commit_s,
                                         spool=spool, clock=clock, keepalive=keepalive))
        self.process: subprocess.Popen[bytes] | None = None
        self.plugins: list[FakePlugin] = []

    def start(self) -> Self:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-c", RUN, str(self.toml)], stderr=log, stdout=log,
                                            stdin=subprocess.DEVNULL, env=self.env, cwd=CHECKOUT)
        return self

    def plugin(self, instance: str = "meter") -> FakePlugin:
        """A plugin that was welcomed."""
        plugin = FakePlugin(self.run_dir, instance)
        self.plugins.append(plugin)

        def welcomed() -> bool:
            plugin.step()
            return plugin.welcomed is not None

        until("a welcome", welcomed, 20)
        return plugin

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def kill9(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)

    def stop(self, timeout_s: float = 15.0) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)

    def status(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self.run_dir / "status.json").read_text()))
        except (OSError, ValueError):
            return {}

    def log(self) -> list[dict[str, Any]]:
        lines = []
        for line in self.log_path.read_text(errors="replace").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                lines.append({"level": "raw", "message": line})
        return lines

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
                 ) -> None:
        for plugin in self.plugins:
            plugin.close()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        if error is not None and self.log_path.exists():
            print(self.log_path.read_text()[-6000:])
        shutil.rmtree(self.run_dir, ignore_errors=True)
