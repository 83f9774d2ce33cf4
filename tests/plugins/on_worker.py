"""A plugin on the runner's own worker thread and Io: what it has yielded so far, and waiting for more."""

from __future__ import annotations

import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from agent.api import Node, Plugin, Reading
from agent.runner.intake import Intake
from agent.runner.io import RunnerIo
from agent.runner.logs import CappedLog
from agent.runner.worker import Raised, State, Worker, Yield
from agent.testing import Lines
from tests.waiting import until


class OnWorker:
    """Readings pass the real intake: what it refuses is in ``refused``."""

    def __init__(self, kind: type[Plugin], config: Any, root: Path = Path("/nonexistent")) -> None:
        self.lines = Lines()
        log = CappedLog(self.lines)
        interval_s = float(getattr(config, "interval_s", None) or kind.interval_s)
        self.worker = Worker("x", lambda: kind(config), kind(config), interval_s, lambda: None, log)
        io = RunnerIo(self.worker, log, lambda: None, Path("/nonexistent"))
        io.root = root  # type: ignore[misc]
        self.worker.io = io
        self.refused: list[str] = []
        self._intake = Intake("x", "x", kind(config).declare(), lambda text, *args: self.refused.append(text % args),
                              ledger=False)
        self.readings: list[Reading] = []
        self.nodes: dict[str, Node] = {}
        self.alerts: defaultdict[str, str | None] = defaultdict(str)
        """Empty: neither raised nor resolved yet. A plugin tells its readings first: wait for what it should be."""
        self.state = State("ok", "")

    def collect(self) -> list[Reading]:
        while self.worker.items:
            item = self.worker.items.popleft()
            if isinstance(item, Yield) and isinstance(item.what, Reading):
                self.readings.append(item.what)
                self._intake.accept(item.what, item.t_us)
            elif isinstance(item, Yield) and isinstance(item.what, Node):
                self.nodes[item.what.id] = item.what
                self._intake.add_node(item.what)
            elif isinstance(item, Raised):
                self.alerts[item.alert_id] = item.text
            elif isinstance(item, State):
                self.state = item
        return self.readings

    def values(self, name: str, node: str | None = None) -> list[Any]:
        self.collect()
        return [reading.value for reading in self.readings if reading.property == name and reading.node == node]

    def last(self, name: str, node: str | None = None) -> Any:
        return next(reversed(self.values(name, node)), None)

    def until(self, what: str, check: Callable[[], Any]) -> Any:
        def collected() -> Any:
            self.collect()
            return check()

        return until(what, collected, every_s=0.01, found=lambda: (self.readings[-8:], self.lines.lines, self.state))


@contextlib.contextmanager
def on_worker(kind: type[Plugin], config: Any, root: Path = Path("/nonexistent")) -> Iterator[OnWorker]:
    """Runs, and fails with a back-off that begins at a tenth of a second; at the end it stopped within a second or so,
    left no thread, and every reading was as declared."""
    with patch("agent.runner.worker.FIRST_DELAY_S", 0.1):
        yield from _on_worker(kind, config, root)


def _on_worker(kind: type[Plugin], config: Any, root: Path) -> Iterator[OnWorker]:
    before = threading.active_count()
    plugin = OnWorker(kind, config, root)
    plugin.worker.start()
    try:
        yield plugin
    finally:
        plugin.worker.stop()
        plugin.worker.join(5)
        assert not plugin.worker.is_alive()
    plugin.collect()
    assert plugin.refused == []
    until("threads of the plugin ended", lambda: threading.active_count() <= before, 5)
