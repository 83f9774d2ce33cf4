"""What bleak does not do: find an adapter by its address, switch it off and on, and see it go."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from dbus_fast import BusType, Message, MessageType, Variant
from dbus_fast.aio import MessageBus

BLUEZ, ADAPTER = "org.bluez", "org.bluez.Adapter1"
OBJECTS, PROPERTIES = "org.freedesktop.DBus.ObjectManager", "org.freedesktop.DBus.Properties"
DAEMON = "org.freedesktop.DBus"
RULES = (
    f"type='signal',sender='{DAEMON}',member='NameOwnerChanged',arg0='{BLUEZ}'",
    f"type='signal',sender='{BLUEZ}',interface='{OBJECTS}',member='InterfacesRemoved'",
    f"type='signal',sender='{BLUEZ}',interface='{PROPERTIES}',member='PropertiesChanged',arg0='{ADAPTER}'",
)


class NoAdapter(Exception):
    """BlueZ runs and has no such adapter; the text says which it has."""


class DBusRefused(Exception):
    """An error that came back over D-Bus."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name


class AdapterBus:
    """One connection, made when it is needed and made anew when it broke. On the loop's thread only."""

    def __init__(self, address: str = "") -> None:
        self.on_lost: Callable[[str | None, str], None] = lambda path, reason: None
        self._address = address
        self._bus: MessageBus | None = None
        self._connecting = asyncio.Lock()
        self._watcher: asyncio.Task[None] | None = None

    def close(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.disconnect()

    async def find(self, name: str) -> str:
        """The object path of ``hci0``, or of the controller with this address. Raises NoAdapter, DBusRefused."""
        (objects,) = await self._call("/", OBJECTS, "GetManagedObjects")
        adapters = {path: interfaces[ADAPTER] for path, interfaces in objects.items() if ADAPTER in interfaces}
        for path, properties in adapters.items():
            if path == f"/org/bluez/{name}" or properties["Address"].value.upper() == name.upper():
                return str(path)
        there = ", ".join(f"{path.rpartition('/')[2]} ({properties['Address'].value})"
                          for path, properties in sorted(adapters.items()))
        raise NoAdapter(f"BlueZ has {there or 'none at all'}")

    async def power(self, path: str, on: bool) -> None:
        await self._call(path, PROPERTIES, "Set", "ssv", [ADAPTER, "Powered", Variant("b", on)])

    async def _call(self, path: str, interface: str, member: str, signature: str = "",
                    body: list[Any] | None = None) -> list[Any]:
        async with self._connecting:  # several adapters ask at once
            bus = await self._connected()
        return await self._ask(bus, BLUEZ, path, interface, member, signature, body)

    @staticmethod
    async def _ask(bus: MessageBus, destination: str, path: str, interface: str, member: str, signature: str = "",
                   body: list[Any] | None = None) -> list[Any]:
        reply = await bus.call(Message(destination=destination, path=path, interface=interface, member=member,
                                       signature=signature, body=body or []))
        if reply is None or reply.message_type == MessageType.ERROR:
            said = str(reply.body[0]) if reply and reply.body else ""
            raise DBusRefused((reply.error_name if reply else None) or "", said)
        return list(reply.body)

    async def _connected(self) -> MessageBus:
        if self._bus is not None and self._bus.connected:
            return self._bus
        self.close()
        bus = MessageBus(bus_address=self._address or None, bus_type=BusType.SYSTEM)
        try:
            await bus.connect()
            bus.add_message_handler(self._seen)
            for rule in RULES:
                await self._ask(bus, DAEMON, "/org/freedesktop/DBus", DAEMON, "AddMatch", "s", [rule])
        except BaseException:
            bus.disconnect()
            raise
        self._bus = bus
        self._watcher = asyncio.get_running_loop().create_task(self._watch(bus))
        return bus

    async def _watch(self, bus: MessageBus) -> None:
        with suppress(Exception):  # it raises whatever ended the reader
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        if bus is self._bus:
            self.on_lost(None, "lost its D-Bus: the bus daemon ended")

    def _seen(self, message: Message) -> None:
        if message.message_type != MessageType.SIGNAL:
            return
        if message.member == "NameOwnerChanged":
            _, old, new = message.body
            if old:
                self.on_lost(None, f"lost its scan: bluetoothd {'was restarted' if new else 'ended'}")
        elif message.member == "InterfacesRemoved" and ADAPTER in message.body[1]:
            self.on_lost(message.body[0], "was unplugged")
        elif message.member == "PropertiesChanged" and message.body[0] == ADAPTER:
            powered = message.body[1].get("Powered")
            if powered is not None and not powered.value:
                self.on_lost(message.path, "was switched off")


def explain(error: Exception, name: str) -> str:
    """One line: what happened, where, what to do next."""
    kind = getattr(error, "name", None) or getattr(error, "dbus_error", None) or ""
    word = str(kind).rpartition(".")[2]
    if isinstance(error, NoAdapter):
        return f"no adapter {name}, {error}: plug it in, or name one that is there in adapters"
    if word in ("ServiceUnknown", "NameHasNoOwner"):
        return f"{name}: bluetoothd does not run: systemctl start bluetooth"
    if word == "NotReady":
        return f"{name} is switched off: bluetoothctl power on, or rfkill unblock bluetooth"
    if word in ("AccessDenied", "AuthFailed") or type(error).__name__ == "AuthError":
        return f"{name}: Bluetooth is not allowed: add the agent's user to the group bluetooth"
    if isinstance(error, TimeoutError):
        return f"{name}: bluetoothd does not answer: systemctl restart bluetooth"
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        address = os.environ.get("DBUS_SYSTEM_BUS_ADDRESS", "/run/dbus/system_bus_socket")
        return f"{name}: no D-Bus at {address}: is dbus installed and running?"
    if "passive" in str(error):
        return (f"{name}: BlueZ cannot scan passively: start bluetoothd with --experimental, "
                "or leave out patterns and every_packet")
    return f"{name}: {type(error).__name__}: {str(error)[:200] or 'no reason given'}"
