"""``org.bluez`` as far as a scanner sees it, so that the real bleak runs unchanged on a private bus.

Modelled after BlueZ 5.66 to 5.87 (doc/org.bluez.Adapter.rst, src/device.c): discovery filters, the RSSI gate of 8 dB
that only a filter lifts, repeats only with DuplicateData, advertisement monitors, devices forgotten with the last scan;
and its faults: no radio, switched off, hung, restarted, unplugged.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Literal

from dbus_fast import Message, MessageType, Variant
from dbus_fast.aio import MessageBus

BLUEZ = "org.bluez"
ADAPTER, DEVICE = "org.bluez.Adapter1", "org.bluez.Device1"
MONITORS, MONITOR = "org.bluez.AdvertisementMonitorManager1", "org.bluez.AdvertisementMonitor1"
OBJECTS, PROPERTIES = "org.freedesktop.DBus.ObjectManager", "org.freedesktop.DBus.Properties"
GATE_DB = 8
Cure = Literal["restart", "power", "never"]


class SimAdapter:
    """One controller: who scans on it, and what it has heard."""

    def __init__(self, path: str, address: str) -> None:
        self.path = path
        self.address = address
        self.powered = True
        self.hung: Cure | None = None
        """What it takes until it hears again."""
        self.filters: dict[str, dict[str, Any]] = {}
        self.scanning: set[str] = set()
        self.monitors: dict[tuple[str, str], list[tuple[int, int, bytes]]] = {}
        self.devices: dict[str, dict[str, Variant]] = {}
        self.starts = 0
        self.power_cycles = 0

    def properties(self) -> dict[str, Variant]:
        return {"Address": Variant("s", self.address), "Name": Variant("s", "simulated"),
                "Alias": Variant("s", "simulated"), "Powered": Variant("b", self.powered),
                "Discovering": Variant("b", bool(self.scanning)), "Roles": Variant("as", ["central", "peripheral"])}


class SimBluez:
    """bluetoothd on the bus at ``address``. Everything on one event loop."""

    def __init__(self, address: str, *, passive: bool = True,
                 gate: Literal["any filter", "rssi"] = "any filter") -> None:
        self.address = address
        self.adapters: dict[str, SimAdapter] = {}
        self.mute = False
        """Takes calls and answers none."""
        self._passive = passive
        self._gate = gate
        self._bus: MessageBus | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self._bus = await MessageBus(bus_address=self.address).connect()
        self._bus.add_message_handler(self._called)
        await self._bus.request_name(BLUEZ)

    async def stop(self) -> None:
        """As when bluetoothd ends: every scan and every device is forgotten, and nobody is told but by the bus."""
        bus, self._bus = self._bus, None
        for adapter in self.adapters.values():
            for kept in (adapter.filters, adapter.scanning, adapter.monitors, adapter.devices):
                kept.clear()
        if bus is not None:
            bus.disconnect()
            with suppress(Exception):  # dbus-fast raises the reader's EOF here
                await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]

    def plug(self, name: str, address: str) -> SimAdapter:
        adapter = self.adapters[name] = SimAdapter(f"/org/bluez/{name}", address)
        self._signal("/", OBJECTS, "InterfacesAdded", "oa{sa{sv}}", [adapter.path, {ADAPTER: adapter.properties()}])
        return adapter

    def unplug(self, name: str) -> None:
        adapter = self.adapters.pop(name)
        self._forget(adapter)
        self._signal("/", OBJECTS, "InterfacesRemoved", "oas", [adapter.path, [ADAPTER]])

    def power(self, name: str, on: bool) -> None:
        adapter = self.adapters[name]
        if on and not adapter.powered:
            adapter.power_cycles += 1
            adapter.hung = None if adapter.hung in ("power", "restart") else adapter.hung
        adapter.powered = on
        if not on:
            adapter.scanning.clear()
            adapter.monitors.clear()
        self._signal(adapter.path, PROPERTIES, "PropertiesChanged", "sa{sv}as",
                     [ADAPTER, {"Powered": Variant("b", on)}, []])

    # --- what a client asks ---------------------------------------------------------------------------------------

    def _called(self, message: Message) -> Message | bool | None:
        if message.message_type != MessageType.METHOD_CALL:
            return None
        if self.mute:
            return True
        if message.member == "GetManagedObjects":
            return Message.new_method_return(message, "a{oa{sa{sv}}}", [self._objects()])
        adapter = next((one for one in self.adapters.values() if one.path == message.path), None)
        if adapter is None:
            return None
        handler = getattr(self, f"_on_{message.member}", None)
        return handler(message, adapter) if handler else None

    def _objects(self) -> dict[str, dict[str, dict[str, Variant]]]:
        objects: dict[str, dict[str, dict[str, Variant]]] = {"/org/bluez": {}}
        for adapter in self.adapters.values():
            objects[adapter.path] = {ADAPTER: adapter.properties()}
            if self._passive:
                objects[adapter.path][MONITORS] = {"SupportedMonitorTypes": Variant("as", ["or_patterns"])}
            objects.update({path: {DEVICE: device} for path, device in adapter.devices.items()})
        return objects

    def _on_SetDiscoveryFilter(self, message: Message, adapter: SimAdapter) -> Message:
        adapter.filters[message.sender] = {key: value.value for key, value in message.body[0].items()}
        return Message.new_method_return(message)

    def _on_StartDiscovery(self, message: Message, adapter: SimAdapter) -> Message:
        if not adapter.powered:
            return Message.new_error(message, "org.bluez.Error.NotReady", "Resource Not Ready")
        adapter.starts += 1
        adapter.scanning.add(message.sender)
        adapter.hung = None if adapter.hung == "restart" else adapter.hung
        return Message.new_method_return(message)

    def _on_StopDiscovery(self, message: Message, adapter: SimAdapter) -> Message:
        if message.sender not in adapter.scanning:
            return Message.new_error(message, "org.bluez.Error.Failed", "No discovery started")
        adapter.scanning.discard(message.sender)
        if not adapter.scanning:
            self._forget(adapter)
        return Message.new_method_return(message)

    def _on_Set(self, message: Message, adapter: SimAdapter) -> Message:
        interface, name, value = message.body
        if (interface, name) == (ADAPTER, "Powered"):
            self.power(adapter.path.rpartition("/")[2], value.value)
        return Message.new_method_return(message)

    def _on_RegisterMonitor(self, message: Message, adapter: SimAdapter) -> Message | None:
        if not self._passive:
            return None
        task = asyncio.get_running_loop().create_task(self._activate(adapter, message.sender, message.body[0]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return Message.new_method_return(message)

    def _on_UnregisterMonitor(self, message: Message, adapter: SimAdapter) -> Message:
        adapter.monitors.pop((message.sender, message.body[0]), None)
        return Message.new_method_return(message)

    async def _activate(self, adapter: SimAdapter, client: str, path: str) -> None:
        """bluetoothd reads the patterns of the client's own object, then says that it watches."""
        await asyncio.sleep(0.02)  # the client exports its object after the reply
        assert self._bus is not None
        reply = await self._bus.call(Message(destination=client, path=path, interface=PROPERTIES, member="Get",
                                             signature="ss", body=[MONITOR, "Patterns"]))
        assert reply is not None
        adapter.monitors[client, path] = [(start, kind, bytes(wanted)) for start, kind, wanted in reply.body[0].value]
        await self._bus.call(Message(destination=client, path=path, interface=MONITOR, member="Activate"))

    # --- what the radio hears ---------------------------------------------------------------------------------------

    def advert(self, name: str, address: str, rssi_dbm: int, *, manufacturer: dict[int, bytes] | None = None,
               service: dict[str, bytes] | None = None, local_name: str = "") -> bool:
        """One packet at adapter ``name``. True when it became a signal on the bus."""
        adapter = self.adapters.get(name)
        if adapter is None or self._bus is None or not adapter.powered or adapter.hung is not None:
            return False
        manufacturer = manufacturer or {}
        matched = any(pattern == data[start : start + len(pattern)] for patterns in adapter.monitors.values()
                      for start, kind, pattern in patterns if kind == 0xFF
                      for data in (company.to_bytes(2, "little") + said for company, said in manufacturer.items()))
        if not matched and not adapter.scanning:
            return False
        path = f"{adapter.path}/dev_{address.replace(':', '_')}"
        said = {"ManufacturerData": Variant("a{qv}", {key: Variant("ay", data) for key, data in manufacturer.items()}),
                "ServiceData": Variant("a{sv}", {key: Variant("ay", data) for key, data in (service or {}).items()})}
        said = {key: value for key, value in said.items() if value.value}
        device = adapter.devices.get(path)
        if device is None:
            device = adapter.devices[path] = {
                "Address": Variant("s", address), "AddressType": Variant("s", "random"),
                "Adapter": Variant("o", adapter.path), "Alias": Variant("s", local_name or address.replace(":", "-")),
                "Paired": Variant("b", False), "Connected": Variant("b", False), "UUIDs": Variant("as", []),
                "RSSI": Variant("n", rssi_dbm), **said, **({"Name": Variant("s", local_name)} if local_name else {})}
            self._signal("/", OBJECTS, "InterfacesAdded", "oa{sa{sv}}", [path, {DEVICE: device}])
            return True
        filters = [adapter.filters.get(client, {}) for client in adapter.scanning]
        lifted = any("RSSI" in one if self._gate == "rssi" else one for one in filters)
        changed: dict[str, Variant] = {}
        if lifted or abs(device["RSSI"].value - rssi_dbm) >= GATE_DB:
            changed["RSSI"] = Variant("n", rssi_dbm)
        repeats = any(one.get("DuplicateData") for one in filters)
        changed |= {key: value for key, value in said.items() if repeats or device.get(key) != value}
        device.update(changed)
        if changed:
            self._signal(path, PROPERTIES, "PropertiesChanged", "sa{sv}as", [DEVICE, changed, []])
        return bool(changed)

    async def drained(self) -> None:
        """Until the bus daemon has read all: dbus-fast takes a full socket (some 180 signals) for a broken one."""
        assert self._bus is not None
        await self._bus.call(Message(destination="org.freedesktop.DBus", path="/org/freedesktop/DBus",
                                     interface="org.freedesktop.DBus", member="GetId"))

    def _forget(self, adapter: SimAdapter) -> None:
        for path in list(adapter.devices):
            del adapter.devices[path]
            self._signal("/", OBJECTS, "InterfacesRemoved", "oas", [path, [DEVICE]])

    def _signal(self, path: str, interface: str, member: str, signature: str, body: list[Any]) -> None:
        if self._bus is not None:
            self._bus.send(Message.new_signal(path, interface, member, signature, body))
