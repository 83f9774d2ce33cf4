"""A UPS behind a small upsd on loopback that speaks the real protocol, or an input pin; the mains goes now and then."""

from __future__ import annotations

import random
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from agent.api import SimPins

PRESENT_S = (120.0, 300.0)
AWAY_S = (15.0, 40.0)
TICK_S = 0.5
DRAIN_PCT_S = 0.4
"""A small UPS under load; it charges at a quarter of that."""
FULL_RUNTIME_S = 1500.0


class Ups:
    """Its variables. ``step`` lets time pass; ``silent``: its driver has lost it."""

    def __init__(self, seed: int = 0) -> None:
        self.mains = True
        self.silent = False
        self.charge_pct = 100.0
        self.more: dict[str, str] = {}
        """Variables that are to be as given."""
        self._random = random.Random(seed)

    def step(self, seconds: float) -> None:
        change = DRAIN_PCT_S * seconds * (0.25 if self.mains else -1.0)
        self.charge_pct = min(100.0, max(0.0, self.charge_pct + change))

    def variables(self) -> dict[str, str]:
        low = " LB" if not self.mains and self.charge_pct < 20 else ""
        state = ("OL CHRG" if self.charge_pct < 100 else "OL") if self.mains else "OB DISCHRG"
        return {
            "battery.charge": f"{self.charge_pct:.0f}",
            "battery.runtime": f"{FULL_RUNTIME_S * self.charge_pct / 100:.0f}",
            "battery.voltage": f"{11.0 + 2.6 * self.charge_pct / 100:.1f}",
            "device.mfr": 'Made \\"here\\"',
            "input.voltage": f"{self._random.gauss(231, 1):.1f}" if self.mains else "0.0",
            "ups.load": "14",
            "ups.status": state + low,
            **self.more,
        }


class Upsd(socketserver.ThreadingTCPServer):
    """RFC 9271 as far as a reader goes. ``dumb``: takes connections, says nothing; ``spoil`` may damage an answer."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, upses: dict[str, Ups], port: int = 0, password: str = "") -> None:
        self.upses = upses
        self.password = password
        self.dumb = False
        self.connections: set[socket.socket] = set()
        self.spoil: Callable[[bytes], bytes] = lambda answer: answer
        super().__init__(("127.0.0.1", port), _Session)

    @property
    def where(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def drop(self) -> None:
        """Every reader loses its connection."""
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def answer(self, command: str, session: _Session) -> str:
        words = command.split()
        match words:
            case ["USERNAME", _]:
                return "OK\n"
            case ["PASSWORD", word]:
                session.known = word == self.password
                return "OK\n" if session.known else "ERR INVALID-PASSWORD\n"
            case ["LIST", "UPS"]:
                rows = "".join(f'UPS {name} "simulated"\n' for name in self.upses)
                return f"BEGIN LIST UPS\n{rows}END LIST UPS\n"
            case ["LIST", "VAR", name]:
                if self.password and not session.known:
                    return "ERR ACCESS-DENIED\n"
                ups = self.upses.get(name)
                if ups is None:
                    return "ERR UNKNOWN-UPS\n"
                if ups.silent:
                    return "ERR DATA-STALE\n"
                rows = "".join(f'VAR {name} {key} "{value}"\n' for key, value in ups.variables().items())
                return f"BEGIN LIST VAR {name}\n{rows}END LIST VAR {name}\n"
            case ["LOGOUT"]:
                return "OK Goodbye\n"
        return "ERR UNKNOWN-COMMAND\n"


class _Session(socketserver.StreamRequestHandler):
    server: Upsd
    known = False

    def handle(self) -> None:
        self.server.connections.add(self.connection)
        try:
            for line in self.rfile:
                if not self.server.dumb:
                    answer = self.server.answer(line.decode("utf-8", "replace").strip(), self)
                    self.wfile.write(self.server.spoil(answer.encode()))
        except OSError:
            return
        finally:
            self.server.connections.discard(self.connection)


@contextmanager
def serving(server: Upsd) -> Iterator[Upsd]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="simulated-upsd", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        server.drop()
        thread.join(5)


@contextmanager
def cuts(seed: int, tell: Callable[[bool, float], None]) -> Iterator[None]:
    """``tell(mains, seconds)`` every tick."""
    chance, stop = random.Random(seed), threading.Event()

    def work() -> None:
        mains, until_s = True, time.monotonic() + chance.uniform(*PRESENT_S)
        while not stop.wait(TICK_S):
            if time.monotonic() >= until_s:
                mains = not mains
                until_s = time.monotonic() + chance.uniform(*(PRESENT_S if mains else AWAY_S))
            tell(mains, TICK_S)

    thread = threading.Thread(target=work, name="simulated-mains", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5)


@contextmanager
def simulated(config: Any, seed: int = 0) -> Iterator[Any]:
    """The config with its line on a simulated pin, or with a upsd on loopback."""
    if config.line is not None:
        active = 0 if config.active_low else 1
        with SimPins("mains", level=active) as pins:
            was = [True]

            def set_pin(mains: bool, _: float) -> None:
                if mains != was[0]:
                    was[0] = mains
                    pins.set("mains", active if mains else 1 - active)

            with cuts(seed, set_pin):
                yield msgspec.structs.replace(config, line=pins.line("mains"), signal="level")
        return
    ups = Ups(seed)
    name = "ups" if config.ups == "auto" else config.ups

    def set_ups(mains: bool, seconds: float) -> None:
        ups.mains = mains
        ups.step(seconds)

    with serving(Upsd({name: ups}, password=config.password)) as server, cuts(seed, set_ups):
        yield msgspec.structs.replace(config, upsd=server.where)
