"""The buffer: pieces of the camera's own stream of the last seconds, in memory, bounded by bytes and by time."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

from agent.api import RetryLater

NAME = re.compile(r"\d+-\d+\.mkv\Z")
OURS = re.compile(r"\d+-\d+\.mkv\Z|join\d+\.txt\Z")
"""Only what is named like ours is removed: buffer_dir may be a folder that holds other things too."""


class Piece(NamedTuple):
    """A whole file of the ring; when it came, in seconds of the clock that was fed."""

    path: Path
    begin_s: float
    end_s: float
    size: int


class Ring:
    """Our files are removed at the start: what a crash left is of no use to anybody."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.pieces: list[Piece] = []
        self._run = 0
        self._run_began_s = 0.0
        self._held: dict[Path, int] = {}
        self._prepare()

    def _prepare(self) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            seen = self.folder.lstat()
            # /dev/shm is everybody's: a folder of this name that somebody else made is not to be written to
            if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
                raise RetryLater(f"buffer_dir: {self.folder} is not a folder of this user, remove it")
            os.chmod(self.folder, 0o700)
            self._empty()
        except OSError as error:
            raise RetryLater(f"buffer_dir: {self.folder}: {error.strerror}") from None

    @property
    def size(self) -> int:
        """Bytes of whole pieces."""
        return sum(piece.size for piece in self.pieces)

    def begin_run(self, t_s: float) -> Path:
        """A new ffmpeg starts: the pattern for its pieces."""
        self._run += 1
        self._run_began_s = t_s
        return self.folder / f"{self._run}-%06d.mkv"

    def add(self, name: str, t_s: float) -> Piece | None:
        """A piece is whole. None: no such file of ours."""
        path = self.folder / Path(name).name
        if not NAME.match(path.name) or any(piece.path == path for piece in self.pieces):
            return None
        try:
            size = path.stat().st_size
        except OSError:
            return None
        begin_s = max([self._run_began_s] + [piece.end_s for piece in self.pieces])
        piece = Piece(path, min(begin_s, t_s), t_s, size)
        self.pieces.append(piece)
        return piece

    def adopt_rest(self, t_s: float) -> None:
        """ffmpeg is gone: what it did not tell is whole enough (Matroska is readable up to where it was cut)."""
        for path in sorted(self.folder.glob(f"{self._run}-*.mkv")):
            self.add(path.name, t_s)

    def unfinished_bytes(self) -> int:
        """Of the piece that is being written; without key frames it grows for ever."""
        known = {piece.path for piece in self.pieces}
        total = 0
        for path in self.folder.glob("*.mkv"):
            if path not in known:
                with contextlib.suppress(OSError):
                    total += path.stat().st_size
        return total

    def window(self, begin_s: float, end_s: float) -> list[Piece]:
        """The pieces that have something of these seconds."""
        return [piece for piece in self.pieces if piece.end_s > begin_s and piece.begin_s < end_s and piece.size]

    def hold(self, pieces: list[Piece], by: int) -> None:
        """Keep the files while they are read: +1, and -1 to let go."""
        for piece in pieces:
            self._held[piece.path] = self._held.get(piece.path, 0) + by
            if self._held[piece.path] <= 0:
                del self._held[piece.path]

    def trim(self, keep_from_s: float) -> None:
        """Drop what ended before, then the oldest until the bytes fit; what is held stays."""
        spare = self.size - self.max_bytes
        kept = []
        for piece in self.pieces:
            if (piece.end_s >= keep_from_s and spare <= 0) or piece.path in self._held:
                kept.append(piece)
                continue
            spare -= piece.size
            with contextlib.suppress(OSError):
                piece.path.unlink()
        self.pieces = kept

    def _empty(self) -> None:
        for file in self.folder.iterdir():
            if OURS.match(file.name):
                file.unlink(missing_ok=True)

    def remove(self) -> None:
        with contextlib.suppress(OSError):  # not empty: somebody else keeps something there
            self._empty()
            self.folder.rmdir()
        self.pieces = []
