"""Speech that was made before, by what made it: whole files only, bounded in bytes, the longest unused go first."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path


def key(*parts: object) -> str:
    """The same program, voice, effect and text have the same name."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:40]


class Cache:
    """A folder of ``<key>.wav``. Whatever goes wrong with the disk, the worst is that speech is made anew.

    ``folder`` None, or no bytes allowed: nothing is kept."""

    def __init__(self, folder: Path | None, max_bytes: int) -> None:
        self.bytes = 0
        self._folder = folder if max_bytes > 0 else None
        self._max_bytes = max_bytes
        if self._folder is not None:
            with contextlib.suppress(OSError):
                for left in self._folder.glob("*.new"):  # a power cut while one was written
                    left.unlink()
            self._make_room()

    def get(self, name: str) -> bytes | None:
        """None: not there. Whether it is whole is for the reader to say (:meth:`forget`)."""
        if self._folder is None:
            return None
        path = self._folder / f"{name}.wav"
        try:
            data = path.read_bytes()
            os.utime(path)
        except OSError:
            return None
        return data

    def put(self, name: str, data: bytes) -> None:
        """Whole or not at all."""
        if self._folder is None or len(data) > self._max_bytes:
            return
        scratch = self._folder / f"{name}.new"
        try:
            scratch.write_bytes(data)
            os.replace(scratch, self._folder / f"{name}.wav")
        except OSError:  # full or read-only: it was played all the same
            with contextlib.suppress(OSError):
                scratch.unlink()
        self._make_room()

    def forget(self, name: str) -> None:
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder / f"{name}.wav").unlink()

    def _make_room(self) -> None:
        assert self._folder is not None
        files: list[tuple[float, int, Path]] = []
        with contextlib.suppress(OSError):
            for path in self._folder.glob("*.wav"):
                with contextlib.suppress(OSError):
                    stat = path.stat()
                    files.append((stat.st_mtime, stat.st_size, path))
        self.bytes = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if self.bytes <= self._max_bytes:
                return
            with contextlib.suppress(OSError):
                path.unlink()
                self.bytes -= size


class Journal:
    """Ids whose speech was begun, on disk before the first sound: a kill -9 does not make it speak twice.

    ``io.kept`` alone is committed a moment later. One line an id, ``-id`` takes it back; shortened now and then."""

    KEEP = 64

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._begun: dict[str, None] = {}
        if path is None:
            return
        with contextlib.suppress(OSError):
            for line in path.read_text("utf-8", "replace").splitlines():
                self._note(line)
        self._shorten(path)

    def _shorten(self, path: Path) -> None:
        self._begun = dict.fromkeys(list(self._begun)[-self.KEEP :])
        scratch = path.with_suffix(".new")
        with contextlib.suppress(OSError):
            scratch.write_text("".join(f"+{id_}\n" for id_ in self._begun))
            os.replace(scratch, path)

    def _note(self, line: str) -> None:
        if line.startswith("+"):
            self._begun[line[1:]] = None
        elif line.startswith("-"):
            self._begun.pop(line[1:], None)

    def begun(self, id_: str) -> bool:
        return id_ in self._begun

    def begin(self, id_: str) -> None:
        self._write(f"+{id_}")

    def take_back(self, ids: Iterable[str]) -> None:
        """It was not heard to its end and is to be spoken again."""
        for id_ in ids:
            if id_ in self._begun:
                self._write(f"-{id_}")

    def _write(self, line: str) -> None:
        self._note(line)
        if self._path is None:
            return
        if len(self._begun) > 4 * self.KEEP:
            self._shorten(self._path)
        with contextlib.suppress(OSError), self._path.open("a") as file:
            file.write(line + "\n")
            file.flush()
            os.fsync(file.fileno())
