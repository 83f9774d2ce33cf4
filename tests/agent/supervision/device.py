"""One device for these tests: the real ``hutkeeper-agent run`` with stand-in plugins, in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

from agent.supervision import rpc
from tests.waiting import until

AGENT = Path(sys.executable).with_name("hutkeeper-agent")
STAND_INS = Path(__file__).parent / "stand_ins"
HEAD = """\
[device]
id = "bench"
data_dir = "{folder}/data"
run_dir = "{run}"
clock = "trust"
[mqtt]
host = "127.0.0.1"
port = 9          # discard: nobody listens
"""


class Device:
    """A context manager that leaves no process behind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run_dir = Path(tempfile.mkdtemp(prefix="hk-sup-", dir="/tmp"))  # unix sockets need a short path
        self.toml = folder / "agent.toml"
        self.root: subprocess.Popen[bytes] | None = None
        self.env = {**os.environ, "PYTHONPATH": str(STAND_INS), "PYTHONDONTWRITEBYTECODE": "1"}

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        if self.root is not None and self.root.poll() is None:
            self.root.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.root.wait(20)
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        if self.root is not None:
            self.root.wait(5)
        shutil.rmtree(self.run_dir, ignore_errors=True)

    def write(self, plugins: str) -> None:
        self.toml.write_text(HEAD.format(folder=self.folder, run=self.run_dir) + plugins)

    def start(self) -> None:
        with (self.folder / "run.log").open("ab") as out:
            self.root = subprocess.Popen([str(AGENT), "run", "--config", str(self.toml)], env=self.env,
                                         stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)

    def stop(self, signum: signal.Signals = signal.SIGTERM) -> int:
        assert self.root is not None
        self.root.send_signal(signum)
        return self.root.wait(25)

    def states(self) -> dict[str, tuple[str, int]]:
        """Program -> (state, pid); empty while supervisord does not answer."""
        try:
            infos = rpc.call(self.run_dir / "supervisor.sock", "supervisor.getAllProcessInfo")
        except rpc.RpcFailed:
            return {}
        return {info["name"]: (info["statename"], info["pid"]) for info in infos}

    def supervisord(self) -> int:
        """Its pid; waits until it has one and answers."""
        until("supervisord", self.states)
        return int((self.run_dir / "supervisord.pid").read_text())

    def log(self, name: str) -> str:
        path = self.folder / "data/log" / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def diary(self, name: str) -> list[tuple[int, float, str]]:
        """(pid, monotonic seconds, note) of each start of a stand-in."""
        path = self.folder / f"{name}.diary"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(pid), float(at), note) for pid, at, note in (line.split(" ", 2) for line in lines)]

    def processes(self) -> list[psutil.Process]:
        """Everything that carries this device's folders in its arguments."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            if (str(self.toml) in line or str(self.run_dir) in line) and process.pid != os.getpid():
                found.append(process)
        return found

    def stand_in(self, name: str, habit: str, **more: object) -> str:
        """An agent.toml section. ``enabled`` and what else belongs to the agent may be among ``more``."""
        lines = [f"[plugins.{name}]", 'use = "stand_in"', f'habit = "{habit}"',
                 f'diary = "{self.folder}/{name}.diary"']
        lines += [f"{key} = {str(value).lower() if isinstance(value, bool | int | float) else repr(value)}"
                  for key, value in more.items()]
        return "\n".join(lines) + "\n"
