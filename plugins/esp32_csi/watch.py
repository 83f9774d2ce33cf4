"""The line as a whole: what came over it, how much of it was right, and what to say when it is not."""

from __future__ import annotations

from collections.abc import Iterator

from agent.api import Io, Reading, RetryLater

SILENT_S = 30.0
NO_ROW_S = 10.0
BAD_RATIO = 0.1


class LineWatch:
    """Counts, and reports every ``interval_s``. ``baudrate`` None: not a serial line, opening it anew helps nothing."""

    def __init__(self, place: str, interval_s: float, baudrate: int | None) -> None:
        self.rows = self.bad = self.other = self.ignored = self.bytes = 0
        self._place = place
        self._interval_s = interval_s
        self._baudrate = baudrate
        self._told = (0, 0)
        """Rows and bad lines at the last report."""
        self._reported_s = 0.0
        self._row_s = 0.0

    def opened(self, now_s: float) -> None:
        self._reported_s, self._row_s, self.bytes = now_s, now_s, 0

    def row(self, t_s: float) -> None:
        self.rows += 1
        self._row_s = t_s

    def ended(self, io: Io) -> None:
        """The end of a replay, or a stop."""
        if self.bytes and not self.rows:
            io.log.warning("%s: %d bytes and no row in them, up to the end", self._place, self.bytes)

    def look(self, io: Io, now_s: float, links: int, *, stranger: bool) -> Iterator[Reading]:
        """Call it often. ``links``: heard now; ``stranger``: rows come, but none is of a sender that was asked for.

        Raises RetryLater when a serial line has given no row for ``SILENT_S``."""
        if now_s - self._reported_s >= self._interval_s:
            yield from self._report(io, now_s, links, stranger)
        silent_s = now_s - self._row_s
        if silent_s > SILENT_S and self._baudrate is not None:
            what = f"{self.bytes} bytes and no row" if self.bytes else "silent"
            raise RetryLater(f"{self._place}: {what} for {silent_s:.0f} s at {self._baudrate} baud: "
                             "check power, firmware and baudrate")

    def now(self, io: Io, now_s: float, links: int, *, stranger: bool) -> Iterator[Reading]:
        """What was not reported yet, at the end."""
        if now_s > self._reported_s and (self.rows, self.bad) != self._told:
            yield from self._report(io, now_s, links, stranger)

    def _report(self, io: Io, now_s: float, links: int, stranger: bool) -> Iterator[Reading]:
        rows, bad, span_s = self.rows - self._told[0], self.bad - self._told[1], now_s - self._reported_s
        self._told, self._reported_s = (self.rows, self.bad), now_s
        t_us = round(now_s * 1e6)
        ratio = bad / (rows + bad) if rows + bad else None
        yield Reading("rows_hz", round(rows / span_s, 1), t_us=t_us)
        if ratio is not None:
            yield Reading("corrupt_line_ratio", round(ratio, 4), t_us=t_us)
        for name, value in (("corrupt_lines", self.bad), ("other_lines", self.other),
                            ("ignored_rows", self.ignored), ("links", links)):
            yield Reading(name, value, t_us=t_us)
        silent_s = now_s - self._row_s
        if silent_s > NO_ROW_S:
            io.degraded(f"{self._place}: no row for {silent_s:.0f} s: check power, firmware"
                        + (" and baudrate" if self.bytes and self._baudrate else ""))
        elif ratio is not None and ratio > BAD_RATIO:
            io.degraded(f"{self._place}: {ratio:.0%} of the lines are corrupt: shorter cable, fewer packets, or a "
                        "higher baudrate on both sides")
        elif stranger and self.rows:
            io.degraded(f"{self._place}: rows come, but of none of the senders in links")
        else:
            io.degraded(None)
