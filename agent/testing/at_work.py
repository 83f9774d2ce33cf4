"""A plugin on the runner's own worker thread and Io, and everything it has said: ``with at_work(Kind, config)``.

Readings pass the real intake, so what is not as declared fails the test; at the end the plugin has to stop at once.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from agent.api import Node, Plugin, Reading
from agent.bus import Answer, Command
from agent.runner.intake import Intake
from agent.runner.io import RunnerIo, WallOffset
from agent.runner.logs import CappedLog
from agent.runner.worker import Raised, State, Worker, Yield, boottime_us
from agent.testing.actuators import lend_relay
from agent.testing.fakes import Lines

PATIENCE_S = 45.0
"""A bound for a loaded machine, not a measurement."""
STOP_S = 5.0
NOWHERE = Path("/nonexistent")


class AtWork:
    """Made by :func:`at_work`. ``kept`` is what an earlier life left; ``root`` stands for ``/``; ``run_dir`` is where
    the local bus is, for a plugin that listens to others (left out: there is none)."""

    def __init__(self, kind: type[Plugin], config: Any, *, instance: str = "x", kept: dict[str, Any] | None = None,
                 root: Path | None = None, wall_offset_us: WallOffset = lambda: None, run_dir: Path = NOWHERE) -> None:
        self.instance = instance
        self.lines = Lines()
        log = CappedLog(self.lines)
        interval_s = float(getattr(config, "interval_s", None) or kind.interval_s)
        self.worker = Worker(instance, lambda: kind(config), kind(config), interval_s, lambda: None, log)
        self.worker.kept = kept or {}
        io = RunnerIo(self.worker, log, wall_offset_us, run_dir)
        if root is not None:
            io.root = root
        lend_relay(io, kind, config)
        self.worker.io = io
        self.items: list[object] = []
        """Everything in order, as the bus side would get it."""
        self.readings: list[Reading] = []
        self.nodes: dict[str, Node] = {}
        self.raised: list[Raised] = []
        self.states: list[State] = []
        self.answers: dict[str, Answer] = {}
        self.committed: dict[str, Any] = {}
        """``io.kept`` as it went out last: what a power cut leaves."""
        self.commits = True
        """Whether what is collected is on disk (``io.committed``)."""
        self._yields = 0
        self.refused: list[str] = []
        """What the intake did not take as declared."""
        self._intake = Intake(instance, instance, kind(config).declare(), self._refuse, ledger=False)

    def _refuse(self, text: str, *args: object) -> None:
        self.refused.append(text % args if args else text)

    @property
    def alerts(self) -> dict[str, str | None]:
        """The last word on each alert; None: it is over."""
        return {one.alert_id: one.text for one in self.raised}

    @property
    def state(self) -> State:
        return self.states[-1] if self.states else State("ok", "")

    def collect(self) -> list[Reading]:
        """Take in what has come; returns all readings so far."""
        while self.worker.items:
            item = self.worker.items.popleft()
            self.items.append(item)
            if isinstance(item, Yield):
                self._yielded(item)
                self._yields += 1
            elif isinstance(item, Raised):
                self.raised.append(item)
            elif isinstance(item, State):
                self.states.append(item)
            elif isinstance(item, Answer):
                self.answers[item.id] = item
        if self.commits:
            self.worker.safe = self._yields
        return self.readings

    def _yielded(self, item: Yield) -> None:
        if item.kept is not None:
            self.committed = json.loads(item.kept)
        if isinstance(item.what, Reading):
            self.readings.append(item.what)
            self._intake.accept(item.what, item.t_us)
        elif isinstance(item.what, Node):
            self.nodes[item.what.id] = item.what
            self._intake.add_node(item.what)

    def values(self, name: str, node: str | None = None) -> list[Any]:
        """Of one property, in order."""
        return [one.value for one in self.collect() if one.property == name and one.node == node]

    def value(self, name: str, node: str | None = None) -> Any:
        """The newest; None: there is none."""
        return next(reversed(self.values(name, node)), None)

    def until(self, what: str, check: Callable[[], Any], timeout_s: float = PATIENCE_S) -> Any:
        """Wait for a true answer and return it; fails naming what was waited for and what came instead."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self.collect()
            if answer := check():
                return answer
            time.sleep(0.01)
        raise AssertionError(f"{what}: not within {timeout_s:.0f} s, but {self.readings[-8:]} {self.lines.lines} "
                             f"{self.state} {self.alerts}")

    def wait(self, check: Callable[[], Any]) -> Any:
        """:meth:`until` where the check says it all."""
        return self.until("what was waited for", check)

    def order(self, name: str, value: Any, node: str | None = None, wait_s: float = 60.0) -> Answer:
        """Send a command as ``uplink`` does and wait for its answer."""
        id_ = f"c{len(self.answers)}"
        full = self.instance if node is None else f"{self.instance}-{node}"
        self.worker.command(Command(id_, full, name, value, boottime_us() + round(wait_s * 1e6)))
        answer: Answer = self.until(f"the answer to {full}/{name}", lambda: self.answers.get(id_))
        return answer


@contextmanager
def at_work(kind: type[Plugin], config: Any, *, instance: str = "x", kept: dict[str, Any] | None = None,
            root: Path | None = None, wall_offset_us: WallOffset = lambda: None, run_dir: Path = NOWHERE
            ) -> Iterator[AtWork]:
    """Start it, and stop it at the end: it has to stop, leave no thread, and have told only what it declares."""
    before = threading.active_count()
    plugin = AtWork(kind, config, instance=instance, kept=kept, root=root, wall_offset_us=wall_offset_us,
                    run_dir=run_dir)
    plugin.worker.start()
    try:
        yield plugin
    finally:
        plugin.worker.stop()
        plugin.worker.join(STOP_S)
        assert not plugin.worker.is_alive(), f"{kind.name} does not stop"
    plugin.until("its threads ended", lambda: threading.active_count() <= before, STOP_S)
    assert plugin.refused == []
