"""A notify process without its loop: the real service, its parts and its alerts.db, a real tree that is told messages,
and a clock that the test moves."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from agent.api import Property
from agent.wire.messages import HubState, NodeDeclaration, PluginDeclaration, Reported
from hub.alerts.book import Book
from hub.alerts.devices import Devices
from hub.alerts.hub_side import HubSide
from hub.alerts.model import Event
from hub.ingest import status
from hub.ingest.status import Status
from hub.notify.part import Hall, Part
from hub.notify.service import Service
from hub.settings import Alerts, Hub, Settings
from hub.store.alert_rows import Row, open_alerts

S = 1_000_000


class Ear(Part):
    """Hears what the channels hear."""

    def __init__(self, hall: Hall) -> None:
        super().__init__(hall)
        self.heard: list[Event] = []

    def take(self, events: list[Event], now_us: int) -> None:
        self.heard += events


class House:
    """``with House(tmp_path) as house: house.device("a"); house.run(60)``"""

    def __init__(self, folder: Path, *, ups: tuple[str, ...] = (), remote: tuple[str, ...] = (),
                 settings: Settings | None = None, ago_s: int = 0) -> None:
        self.settings = settings or Settings(hub=Hub(data_dir=folder / "data", run_dir=folder / "run"),
                                             alerts=Alerts(ups=ups, remote=remote))
        self.settings.hub.run_dir.mkdir(parents=True, exist_ok=True)
        self.start_us = self.now_us = time.time_ns() // 1000 - ago_s * S
        self.ingest: Status | None = Status(pid=1, state="ready", term=1, connected=True)
        self.live: set[str] = set()
        """Devices that report every ten seconds."""
        self.nodes: dict[str, tuple[str, ...]] = {}
        self.retained: dict[str, bytes] = {}

    def __enter__(self) -> House:
        self.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def begin(self) -> None:
        """The process starts."""
        ear: list[Ear] = []

        def parts(hall: Hall, book: Book) -> list[Part]:
            ear.append(Ear(hall))
            devices = Devices(hall, book)
            return [devices, HubSide(hall, devices), *ear]

        self.service = Service(self.settings, parts, lambda: self.now_us)
        self.ear = ear[0]
        for part in (self.service.book, *self.service.parts):
            part.begin()
        self.tree = self.service.hall.tree
        self.broker(True)

    def end(self) -> None:
        """As after a kill: the file is what is left."""
        for part in reversed((self.service.book, *self.service.parts)):
            part.close()
        self.service.hall.reader.close()
        self.service.desk.close()
        self.service.db.close()

    def broker(self, up: bool) -> None:
        """It goes, or it comes and tells all that it has retained."""
        client = self.service.hall.client
        client._set_connected(up)
        client._connected_since_us = self.now_us
        if up:
            self.tree.begin_sync()
            for topic, payload in {**self.retained}.items():
                self.tree.apply(topic, payload, retained=True, now_us=self.now_us)
            self.tree.end_sync()

    def say(self, topic: str, payload: bytes | str) -> None:
        raw = payload.encode() if isinstance(payload, str) else payload
        self.retained[topic] = raw
        if self.service.hall.client.connected[0]:
            self.tree.apply(topic, raw, retained=False, now_us=self.now_us)

    def device(self, device: str, plugins: dict[str, tuple[str, ...]] | None = None) -> None:
        """One that is well, with nodes named like its plugins and their properties."""
        plugins = plugins or {"host": ("load",)}
        nodes = {name: {"name": name.title(), "properties": {
            prop.replace("_", "-"): {"datatype": "string"} for prop in (*props, "last_update", "health")}}
            for name, props in plugins.items()}
        told = Reported(device.title(), "1", {name: PluginDeclaration(name, name, name.title(), 10.0, (NodeDeclaration(
            name, name.title(), tuple(Property(name=prop, datatype="string", max_age_s=60.0) for prop in props)),))
            for name, props in plugins.items()})
        self.say(f"homie/5/{device}/$state", "ready")
        self.say(f"homie/5/{device}/$description", msgspec.json.encode(
            {"homie": "5.0", "version": 1, "name": device.title(), "nodes": nodes}))
        self.say(f"hutkeeper/1/{device}/reported", msgspec.json.encode(told))
        self.nodes[device] = tuple(plugins)
        self.live.add(device)
        self.report(device)

    def report(self, device: str) -> None:
        for node in self.nodes[device]:
            self.say(f"homie/5/{device}/{node}/last-update", f"{datetime.fromtimestamp(self.now_us / 1e6, UTC):%FT%TZ}")
            if f"homie/5/{device}/{node}/health" not in self.retained:
                self.say(f"homie/5/{device}/{node}/health", "ok")

    def lose(self, *devices: str) -> None:
        """No power or no network: the broker sends the will."""
        for device in devices:
            self.live.discard(device)
            self.say(f"homie/5/{device}/$state", "lost")

    def back(self, *devices: str) -> None:
        for device in devices:
            self.live.add(device)
            self.say(f"homie/5/{device}/$state", "ready")
            self.report(device)

    def alert(self, device: str, alert_id: str, text: str) -> None:
        self.say(f"homie/5/{device}/$alert/{alert_id}", text)

    def run(self, seconds: int) -> list[tuple[str, str, int]]:
        """Second by second; gives what somebody would have been told: (what, key, listed under it)."""
        already = len(self.ear.heard)
        for _ in range(seconds):
            self.now_us += S
            if (self.now_us - self.start_us) // S % 10 == 1:
                for device in self.live:
                    self.report(device)
                if self.ingest is not None:
                    status.write(self.settings.hub.run_dir, self.ingest)
                    os.utime(self.settings.hub.run_dir / status.FILE, ns=(self.now_us * 1000,) * 2)
                    if self.ingest.state == "ready":
                        self.say("hutkeeper/1/hub/$state", msgspec.json.encode(HubState("ready", 1, "g")))
            self.service.step()
            assert self.service.faults == {}
        return [(event.what, event.alert.key, event.children) for event in self.ear.heard[already:]]

    def well(self, seconds: int = 60) -> None:
        assert self.run(seconds) == []

    def open(self) -> dict[str, Row]:
        return {row.key: row for row in open_alerts(self.service.db)}

    def listed(self, key: str) -> set[str]:
        """Keys directly under it."""
        rows = self.open()
        return {row.key for row in rows.values() if row.cause_id == rows[key].id}


class Desk:
    """Answers the pages' questions while the test goes on: ``with Desk(house): ...``."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Desk:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """Nobody answers any more."""
        self._stopping.set()
        self._thread.join(5)

    def _serve(self) -> None:
        desk = self._house.service.desk
        while not self._stopping.is_set():
            if desk.socket.poll(20):
                desk.serve()
