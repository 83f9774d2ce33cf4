"""The watchdog's restarts of this machine: at most three in 24 h, kept on disk with their reasons (B62), and how.

A reboot that cannot be written down first is not made: nothing would end the loop. Written in wall time; what was
written before this machine knew the time counts as made when it learns it, which is later than it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

FILE = "reboots.json"
BUDGET = 3
DAY_US = 86_400_000_000
KEPT = 20
COMMAND = ("systemctl", "reboot")
COMMAND_S = 20.0


class Reboot(Struct, omit_defaults=True):
    at_us: int | None
    """Wall time; None: not known then."""
    boot: str
    """The boot that it ended."""
    why: str
    told: bool = False
    """The hub was told, after the machine came back."""


class Reboots:
    """The book; :meth:`note` before each reboot."""

    def __init__(self, path: Path, boot: str, wall_us: Callable[[], int | None]) -> None:
        self._path = path
        self._boot = boot
        self._wall_us = wall_us
        self.problem = ""
        """Why the book could not be read; it counts as full then."""
        self._list: list[Reboot] = self._read()

    def left(self) -> int:
        """How many may be made now."""
        if self.problem:
            return 0
        now_us = self._wall_us()
        self._date(now_us)
        # of an unknown time, or from ahead of a clock that was set back: it counts
        counted = sum(1 for one in self._list if one.at_us is None or now_us is None or now_us - one.at_us < DAY_US)
        return max(0, BUDGET - counted)

    def note(self, why: str) -> str | None:
        """Write it down; None when that is on disk, else why not."""
        self._list = [*self._list, Reboot(self._wall_us(), self._boot, why[:500])][-KEPT:]
        try:
            self._write()
        except OSError as error:
            self._list.pop()
            return f"{self._path}: {error.strerror}"
        return None

    def untold(self) -> list[str]:
        """The reasons of earlier boots' ends that nobody was told yet; told by this call."""
        news = [one for one in self._list if not one.told and one.boot != self._boot]
        for one in news:
            one.told = True
        if news:
            with contextlib.suppress(OSError):  # then they are told once more
                self._write()
        return [one.why for one in news]

    def _date(self, now_us: int | None) -> None:
        undated = [one for one in self._list if one.at_us is None]
        if now_us is not None and undated:
            for one in undated:
                one.at_us = now_us
            with contextlib.suppress(OSError):
                self._write()

    def _read(self) -> list[Reboot]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[Reboot])
        except FileNotFoundError:
            return []
        except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self.problem = f"{self._path} cannot be read ({error}): this machine is not restarted until it is removed"
            return []

    def _write(self) -> None:
        scratch = self._path.with_name(f".{FILE}.{os.getpid()}")
        with scratch.open("wb") as file:
            file.write(msgspec.json.encode(self._list))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the machine goes down next
        finally:
            os.close(folder)


def ask_system(command: Sequence[str] = COMMAND) -> str | None:
    """An orderly reboot; None when it was taken, else why not."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=COMMAND_S,
                              check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    return None if done.returncode == 0 else f"{' '.join(command)}: {done.stderr.strip()[:200] or done.returncode}"


def of_file(path: Path) -> list[dict[str, object]]:
    """For people: the book as it stands, nothing where there is none."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) else []
