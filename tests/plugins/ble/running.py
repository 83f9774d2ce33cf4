"""The plugin on the runner's own worker, over the real bleak and a simulated BlueZ on a private bus."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agent.api import Node, Reading
from agent.runner.io import RunnerIo
from agent.runner.logs import CappedLog
from agent.runner.worker import Raised, State, Worker, Yield
from agent.testing import Lines
from plugins.ble.plugin import Ble
from plugins.ble.settings import BleConfig, Device
from plugins.ble.simulate import SimulatedRadio
from tests.waiting import until

TAG = "C4:7C:8D:6A:11:07"
NAMED = {"tag": Device(address=TAG)}


class Running:
    """A plugin at work, and everything it has said so far."""

    def __init__(self, config: BleConfig) -> None:
        self.lines = Lines()
        log = CappedLog(self.lines)
        self.worker = Worker("ble", lambda: Ble(config), Ble(config), 10.0, lambda: None, log)
        self.worker.io = RunnerIo(self.worker, log, lambda: None, Path("/nonexistent"))
        self.readings: list[Reading] = []
        self.nodes: list[Node] = []
        self.alerts: dict[str, str | None] = {}
        self.state = "ok"

    def collect(self) -> list[Reading]:
        while self.worker.items:
            item = self.worker.items.popleft()
            if isinstance(item, Yield) and isinstance(item.what, Reading):
                self.readings.append(item.what)
            elif isinstance(item, Yield) and isinstance(item.what, Node):
                self.nodes.append(item.what)
            elif isinstance(item, Raised):
                self.alerts[item.alert_id] = item.text
            elif isinstance(item, State):
                self.state = item.state
        return self.readings

    def values(self, name: str, node: str | None = None) -> list[Any]:
        return [one.value for one in self.collect() if one.property == name and one.node == node]

    def wait(self, what: str, check: Callable[[], Any]) -> Any:
        return until(what, lambda: (self.collect() or True) and check(), every_s=0.02,
                     found=lambda: f"{self.readings[-5:]} {self.lines.lines}")


@contextlib.contextmanager
def running(config: BleConfig) -> Iterator[Running]:
    plugin = Running(config)
    plugin.worker.start()
    try:
        yield plugin
    finally:
        plugin.worker.stop()
        plugin.worker.join(5)
        assert not plugin.worker.is_alive()


def send(radio: SimulatedRadio, strengths: list[int], adapter: str = "hci0", address: str = TAG, **said: Any) -> int:
    """Packets of one device; how many of them BlueZ passed on."""
    return sum(radio.call(lambda rssi=rssi: radio.bluez.advert(adapter, address, rssi, **said)) for rssi in strengths)
