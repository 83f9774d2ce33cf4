"""Who stands still: the progress files of the plugins, looked at every 5 s (B57).

A file's time is CLOCK_MONOTONIC (agent.supervision.heartbeat.Progress). Beside the age, this process must itself have
seen the file stand still for a few looks: after a pause of the whole machine nobody is killed for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from agent.supervision.heartbeat import FOLDER

TICK_S = 5.0
SEEN_STILL_S = 10.0
"""A plugin that moves touches its file every 10 s, and at once after a pause."""
FIRST_S = 60.0
"""How long a fresh process may take to make its file (a slow import from a slow card)."""


class Hung(NamedTuple):
    """A plugin that stood still for too long, and the program to kill."""

    program: str
    instance: str
    silent_s: float


class _Watched:
    def __init__(self) -> None:
        self.stamp_ns = 0
        self.still_s = 0.0
        self.moved = False
        self.hung = False


class ProgressWatch:
    """All plugins of this device; programs that do not run are not expected to move."""

    def __init__(self, run_dir: Path, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._folder = run_dir / FOLDER
        self._now = monotonic_s
        self._programs: dict[str, tuple[tuple[str, ...], float]] = {}
        self._running: dict[str, bool] = {}
        self._watched: dict[str, _Watched] = {}
        self._again: list[str] = []
        self._last_tick_s: float | None = None

    def plan(self, programs: dict[str, tuple[tuple[str, ...], float]]) -> None:
        """Program -> (instances, seconds it may stand still)."""
        self._programs = programs
        wanted = {instance for instances, _ in programs.values() for instance in instances}
        self._watched = {name: self._watched.get(name, _Watched()) for name in wanted}

    def programs(self) -> set[str]:
        return set(self._programs)

    def plugins(self) -> set[str]:
        """Every instance of the plan."""
        return set(self._watched)

    def instances(self, program: str) -> tuple[str, ...]:
        """The plugins in a program; none for uplink."""
        return self._programs.get(program, ((), 0.0))[0]

    def was_hung(self, instance: str) -> None:
        """Killed by a watchdog before this one."""
        self._watched[instance].hung = True

    def state(self, program: str, state: str, *, only_if_new: bool = False) -> None:
        """supervisord's state of a program; a start begins its time anew."""
        if only_if_new and program in self._running:
            return
        self._running[program] = state in ("STARTING", "RUNNING")
        if state == "STARTING" or only_if_new:
            for instance in self.instances(program):
                watched = self._watched[instance]
                watched.still_s, watched.moved, watched.stamp_ns = 0.0, False, self._stamp_ns(instance)

    def tick(self) -> list[Hung]:
        """Call every 5 s: those that have just stood still for too long."""
        now = self._now()
        if self._last_tick_s is not None and now - self._last_tick_s > 3 * TICK_S:  # we were held up, so were they
            for watched in self._watched.values():
                watched.still_s = 0.0
        self._last_tick_s = now
        hung = []
        for program, (instances, limit_s) in self._programs.items():
            if self._running.get(program, False):
                for instance in instances:
                    silent_s = self._silent_s(instance, limit_s)
                    if silent_s is not None:
                        hung.append(Hung(program, instance, silent_s))
        return hung

    def _silent_s(self, instance: str, limit_s: float) -> float | None:
        """How long it has stood still, once, when that is too long."""
        watched, stamp_ns = self._watched[instance], self._stamp_ns(instance)
        if stamp_ns != watched.stamp_ns:
            watched.stamp_ns, watched.still_s, watched.moved = stamp_ns, 0.0, True
            if watched.hung:
                watched.hung = False
                self._again.append(instance)
            return None
        watched.still_s += TICK_S
        age_s = self._now() - stamp_ns / 1e9 if watched.moved else watched.still_s
        if watched.still_s < SEEN_STILL_S or age_s <= (limit_s if watched.moved else max(limit_s, FIRST_S)):
            return None
        watched.still_s, watched.moved, watched.hung = 0.0, False, True
        return age_s

    def moved_again(self) -> Iterable[str]:
        """Instances that were hung and now make progress; told once."""
        again, self._again = self._again, []
        return again

    def _stamp_ns(self, instance: str) -> int:
        try:
            return (self._folder / instance).stat().st_mtime_ns
        except OSError:
            return 0
