"""One motion detector: debounced, held, and watched for being stuck. Pure: stamps in, changes with their stamps out.

A detector (HC-SR501 and its like) keeps its output active for some seconds after a movement, longer while it goes on.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

US = 1_000_000
STATES = ("ok", "stuck_active", "never_active", "chattering")
CHATTER_GLITCHES = 20
CHATTER_S = 60.0


class Change(NamedTuple):
    """Motion began or ended, at its own time."""

    t_us: int
    motion: bool


class Detector:
    """Feed levels and pulses in the order of their stamps, :meth:`advance` as time passes; both give the changes.

    A level that lasts less than ``debounce_s`` is a glitch. Motion ends ``hold_s`` after the last active moment.
    ``stuck_after_s``: an output that is active for so long without a pause says nothing any more (0: not looked at)."""

    def __init__(self, debounce_s: float, hold_s: float, stuck_after_s: float) -> None:
        self.motion = False
        self.stuck = False
        self.glitches = 0
        self._debounce_us = round(debounce_s * US)
        self._hold_us = round(hold_s * US)
        self._stuck_us = round(stuck_after_s * US)
        self._active = False
        """The level that counts, since ``_since_us``."""
        self._since_us = 0
        self._raw = False
        """The level now, since ``_raw_us``."""
        self._raw_us = 0
        self._last_us: int | None = None
        """The end of the last active time; None while it lasts, or before the first."""
        self._recent: deque[int] = deque(maxlen=CHATTER_GLITCHES)

    def level(self, t_us: int, active: bool) -> list[Change]:
        changes = self.advance(t_us)
        if active == self._raw:
            return changes  # told again: the level at a new start
        if self._raw != self._active:  # it went back before it counted
            self.glitches += 1
            self._recent.append(t_us)
        self._raw, self._raw_us = active, t_us
        return changes + (self.advance(t_us) if not self._debounce_us else [])

    def pulse(self, t_us: int) -> list[Change]:
        """A moment of motion that somebody else debounced (a printed line)."""
        changes = self.advance(t_us)
        self._last_us = t_us
        if not self.motion:
            self.motion = True
            changes.append(Change(t_us, True))
        return changes

    def advance(self, t_us: int) -> list[Change]:
        """Time has come to ``t_us``."""
        changes: list[Change] = []
        if self._raw != self._active and t_us - self._raw_us >= self._debounce_us:
            if self._raw:
                changes += self._end(self._raw_us)
            self._active, self._since_us = self._raw, self._raw_us
            if not self._active:
                self._last_us, self.stuck = self._raw_us, False
            elif not self.motion:
                self.motion = True
                changes.append(Change(self._raw_us, True))
        if self._active:
            self.stuck = 0 < self._stuck_us <= t_us - self._since_us
            return changes
        return changes + self._end(t_us)

    def _end(self, t_us: int) -> list[Change]:
        """Whether the hold time was over by then."""
        if self._active or not self.motion or self._last_us is None or t_us - self._last_us < self._hold_us:
            return []
        self.motion = False
        return [Change(self._last_us + self._hold_us, False)]

    def next_us(self) -> int | None:
        """When :meth:`advance` will have something to say."""
        due = []
        if self._raw != self._active:
            due.append(self._raw_us + self._debounce_us)
        if self.motion and not self._active and self._last_us is not None:
            due.append(self._last_us + self._hold_us)
        return min(due, default=None)

    def chattering(self, t_us: int) -> bool:
        return len(self._recent) == CHATTER_GLITCHES and t_us - self._recent[0] <= CHATTER_S * US
