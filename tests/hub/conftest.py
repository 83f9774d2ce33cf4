"""What several folders of the hub's tests share: a real broker that forgets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.testing.broker import Broker, mosquitto_path


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Each test its own: retained messages outlive a connection."""
    if mosquitto_path() is None:
        pytest.skip("mosquitto is not installed: apt install mosquitto")
    with Broker(tmp_path, persistence=False) as broker:
        yield broker
