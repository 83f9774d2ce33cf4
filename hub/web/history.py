"""What the pages need of the store, short and cached, so that fifty open pages read like one.

A store that cannot be read (not made yet, damaged, newer) is said on the page and does not end it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from hub.store.errors import StoreError
from hub.store.reader import DeviceRow, EventRow, LedgerRow, Reader, SeriesRow

KEEP_S = 2.0
SETTLE_S = 120.0
"""Both sides of the ledger are snapshots of different moments: only what is never even for this long is off."""
EVENTS_US = 15 * 60 * 1_000_000
SHOWN = ("error", "critical")


class Overview(Struct, frozen=True):
    """What the fleet page needs."""

    devices: dict[str, DeviceRow]
    differences: dict[str, int]
    """Ledger difference by device, 0 unless it has not been 0 for SETTLE_S."""
    events: tuple[EventRow, ...]
    """The hub's own grave events of the last quarter of an hour, newest first."""
    error: str


class History:
    """Cached reads. ``clock_s`` is monotonic, ``now_us`` the wall clock."""

    def __init__(
        self, path: Path, *, clock_s: Callable[[], float] = time.monotonic,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.reader = Reader(path)
        self._clock = clock_s
        self._now_us = now_us
        self._lock = threading.Lock()
        self._overview = Overview({}, {}, (), "")
        self._at_s = -1e9
        self._uneven: dict[str, float] = {}

    def overview(self) -> Overview:
        """At most KEEP_S old."""
        with self._lock:
            if self._clock() - self._at_s >= KEEP_S:
                self._overview = self._read()
                self._at_s = self._clock()
            return self._overview

    def _read(self) -> Overview:
        try:
            devices = {row.device: row for row in self.reader.devices()}
            ledger = self.reader.ledger()
            events = self.reader.events(since_us=self._now_us() - EVENTS_US)
        except StoreError as error:
            # before the first sample there is no file: nothing is wrong yet
            missing = type(error) is StoreError and not self.reader.path.exists()
            return Overview({}, {}, (), "" if missing else str(error))
        grave = tuple(row for row in events if row.severity in SHOWN)
        return Overview(devices, self._settled(ledger), grave, "")

    def _settled(self, ledger: list[LedgerRow]) -> dict[str, int]:
        sums: dict[str, int] = {}
        for row in ledger:
            sums[row.device] = sums.get(row.device, 0) + (row.difference or 0)
        now = self._clock()
        for device, difference in sums.items():
            if difference == 0:
                self._uneven.pop(device, None)
            else:
                self._uneven.setdefault(device, now)
        return {
            device: difference if now - self._uneven.get(device, now) >= SETTLE_S else 0
            for device, difference in sums.items()
        }

    def series_of(self, device: str) -> dict[tuple[str, str], SeriesRow]:
        """(node, Homie property id) -> series; {} when the store cannot be read."""
        try:
            return {(row.node, row.property.replace("_", "-")): row for row in self.reader.series(device)}
        except StoreError:
            return {}

    def own_term(self) -> tuple[int, str] | None:
        """(term, generation) of this hub as its ingest last wrote them; None before its first start. Not cached: a
        term that was current a second ago may be over."""
        try:
            meta = self.reader.meta()
            term = int(meta.get("term", "0"))
        except (StoreError, ValueError):
            return None
        return (term, meta.get("generation", "")) if term > 0 else None

    def close(self) -> None:
        self.reader.close()
