"""Simulated input pins for a plugin's ``simulate`` and for tests: the other side of the lines ``sim:<path>``.

::

    with SimPins("pulse") as pins:
        config = msgspec.structs.replace(config, line=pins.line("pulse"))
        pins.set("pulse", 1)

Each pin is a unix socket on which every reader gets the level at its start, then one text line an edge:
``<CLOCK_BOOTTIME in microseconds> <0 or 1>``. Imports nothing of the agent, so plugins may import it.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Self

BACKLOG_BYTES = 1 << 20
"""A reader that is behind by more is let go."""
FLUSH_S = 0.05


class _Reader:
    """One connection. What it does not take at once waits here: a pin does not wait for who looks at it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.setblocking(False)
        self._waiting = bytearray()

    def tell(self, text: bytes) -> bool:
        """False: it is gone."""
        self._waiting += text
        try:
            while self._waiting:
                del self._waiting[: self._connection.send(self._waiting)]
        except BlockingIOError:
            if len(self._waiting) <= BACKLOG_BYTES:
                return True
        except OSError:
            pass
        else:
            return True
        self.close()
        return False

    def close(self) -> None:
        self._connection.close()


class SimPins:
    """Some pins, all at level 0 (or ``level``) until :meth:`set`. Every method may be called from any thread."""

    def __init__(self, *names: str, level: int = 0) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="hutkeeper-pins-"))
        self._levels = dict.fromkeys(names, level)
        self._readers: dict[str, list[_Reader]] = {name: [] for name in names}
        self._listening: dict[socket.socket, str] = {}
        self._lock = threading.Lock()
        self._wake = -1
        self._thread: threading.Thread | None = None

    def line(self, name: str) -> str:
        """What a config's line gets."""
        return f"sim:{self._folder / name}"

    def set(self, name: str, level: int, t_us: int | None = None) -> None:
        """The pin is at this level, since ``t_us`` (CLOCK_BOOTTIME; left out, since now). Also without any change."""
        with self._lock:
            self._levels[name] = level
            self._tell(name, self._text(level, t_us))

    def readers(self, name: str) -> int:
        """How many hold the pin now (as far as a write has shown)."""
        with self._lock:
            return len(self._readers[name])

    @staticmethod
    def _text(level: int, t_us: int | None) -> bytes:
        return b"%d %d\n" % (time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000 if t_us is None else t_us, level)

    def _tell(self, name: str, text: bytes) -> None:
        self._readers[name] = [reader for reader in self._readers[name] if reader.tell(text)]

    def plug(self) -> Self:
        """Let readers come."""
        self._folder.mkdir(exist_ok=True)
        for name in self._levels:
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            listener.bind(str(self._folder / name))
            listener.listen()
            self._listening[listener] = name
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._thread = threading.Thread(target=self._serve, name="simulated-pins", daemon=True)
        self._thread.start()
        return self

    def unplug(self) -> None:
        """Every reader loses its pin, and none finds it again until :meth:`plug`."""
        if self._thread is not None:
            os.eventfd_write(self._wake, 1)
            self._thread.join()
            os.close(self._wake)
            self._thread = None
        with self._lock:
            for name, readers in self._readers.items():
                (self._folder / name).unlink(missing_ok=True)
                for reader in readers:
                    reader.close()
                readers.clear()
        for listener in self._listening:
            listener.close()
        self._listening.clear()

    def _serve(self) -> None:
        wait = select.poll()
        listening = {listener.fileno(): (listener, name) for listener, name in self._listening.items()}
        for fd in (self._wake, *listening):
            wait.register(fd, select.POLLIN)
        while True:
            ready = [fd for fd, _ in wait.poll(FLUSH_S * 1000)]
            if self._wake in ready:
                return
            with self._lock:
                for fd in ready:
                    listener, name = listening[fd]
                    with suppress(OSError):
                        reader = _Reader(listener.accept()[0])
                        if reader.tell(self._text(self._levels[name], None)):
                            self._readers[name].append(reader)
                for name in self._levels:
                    self._tell(name, b"")

    def __enter__(self) -> Self:
        return self.plug()

    def __exit__(self, *_: object) -> None:
        self.unplug()
        shutil.rmtree(self._folder, ignore_errors=True)
