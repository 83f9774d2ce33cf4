"""A part of the hub shows that it moves: the time of ``<run_dir>/pulse/<part>`` is when it last did (CLOCK_MONOTONIC).

That clock is one for all processes of a machine and is never set, so a moved clock kills nobody. The file's text is
``<pid> <started, us since 1970>``. A part beats where it has done its work, not in a thread of its own (B64).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

FOLDER = "pulse"
LIMIT_S = 30.0
"""A part that has not moved for this long makes no progress."""


class Seen(Struct, frozen=True):
    """What a part's file says."""

    pid: int
    started_us: int
    still_s: float
    """Since it last moved."""
    alive: bool
    """Its process is there."""

    @property
    def moves(self) -> bool:
        return self.alive and self.still_s <= LIMIT_S


class Pulse:
    """``beat`` may be called often: it makes a system call at most once a second, and raises nothing."""

    def __init__(self, run_dir: Path, part: str, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._path = run_dir / FOLDER / part
        self._text = f"{os.getpid()} {time.time_ns() // 1000}\n"
        self._now = monotonic_s
        self._next_s = float("-inf")
        self._there = False

    def beat(self) -> None:
        now = self._now()
        if now < self._next_s:
            return
        self._next_s = now + 1.0
        try:
            if not self._there:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                scratch = self._path.with_name(f".{self._path.name}.{os.getpid()}")
                scratch.write_text(self._text)
                scratch.replace(self._path)
                self._there = True
            os.utime(self._path, ns=(int(now * 1e9), int(now * 1e9)))
        except OSError:
            self._there = False  # the folder is gone or full: the next beat tries again

    def end(self) -> None:
        """A clean end."""
        with contextlib.suppress(OSError):
            self._path.unlink()


def look(run_dir: Path, part: str, now_s: float | None = None) -> Seen | None:
    """None: the part has never moved here, or ended in an orderly way."""
    path = run_dir / FOLDER / part
    try:
        moved_s = path.stat().st_mtime_ns / 1e9
        pid, _, started = path.read_text().strip().partition(" ")
        seen = Seen(int(pid), int(started), max(0.0, (time.monotonic() if now_s is None else now_s) - moved_s),
                    os.path.exists(f"/proc/{int(pid)}"))
    except (OSError, ValueError):
        return None
    return seen


def moves(run_dir: Path, part: str) -> bool:
    """The part makes progress."""
    seen = look(run_dir, part)
    return seen is not None and seen.moves
