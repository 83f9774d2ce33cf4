from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.testing.broker import Broker
from hub.logbook.gather import Gather
from hub.notify.service import Service
from hub.web.logged import Logged
from tests.hub.web.lab import Web
from tests.waiting import until


class Hub:
    """The real web and the real notify, each with its own threads, in this process."""

    def __init__(self, folder: Path, mqtt_port: int) -> None:
        self.web = Web(folder, mqtt_port, toml='[energy]\ntimezone = "Europe/Paris"\n')
        self.web.people()
        self.stopping = threading.Event()
        self.service = Service(self.web.settings, lambda hall, book: [Gather(hall)])
        self.notify = threading.Thread(target=self.service.run, args=(self.stopping,), daemon=True)
        self.logged = Logged(self.web.settings, self.web.hut.feed)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short one: the paths of unix sockets are."""
    path = Path(tempfile.mkdtemp(prefix="hk-", dir="/tmp"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def hub(folder: Path, broker: Broker) -> Iterator[Hub]:
    hub = Hub(folder, broker.port)
    hub.notify.start()
    with hub.web:
        hub.logged.start()
        until("notify", lambda: hub.service.parts[-1]._told_start)  # type: ignore[attr-defined]
        yield hub
        hub.logged.stop()
    hub.stopping.set()
    hub.notify.join(20)
    hub.web.hut.alerts.close()
    hub.logged.join(5)
