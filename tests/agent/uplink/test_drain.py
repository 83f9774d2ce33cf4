"""Samples from a plugin's bus end through the real uplink process and a real Mosquitto to a hub with receipts."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.testing.broker import Broker, mosquitto_path
from tests.agent.uplink.hub import SmallHub
from tests.agent.uplink.rig import Rig, until

pytestmark = pytest.mark.skipif(mosquitto_path() is None, reason="mosquitto is not installed: apt install mosquitto")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path) as broker:
        yield broker


def test_samples_reach_the_hub_once_and_the_ledger_is_quiet(broker: Broker, tmp_path: Path) -> None:
    hub = SmallHub(broker.port)
    with Rig(tmp_path, broker.port) as rig:
        plugin = rig.start().plugin()
        for _ in range(30):
            plugin.make(10)
            plugin.step()
            time.sleep(0.01)
        plugin.wait_acked()
        until("all stored", lambda: hub.samples >= 300)
        assert sorted(hub.values) == list(range(300)) and not hub.errors
        header = next(iter(hub.headers.values()))
        assert header.clock.quality == "synced" and header.clock.offset_us is not None
        ledger = until("a quiet ledger", lambda: (found := rig.status().get("ledger")) and found["receipted"] == 300
                       and found, 15)
        assert (ledger["produced"], ledger["spooled"], ledger["in_flight"], ledger["dropped"]) == (300, 0, 0, {})
        assert rig.stop() == 0
        assert rig.status()["running"] is False
    hub.close()
