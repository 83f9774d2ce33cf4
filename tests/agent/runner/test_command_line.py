"""`hutkeeper-agent plugin ID` as supervision starts it: what it imports, how it ends, what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import bus

from .bus_end import BusEnd
from .parts import Running, Streaming, settings_for

CODE = '''
import json, os, sys, threading, time
from msgspec import Struct
from agent.api import Plugin, Property, Reading
class Config(Struct, forbid_unknown_fields=True):
    hang: bool = False
class Quiet(Plugin, name="quiet"):
    Config = Config
    interval_s = 60.0
    properties = (Property(name="modules", datatype="json"), Property(name="level", datatype="float"))
    def poll(self, io):
        yield Reading("level", 1.0)
        yield Reading("modules", sorted(sys.modules))
        if self.config.hang:
            while True:
                try:
                    time.sleep(1000)
                except BaseException:
                    pass
'''
TOO_HEAVY = {"asyncio", "click", "paho", "difflib", "flask", "sqlite3", "serial", "ssl", "http", "unittest", "psutil"}
"""A plugin process stays near the cost of Python with pyzmq and msgspec; each of these is MiB on every plugin."""
RSS_MAX_KIB = 32 * 1024


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hk", dir="/tmp") as made:  # unix sockets need a short path
        path = Path(made)
        info = path / "quiet-1.dist-info"
        info.mkdir()
        (path / "quiet_plugin.py").write_text(CODE)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: quiet\nVersion: 1\n")
        (info / "entry_points.txt").write_text("[hutkeeper.plugins]\nquiet = quiet_plugin:Quiet\n")
        yield path


def start(folder: Path, *instances: str) -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": str(folder)}
    command = [str(Path(sys.executable).parent / "hutkeeper-agent"), "plugin", *instances, "--config",
               str(folder / "agent.toml")]
    return subprocess.Popen(command, env=env, stderr=subprocess.PIPE)


def rss_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


def test_a_quiet_plugin_is_light_and_ends_when_it_is_asked(folder: Path) -> None:
    settings_for(folder, "[plugins.quiet]\n")
    with BusEnd(folder / "run") as end:
        process = start(folder, "quiet")
        try:
            samples = end.until("samples", lambda: end.samples("quiet/modules"))
            assert not TOO_HEAVY & {name.split(".")[0] for name in samples[0][1]}
            assert rss_kib(process.pid) <= RSS_MAX_KIB
            assert (folder / "run" / "progress" / "quiet").read_text().split() == [str(process.pid), "180"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
            end.until("its last word", lambda: end.of(bus.Health)[-1].state == "disabled")
        finally:
            process.kill()
            process.communicate()


def test_a_hanging_plugin_does_not_hold_the_end_and_what_it_gave_arrives(folder: Path) -> None:
    settings_for(folder, "[plugins.quiet]\nhang = true\n")
    with BusEnd(folder / "run") as end:
        process = start(folder, "quiet")
        try:
            end.until("value", lambda: end.of(bus.Now))
            process.send_signal(signal.SIGTERM)
            _, errors = process.communicate(timeout=10)
            assert process.returncode == 0 and b"did not end within a second" in errors
            assert [value for _, value, _ in end.samples("quiet/level")] == [1.0]
        finally:
            process.kill()
            process.communicate()


def test_a_wrong_section_is_exit_2_and_one_line_that_names_the_key(folder: Path) -> None:
    settings_for(folder, "[plugins.quiet]\nhangg = true\n")
    process = start(folder, "quiet")
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    line = errors.decode()
    assert line.count("\n") == 1 and "plugins.quiet.hangg: unknown key, did you mean hang?" in line


def test_B64_a_thread_that_is_dead_ends_the_process(monkeypatch: Any, folder: Path) -> None:
    """An exception that is no Exception takes the plugin's thread: the socket lives on and nothing moves."""
    released = threading.Event()

    def body(io: Any) -> Iterator[Any]:
        released.wait(20)
        raise SystemExit("a library called sys.exit")
        yield

    Streaming.body = staticmethod(body)  # type: ignore[assignment]
    with BusEnd(folder / "run") as end:
        running = Running(monkeypatch, settings_for(folder, '[plugins.x]\nuse = "streaming"\n'), "x")
        with running:
            end.until("health", lambda: end.of(bus.Health))
            released.set()
            running._thread.join(20)
            assert running.code == 1


def test_what_is_kept_is_one_json_document(folder: Path) -> None:
    """Other programs (backup, salvage) may read it: it stays JSON."""
    settings_for(folder, "[plugins.quiet]\n")
    kept = json.dumps({"boot": "0" * 32, "plugin": {"a": 1}, "counters": {"quiet/gone": {"offset": 0, "high": 5}}})
    with BusEnd(folder / "run", kept=kept.encode()) as end:
        process = start(folder, "quiet")
        try:
            state = end.until("kept", lambda: end.batches and end.batches[0].kept)
            assert json.loads(state)["plugin"] == {"a": 1}
            assert json.loads(state)["counters"] == {"quiet/gone": {"offset": 0, "high": 5}}
        finally:
            process.terminate()
            process.communicate(timeout=10)
