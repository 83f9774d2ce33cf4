"""Events as they go over the bus, and when it is time to say again what has not changed. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from .events import Event
from .recorder import Saved


def utc(wall_us: int | None) -> str | None:
    """``2026-11-22T03:00:00.250Z``; None while the time is not known."""
    if wall_us is None:
        return None
    return datetime.fromtimestamp(wall_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def event_record(event: Event, begin_wall_us: int | None, saved: Saved | None = None) -> dict[str, Any]:
    """The value of ``motion_event``; its stamp is the event's end. ``clip`` is a file's name, it never holds a path."""
    record: dict[str, Any] = {
        "start": utc(begin_wall_us),
        "duration_s": round(event.end_s - event.begin_s, 2),
        "score_pct": round(event.score_pct, 2),
        "box": None if event.box is None else list(event.box),
        "clip": None if saved is None else saved.file,
    }
    if saved is not None and saved.file is not None:
        record["clip_bytes"] = saved.size
    if saved is not None and saved.error is not None:
        record["clip_error"] = saved.error
    if event.continues:
        record["continues"] = True
    return record


def saved_record(saved: Saved) -> dict[str, Any]:
    """The value of ``saved``: what a command made."""
    record: dict[str, Any] = {"kind": saved.kind, "file": saved.file, "bytes": saved.size}
    if saved.error is not None:
        record["error"] = saved.error
    return record


class Interval:
    """Counts pictures and keeps the highest score between two tellings."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._since_s: float | None = None
        self._pictures = 0
        self._score = 0.0

    def reset(self) -> None:
        """A new stream: the time without pictures is no slow camera."""
        self._since_s = None

    def feed(self, t_s: float, score_pct: float) -> tuple[float, float] | None:
        """(highest score, pictures a second) when it is time to tell, else None."""
        self._score = max(self._score, score_pct)
        if self._since_s is None:
            self._since_s, self._pictures, self._score = t_s, 0, score_pct
            return None
        self._pictures += 1
        elapsed_s = t_s - self._since_s
        if elapsed_s < self._interval_s:
            return None
        told = self._score, self._pictures / elapsed_s
        self._since_s, self._pictures, self._score = t_s, 0, 0.0
        return told
