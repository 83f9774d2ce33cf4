"""Log lines that cannot block or stop a process (B24): a full pipe drops them and counts them.

supervisord reads each child's stdout and stderr through a pipe of 64 KiB. While it is stopped, or its log disk hangs,
a blocking write would stop the plugin with it.
"""

from __future__ import annotations

import contextlib
import io
import os
import stat
import sys
import time
from typing import TextIO, cast

FLOOD_LINES = 1000
FLOOD_WINDOW_S = 10.0
"""More lines than this in the window are dropped and counted: whoever floods says nothing anyway."""


class NeverBlock(io.TextIOBase):
    """A text stream over a non-blocking descriptor: writes whole lines or drops them, and says how many it dropped."""

    def __init__(self, fd: int, *, flood_lines: int = FLOOD_LINES) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._flood_lines = flood_lines
        self._partial = ""
        self._tail = b""
        self._dropped = 0
        self._window_end = 0.0
        self._in_window = 0

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return "utf-8"

    def fileno(self) -> int:
        return self._fd

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        self._partial += text
        if "\n" in self._partial:
            lines, _, self._partial = self._partial.rpartition("\n")
            for line in lines.split("\n"):
                self._line(line)
        elif len(self._partial) > 65536:
            self._line(self._partial)
            self._partial = ""
        return len(text)

    def flush(self) -> None:
        if self._tail:
            self._push(b"")

    def _line(self, line: str) -> None:
        now = time.monotonic()
        if now >= self._window_end:
            self._window_end, self._in_window = now + FLOOD_WINDOW_S, 0
        self._in_window += 1
        if self._in_window > self._flood_lines:
            self._dropped += 1
            return
        data = line.encode("utf-8", errors="backslashreplace") + b"\n"
        if self._dropped:
            data = f"({self._dropped} lines dropped: the log could not take them)\n".encode() + data
        if self._push(data):
            self._dropped = 0
        else:
            self._dropped += 1

    def _push(self, data: bytes) -> bool:
        """False when nothing of ``data`` went out; a line that went out in part is finished before the next one."""
        pending = self._tail + data
        try:
            sent = os.write(self._fd, pending)
        except BlockingIOError:
            return not data
        except OSError:  # the reader is gone for good; the process has other things to do
            self._tail = b""
            return not data
        if sent < len(self._tail):
            self._tail = self._tail[sent:]
            return not data
        self._tail = pending[sent:]
        return True


def never_block() -> None:
    """Make stdout and stderr of this process unable to block it. Terminals and files stay as they are."""
    for name, fd in (("stdout", 1), ("stderr", 2)):
        with contextlib.suppress(OSError):
            mode = os.fstat(fd).st_mode
            if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
                setattr(sys, name, cast(TextIO, NeverBlock(fd)))
