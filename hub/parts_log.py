"""What a part of the hub writes under ``hutkeeper-hub run``: passed on to our own stderr, and kept in a file of its own
(``<data_dir>/log/<part>.log``, as under supervisord), so that the pages can show it."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path

LOG_BYTES = 4 << 20
"""A larger file becomes ``.1``; there is one of those."""
FOLDER = "log"


def file_of(data_dir: Path, part: str) -> Path:
    return data_dir / FOLDER / f"{part}.log"


class Keeper:
    """The log of one part over all its lives. What cannot be written is passed on all the same."""

    def __init__(self, path: Path, *, limit: int = LOG_BYTES, sink: int = 2) -> None:
        self._path = path
        self._limit = limit
        self._sink = sink
        self._lock = threading.Lock()
        self._kept = 0
        """So many bytes of what comes are in the file before it is moved away."""

    def follow(self, fd: int) -> threading.Thread:
        """Read ``fd`` to its end on a thread of its own, and close it."""
        thread = threading.Thread(target=self._read, args=(fd,), name=f"log-{self._path.stem}", daemon=True)
        thread.start()
        return thread

    def _read(self, fd: int) -> None:
        try:
            while data := os.read(fd, 65536):
                self.write(data)
        except OSError:
            return  # nothing more comes
        finally:
            os.close(fd)

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self._sink, data)
        with self._lock, contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            if self._append(data, self._limit) < self._limit:
                return
            self._path.replace(self._path.with_name(self._path.name + ".1"))
            self._append(data[self._kept:], 0)  # also an empty one: a reader of none would say that there is no log

    def _append(self, data: bytes, limit: int) -> int:
        """The size of the file. One that is full by it takes whole lines only: its reader goes on in the next one."""
        with open(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640), "ab") as file:
            whole = data.rfind(b"\n") + 1
            self._kept = whole if whole and limit and file.tell() + len(data) >= limit else len(data)
            file.write(data[:self._kept])
            return file.tell() + len(data) - self._kept
