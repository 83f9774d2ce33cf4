"""A whole house for tests: the real hub with its real broker and real agents, as the README's commands start them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from agent.testing.broker import free_port
from tests.waiting import until as until

BIN = Path(sys.executable).parent
PLUGINS = Path(__file__).parent / "house_plugins"
"""Plugins that only tests use, installed for the child processes as a third party's would be (entry points)."""

HUB = """\
[hub]
name = "Test house"
data_dir = "{data}/hub"
run_dir = "{run}/h"
[broker]
port = {mqtt}
[web]
host = "127.0.0.1"
port = {web}
"""

AGENT = """\
[device]
id = "{device}"
name = "{device}"
data_dir = "{data}/{device}"
run_dir = "{run}/{device}"
clock = "trust"
[mqtt]
host = "127.0.0.1"
port = {mqtt}
"""


class House:
    """One hub and any number of agents in a folder of their own; a context manager that leaves no process behind."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.run = Path(tempfile.mkdtemp(prefix="hk-", dir="/tmp"))  # unix sockets need a short path
        self.mqtt, self.web = free_port(), free_port()
        self.hub_toml = data / "hub.toml"
        self.hub_toml.write_text(HUB.format(data=data, run=self.run, mqtt=self.mqtt, web=self.web))
        self.roots: dict[str, subprocess.Popen[bytes]] = {}
        self.env = {**os.environ, "PYTHONPATH": str(PLUGINS), "PYTHONDONTWRITEBYTECODE": "1"}

    def __enter__(self) -> House:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.web}"

    def agent_toml(self, device: str, plugins: str) -> Path:
        path = self.data / f"{device}.toml"
        path.write_text(AGENT.format(device=device, data=self.data, run=self.run, mqtt=self.mqtt) + plugins)
        return path

    def start(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        log = self.data / f"{name}.log"
        with log.open("ab") as out:
            process = subprocess.Popen([str(BIN / command[0]), *command[1:]], env=self.env, stdin=subprocess.DEVNULL,
                                       stdout=out, stderr=out, start_new_session=True)
        self.roots[name] = process
        return process

    def start_hub(self) -> None:
        self.start("hub", "hutkeeper-hub", "run", "--config", str(self.hub_toml))

    def start_agent(self, device: str, plugins: str) -> Path:
        path = self.agent_toml(device, plugins)
        self.start(device, "hutkeeper-agent", "run", "--config", str(path))
        return path

    def stop(self, name: str, timeout_s: float = 20.0) -> int:
        """SIGTERM to one root; returns its exit code."""
        process = self.roots[name]
        if process.poll() is None:
            process.terminate()
        return process.wait(timeout_s)

    def processes(self) -> Iterator[psutil.Process]:
        """Every process below the roots, and orphans of theirs (they carry this house's folder in their arguments)."""
        seen = set()
        for process in self.roots.values():
            with contextlib.suppress(psutil.Error):
                root = psutil.Process(process.pid)
                for child in (root, *root.children(recursive=True)):
                    seen.add(child.pid)
                    yield child
        for other in psutil.process_iter(["cmdline"]):
            line = " ".join(other.info["cmdline"] or ())
            if other.pid not in seen and (str(self.data) in line or str(self.run) in line) and other.pid != os.getpid():
                yield other

    def find(self, *words: str) -> list[psutil.Process]:
        """Processes whose argument list holds all the words, in their order."""
        found = []
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                line = [Path(word).name for word in process.cmdline()]
                places = [line.index(word) for word in words if word in line]
                if len(places) == len(words) and places == sorted(places):
                    found.append(process)
        return found

    def command(self, *words: str, timeout_s: float = 60.0) -> Any:
        """Run one of our commands with ``--json`` and give what it printed."""
        done = subprocess.run([str(BIN / words[0]), *words[1:], "--json"], env=self.env, capture_output=True, text=True,
                              timeout=timeout_s)
        assert done.returncode == 0, f"{' '.join(words)}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def command_fails(self, *words: str, timeout_s: float = 60.0) -> str:
        """Run one of our commands that is to fail, and give what it said on stderr."""
        done = subprocess.run([str(BIN / words[0]), *words[1:]], env=self.env, capture_output=True, text=True,
                              timeout=timeout_s)
        assert done.returncode != 0, f"{' '.join(words)}: did not fail\n{done.stdout}"
        return done.stderr

    def ledger(self, device: str) -> list[dict[str, Any]]:
        if not (self.data / "hub" / "samples.db").exists():
            return []
        rows = self.command("hutkeeper-hub", "ledger", "--config", str(self.hub_toml))
        return [row for row in rows if row["device"] == device]

    def close(self) -> None:
        for process in self.roots.values():
            if process.poll() is None:
                process.terminate()
        for process in self.roots.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
        for left in list(self.processes()):
            with contextlib.suppress(psutil.Error):
                os.kill(left.pid, signal.SIGKILL)
        for process in self.roots.values():
            process.wait(5)
        shutil.rmtree(self.run, ignore_errors=True)
