"""The way to the gateway: a serial port with frames one behind the other, or /dev/hidraw with a frame a report."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Literal

from agent.api import ConfigError, Io, RetryLater
from firmware_bridges.muta import FRAME_BYTES, BadFrame, Decoder, Garbage, parse_frame
from firmware_bridges.muta.frames import Decoded

#: Longest gap inside a frame on a serial line (a frame takes 5.6 ms at 115200 baud).
TORN_S = 0.5


class HidrawSource:
    """:class:`agent.api.Source` over a hidraw device: the kernel gives whole reports, whoever reads them."""

    def __init__(self, path: str) -> None:
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise RetryLater(f"{path}: no such device; check the operator's USB plug, and ls /dev/hidraw*") from None
        except PermissionError:
            raise RetryLater(f"{path}: no permission for the agent's user: see Wiring in the README") from None
        except OSError as error:
            raise RetryLater(f"{path}: {error.strerror}") from None
        self._path = path

    def fileno(self) -> int:
        return self._fd

    def receive(self) -> Iterator[bytes]:
        while True:
            try:
                report = os.read(self._fd, FRAME_BYTES)
            except BlockingIOError:
                return
            except OSError:
                report = b""
            if not report:
                raise RetryLater(f"{self._path}: the operator went away; check its USB plug")
            yield report

    def send(self, data: bytes) -> None:
        os.write(self._fd, b"\0" + data)  # the report's number first (hidraw.rst): 0, it has none

    def close(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class SerialLink:
    def __init__(self, io: Io, port: str, baudrate: int) -> None:
        self._stream = io.serial(port, baudrate=baudrate)
        self._decoder = Decoder()

    def read(self, timeout_s: float) -> list[Decoded | Garbage]:
        data = self._stream.read(4096, min(timeout_s, TORN_S))
        return self._decoder.feed(data) if data else self._decoder.finish()

    def finish(self) -> list[Decoded | Garbage]:
        return self._decoder.finish()

    def write(self, frame: bytes) -> None:
        self._stream.write(frame)

    def close(self) -> None:
        self._stream.close()


class HidrawLink:
    def __init__(self, io: Io, port: str) -> None:
        self._stream = io.messages(lambda: HidrawSource(port))

    def read(self, timeout_s: float) -> list[Decoded | Garbage]:
        message = self._stream.read(timeout_s)
        if message is None:
            return []
        try:
            return [parse_frame(message.data)]
        except BadFrame as error:
            return [Garbage(len(message.data), str(error))]

    def finish(self) -> list[Decoded | Garbage]:
        return []

    def write(self, frame: bytes) -> None:
        self._stream.write(frame)

    def close(self) -> None:
        self._stream.close()


Link = SerialLink | HidrawLink


def open_link(io: Io, kind: Literal["serial", "hidraw"], port: str, baudrate: int) -> Link:
    if kind == "hidraw" and not port.startswith("/"):
        raise ConfigError(f"plugins.{io.instance}.port = {port!r}: expected a path such as /dev/hidraw0")
    return HidrawLink(io, port) if kind == "hidraw" else SerialLink(io, port, baudrate)
