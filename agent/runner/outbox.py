"""What a plugin process holds until ``uplink`` has it on disk: numbered batches, repeated until acknowledged. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from agent.api import Priority
from agent.bus import Batch, Part
from agent.wire.records import Columns

MAX_READINGS = 200
MAX_WAIT_S = 1.0
MAX_TEXT_BYTES = 96 * 1024
"""Texts and JSON values of one batch; numbers of 200 readings never come near the 256 KiB of a record."""
MAX_CARRIED_BYTES = 64 * 1024
REPEAT_S = 2.0
REPEAT_MAX_S = 10.0
KEEP_S = 600.0
KEEP_READINGS = 200_000
WINDOW = 50
"""Batches in flight; the socket's high-water mark is far above, so a slow uplink never blocks the sender."""


class Sample(NamedTuple):
    series: str
    prio: int
    t_us: int
    value: Any
    quality: str | None


class Held(NamedTuple):
    batch: Batch
    readings: int
    since_s: float


def _alarms(batch: Batch) -> list[Part]:
    """What goes on into the next batch when this one is given up: its alarms, while they are few."""
    alarms = [part for part in batch.parts if part.prio == Priority.ALARM]
    few = sum(len(columns.t) for part in alarms for columns in part.series.values()) <= MAX_READINGS
    return alarms if few and len(msgspec.msgpack.encode(alarms)) <= MAX_CARRIED_BYTES else []


def _with(parts: list[Part], older: list[Part]) -> list[Part]:
    """The parts of a batch with older ones of the same priority in front of them."""
    merged = list(parts)
    for old in older:
        at = next((n for n, part in enumerate(merged) if part.prio == old.prio), None)
        if at is None:
            merged.insert(0, old)
            continue
        series = dict(merged[at].series)
        for name, columns in old.series.items():
            series[name] = columns if name not in series else _joined(columns, series[name])
        merged[at] = Part(old.prio, series)
    return merged


def _joined(old: Columns, new: Columns) -> Columns:
    q = None
    if old.q is not None or new.q is not None:
        q = [*(old.q or [None] * len(old.t)), *(new.q or [None] * len(new.t))]
    return Columns(old.t + new.t, old.v + new.v, q)


class Outbox:
    """Readings in, batches out. Times are monotonic seconds, handed in.

    Bounded: what ``uplink`` did not take for 10 minutes (or 200,000 readings) is dropped, oldest first, and counted in
    ``dropped``; a few alarms go on into the next batch."""

    def __init__(self, instance: str, run: str, boot: str) -> None:
        self.instance = instance
        self.run = run
        self.boot = boot
        self.dropped = 0
        self.waiting = 0
        """Readings held, sent or not, that are not acknowledged."""
        self._open: dict[int, dict[str, Columns]] = {}
        self._open_count = 0
        self._open_bytes = 0
        self._open_since_s = 0.0
        self._held: deque[Held] = deque()
        self._n = 0
        self._sent = 0
        """Highest batch number handed to the socket since the last repeat."""
        self._repeat_at_s = 0.0
        self._repeat_s = REPEAT_S

    def add(self, sample: Sample, now_s: float) -> None:
        """Put one sample into the open batch."""
        if not self._open_count:
            self._open_since_s = now_s
        series = self._open.setdefault(sample.prio, {})
        columns = series.get(sample.series)
        if columns is None:
            columns = series[sample.series] = Columns([], [])
        columns.t.append(sample.t_us)
        columns.v.append(sample.value)
        if sample.quality is not None and columns.q is None:
            columns.q = [None] * (len(columns.t) - 1)
        if columns.q is not None:
            columns.q.append(sample.quality)
        self._open_count += 1
        self.waiting += 1
        if not isinstance(sample.value, int | float):
            self._open_bytes += len(str(sample.value))

    def full(self) -> bool:
        """The open batch is to be cut now."""
        return self._open_count >= MAX_READINGS or self._open_bytes >= MAX_TEXT_BYTES

    def cut_due_s(self) -> float | None:
        """When the open batch is due (monotonic seconds), or None while it is empty."""
        return self._open_since_s + MAX_WAIT_S if self._open_count else None

    def cut(self, kept: bytes | None, now_s: float) -> None:
        """Close the open batch. ``kept`` is what ``io.kept`` was after its last reading, None: unchanged."""
        if not self._open_count and kept is None:
            return
        self._n += 1
        parts = [Part(prio, series) for prio, series in sorted(self._open.items(), reverse=True)]
        batch = Batch(self.instance, self.run, self._n, self.boot, parts, kept)
        self._held.append(Held(batch, self._open_count, now_s))
        self._open, self._open_count, self._open_bytes = {}, 0, 0
        self._drop(now_s)

    def _drop(self, now_s: float) -> None:
        while len(self._held) > 1 and (now_s - self._held[0].since_s > KEEP_S or self.waiting > KEEP_READINGS):
            old, first = self._held.popleft(), self._held[0]
            alarms = _alarms(old.batch)
            carried = sum(len(columns.t) for part in alarms for columns in part.series.values())
            self.dropped += old.readings - carried
            self.waiting -= old.readings - carried
            # Kept state must not be lost with the readings that it came with, nor an event that a device has deleted
            # or will not tell again once this state is on disk (an SMS).
            batch = msgspec.structs.replace(
                first.batch, kept=old.batch.kept if first.batch.kept is None else first.batch.kept,
                parts=_with(first.batch.parts, alarms))
            self._held[0] = first._replace(batch=batch, readings=first.readings + carried)

    @property
    def last(self) -> int:
        """The number of the batch that was cut last."""
        return self._n

    def acknowledged(self, n: int, now_s: float) -> None:
        """Everything up to ``n`` is committed."""
        progress = False
        while self._held and self._held[0].batch.n <= n:
            self.waiting -= self._held.popleft().readings
            progress = True
        if progress:
            self._repeat_s = REPEAT_S
            self._repeat_at_s = now_s + self._repeat_s

    def again(self) -> None:
        """``uplink`` asks for everything that is not acknowledged (it restarted)."""
        self._sent = 0

    def to_send(self, now_s: float) -> Iterator[Batch]:
        """The batches to hand to the socket now, in order. Tell :meth:`sent` after each."""
        if self._held and self._sent >= self._held[0].batch.n and now_s >= self._repeat_at_s:
            self._sent = 0  # no receipt for what is in flight: all of it again
            self._repeat_s = min(REPEAT_MAX_S, self._repeat_s * 2)
        for held in list(self._window()):
            if held.batch.n > self._sent:
                yield msgspec.structs.replace(held.batch, oldest=self._held[0].batch.n)

    def _window(self) -> Iterator[Held]:
        for held, _ in zip(self._held, range(WINDOW), strict=False):
            yield held

    def sent(self, n: int, now_s: float) -> None:
        if self._sent < self._held[0].batch.n:
            self._repeat_at_s = now_s + self._repeat_s
        self._sent = n

    def send_due_s(self) -> float | None:
        """When :meth:`to_send` has something (monotonic seconds; 0.0: now), or None while there is nothing."""
        if not self._held:
            return None
        last = self._held[min(len(self._held), WINDOW) - 1].batch.n
        return 0.0 if last > self._sent else self._repeat_at_s

    @property
    def empty(self) -> bool:
        return not self._held and not self._open_count
