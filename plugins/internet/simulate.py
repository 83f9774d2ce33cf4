"""A small internet on loopback with real sockets: pages, a name server, plain ports, and a provider that goes away."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from . import dns
from .config import InternetConfig, Target

PORTAL = b"<html>Welcome to the harbour. Please log in.</html>"
ADDRESS = "192.0.2.80"
"""What every name is, in the documentation network (RFC 5737)."""
UP_S = (240.0, 480.0)
DOWN_S = 40.0


class Place(asyncio.DatagramProtocol):
    """What one port does: ``mode`` is ``up``, ``portal`` (a login page, false names) or ``mute`` (takes all, says
    nothing). One TCP and one UDP port of the same number; ``refuse`` closes both."""

    def __init__(self, status: int = 204, body: bytes = b"") -> None:
        self.mode = "up"
        self.status = status
        self.body = body
        self.asked = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._udp: asyncio.DatagramTransport | None = None

    async def open(self) -> None:
        for last in (False, False, False, True):
            server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            port = server.sockets[0].getsockname()[1]
            try:
                await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, ("127.0.0.1", port))
            except OSError:  # the free TCP port is somebody's UDP port
                server.close()
                if self.port or last:
                    raise
                continue
            self._server, self.port = server, port
            return

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._udp is not None:
            self._udp.close()
            self._udp = None

    # --- TCP --------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while self.mode == "mute":  # a black hole for as long as the asker stays
                if not await reader.read(1024):
                    return
            request = await reader.read(1024)
            if request.startswith(b"GET "):
                self.asked += 1
                writer.write(self._page())
                await writer.drain()
        except OSError:
            return
        finally:
            writer.close()

    def _page(self) -> bytes:
        if self.mode == "portal":
            return (b"HTTP/1.1 302 Found\r\nLocation: http://portal.example/login\r\n"
                    b"Content-Length: %d\r\n\r\n" % len(PORTAL)) + PORTAL
        length = b"" if self.status == 204 else b"Content-Length: %d\r\n" % len(self.body)
        return b"HTTP/1.1 %d Said\r\n%s\r\n" % (self.status, length) + self.body

    # --- UDP --------------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._udp = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked += 1
        if self.mode == "mute" or len(data) < 17 or self._udp is None:
            return
        kind = struct.unpack(">H", data[-4:-2])[0]
        address = "10.0.0.1" if self.mode == "portal" else ADDRESS
        self._udp.sendto(dns.respond(data, address if kind == dns.A else None), addr)


class Loopback:
    """Places on an asyncio loop of their own thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="loopback-internet", daemon=True)
        self._places: list[Place] = []
        self._thread.start()

    def place(self, status: int = 204, body: bytes = b"") -> Place:
        """A new one on a free port."""
        made = Place(status, body)
        self._places.append(made)
        self.accept(made)
        return made

    def accept(self, *places: Place) -> None:
        for place in places:
            asyncio.run_coroutine_threadsafe(place.open(), self._loop).result(5)

    def refuse(self, *places: Place) -> None:
        done = threading.Event()

        def close() -> None:
            for place in places:
                place.close()
            self._loop.call_soon(done.set)

        self._loop.call_soon_threadsafe(close)
        done.wait(5)

    def close(self) -> None:
        self.refuse(*self._places)

        async def end() -> None:
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


def local(target: Target, place: Place, resolver: Place) -> Target:
    """The same target, at a place on loopback."""
    here = f"127.0.0.1:{place.port}"
    if target.kind == "http":
        return msgspec.structs.replace(target, address=f"http://{here}/")
    return msgspec.structs.replace(target, address=f"127.0.0.1:{(resolver if target.kind == 'dns' else place).port}",
                                   expect_address="")


@contextmanager
def simulated(config: InternetConfig, seed: int = 0) -> Iterator[InternetConfig]:
    """The config with its targets, its router and its resolver on loopback; every few minutes the provider is away."""
    chance = random.Random(seed)
    net = Loopback()
    stop = threading.Event()
    try:
        router, resolver = net.place(), net.place()
        places = {name: net.place(target.expect_status, target.expect_body.encode())
                  for name, target in config.targets.items()}

        def provider() -> None:
            behind = [*places.values(), resolver]
            while not stop.wait(chance.uniform(*UP_S)):
                net.refuse(*behind)
                stop.wait(DOWN_S)
                with suppress(OSError):  # a port that another program took meanwhile stays away
                    net.accept(*behind)

        thread = threading.Thread(target=provider, name="simulated-provider", daemon=True)
        thread.start()
        try:
            yield msgspec.structs.replace(
                config, gateway=f"127.0.0.1:{router.port}", resolver=f"127.0.0.1:{resolver.port}",
                targets={name: local(target, places[name], resolver) for name, target in config.targets.items()})
        finally:
            stop.set()
            thread.join(5)
    finally:
        net.close()


def black_hole() -> tuple[socket.socket, list[socket.socket], int]:
    """A port whose queue is full: connections to it are neither taken nor refused. The sockets are the caller's to
    close; the number is the port."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    port = listener.getsockname()[1]
    waiting = []
    for _ in range(3):
        client = socket.socket()
        client.setblocking(False)
        with suppress(BlockingIOError):
            client.connect(("127.0.0.1", port))
        waiting.append(client)
    return listener, waiting, port
