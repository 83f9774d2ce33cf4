"""One actuator as on a device: the real ``guard`` and ``plugin`` processes on pin files that outlive them, a simulated
relay behind the pins, and this process as their uplink on the real bus: what the others say, what is kept, commands."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import zmq

from agent import bus
from agent.api import LatchingRelay, PlainRelay
from agent.runner.worker import boottime_us
from agent.simrelay import SimRelay
from tests.waiting import until

AGENT = Path(sys.executable).with_name("hutkeeper-agent")
HEAD = """\
[device]
id = "bench"
data_dir = "{folder}/data"
run_dir = "{run}"
clock = "trust"
[mqtt]
host = "127.0.0.1"
port = 9          # discard: nobody listens
[plugins.{instance}]
use = "{use}"
"""


class Bench:
    """A context manager that leaves no process behind. ``more`` are further lines of the plugin's table."""

    def __init__(self, folder: Path, use: str, more: str, *, latching: bool = True, instance: str = "it") -> None:
        self.instance = instance
        self.run_dir = Path(tempfile.mkdtemp(prefix="hk-act-", dir="/tmp"))  # unix sockets need a short path
        self.relay: LatchingRelay | PlainRelay
        pin = lambda name: f"sim:{folder / name}"  # noqa: E731
        if latching:
            self.relay = LatchingRelay(set_line=pin("set"), reset_line=pin("reset"), probe_line=pin("probe"),
                                       pulse_ms=30)
            lines = (f'{{ driver = "latching", set_line = "{pin("set")}", reset_line = "{pin("reset")}", '
                     f'probe_line = "{pin("probe")}", pulse_ms = 30 }}')
        else:
            self.relay = PlainRelay(line=pin("line"))
            lines = f'{{ driver = "plain", line = "{pin("line")}" }}'
        self.contact = SimRelay(self.relay)
        self.toml = folder / "agent.toml"
        self.toml.write_text(HEAD.format(folder=folder, run=self.run_dir, instance=instance, use=use)
                             + f"relay = {lines}\n{more}")
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.said: dict[str, Any] = {}
        """The newest value of each property."""
        self.alerts: dict[str, str | None] = {}
        self.kept: bytes | None = None
        self._answers: dict[str, bus.Answer] = {}
        self._committed: dict[str, int] = {}
        self._jobs: deque[Callable[[], None]] = deque()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="bench-uplink", daemon=True)

    def __enter__(self) -> Self:
        self.contact.__enter__()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait(10)
        self._stop.set()
        self._thread.join(10)
        self.contact.__exit__(None, None, None)
        shutil.rmtree(self.run_dir, ignore_errors=True)

    # --- processes --------------------------------------------------------------------------------------------

    def start(self, *names: str) -> None:
        for name in names:
            self.processes[name] = subprocess.Popen([str(AGENT), name, self.instance, "--config", str(self.toml)],
                                                    env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"})

    def kill(self, *names: str, by: signal.Signals = signal.SIGKILL) -> None:
        for name in names:
            self.processes[name].send_signal(by)
        if by != signal.SIGSTOP:
            for name in names:
                self.processes.pop(name).wait(10)

    # --- the bus ----------------------------------------------------------------------------------------------

    def tell(self, node: str, name: str, value: Any, *, device: str | None = None, age_s: float = 0.0) -> None:
        """A reading of another plugin, of this device or of another one."""
        if device is None:
            now = bus.Now(node, [(node, name, value, boottime_us() - round(age_s * 1e6), None)])
            frames = [f"now/{node}".encode(), bus.encode(now)]
        else:
            frames = [f"live/{device}/{node}".encode(), bus.encode(bus.Remote(device, node, name, value, age_s, None))]
        self._jobs.append(lambda: self._fan.send_multipart(frames))

    def order(self, name: str, value: Any) -> bus.Answer:
        """A command, and its answer."""
        id_ = f"c{len(self._answers)}"
        command = bus.Command(id_, self.instance, name, value, boottime_us() + 30_000_000)
        self._jobs.append(lambda: self._lane.send_multipart([self.instance.encode(), bus.encode(command)]))
        answer: bus.Answer = until(f"an answer to {name}", lambda: self._answers.get(id_))
        return answer

    def until(self, what: str, check: Callable[[], Any], timeout_s: float = 45.0) -> Any:
        return until(what, check, timeout_s, found=lambda: f"{self.said} {self.alerts}")

    def kept_has(self, key: str, **wanted: Any) -> bool:
        there = json.loads(self.kept or b"{}").get("plugin", {}).get(key)
        return isinstance(there, dict) and wanted.items() <= there.items()

    def _serve(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._lane, self._fan = bus.bind(context, self.run_dir)
        try:
            while not self._stop.is_set():
                while self._jobs:
                    with contextlib.suppress(zmq.ZMQError):  # nobody is connected: the test waits for what follows
                        self._jobs.popleft()()
                if self._lane.poll(10):
                    who, data = self._lane.recv_multipart()
                    self._take(who, bus.decode_to_uplink(data))
        finally:
            context.destroy(0)

    def _take(self, who: bytes, message: bus.ToUplink) -> None:
        answer: bus.ToPlugin | None = None
        if isinstance(message, bus.Hello):
            answer = bus.Welcome(message.run, self._committed.get(message.run, 0), self.kept)
        elif isinstance(message, bus.Batch):
            self.kept = self.kept if message.kept is None else message.kept
            self._committed[message.run] = message.n
            answer = bus.Ack(message.run, message.n)
        elif isinstance(message, bus.Now):
            for _, name, value, _, _ in message.values:
                self.said[name] = value
        elif isinstance(message, bus.Alert):
            self.alerts[message.id] = message.text
        elif isinstance(message, bus.Answer):
            self._answers[message.id] = message
        if answer is not None:
            with contextlib.suppress(zmq.ZMQError):
                self._lane.send_multipart([who, bus.encode(answer)])
