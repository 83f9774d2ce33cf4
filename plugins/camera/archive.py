"""Clips and snapshots on the disk: bounded by bytes, by age, and by what the disk must keep free for others."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import NamedTuple

from agent.api import RetryLater

OURS = re.compile(r"(\d{8}T\d{6}Z|boot\d+)-[a-z]+(-\d+)?\.(mp4|mkv|jpg)\Z")
"""Only what is named like ours is counted and removed."""
PART = ".part"


class Kept(NamedTuple):
    path: Path
    mtime_s: float
    size: int


class Archive:
    """One folder of one camera."""

    def __init__(self, folder: Path, max_bytes: int, max_age_s: float, free_min_bytes: int) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.max_age_s = max_age_s
        self.free_min_bytes = free_min_bytes
        try:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
            for file in folder.glob(f"*{PART}"):  # a power cut in the middle of one
                file.unlink()
        except OSError as error:
            raise RetryLater(f"clips_dir: {folder}: {error.strerror}") from None

    def files(self) -> list[Kept]:
        """Oldest first."""
        found = []
        with contextlib.suppress(OSError):
            for entry in os.scandir(self.folder):
                if OURS.match(entry.name) and entry.is_file(follow_symlinks=False):
                    with contextlib.suppress(OSError):
                        seen = entry.stat(follow_symlinks=False)
                        found.append(Kept(Path(entry.path), seen.st_mtime, seen.st_size))
        return sorted(found, key=lambda kept: (kept.mtime_s, kept.path.name))

    def free_bytes(self) -> int:
        room = os.statvfs(self.folder)
        return room.f_bavail * room.f_frsize

    def expire(self, wall_s: float | None) -> int:
        """Remove what is too old; nothing while the time is not known. Returns how many."""
        if wall_s is None:
            return 0
        old = [kept for kept in self.files() if kept.mtime_s < wall_s - self.max_age_s]
        return sum(_removed(kept.path) for kept in old)

    def make_room(self, wanted: int) -> str | None:
        """Remove the oldest until ``wanted`` bytes more fit. Returns why they do not, or None.

        What would not fit even then costs no clip."""
        files = self.files()
        total = sum(kept.size for kept in files)
        if wanted > self.max_bytes:
            return f"{wanted >> 20} MB is more than clips_max_mb"
        try:
            free = self.free_bytes()
            if free + total - wanted < self.free_min_bytes:
                return f"the disk has {free >> 20} MB free, of which {self.free_min_bytes >> 20} MB are for others"
            while files and (total + wanted > self.max_bytes or free - wanted < self.free_min_bytes):
                oldest = files.pop(0)
                if not _removed(oldest.path):
                    return f"{oldest.path.name} cannot be removed"
                total -= oldest.size
                free = self.free_bytes()
        except OSError as error:
            return f"{self.folder}: {error.strerror}"
        if free - wanted < self.free_min_bytes:  # somebody else is filling it meanwhile
            return f"the disk has {free >> 20} MB free"
        return None

    def name(self, wall_us: int | None, boottime_s: float, kind: str, suffix: str) -> Path:
        """A free name: ``20261122T040000Z-motion.mp4``, ``boot1234-motion.mp4`` while the time is not known."""
        stamp = f"boot{boottime_s:.0f}"
        if wall_us is not None:
            from datetime import UTC, datetime

            stamp = datetime.fromtimestamp(wall_us / 1e6, UTC).strftime("%Y%m%dT%H%M%SZ")
        for number in range(1000):
            path = self.folder / f"{stamp}-{kind}{f'-{number}' if number else ''}.{suffix}"
            if not path.exists() and not path.with_name(path.name + PART).exists():
                return path
        raise RetryLater(f"{self.folder}: too many clips of one second")

    def settle(self, part: Path, target: Path) -> int:
        """A finished file gets its name once its bytes are on the disk. Returns its size. Raises OSError."""
        fd = os.open(part, os.O_RDONLY)
        try:
            os.fsync(fd)
            size = os.fstat(fd).st_size
        finally:
            os.close(fd)
        if not size:
            raise OSError(0, "empty")
        part.rename(target)
        return size


def _removed(path: Path) -> bool:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return False
    return True
