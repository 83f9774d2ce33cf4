"""Input pins behind :class:`agent.api.GpioIo`: every edge with the stamp of its moment, nothing debounced.

Two backends: real lines (:mod:`agent.runner.gpio_lines`), and simulated ones, unix sockets (:mod:`agent.simpins`) that
speak one line an edge: ``<t_us or nothing> <level>``, the level at the start first.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from agent.api import ConfigError, Log, Message
from agent.runner.gpio_lines import GpioTrouble, open_lines

SIM_CHUNK = 65536
SIM_PREFIX = "sim:"


class _Input(Protocol):
    """Some lines that share a descriptor."""

    def fileno(self) -> int: ...

    def receive(self) -> Iterable[Message]: ...

    def close(self) -> None: ...


class EdgeSource:
    """:class:`agent.api.Source` of the edges of some lines, wherever they are. Raises RetryLater, ConfigError."""

    def __init__(self, lines: tuple[str, ...], pull: str, active_low: bool, log: Log, dev: Path = Path("/dev")) -> None:
        if not lines or len(set(lines)) != len(lines):
            raise ConfigError(f"lines {', '.join(lines) or 'none'}: name each input line once")
        self._inputs: dict[int, _Input] = {}
        self._epoll = select.epoll()
        try:
            for line in lines:
                if line.startswith(SIM_PREFIX):
                    self._add(SimLine(line, active_low))
            real = tuple(line for line in lines if not line.startswith(SIM_PREFIX))
            for request in open_lines(real, pull, active_low, log, dev) if real else ():
                self._add(request)
        except BaseException:
            self.close()
            raise

    def _add(self, one: _Input) -> None:
        self._inputs[one.fileno()] = one
        self._epoll.register(one.fileno(), select.EPOLLIN)

    def fileno(self) -> int:
        return self._epoll.fileno()

    def receive(self) -> list[Message]:
        found: list[Message] = []
        for fd, _ in self._epoll.poll(0):
            found += self._inputs[fd].receive()
        if len(self._inputs) > 1:
            now_us = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000
            found.sort(key=lambda message: now_us if message.t_us is None else message.t_us)
        return found

    def send(self, data: bytes) -> None:
        raise GpioTrouble("input lines", "they take nothing", "an output belongs to an actuator plugin")

    def close(self) -> None:
        for one in self._inputs.values():
            one.close()
        self._inputs = {}
        self._epoll.close()


# --- simulated lines ----------------------------------------------------------------------------------------------


class SimLine:
    """One line over a unix socket on which a simulated source listens."""

    def __init__(self, line: str, active_low: bool) -> None:
        self._line = line
        self._active_low = active_low
        self._rest = b""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.connect(line.removeprefix(SIM_PREFIX))
            self._socket.setblocking(False)
        except OSError as error:
            self._socket.close()
            raise GpioTrouble(line, f"no simulated pin there ({os.strerror(error.errno or 0)})",
                              "start its source, or name a real line") from None

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[Message]:
        try:
            data = self._socket.recv(SIM_CHUNK)
        except BlockingIOError:
            return []
        except OSError as error:
            raise self._gone(str(error)) from None
        if not data:
            raise self._gone("closed")
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [self._message(line) for line in lines]

    def _message(self, line: bytes) -> Message:
        t_us, _, level = line.partition(b" ")
        if level not in (b"0", b"1") or not (t_us.isdigit() or not t_us):
            raise self._gone(f"it said {line[:40]!r}, not '<t_us> <0 or 1>'")
        active = (level == b"1") != self._active_low
        return Message(b"1" if active else b"0", int(t_us) if t_us else None, self._line)

    def _gone(self, reason: str) -> GpioTrouble:
        return GpioTrouble(self._line, f"the simulated pin went away: {reason}", "start its source again")

    def close(self) -> None:
        self._socket.close()
