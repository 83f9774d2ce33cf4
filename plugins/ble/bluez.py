"""The radio: BlueZ through bleak, on an asyncio thread of its own, as a source of lines (adverts.py).

Whoever reads decides when a scan is to be restarted and sends the order: ``restart hci0``, ``power hci0``. Nothing here
waits without a limit, and nothing raises: what goes wrong becomes a ``failed`` line with its reason.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from bleak import BleakScanner
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData

from agent.api import Inbox, Message

from .adverts import Advert, encode, short_uuid
from .bluez_bus import AdapterBus, explain

START_S = 8.0
STOP_S = 3.0
END_S = 0.7
"""The plugin must end within a second."""
OFF_S = 1.0
"""Between power off and on: the chip's firmware is loaded anew."""
MONITOR_S = 0.5
"""bluetoothd hands a monitor to the kernel after its answer; the scan must begin later."""
QUEUE = 20_000
"""Some seconds of the busiest place; what is over is counted as lost."""
ANY_FLAGS = (0, 1, b"\x06")
"""LE general discoverable: the monitor needs a pattern, which one does not matter."""
#: Every packet with its own strength: without RSSI in the filter BlueZ holds back changes below 8 dB (its
#: RSSI_THRESHOLD; from 2026 on only a filter that names RSSI lifts that), and repeats without DuplicateData.
FILTERS = {"RSSI": -127, "DuplicateData": True}


class BluezSource(Inbox):
    """:class:`agent.api.Source` over one or more adapters.

    ``adapters``: ``hci0``, or the controller's own address, which stays when the numbers change. ``patterns``: passive
    scan for (start, AD type, bytes), else active. ``every_packet``: see Receiver. ``bus``: D-Bus address, empty for the
    system's."""

    def __init__(self, adapters: tuple[str, ...], patterns: tuple[tuple[int, int, bytes], ...] = (), *,
                 every_packet: bool = False, bus: str = "") -> None:
        super().__init__(QUEUE)
        if bus:
            os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = bus  # the only way to tell bleak; one bus a process
        self._told_dropped = 0
        self._loop = asyncio.new_event_loop()
        self._bus = AdapterBus(bus)
        self._receivers = {name: Receiver(name, patterns, every_packet, self, self._bus) for name in adapters}
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="ble-radio", daemon=True)
        self._thread.start()

    # --- the plugin's side --------------------------------------------------------------------------------------

    def receive(self) -> list[Message | bytes]:
        items = super().receive()
        if self.dropped != self._told_dropped:
            lost, self._told_dropped = self.dropped - self._told_dropped, self.dropped
            items.append(encode(Advert(event="lost", count=lost)))
        return items

    def send(self, data: bytes) -> None:
        step, _, name = data.decode().partition(" ")
        receiver = self._receivers[name]
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._begin, receiver.restart(power=step == "power"))

    def close(self) -> None:
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(END_S)  # a daemon: one that hangs in a call is left behind
        super().close()

    # --- the radio's side -----------------------------------------------------------------------------------------

    def tell(self, line: Advert) -> None:
        self.put(Message(encode(line), time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._bus.on_lost = self._lost
        for receiver in self._receivers.values():
            self._begin(receiver.restart(power=False))
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._end())
        finally:
            self._loop.close()

    async def _end(self) -> None:
        stops = [receiver.stop(limit_s=END_S / 2) for receiver in self._receivers.values()]
        await asyncio.gather(*stops, return_exceptions=True)
        self._bus.close()
        await _disconnect_bleak()
        rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in rest:
            task.cancel()
        await asyncio.wait(rest, timeout=0.1) if rest else None

    def _lost(self, path: str | None, reason: str) -> None:
        """The bus saw an adapter (None: all) go."""
        for receiver in self._receivers.values():
            if path is None or receiver.path == path:
                receiver.lost(reason)


class Receiver:
    """One adapter and its scan. All on the loop's thread.

    ``every_packet``: hold an advertisement monitor open beside the active scan. When that begins the kernel then leaves
    the controller's own filter of duplicates off (hci_active_scan_sync), else on: a chip may drop what it has told."""

    def __init__(self, name: str, patterns: tuple[tuple[int, int, bytes], ...], every_packet: bool,
                 source: BluezSource, bus: AdapterBus) -> None:
        self.name = name
        self.path = ""
        self._patterns = patterns
        self._every_packet = every_packet and not patterns
        self._source = source
        self._bus = bus
        self._scanners: list[BleakScanner] = []
        self._busy = False
        self._generation = 0

    def lost(self, reason: str) -> None:
        if not self._busy:
            self._failed(f"{self.name} {reason}")

    def _failed(self, reason: str) -> None:
        self._source.tell(Advert(event="failed", receiver=self.name, reason=reason))

    async def restart(self, *, power: bool) -> None:
        """Stop, power-cycle if asked for, start. Tells ``scanning`` or ``failed``."""
        if self._busy:
            return  # the step before is not over; the ladder comes again
        self._busy = True
        try:
            await self.stop()
            self.path = await asyncio.wait_for(self._bus.find(self.name), START_S)
            if power:
                await asyncio.wait_for(self._bus.power(self.path, False), START_S)
                await asyncio.sleep(OFF_S)
                await asyncio.wait_for(self._bus.power(self.path, True), START_S)
            adapter = self.path.rpartition("/")[2]
            if self._every_packet:
                await self._monitor(adapter)
            scanner = self._make(adapter)
            self._scanners.append(scanner)
            await asyncio.wait_for(scanner.start(), START_S)
            self._source.tell(Advert(event="scanning", receiver=self.name))
        except Exception as error:  # bleak and dbus-fast raise OSError, EOFError, AuthError, BleakError, ValueError...
            self._failed(explain(error, self.name))
        finally:
            self._busy = False

    async def stop(self, limit_s: float = STOP_S) -> None:
        scanners, self._scanners = self._scanners, []
        self._generation += 1
        for scanner in scanners:
            with suppress(Exception):  # bluetoothd may be gone, or answer that it knows of no scan: either is fine
                await asyncio.wait_for(scanner.stop(), limit_s)

    async def _monitor(self, adapter: str) -> None:
        """The scan goes on without it."""
        monitor = BleakScanner(lambda device, said: None, scanning_mode="passive",
                               bluez={"adapter": adapter, "or_patterns": [ANY_FLAGS]})  # type: ignore[list-item]
        try:
            await asyncio.wait_for(monitor.start(), START_S)
            self._scanners.append(monitor)
            await asyncio.sleep(MONITOR_S)
        except Exception as error:
            self._source.tell(Advert(event="note", receiver=self.name, reason=explain(error, self.name)))

    def _make(self, adapter: str) -> BleakScanner:
        self._generation += 1
        generation, source, receiver = self._generation, self._source, self.name

        def heard(device: BLEDevice, said: AdvertisementData) -> None:
            if generation != self._generation:
                return  # a scan that could not be stopped goes on: it would count everything twice
            source.tell(Advert(
                address=device.address, rssi_dbm=said.rssi, receiver=receiver, name=said.local_name,
                tx_power_dbm=said.tx_power,
                manufacturer={f"{company:04x}": data.hex() for company, data in said.manufacturer_data.items()},
                service={short_uuid(uuid): data.hex() for uuid, data in said.service_data.items()},
            ))

        if self._patterns:
            return BleakScanner(heard, scanning_mode="passive",
                                bluez={"adapter": adapter, "or_patterns": list(self._patterns)})  # type: ignore[arg-type]
        return BleakScanner(heard, bluez={"adapter": adapter, "filters": FILTERS})  # type: ignore[typeddict-item]


async def _disconnect_bleak() -> None:
    """bleak keeps one bus connection a loop for ever; ours ends, so its descriptor would be left open."""
    from bleak.backends.bluezdbus import manager

    with suppress(Exception):  # a version of bleak that keeps it elsewhere costs a descriptor, no more
        kept = manager._global_instances.pop(asyncio.get_running_loop(), None)
        if kept is not None and kept._bus is not None:
            kept._bus.disconnect()
            await asyncio.sleep(0)
