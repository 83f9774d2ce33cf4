"""The probes themselves: plain sockets, each under one deadline, on an asyncio loop of their own thread.

Nothing here calls ``getaddrinfo``: it has no time-out and hangs for 20 s and more where the internet is away. Names are
asked for by our own DNS question. One outcome a line, see :mod:`.outcome`.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

from agent.api import ConfigError, Inbox, Message, RetryLater

from . import dns, routes
from .config import PORTS, RESERVED, Address, InternetConfig, Target, address_of, is_ip, page_of
from .outcome import line

PAGE_BYTES = 8192
"""More of a page is not looked at."""
NAME_SHARE = 0.4
"""Of the time a probe has, for each server that is asked for its name."""

Work = Callable[[], Coroutine[Any, Any, tuple[str, bytes]]]


class NoName(OSError):
    """No server knows the name."""


class Prober:
    """:class:`agent.api.Source`: ``send`` starts a round, ``receive`` gives its outcomes as they come."""

    def __init__(self, config: InternetConfig, root: Path) -> None:
        if not config.targets:
            raise ConfigError("targets: at least one is needed: [plugins.<id>.targets.<name>] with kind and address")
        self._config = config
        self._root = root
        self._inbox = Inbox()
        self._loop = asyncio.new_event_loop()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._thread = threading.Thread(target=self._work, name="prober", daemon=True)
        self._thread.start()

    # --- agent.api.Source -------------------------------------------------------------------------------------

    def fileno(self) -> int:
        return self._inbox.fileno()

    def receive(self) -> list[Message | bytes]:
        return self._inbox.receive()

    def send(self, data: bytes) -> None:
        try:
            self._loop.call_soon_threadsafe(self._round)
        except RuntimeError:
            raise RetryLater("the probes have ended: they are started anew") from None

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended by itself
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(1.0)
        self._inbox.close()

    # --- on the prober's own thread -----------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._end(list(self._running.values())))
        finally:
            self._loop.close()

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _round(self) -> None:
        for name, target in self._config.targets.items():
            self._start(name, target.kind, lambda target=target: self._ask(target))  # type: ignore[misc]
        if self._config.gateway != "none":
            self._start(RESERVED, "tcp", self._gateway)

    def _start(self, name: str, kind: str, work: Work) -> None:
        if name not in self._running:
            task = self._running[name] = self._loop.create_task(self._probe(name, kind, work))
            task.add_done_callback(lambda _: self._running.pop(name, None))

    async def _probe(self, name: str, kind: str, work: Work) -> None:
        began = time.monotonic()
        data = b""
        try:
            async with asyncio.timeout(self._config.timeout_s):
                word, data = await work()
        except NoName:
            word = "no-name"
        except TimeoutError:  # ours, and the kernel's ETIMEDOUT
            word = "timeout"
        except ConnectionRefusedError:
            word = "refused"
        except ConnectionError:
            word = "reset"
        except OSError as error:
            unreachable = error.errno in routes.UNREACHABLE
            word, data = ("unreachable", b"") if unreachable else ("error", str(error.strerror or error).encode())
        except Exception as error:  # a bug of ours must not leave a round without its outcome
            word, data = "error", f"{type(error).__name__}: {error}".encode()
        self._inbox.put(line(name, kind, word, time.monotonic() - began, data))

    async def _ask(self, target: Target) -> tuple[str, bytes]:
        if target.kind == "http":
            page = page_of(target.address)
            return "answered", await self._page(await self._find(page.address), page.host_header, page.path)
        address = await self._find(address_of(target.address, PORTS[target.kind]))
        if target.kind == "dns":
            return "answered", await self._question(address, target.query, dns.A)
        async with _socket(address, socket.SOCK_STREAM) as (sock, where):
            await self._loop.sock_connect(sock, where)
        return "answered", b""

    async def _page(self, address: Address, host: str, path: str) -> bytes:
        async with _socket(address, socket.SOCK_STREAM) as (sock, where):
            await self._loop.sock_connect(sock, where)
            await self._loop.sock_sendall(
                sock, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: hutkeeper\r\nAccept: */*\r\n"
                      "Connection: close\r\n\r\n".encode())
            data = b""
            while len(data) < PAGE_BYTES and not _whole(data):
                chunk = await self._loop.sock_recv(sock, PAGE_BYTES - len(data))
                if not chunk:
                    break
                data += chunk
            return data

    async def _question(self, server: Address, name: str, kind: int) -> bytes:
        """The first datagram that answers this very question; late and forged ones are passed over."""
        question = dns.query(random.getrandbits(16), name, kind)
        async with _socket(server, socket.SOCK_DGRAM) as (sock, where):
            await self._loop.sock_connect(sock, where)
            await self._loop.sock_sendall(sock, question)
            while True:
                data = await self._loop.sock_recv(sock, dns.MAX_MESSAGE)
                if dns.belongs(data, question):
                    return data

    async def _find(self, address: Address) -> Address:
        """The address with its name resolved. Raises NoName, or TimeoutError where no server answered."""
        if is_ip(address.host):
            return address
        known = routes.hosts(self._root, address.host)
        if known is not None:
            return Address(known, address.port)
        servers = ([address_of(self._config.resolver, PORTS["dns"])] if self._config.resolver != "system"
                   else routes.nameservers(self._root))
        silent = 0
        for server in servers:
            for kind in (dns.A, dns.AAAA):
                try:
                    async with asyncio.timeout(self._config.timeout_s * NAME_SHARE):
                        answer = dns.answer(await self._question(server, address.host, kind), kind)
                except (OSError, ValueError):
                    silent += 1
                    break  # the next server
                if answer.addresses:
                    return Address(answer.addresses[0], address.port)
        if servers and silent == len(servers):
            raise TimeoutError
        raise NoName

    async def _gateway(self) -> tuple[str, bytes]:
        """A connection to the router's DNS port; a refusal is as good. A mute one may still stand in the ARP table."""
        if self._config.gateway == "auto":
            way = routes.default_route(self._root)
            if way is None:
                dead = routes.without_carrier(self._root)
                return ("no-route", b"") if dead is None else ("no-carrier", dead.encode())
            if routes.carrier(self._root, way.interface) is False:
                return "no-carrier", way.interface.encode()
            address = Address(way.router, PORTS["gateway"])
        else:
            address = address_of(self._config.gateway, PORTS["gateway"])
        label = address.host.encode()
        try:
            async with asyncio.timeout(self._config.timeout_s * 0.8), _socket(address, socket.SOCK_STREAM) as opened:
                await self._loop.sock_connect(*opened)
        except ConnectionRefusedError:
            return "refused", label
        except OSError as error:
            if routes.in_arp_table(self._root, address.host):
                return "neighbour", label
            return ("unreachable" if error.errno in routes.UNREACHABLE else "timeout"), label
        return "answered", label


@contextlib.asynccontextmanager
async def _socket(address: Address, kind: int) -> Any:
    """A socket for an IP address, and what ``connect`` takes; closed at the end, also at a deadline."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        yield sock, (address.host, address.port)
    finally:
        sock.close()


def _whole(page: bytes) -> bool:
    """Whether the head, and the body that it promises, is there: a server need not close."""
    head, end, body = page.partition(b"\r\n\r\n")
    if not end:
        return False
    status = head.split(b" ", 2)[1:2]
    if status in ([b"204"], [b"304"]):
        return True
    for size in _lengths(head):
        return len(body) >= size
    return False


def _lengths(head: bytes) -> Iterator[int]:
    for header in head.split(b"\r\n")[1:]:
        name, _, value = header.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            yield int(value.strip()[:9])
