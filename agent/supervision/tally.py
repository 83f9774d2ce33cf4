"""How often each program was started and how it last ended: kept by the watchdog, told by uplink (``sys/services``).

The file ``<run_dir>/services.json`` changes only when something happened, so that whoever looks at it pays a stat().
Moments are microseconds of CLOCK_BOOTTIME. It outlives the watchdog, not supervisord.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from agent.supervision.conf import replace

FILE = "services.json"
RUNS = ("STARTING", "RUNNING")


def _boottime_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


class Tally:
    """Fed with supervisord's events; :meth:`write` when an event is over."""

    def __init__(self, run_dir: Path, now_us: Callable[[], int] = _boottime_us) -> None:
        self._path = run_dir / FILE
        self._now_us = now_us
        self._supervisor = os.getppid()
        self._programs: dict[str, dict[str, Any]] = {}
        self._changed = True
        self._read()

    def _read(self) -> None:
        """What an earlier watchdog of the same supervisord counted."""
        try:
            told = json.loads(self._path.read_text(encoding="utf-8"))
            if told["supervisor"] == self._supervisor:
                self._programs = {str(name): dict(of) for name, of in told["programs"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return  # none yet, or not one of ours: counting begins

    def state(self, program: str, state: str, pid: int = 0) -> None:
        """supervisord's new state of a program."""
        of = self._programs.setdefault(program, {"starts": 0})
        was, before = of.get("state"), of.get("pid", 0)
        if was == state and pid in (0, before):
            return
        if was == state and before == 0:  # supervisord tells the pid only once it runs
            of["pid"], self._changed = pid, True
            return
        if state == "STARTING":
            of["starts"] += 1
        elif state == "RUNNING" and (of["starts"] == 0 or was == state):
            of["starts"] += 1  # it began before we listened, or while we did not
        of["state"], of["since_us"], of["pid"] = state, self._now_us(), pid if state in RUNS else 0
        self._changed = True

    def exited(self, program: str, code: int) -> None:
        """How its process ended; negative: by that signal."""
        of = self._programs.setdefault(program, {"starts": 0})
        of["end"] = f"exit code {code}" if code >= 0 else f"killed by {_name(-code)}"
        self._changed = True

    def seen(self, program: str, state: str, pid: int) -> None:
        """The state as found now and then."""
        if self._programs.get(program, {}).get("state") != state or (pid and self._programs[program]["pid"] != pid):
            self.state(program, state, pid)

    def keep_only(self, programs: Iterable[str]) -> None:
        """agent.toml was read again."""
        kept = set(programs)
        for gone in set(self._programs) - kept:
            del self._programs[gone]
            self._changed = True

    def write(self) -> None:
        """If something changed; a file that cannot be written is tried again at the next event."""
        if not self._changed:
            return
        try:
            replace(self._path, json.dumps({"supervisor": self._supervisor, "programs": self._programs}))
            self._changed = False
        except OSError:
            return


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
