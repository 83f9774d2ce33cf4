"""Edges of a contact to its true changes, on the edges' own stamps. Pure.

A reed contact bounces for 1 to 5 ms, and a long line picks up spikes. A level counts once it has stood for the whole
debounce time; its change is then booked where that quiet stretch began.
"""

from __future__ import annotations

from typing import NamedTuple


class Change(NamedTuple):
    """A line has really changed."""

    t_us: int
    level: bool


class Debounce:
    """One line. Feed raw edges in order; stamps are microseconds."""

    def __init__(self, debounce_us: int) -> None:
        self._debounce_us = debounce_us
        self._raw: bool | None = None
        self._since_us = 0
        self.level: bool | None = None
        """The level that has stood; None before the first."""
        self.rejected = 0
        """Raw edges that were bounce or spikes."""
        self._edges = 0

    @property
    def due_us(self) -> int | None:
        """When the level that is there now will have stood long enough; None: it has."""
        return None if self._raw is None or self._raw == self.level else self._since_us + self._debounce_us

    def edge(self, t_us: int, level: bool) -> Change | None:
        """A raw edge (or the level at the start). Returns the change before it, if that one had stood long enough."""
        change = self.settle(t_us)
        if level != self._raw:
            self._raw = level
            self._since_us = t_us
            self._edges += 1
            if level == self.level:  # back where it was: that was no change
                self.rejected += self._edges
                self._edges = 0
        return change

    def settle(self, now_us: int) -> Change | None:
        """The change that has stood long enough by now, once."""
        due_us = self.due_us
        if due_us is None or now_us < due_us or self._raw is None:
            return None
        self.level = self._raw
        self.rejected += max(0, self._edges - 1)
        self._edges = 0
        return Change(self._since_us, self.level)
