"""The plugin on the runner's own worker, over the real bleak and a simulated BlueZ on a private bus."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from agent.testing import AtWork, at_work
from plugins.ble.plugin import Ble
from plugins.ble.settings import BleConfig, Device
from plugins.ble.simulate import SimulatedRadio

TAG = "C4:7C:8D:6A:11:07"
NAMED = {"tag": Device(address=TAG)}


def running(config: BleConfig) -> AbstractContextManager[AtWork]:
    return at_work(Ble, config, instance="ble")


def send(radio: SimulatedRadio, strengths: list[int], adapter: str = "hci0", address: str = TAG, **said: Any) -> int:
    """Packets of one device; how many of them BlueZ passed on."""
    return sum(radio.call(lambda rssi=rssi: radio.bluez.advert(adapter, address, rssi, **said)) for rssi in strengths)
