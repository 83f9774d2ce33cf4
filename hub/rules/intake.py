"""What is new in the store, for the engine: told by ingest's hints, read from the store, and looked for now and then,
so that neither a lost hint nor a restart leaves a sample out."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import DecodeError, msgpack

from agent.rules.engine import Engine, Line
from agent.rules.model import Forecast, Frozen, NeverZero, Rate
from agent.rules.subject import Part
from hub.hearing import Hearing
from hub.settings import Settings
from hub.store.reader import Reader, SeriesRow

US = 1_000_000
PER_STEP = 20_000
AHEAD_US = 60 * US
"""A device's clock may be so far ahead; what is further waits until its time has come (B28)."""
HOUR_US = 3600 * US
BACK_US = 6 * 3600 * US
"""After a longer absence of this process, what needs no history is caught up with from here on."""
ROUND_S = 300
"""Each watched series is looked at so often, hint or not."""


class Hints(Hearing):
    """Hears which series ingest has committed."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.hub.run_dir, "committed", self._hear)
        self.queue: queue.SimpleQueue[list[int]] = queue.SimpleQueue()

    def _hear(self, payload: bytes) -> None:
        try:
            told: Any = msgpack.decode(payload)
            self.queue.put([int(id_) for id_ in told["series"]])
        except (DecodeError, KeyError, TypeError, ValueError):
            return  # of a newer ingest: the rounds find what it stored

    def take(self) -> set[int]:
        found: set[int] = set()
        while True:
            try:
                found.update(self.queue.get_nowait())
            except queue.Empty:
                return found


class Intake:
    """Feeds an engine. ``cursors``: series -> the newest sample that was fed (us)."""

    def __init__(self, reader: Reader, cursors: dict[int, int]) -> None:
        self.reader = reader
        self.cursors = cursors
        self.lines: dict[int, Line] = {}
        self.behind: dict[int, None] = {}
        """Series with something to read, in order."""
        self._round: list[int] = []
        self.samples = 0

    def watch(self, engine: Engine, rows: Iterable[SeriesRow], line_of: Callable[[SeriesRow], Line], now_us: int
              ) -> None:
        """These series are known now; what they told before is read in the next steps."""
        self.lines = {}
        for row in rows:
            line = line_of(row)
            if not line.waiting:
                self.cursors.pop(row.id, None)  # a rule that comes later begins anew
                continue
            self.lines[row.id] = line
            back_us = max(_lookback_us(part) for _, part in line.waiting)
            if any(part.cell.last_us is None for _, part in line.waiting):
                # its newest sample at the least, however old that is
                self.cursors[row.id] = min(now_us - back_us, row.t_us - 1) if row.t_us else 0
                self._hours(row.id, line, now_us)
            else:
                known_us = self.cursors.get(row.id, 0)
                for _, part in line.waiting:
                    if not part.cell.memory:  # it was fed up to there, and that changed nothing
                        part.cell.last_us = max(part.cell.last_us or 0, known_us)
                self.cursors[row.id] = max(known_us, now_us - max(back_us, BACK_US))
            self.behind[row.id] = None

    def _hours(self, series_id: int, line: Line, now_us: int) -> None:
        """A forecast looks at weeks: they come as hours."""
        back_us = max((_days_us(part) for _, part in line.waiting), default=0)
        if back_us:
            upto_us = now_us - HOUR_US
            for span in self.reader.spans(series_id, now_us - back_us, upto_us):
                line.feed(span.last_us, span.mean)
            self.cursors[series_id] = max(self.cursors[series_id], upto_us)

    def step(self, hinted: set[int], now_us: int) -> bool:
        """Read some; True when everything has been read."""
        for series_id in hinted:
            if series_id in self.lines:
                self.behind[series_id] = None
        for _ in range(len(self.lines) // ROUND_S + 1):
            if not self._round:
                self._round = list(self.lines)
            if self._round:
                self.behind[self._round.pop()] = None
        asked = [(id_, self.cursors.get(id_, 0)) for id_ in self.behind if id_ in self.lines]
        found, left = self.reader.since(asked, now_us + AHEAD_US, PER_STEP) if asked else ([], [])
        lines, cursors = self.lines, self.cursors
        for series_id, (t_us, value, quality) in ((id_, (s.t_us, s.value, s.quality)) for id_, s in found):
            lines[series_id].feed(t_us, value, quality)
            cursors[series_id] = t_us
        self.samples += len(found)
        self.behind = dict.fromkeys(left)
        return not left


def _lookback_us(part: Part) -> int:
    """How much of the past its condition wants to have seen."""
    when = part.when
    if isinstance(when, NeverZero):
        return (when.hours + 2) * 3600 * US
    if isinstance(when, Rate):
        return round(when.window_s * US)
    if isinstance(when, Frozen):
        return round(when.for_s * US)
    return HOUR_US if isinstance(when, Forecast) else round(when.hold_s * US)


def _days_us(part: Part) -> int:
    return round(part.when.window_days * 86400 * US) if isinstance(part.when, Forecast) else 0
