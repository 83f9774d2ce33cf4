"""When a disk is full, if it goes on as it did: the median of all slopes, so that one backup or one tidying is no
trend. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from hub.store.watch_rows import DiskPoint

LOOK_BACK_US = 14 * 86_400_000_000
LEAST_SPAN_US = 6 * 3_600_000_000
LEAST_POINTS = 5
MAX_POINTS = 60
DAY_US = 86_400_000_000
FAR_DAYS = 3650.0


def per_day(points: Sequence[DiskPoint], value: str) -> float | None:
    """Bytes a day by which ``free_bytes`` or ``used_bytes`` changes; None: too little is known."""
    if len(points) < LEAST_POINTS or points[-1].t_us - points[0].t_us < LEAST_SPAN_US:
        return None
    step = -(-len(points) // MAX_POINTS)
    some = points[::-1][::step]
    slopes = [(getattr(a, value) - getattr(b, value)) / ((a.t_us - b.t_us) / DAY_US)
              for n, a in enumerate(some) for b in some[n + 1:] if a.t_us != b.t_us]
    return float(median(slopes)) if slopes else None


def days_until_full(points: Sequence[DiskPoint], free_bytes: int) -> float | None:
    """None: it does not fill, or nobody knows yet."""
    slope = per_day(points, "free_bytes")
    if slope is None or slope >= 0:
        return None
    days = free_bytes / -slope
    return days if days <= FAR_DAYS else None
