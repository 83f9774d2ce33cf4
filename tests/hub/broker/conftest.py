from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.testing.broker import free_port
from hub.broker import Keeper, Plan
from hub.broker.child import find_mosquitto

needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed (apt)")

MAIN = """
import sys
from pathlib import Path
from hub import broker, settings
broker.main(settings.load(Path(sys.argv[1])))
"""


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Callable[..., Keeper]]:
    """Makes keepers whose brokers are stopped at the end; their log is in ``keeper.lines``."""
    made: list[Keeper] = []

    def make(**changes: object) -> Keeper:
        lines: list[str] = []
        plan = Plan(**{"state_dir": tmp_path / "broker", "run_dir": tmp_path / "run", "port": free_port(),  # type: ignore[arg-type]
                       **changes})
        one = Keeper(plan, lines.append)
        one.lines = lines  # type: ignore[attr-defined]
        made.append(one)
        return one

    yield make
    for one in made:
        one.stop()


class Process:
    """``hub.broker.main`` in a process of its own, as supervisord runs it."""

    def __init__(self, toml: Path) -> None:
        self.log = toml.with_suffix(".log")
        with self.log.open("ab") as out:
            self.process = subprocess.Popen([sys.executable, "-c", MAIN, str(toml)], stdout=out, stderr=out,
                                            stdin=subprocess.DEVNULL)

    def wait_for(self, text: str, timeout_s: float = 60.0, times: int = 1) -> str:
        """The log once it holds ``text`` that many times."""
        deadline = time.monotonic() + timeout_s
        while (log := self.log.read_text()).count(text) < times:
            assert time.monotonic() < deadline, f"no {text!r} in the log:\n{log}"
            time.sleep(0.02)
        return log


@pytest.fixture
def broker_process(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    made: list[Process] = []

    def make(toml: str, name: str = "hub.toml") -> Process:
        path = tmp_path / name
        path.write_text(toml)
        made.append(Process(path))
        return made[-1]

    yield make
    for one in made:
        if one.process.poll() is None:
            one.process.terminate()
        one.process.wait(30)
