"""Which file systems count, how full they are, and in how many days they will be full.

The forecast is a Theil-Sen slope (median of all pairwise slopes: one big download or a log rotation does not turn it)
over kept history, given only when Mann and Kendall's test says that the trend is no accident; otherwise there is none.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from statistics import median
from typing import Literal, NamedTuple

FILE_SYSTEMS = frozenset((
    "ext2", "ext3", "ext4", "btrfs", "xfs", "f2fs", "vfat", "exfat", "jfs", "zfs", "ubifs", "ntfs3", "overlay"))
SAMPLE_S = 3600.0
MAX_POINTS = 160
MIN_POINTS = 8
MIN_SPAN_S = 6 * 3600.0
HORIZON_DAYS = 3650.0
SIGNIFICANCE_Z = 2.576
"""Two-sided 1 %: a steady disk is called filling once in two hundred."""

History = list[list[float]]
"""[wall seconds, free bytes], in order of time."""


class Usage(NamedTuple):
    """What statvfs(2) says; ``used_percent`` as df(1) counts it (reserved blocks are neither used nor free)."""

    total_bytes: int
    free_bytes: int
    used_percent: float
    read_only: bool


class Forecast(NamedTuple):
    """``state``: unknown (too little history), steady or filling; ``days`` until full when filling."""

    state: Literal["unknown", "steady", "filling"]
    days: float | None


def mounts(proc_mounts: str) -> list[str]:
    """Mount points of real disks, each file system once (the first place it is seen at), root first."""
    seen: set[str] = set()
    found: list[str] = []
    for line in proc_mounts.splitlines():
        fields = line.split()
        if len(fields) < 4 or fields[2] not in FILE_SYSTEMS:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[1])
        source = fields[0] if fields[0].startswith("/dev/") else f"{fields[2]} {fields[0]}"
        if fields[2] == "overlay" and point != "/":  # containers' layers: the disk below them is counted already
            continue
        if source.startswith("/dev/loop") or source in seen:
            continue
        seen.add(source)
        found.append(point)
    return sorted(found, key=lambda point: (point != "/", point))


def node_id(point: str) -> str:
    """``/`` -> ``disk-root``, ``/boot/firmware`` -> ``disk-boot-firmware``."""
    return "disk-" + (re.sub(r"[^a-z0-9]+", "-", point.lower()).strip("-")[:40] or "root")


def usage(path: Path) -> Usage | None:
    """statvfs(2), or None when the place is not there (an unplugged stick)."""
    try:
        stat = os.statvfs(path)
    except OSError:
        return None
    size = stat.f_frsize
    used = (stat.f_blocks - stat.f_bfree) * size
    available = stat.f_bavail * size
    if stat.f_blocks == 0:
        return None
    percent = 100.0 * used / (used + available) if used + available else 100.0
    return Usage(stat.f_blocks * size, available, round(percent, 1), bool(stat.f_flag & os.ST_RDONLY))


def remember(history: History, wall_s: float, free_bytes: int) -> bool:
    """Add a point an hour; True when one was added. Old points are thinned, so months fit into a small state."""
    if history and wall_s < history[-1][0] - SAMPLE_S:  # the clock was set back: what is ahead of it is wrong
        history[:] = [point for point in history if point[0] <= wall_s]
    if history and wall_s - history[-1][0] < SAMPLE_S:
        return False
    history.append([float(round(wall_s)), float(free_bytes)])
    if len(history) > MAX_POINTS:
        old = history[: MAX_POINTS // 2]
        history[: MAX_POINTS // 2] = old[::2]
    return True


def forecast(history: History, free_bytes: int) -> Forecast:
    """Days until ``free_bytes`` are gone at the slope of the history."""
    points = [(time, free) for time, free in history]
    if len(points) < MIN_POINTS or points[-1][0] - points[0][0] < MIN_SPAN_S:
        return Forecast("unknown", None)
    slopes: list[float] = []
    score = 0
    for j in range(1, len(points)):
        for i in range(j):
            step = points[j][0] - points[i][0]
            if step > 0:
                fall = points[j][1] - points[i][1]
                slopes.append(fall / step)
                score += (fall > 0) - (fall < 0)
    n = len(points)
    spread = math.sqrt(n * (n - 1) * (2 * n + 5) / 18)
    slope = median(slopes)
    if slope >= 0 or score > -SIGNIFICANCE_Z * spread:
        return Forecast("steady", None)
    days = free_bytes / -slope / 86400
    return Forecast("filling", round(days, 1)) if days <= HORIZON_DAYS else Forecast("steady", None)
