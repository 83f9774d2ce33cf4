"""The hub as a machine of the report: its parts by their pulse, its own disk. Reads small files only."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

from hub.ingest import status
from hub.settings import Settings
from hub.store.watch_rows import DiskPoint
from hub.supervision import Life, lives, parts
from hub.watch import pulse
from hub.watch.forecast import days_until_full
from hub.watch.model import Disk, Figures, Machine, Service, State

HUB = "hub"
START_US = 45_000_000
"""A part that was started this recently may not have moved yet."""
BAD_INGEST = {"full": "its disk is full", "second": "another hub is active"}


def hub_machine(settings: Settings, now_us: int, points: Sequence[DiskPoint] = (), *,
                broker: tuple[bool, int | None] | None = None, now_s: float | None = None) -> Machine:
    """``broker``: whether a broker of another machine is reached, and since when. ``now_s``: CLOCK_MONOTONIC."""
    run_dir = settings.hub.run_dir
    known = lives(run_dir)
    services = [part_service(settings, part, known.get(part), now_us, now_s) for part in parts(settings)]
    if not settings.embedded_broker and broker is not None:
        reached, since_us = broker
        services.insert(0, Service("broker", "hub", "ok" if reached else "failed", since_us,
                                   now_us if reached else None, words="" if reached else
                                   f"no connection to {settings.broker_host}:{settings.broker_port}"))
    bad = [one.name for one in services if one.state in ("failed", "stopped", "slow")]
    started = [one.since_us for one in services if one.since_us is not None]
    progress = [one.progress_us for one in services if one.progress_us is not None]
    return Machine(HUB, settings.hub.name, "hub", "slow" if bad else "ok", ", ".join(bad), min(started, default=None),
                   max(progress, default=None), tuple(services), own_figures(settings, points))


def part_service(settings: Settings, part: str, life: Life | None, now_us: int, now_s: float | None = None) -> Service:
    """One part of the hub, by when it last moved."""
    run_dir = settings.hub.run_dir
    seen = pulse.look(run_dir, part, now_s)
    state: State = "ok"
    words = fault = ""
    young = life is not None and life.pid > 0 and now_us - life.since_us < START_US
    gone = f", {life.last_end}" if life is not None and life.last_end else ""
    if life is not None and not life.pid:
        state, words = "failed", f"does not run{gone}"
    elif seen is None:
        state, words = ("starting", "") if young else ("failed" if life is not None else "stopped",
                                                       "has not moved since it was started")
    elif not seen.alive or (life is not None and life.pid != seen.pid and not young):
        state, words = ("starting", "") if young else ("failed", f"its process is gone{gone}")
    elif life is not None and life.pid != seen.pid:
        state = "starting"
    elif not seen.moves:
        state, words = "failed", f"has not moved for {round(seen.still_s)} s"
    elif part == "ingest":
        state, words, fault = _ingest(run_dir)
    progress = now_us - round(seen.still_s * 1e6) if seen is not None else None
    since = life.since_us if life is not None else seen.started_us if seen is not None else None
    return Service(part, "hub", state, since, progress, life.restarts if life is not None else None,
                   life.last_end if life is not None else "", words, fault, part)


def _ingest(run_dir: Path) -> tuple[State, str, str]:
    """(state, words, its own word for what is wrong)"""
    told = status.read(run_dir)
    if told is None:
        return "ok", "", ""
    if told.state in BAD_INGEST:
        return "failed", next(iter(told.faults.values()), BAD_INGEST[told.state])[:300], told.state
    if not told.connected:
        return "slow", "no connection to the broker", ""
    if told.faults:
        return "slow", next(iter(told.faults.values()))[:300], ""
    return "ok", "", ""


def own_figures(settings: Settings, points: Sequence[DiskPoint] = ()) -> Figures:
    """Of the machine that the hub runs on."""
    try:
        free, total = disk_of(settings)
        disks: tuple[Disk, ...] = (Disk(str(settings.hub.data_dir), free, total, days_until_full(points, free),
                                        "unknown"),)
    except OSError:
        disks = ()
    memory = psutil.virtual_memory()
    return Figures(disks, memory.percent, memory.available, uptime_s=time.clock_gettime(time.CLOCK_BOOTTIME))


def disk_of(settings: Settings) -> tuple[int, int]:
    """(free, total) bytes of the disk that holds the samples. Raises OSError."""
    usage = shutil.disk_usage(settings.hub.data_dir)
    return usage.free, usage.total


def own_bytes(settings: Settings) -> int:
    """What the hub's databases take."""
    total = 0
    for path in (settings.samples_db, settings.alerts_db, settings.web_db):
        for name in (path, path.with_name(path.name + "-wal")):
            try:
                total += name.stat().st_size
            except OSError:
                continue
    return total
