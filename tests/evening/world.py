"""What the evening's devices are wired to: a UPS, an internet, a SIM, a water pipe, a room, and somebody's telephone.

Each is a fake at the lowest real boundary: a real upsd on loopback, listening sockets, a stick on a pty with a network
behind it, simulated pins, 1-Wire files, an HTTP provider.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from agent.api import SimPins
from plugins.mains.simulate import Ups, Upsd
from plugins.relay_heater.simulate import w1_slave


class Message(NamedTuple):
    """One message as the person got it."""

    at_s: float
    """Seconds since the evening began."""
    way: str
    """push or sms"""
    text: str


class Telephone:
    """Keeps what came, in order. ``since_s`` is CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._began_s = time.monotonic()
        self._lock = threading.Lock()

    def ring(self, way: str, text: str) -> None:
        with self._lock:
            self.messages.append(Message(time.monotonic() - self._began_s, way, text))

    def having(self, *words: str, way: str = "") -> list[Message]:
        """Messages that hold all the words."""
        with self._lock:
            return [one for one in self.messages if way in ("", one.way) and all(word in one.text for word in words)]


class Provider:
    """Whoever brings a push to a telephone: HTTP, JSON as Apprise's ``json://`` sends it."""

    def __init__(self, ring: Callable[[str], None]) -> None:
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if not provider.reachable:
                    self.close_connection = True  # no line, no answer
                    return
                said = json.loads(body)
                ring(f"{said.get('title', '')}\n{said.get('message', '')}".strip())
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                return

        self.reachable = True
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Internet:
    """Two places that the internet plugin asks; ``cut`` and ``mend`` as an excavator does."""

    def __init__(self) -> None:
        self._sockets = [self._listen(0), self._listen(0)]
        self.ports = [one.getsockname()[1] for one in self._sockets]

    @staticmethod
    def _listen(port: int) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen(64)
        return made

    def cut(self) -> None:
        for one in self._sockets:
            one.close()

    def mend(self) -> None:
        self._sockets = [self._listen(port) for port in self.ports]

    close = cut


class Mains:
    """A UPS that says whether the mains is there."""

    def __init__(self) -> None:
        self.ups = Ups()
        self._server = Upsd({"ups": self.ups})
        self.where = self._server.where
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Pipe:
    """A water meter's contact: a pulse a litre."""

    def __init__(self) -> None:
        self.pins = SimPins("pulse", level=1)
        self.pins.plug()
        self.line = self.pins.line("pulse")
        self._litres_a_second = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def flow(self, litres_a_second: float) -> None:
        self._litres_a_second = litres_a_second

    def _run(self) -> None:
        while not self._end.wait(0.02):
            if self._litres_a_second <= 0:
                continue
            half_s = 0.5 / self._litres_a_second
            for level in (0, 1):
                self.pins.set("pulse", level)
                self._end.wait(half_s)

    def close(self) -> None:
        self._end.set()
        self._thread.join(5)
        self.pins.unplug()


class Room:
    """A DS18B20 below ``root``: its last figures move as a real one's do, until it freezes."""

    def __init__(self, root: Path, sensor: str = "28-0316a2799fff") -> None:
        self.file = root / "sys/bus/w1/devices" / sensor / "w1_slave"
        self.file.parent.mkdir(parents=True)
        self.celsius = 19.5
        self.frozen = False
        self._n = 0
        self._write()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        self._n += 1
        part = self.file.with_suffix(".part")
        part.write_text(w1_slave(self.celsius + 0.0625 * (self._n % 5)))
        part.replace(self.file)

    def _run(self) -> None:
        while not self._end.wait(0.5):
            if not self.frozen:
                self._write()

    def close(self) -> None:
        self._end.set()
        self._thread.join(5)


def close_all(*things: Any) -> None:
    for thing in things:
        with suppress(Exception):
            thing.close()
