"""Announcements and the line in which they wait. Pure; what waits survives a restart as plain JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from .settings import PRIORITIES


class Announcement(Struct, kw_only=True, omit_defaults=True):
    """One text to be spoken. ``asked_s``: seconds since ``boot`` began; ``asked_us``: the same as wall time."""

    id: str
    text: str
    service: str
    priority: str = "normal"
    volume_pct: int | None = None
    asked_s: float
    asked_us: int | None = None
    boot: str = ""
    good_s: float
    cut: int = 0
    """How often it was begun and not brought to its end."""
    lock: int = 0
    """The number of the lock whose key was shown."""

    @property
    def rank(self) -> int:
        return PRIORITIES.index(self.priority) if self.priority in PRIORITIES else 1

    def age_s(self, boot: str, now_s: float, wall_us: int | None) -> float | None:
        """None: asked for before this boot, and the clock does not know yet how long ago."""
        if boot == self.boot:
            return max(0.0, now_s - self.asked_s)
        if wall_us is None or self.asked_us is None:
            return None
        return abs(wall_us - self.asked_us) / 1e6  # a clock that ran back tells no age: not older than it says


class Line:
    """Higher priority first, then who asked first; what was cut short stands in front of its priority."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._items: list[Announcement] = []

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Announcement]:
        return iter(tuple(self._items))

    def __contains__(self, id_: object) -> bool:
        return any(item.id == id_ for item in self._items)

    def add(self, item: Announcement) -> Announcement | None:
        """Returns what had to go to make room: the newest of the lowest priority, or ``item`` itself."""
        self._insert(item, behind=True)
        return self._items.pop() if len(self._items) > self._limit else None

    def put_back(self, item: Announcement) -> None:
        """It was interrupted: it comes next of its priority."""
        self._insert(item, behind=False)

    def _insert(self, item: Announcement, *, behind: bool) -> None:
        at = next((n for n, other in enumerate(self._items)
                   if other.rank < item.rank or (not behind and other.rank == item.rank)), len(self._items))
        self._items.insert(at, item)

    def remove(self, item: Announcement) -> None:
        self._items = [other for other in self._items if other is not item]

    def as_json(self) -> list[Any]:
        built: list[Any] = msgspec.to_builtins(self._items)
        return built


def restored(kept: Any) -> list[Announcement]:
    """What an earlier life left; what is no announcement any more is left out."""
    found = []
    for one in kept if isinstance(kept, list) else []:
        try:
            found.append(msgspec.convert(one, Announcement))
        except msgspec.ValidationError:
            continue
    return found
