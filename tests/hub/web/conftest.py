from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.testing.broker import Broker
from tests.hub.web.lab import Devices, Web


@pytest.fixture
def devices(broker: Broker) -> Iterator[Devices]:
    with Devices(broker.port) as devices:
        devices.hub_ready()
        yield devices


@pytest.fixture
def web(tmp_path: Path, broker: Broker) -> Iterator[Web]:
    """The web process with a user of each role."""
    with Web(tmp_path, broker.port) as web:
        web.people()
        web.synced()
        yield web
