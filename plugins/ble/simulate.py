"""A house of beacons, badges and strangers' phones behind a real D-Bus: for ``simulate = true``, demo and tests."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import msgspec

from agent.api import ConfigError

from .adverts import Badge
from .payloads import encode_badge
from .settings import BleConfig, Device

TICK_S = 0.1
STRANGERS = 12
BEACONS = 4
"""Fixed ones, one a room; a badge hears them."""
HOUSE = {
    "badge-7": Device(badge_id="7", title="Badge 7"),
    "badge-8": Device(badge_id="8", title="Badge 8"),
    "front-door": Device(ibeacon="6f1ea7d0-51c1-4c0e-9d2b-7a3c1f0b2e44/1/3", title="Beacon at the front door"),
    "cellar": Device(eddystone_uid="00112233445566778899aabbccddeeff", title="Beacon in the cellar"),
}
"""What is named where the configuration names nobody."""


class SimulatedRadio(threading.Thread):
    """A loop of its own with a simulated BlueZ; ``call`` runs something there and waits for it."""

    def __init__(self, address: str, make: Callable[[str], Any]) -> None:
        super().__init__(name="simulated-radio", daemon=True)
        self.bluez: Any = make(address)
        self.bus: Any = None
        self._loop = asyncio.new_event_loop()

    def run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        rest = asyncio.all_tasks(self._loop)
        for task in rest:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        self._loop.close()

    def call(self, work: Any) -> Any:
        """``work``: a coroutine, or a function without arguments."""
        return asyncio.run_coroutine_threadsafe(_as_coroutine(work), self._loop).result(10)

    def begin(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).add_done_callback(_show)

    def stop(self) -> None:
        with contextlib.suppress(Exception):
            self.call(self.bluez.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self.join(5)


def _show(done: Future[Any]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        print(f"simulated radio: {type(error).__name__}: {error}", file=sys.stderr)


async def _as_coroutine(work: Any) -> Any:
    return await work if asyncio.iscoroutine(work) else work()


@contextlib.contextmanager
def simulated_radio(adapters: tuple[str, ...] = ("hci0",), **kind: Any) -> Iterator[SimulatedRadio]:
    """A private bus with a BlueZ that has these adapters. ``kind``: see SimBluez."""
    try:
        from .sim_bluez import SimBluez
    except ImportError as error:
        raise ConfigError(f"{error}: install the extra: pip install 'hutkeeper[ble]'") from None
    from .sim_bus import private_bus

    with private_bus() as bus:
        radio = SimulatedRadio(bus.address, lambda address: SimBluez(address, **kind))
        radio.bus = bus
        radio.start()
        try:
            radio.call(radio.bluez.start())
            for number, name in enumerate(adapters):
                named = name if name.startswith("hci") else f"hci{number}"
                address = f"00:1A:7D:DA:71:{number:02X}" if name.startswith("hci") else name
                radio.call(lambda named=named, address=address: radio.bluez.plug(named, address))
            yield radio
        finally:
            radio.stop()


@contextlib.contextmanager
def simulated(config: BleConfig, seed: int = 0) -> Iterator[BleConfig]:
    """The config with its bus, and with a household where it names nobody."""
    devices = config.devices or HOUSE
    with simulated_radio(config.adapters) as radio:
        radio.begin(_house(radio, devices, config, seed))
        yield msgspec.structs.replace(config, devices=devices, bus=radio.bluez.address)


async def _house(radio: SimulatedRadio, devices: dict[str, Device], config: BleConfig, seed: int) -> None:
    """Everybody advertises about once a second, walkers walk, strangers change their address."""
    noise = random.Random(seed)
    phones = [_random_address(noise) for _ in range(STRANGERS)]
    tick = 0
    while True:
        for number, (name, device) in enumerate(devices.items()):
            if tick % 10 == number % 10:
                for adapter in radio.bluez.adapters:
                    _device(radio, adapter, name, number, device, config, noise)
        for number, phone in enumerate(phones):
            if tick % 6 == number % 6:
                for adapter in radio.bluez.adapters:
                    radio.bluez.advert(adapter, phone, round(noise.gauss(-82, 6)),
                                       manufacturer={0x004C: b"\x10\x05" + noise.randbytes(5)})
        if tick % 9000 == 8999:
            phones[noise.randrange(STRANGERS)] = _random_address(noise)
        tick += 1
        await asyncio.sleep(TICK_S)


def _device(radio: SimulatedRadio, adapter: str, name: str, number: int, device: Device, config: BleConfig,
            noise: random.Random) -> None:
    address = device.address.upper() or f"C4:7C:8D:6A:{number:02X}:{sum(name.encode()) & 255:02X}"
    manufacturer: dict[int, bytes] = {}
    service: dict[str, bytes] = {}
    # Path loss of a walk through the house and back; a badge takes half an hour, a beacon stays where it is.
    distance_m = 2.0 + number
    if device.badge_id.isdigit():
        at = _room(number)
        distance_m = 1.0 + 3.0 * at
        manufacturer[int(config.badge_company, 16)] = _badge(device, at, number)
    elif device.ibeacon:
        uuid, major, minor = [*device.ibeacon.split("/"), "1", "1"][:3]
        manufacturer[0x004C] = (b"\x02\x15" + bytes.fromhex(uuid.replace("-", "")) + int(major).to_bytes(2, "big")
                                + int(minor).to_bytes(2, "big") + b"\xc5")
    elif device.eddystone_uid:
        uptime = int(time.monotonic())
        frame = b"\x00\xee" + bytes.fromhex(device.eddystone_uid) + b"\0\0"
        if uptime % 5 == 0:  # telemetry takes its turn among the other frames
            frame = (b"\x20\x00" + (2980).to_bytes(2, "big") + round(8.5 * 256).to_bytes(2, "big")
                     + uptime.to_bytes(4, "big") + (uptime * 10).to_bytes(4, "big"))
        service["0000feaa-0000-1000-8000-00805f9b34fb"] = frame
    rssi_dbm = max(-100, min(-30, round(-59 - 20 * math.log10(distance_m) + noise.gauss(0, 2.5))))
    radio.bluez.advert(adapter, address, rssi_dbm, manufacturer=manufacturer, service=service,
                       local_name=device.local_name)


def _random_address(noise: random.Random) -> str:
    """A resolvable private one: its two highest bits are 01."""
    first, *rest = noise.randbytes(6)
    return ":".join(f"{byte:02X}" for byte in (first & 0x3F | 0x40, *rest))


def _room(number: int) -> float:
    """Where a walker is, 0 to BEACONS - 1, by the clock, so that all receivers of a house agree."""
    return (BEACONS - 1) * (0.5 - 0.5 * math.cos(2 * math.pi * (time.time() / 1800 + number / 5)))


def _badge(device: Device, at: float, number: int) -> bytes:
    """A new list every 6 s, repeated until then."""
    turn = int(time.time() // 6)
    noise = random.Random(turn * 31 + number)
    heard = {str(beacon): round(-55 - 22 * math.log10(1 + 3 * abs(beacon - 1 - at)) + noise.gauss(0, 2))
             for beacon in range(1, BEACONS + 1)}
    return encode_badge(Badge(device.badge_id, heard, motion=noise.random() < 0.3, button=False,
                              battery_pct=max(5, 100 - turn // 14400 % 95)), turn)
