"""Notify's real service on a moved clock, over a real samples.db that a real Writer fills."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import zmq

from agent import bus
from agent.api import Property
from agent.wire.messages import NodeDeclaration, PluginDeclaration, Reported
from hub import settings as hub_settings
from hub.alerts.model import Condition
from hub.live import LiveDevice
from hub.notify.asks import Ask
from hub.notify.service import Service
from hub.rules.keeper import Rules
from hub.store.batch import Declared
from hub.store.writer import Writer
from tests.hub.store.lab import BOOT_AT, NOW, batch

S = 1_000_000
AIR, WATER, LEVELS = "air/co2_ppm", "air/index_l", "air/levels"
REPORTED = Reported("Hut", "1", {"air": PluginDeclaration("air", "air", "Air", 10.0, (NodeDeclaration("air", "Air", (
    Property(name="co2_ppm", datatype="float", unit="ppm", title="CO2", max_age_s=30),
    Property(name="index_l", datatype="float", unit="L", device_class="water", state_class="total_increasing",
             max_age_s=7200),
    Property(name="levels", datatype="json", max_age_s=7200),
)),))})


class Lab:
    """``second()`` is one of notify's, at ``now_us``."""

    def __init__(self, folder: Path, mqtt_port: int = 1) -> None:
        path = folder / "hub.toml"
        path.write_text(f'[hub]\nname = "B"\ndata_dir = "data"\nrun_dir = "run"\n[broker]\nport = {mqtt_port}\n'
                        '[energy]\ntimezone = "Europe/Paris"\n')
        self.settings = hub_settings.load(path)
        self.now_us = NOW
        self.seq = 0
        (folder / "data").mkdir(exist_ok=True)
        self.settings.hub.run_dir.mkdir(parents=True, exist_ok=True)
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self.pages = context.socket(zmq.PUB)
        self.pages.bind(bus.endpoint(self.settings.hub.run_dir, "committed"))
        with Writer(self.settings.samples_db) as writer:
            writer.commit([Declared("hut", NOW, REPORTED)])
        self.ordered: list[tuple[Any, ...]] = []
        self.service: Service
        self.rules: Rules

    def start(self, live: bool = True) -> Lab:
        """As the process starts, its network apart."""
        self.service = Service(self.settings, lambda hall, book: [Rules(hall)], now_us=lambda: self.now_us)
        self.rules = next(part for part in self.service.parts if isinstance(part, Rules))
        for part in (self.service.book, *self.service.parts):
            part.begin()
        if live:
            tree = self.service.hall.tree
            tree.apply("homie/5/hut/$state", b"ready", retained=True, now_us=self.now_us)
            tree.apply("hutkeeper/1/hut/reported", msgspec.json.encode(REPORTED), retained=True, now_us=self.now_us)
        self.rules._began_us = self.now_us - 20 * S  # the tree has had its time
        return self

    def device(self) -> LiveDevice:
        device = self.service.hall.tree.device("hut")
        assert device is not None
        return device

    def store(self, name: str, *points: tuple[float, Any], quality: str | None = None) -> None:
        """(seconds from NOW, value)"""
        self.seq += 1
        with Writer(self.settings.samples_db) as writer:
            done = writer.commit([batch(self.seq, {name: [
                (NOW - BOOT_AT + round(t * S), value, *([quality] if quality else [])) for t, value in points]},
                device="hut", received_us=max(self.now_us, NOW))])
        for device, series in done.changes.items():
            self.pages.send(msgspec.msgpack.encode({"device": device, "series": {
                id_: [change.t_us, change.value, change.n] for id_, change in series.items()}}))

    def second(self, at_s: float) -> None:
        self.now_us = NOW + round(at_s * S)
        for _ in range(3):  # a hint may still be on its way; a round over three series finds what is stored
            self.service.step()

    def conditions(self) -> dict[str, Condition]:
        assert not self.service.faults, self.service.faults
        return {one.key: one for one in self.rules.conditions(self.now_us)}

    def ask(self, name: str, **args: Any) -> Any:
        answer = self.service.desk._answer(msgspec.msgpack.encode(Ask(name, args, "anna")))
        return answer.data if answer.ok else answer.error

    def stop(self) -> None:
        for part in reversed((self.service.book, *self.service.parts)):
            part.close()
        self.kill()

    def kill(self) -> None:
        """As SIGKILL leaves it."""
        self.rules.hints.stop()
        self.service.hall.reader.close()
        self.service.desk.close()
        self.service.db.close()
