"""The programs of this device as the watchdog sees them: from its files, without a word to supervisord.

Everything is read when it is needed: this process counts its memory, and most of the time nothing has changed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from agent.supervision.heartbeat import FOLDER
from agent.wire.messages import Services, ServiceState

PLAN, TALLY = "supervision.json", "services.json"
"""``agent.supervision.conf.PLAN`` and ``tally.FILE``; those modules cost more than they are worth here."""
UPLINK, WATCHDOG, SUPERVISORD = "uplink", "watchdog", "supervisord"
RUNNING = "running"


def stamp(run_dir: Path) -> int:
    """Changes whenever a program's state does; 0: nobody watches here."""
    try:
        return os.stat(run_dir / TALLY).st_mtime_ns
    except OSError:
        return 0


def gather(run_dir: Path, wall_us: Callable[[int], int | None], *, memory: bool = False) -> Services:
    """All programs. ``wall_us``: CLOCK_BOOTTIME to wall time."""
    told = _read(run_dir / TALLY).get("programs", {})
    planned = _read(run_dir / PLAN).get("programs", {})
    found = {}
    for name, of in sorted(told.items()):
        try:
            plan = planned.get(name, {})
            pid, state = int(of.get("pid", 0)), str(of["state"]).lower()
            instances = tuple(str(one) for one in plan.get("instances", ()) if one != name)
            found[name] = ServiceState(
                state, wall_us(int(of["since_us"])), max(0, int(of.get("starts", 0)) - 1), str(of.get("end", ""))[:80],
                _still_s(run_dir, instances or (name,)) if state == RUNNING else None,
                30.0 if name == WATCHDOG else plan.get("hang_after_s"), instances, pid,
                _memory(pid) if memory and pid else 0)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue  # the file of another version
    return Services(wall_us(time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000), found)


def program_of(run_dir: Path, what: str) -> str | None:
    """The program that ``plugin:<id>``, ``guard:<id>``, ``uplink`` or ``watchdog`` means; None: there is none."""
    kind, _, name = what.partition(":")
    if what in (UPLINK, WATCHDOG):
        return what
    programs = _read(run_dir / PLAN).get("programs", {})
    if kind == "guard":
        return f"guard-{name}" if f"guard-{name}" in programs else None
    if kind == "plugin":
        return next((program for program, of in programs.items()
                     if program.startswith("plugin") and name in of.get("instances", ())), None)
    return None


def programs(run_dir: Path) -> list[str]:
    return [*_read(run_dir / PLAN).get("programs", {}), WATCHDOG, SUPERVISORD]


def _still_s(run_dir: Path, instances: tuple[str, ...]) -> float | None:
    """The one that has stood still for longest, by the progress files (CLOCK_MONOTONIC)."""
    now = time.monotonic()
    ages = []
    for instance in instances:
        try:
            ages.append(now - os.stat(run_dir / FOLDER / instance).st_mtime_ns / 1e9)
        except OSError:
            continue  # it has not moved yet, or does not tell (uplink)
    return round(max(0.0, *ages), 1) if ages else None


def _memory(pid: int) -> int:
    """Resident bytes, 0 when the process is gone."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _read(path: Path) -> dict[str, Any]:
    try:
        told = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}
    return told if isinstance(told, dict) else {}
