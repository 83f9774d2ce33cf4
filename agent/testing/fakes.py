"""Fakes at the lowest boundary that is still real: a serial device on a pty, and an Io whose clock the test moves."""

from __future__ import annotations

import os
import select
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from agent.api import Plugin
from agent.replay.capture import is_transcript, parse_transcript, snapshots, stamped_entries
from agent.replay.world import RawSource, ReplayIo, Source, TranscriptSource, TreeSource, VirtualClock
from agent.runner.logs import CappedLog

__all__ = ["FakePty", "Lines", "VirtualClock", "io_over"]


class FakePty:
    """A device on a real pty behind a link of a stable name, as udev makes it: ``with FakePty(tmp_path) as device``.

    ``respond`` answers what is written to it: bytes in, bytes out, called on a thread of its own. A pty has no speed:
    a test that needs one paces its writes."""

    def __init__(self, folder: Path, name: str = "meter", respond: Callable[[bytes], bytes] | None = None) -> None:
        self.path = folder / name
        self.respond = respond
        self._master = -1
        self._slave = -1
        self._stop, self._stop_in = -1, -1
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> str:
        """What a Config's ``port`` gets."""
        return str(self.path)

    @property
    def plugged(self) -> bool:
        return self._master >= 0

    def plug(self) -> Self:
        """A new device node behind the same link."""
        self._master, self._slave = os.openpty()
        tty.setraw(self._master)
        tty.setraw(self._slave)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self._slave))
        if self.respond is not None:
            self._stop, self._stop_in = os.pipe()
            self._thread = threading.Thread(target=self._answer, daemon=True)
            self._thread.start()
        return self

    def unplug(self) -> None:
        """The device goes away while it is open, and its link with it."""
        if self._thread is not None:
            os.write(self._stop_in, b"s")
            self._thread.join(5)
            os.close(self._stop)
            os.close(self._stop_in)
            self._thread = None
        self.path.unlink(missing_ok=True)
        for fd in (self._master, self._slave):
            if fd >= 0:
                os.close(fd)
        self._master = self._slave = -1

    def write(self, data: bytes) -> None:
        """Bytes from the device, all of them (waits while the reader is behind)."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._master, view) :]

    def read(self, size: int, timeout_s: float) -> bytes:
        """What was written to the device, ``b""`` after ``timeout_s``."""
        if not select.select([self._master], (), (), timeout_s)[0]:
            return b""
        return os.read(self._master, size)

    def _answer(self) -> None:
        assert self.respond is not None
        while True:
            ready = select.select([self._master, self._stop], (), ())[0]
            if self._stop in ready:
                return
            try:
                answer = self.respond(os.read(self._master, 4096))
            except OSError:
                return  # the slave was closed by whoever had it open last
            if answer:
                self.write(answer)

    def __enter__(self) -> Self:
        return self.plug()

    def __exit__(self, *_: object) -> None:
        self.unplug()


class Lines:
    """What a plugin logged: ``(level, text)``."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, level: str, text: str) -> None:
        self.lines.append((level, text))

    def of(self, *levels: str) -> list[str]:
        return [text for level, text in self.lines if level in levels]


@contextmanager
def io_over(capture: Path | bytes, lines: Lines | None = None, *, kind: type[Plugin] | None = None,
            config: Any = None) -> Iterator[ReplayIo]:
    """An :class:`agent.api.Io` on a virtual clock over raw bytes, a transcript, a file or a folder with root/.

    ``kind`` and ``config``: let the plugin undress a raw capture first (``Plugin.capture``)."""
    clock = VirtualClock()
    lines = lines or Lines()
    log = CappedLog(lines, debug=True, monotonic_s=clock.monotonic_s)
    source: Source
    root: Callable[[], Path] = lambda: Path("/nonexistent")  # noqa: E731
    if isinstance(capture, Path) and capture.is_dir():
        tree = TreeSource(clock, snapshots(capture), streams=True)
        source, root = tree, lambda: tree.root
    else:
        data = capture.read_bytes() if isinstance(capture, Path) else capture
        if is_transcript(data):
            source = TranscriptSource(clock, parse_transcript(data), lambda text: lines("error", text))
        elif kind is not None and (stamped := kind.captured(config, data)) is not None:
            source = TranscriptSource(clock, stamped_entries(stamped), lambda text: lines("error", text))
        else:
            source = RawSource(clock, kind.capture(config, data) if kind is not None else data)
    clock.over = lambda: source.over
    duty = kind.duty(config) if kind is not None and kind.actuator else None
    yield ReplayIo("test", clock, source, log, root, duty)
