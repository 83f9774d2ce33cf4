"""``hutkeeper-hub run``: all parts, for ever, and none of them left behind."""

from __future__ import annotations

import configparser
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from agent.testing.broker import Broker, free_port, mosquitto_path
from hub import settings, supervision
from hub.ingest import status
from tests.hub.ingest.lab import ROOT
from tests.waiting import until

pytestmark = pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed: apt install mosquitto")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "hub.toml"
    path.write_text(f'[hub]\ndata_dir = "data"\nrun_dir = "run"\n[broker]\nport = {free_port()}\n'
                    f'[web]\nport = {free_port()}\n')
    return path


def start(config: Path) -> subprocess.Popen[bytes]:
    with (config.parent / "log").open("ab") as log:
        return subprocess.Popen([sys.executable, "-m", "hub.cli", "run", "--config", str(config)], cwd=ROOT, stdout=log,
                                stderr=log, start_new_session=True)


def parts(root: subprocess.Popen[bytes]) -> dict[str, psutil.Process]:
    found = {}
    for child in psutil.Process(root.pid).children():
        words = child.cmdline()
        if "--config" in words:
            found[words[words.index("--config") - 1]] = child
    return found


def ingest_ready(config: Path) -> status.Status | None:
    told = status.read(config.parent / "run")
    return told if told is not None and told.state == "ready" and told.connected else None


def test_B58_a_killed_part_comes_back_and_a_killed_parent_leaves_nobody(config: Path) -> None:
    root = start(config)
    try:
        first = until("ingest ready", lambda: ingest_ready(config))
        until("all parts", lambda: set(parts(root)) == {"broker", "ingest", "notify", "web"})
        own = int(Path("/proc/self/oom_score_adj").read_text())
        for name, process in parts(root).items():  # B60: pages first, the broker last
            score = int(Path(f"/proc/{process.pid}/oom_score_adj").read_text())
            assert score == max(own, supervision.OOM.get(name, 0)), name
        os.kill(first.pid, signal.SIGKILL)
        again = until("ingest ready again", lambda: (told := ingest_ready(config)) and told.pid != first.pid and told)
        assert again.term == first.term + 1
        everyone = psutil.Process(root.pid).children(recursive=True)
        assert len(everyone) >= 4  # with the broker's own child
        root.kill()
        root.wait(30)
        until("nobody is left", lambda: not [one for one in everyone if one.is_running()
                                             and one.status() != psutil.STATUS_ZOMBIE])
        # and it can be started at once
        root = start(config)
        last = until("ingest ready", lambda: (told := ingest_ready(config)) and told.pid != again.pid and told)
        assert last.term == again.term + 1
        second = subprocess.run([sys.executable, "-m", "hub.cli", "run", "--config", str(config)], cwd=ROOT,
                                capture_output=True, text=True, timeout=60)
        assert second.returncode == 1 and f"process {root.pid} runs this hub already" in second.stderr
        everyone = psutil.Process(root.pid).children(recursive=True)
        root.send_signal(signal.SIGINT)
        assert root.wait(60) == 0
        assert not [one for one in everyone if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    finally:
        if root.poll() is None:
            root.kill()
            root.wait(30)


def test_a_part_that_cannot_run_is_tried_again_later_and_later(tmp_path: Path) -> None:
    part = supervision.Part("broken", [sys.executable, "-c", "raise SystemExit(7)"])
    waits = []
    for _ in range(9):
        part.due_s = 0.0
        part.look()
        assert part.process is not None
        part.process.wait(30)
        waits.append(part.wait_s)
        part.look()
        assert part.process is None
    assert waits == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_a_broker_elsewhere_is_not_started(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker:
        path = tmp_path / "hub.toml"
        path.write_text(f'[hub]\ndata_dir = "data"\nrun_dir = "run"\n[mqtt]\nhost = "127.0.0.1"\nport = {broker.port}\n'
                        f'[web]\nport = {free_port()}\n')
        root = start(path)
        try:
            until("ingest ready", lambda: ingest_ready(path))
            until("its own parts", lambda: set(parts(root)) == {"ingest", "notify", "web"})
        finally:
            root.terminate()
            root.wait(60)


def test_supervisors_file_names_every_part(config: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "hub.cli", "supervisor-conf", "--config", str(config)], cwd=ROOT,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    file = configparser.RawConfigParser()
    file.read_string(done.stdout)
    assert {name for name in file.sections() if name.startswith("program:")} == {
        f"program:{part}" for part in supervision.parts(settings.load(config))}
    assert str(config) in file["program:ingest"]["command"]
