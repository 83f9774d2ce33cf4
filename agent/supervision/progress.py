"""Who stands still: the progress files of the plugins, looked at every 5 s (B57).

A file's time is compared with what was there at the last look, never with a clock; silence is counted in looks, so a
moved clock or a watchdog that was itself held up kills nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from agent.supervision.heartbeat import FOLDER

TICK_S = 5.0
FIRST_S = 60.0
"""How long a fresh process may take to its first progress (a slow import from a slow card)."""


class Hung(NamedTuple):
    """A plugin that stood still for too long, and the program to kill."""

    program: str
    instance: str
    silent_s: float


class _Watched:
    def __init__(self) -> None:
        self.stamp = 0
        self.silent_s = 0.0
        self.moved = False
        self.hung = False


class ProgressWatch:
    """All plugins of this device; programs that do not run are not expected to move."""

    def __init__(self, run_dir: Path) -> None:
        self._folder = run_dir / FOLDER
        self._programs: dict[str, tuple[tuple[str, ...], float]] = {}
        self._running: dict[str, bool] = {}
        self._watched: dict[str, _Watched] = {}
        self._again: list[str] = []

    def plan(self, programs: dict[str, tuple[tuple[str, ...], float]]) -> None:
        """Program -> (instances, seconds it may stand still)."""
        self._programs = programs
        wanted = {instance for instances, _ in programs.values() for instance in instances}
        self._watched = {name: self._watched.get(name, _Watched()) for name in wanted}

    def programs(self) -> set[str]:
        return set(self._programs)

    def instances(self, program: str) -> tuple[str, ...]:
        return self._programs.get(program, ((), 0.0))[0]

    def state(self, program: str, state: str, *, only_if_new: bool = False) -> None:
        """supervisord's state of a program; a start begins its time anew."""
        if only_if_new and program in self._running:
            return
        self._running[program] = state in ("STARTING", "RUNNING")
        if state == "STARTING":
            for instance in self.instances(program):
                watched = self._watched[instance]
                watched.silent_s, watched.moved, watched.stamp = 0.0, False, self._stamp(instance)

    def tick(self) -> list[Hung]:
        """Call every 5 s: those whose silence has just passed their limit."""
        hung = []
        for program, (instances, limit_s) in self._programs.items():
            if not self._running.get(program, False):
                continue
            for instance in instances:
                watched, stamp = self._watched[instance], self._stamp(instance)
                if stamp != watched.stamp:
                    watched.stamp, watched.silent_s, watched.moved = stamp, 0.0, True
                    if watched.hung:
                        watched.hung = False
                        self._again.append(instance)
                    continue
                watched.silent_s += TICK_S
                if watched.silent_s > (limit_s if watched.moved else max(limit_s, FIRST_S)):
                    hung.append(Hung(program, instance, watched.silent_s))
                    watched.silent_s, watched.moved, watched.hung = 0.0, False, True
        return hung

    def moved_again(self) -> Iterable[str]:
        """Instances that were hung and now make progress; told once."""
        again, self._again = self._again, []
        return again

    def _stamp(self, instance: str) -> int:
        try:
            return (self._folder / instance).stat().st_mtime_ns
        except OSError:
            return 0
