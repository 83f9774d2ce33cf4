"""Scores to events: when motion begins, when it is over, how large it was. Pure."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

Box = tuple[float, float, float, float]

HITS, OF = 2, 3
"""So many of the last pictures must show motion: one alone is a flash, an insect, a broken picture."""


class Event(NamedTuple):
    """One stretch of motion; seconds of the clock that was fed."""

    begin_s: float
    end_s: float
    score_pct: float
    """The highest."""
    box: Box | None
    """Around everything that moved."""
    continues: bool = False
    """It was cut here because it became too long; the next one begins at once."""


class EventTracker:
    """Feed ``(t_s, score, box)``; ``motion`` is the state, :meth:`feed` gives the event that ended."""

    def __init__(self, min_area_pct: float, quiet_s: float, max_s: float) -> None:
        self.motion = False
        self._min_area_pct = min_area_pct
        self._quiet_s = quiet_s
        self._max_s = max_s
        self._recent: deque[tuple[float, bool, float, Box | None]] = deque(maxlen=OF)
        self._begin_s = self._last_s = 0.0
        self._score = 0.0
        self._box: Box | None = None

    @property
    def begin_s(self) -> float | None:
        """Of the event that is going on."""
        return self._begin_s if self.motion else None

    def feed(self, t_s: float, score_pct: float, box: Box | None) -> Event | None:
        hit = box is not None and score_pct >= self._min_area_pct
        self._recent.append((t_s, hit, score_pct, box))
        if not self.motion:
            hits = [one for one in self._recent if one[1]]
            if len(hits) < HITS:
                return None
            self._start(hits[0][0])
            for _, _, score, seen in hits:
                self._grow(score, seen)
            self._last_s = t_s
            return None
        if hit:
            self._last_s = t_s
            self._grow(score_pct, box)
        elif t_s - self._last_s >= self._quiet_s:
            return self.end()
        if t_s - self._begin_s >= self._max_s:
            return self.cut(t_s)
        return None

    def cut(self, t_s: float) -> Event:
        """End what goes on and begin the next one at once."""
        event = self._event(t_s, True)
        self._start(t_s)
        return event

    def end(self) -> Event | None:
        """End what goes on, if anything does: the stream is lost, the agent stops."""
        if not self.motion:
            return None
        self.motion = False
        self._recent.clear()
        return self._event(self._last_s, False)

    def _event(self, end_s: float, continues: bool) -> Event:
        return Event(self._begin_s, max(end_s, self._begin_s), self._score, self._box, continues)

    def _start(self, t_s: float) -> None:
        self.motion = True
        self._begin_s = self._last_s = t_s
        self._score, self._box = 0.0, None

    def _grow(self, score_pct: float, box: Box | None) -> None:
        self._score = max(self._score, score_pct)
        if box is None:
            return
        if self._box is None:
            self._box = box
            return
        x0, y0 = min(self._box[0], box[0]), min(self._box[1], box[1])
        x1 = max(self._box[0] + self._box[2], box[0] + box[2])
        y1 = max(self._box[1] + self._box[3], box[1] + box[3])
        self._box = (x0, y0, round(x1 - x0, 3), round(y1 - y0, 3))
