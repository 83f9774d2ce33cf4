"""The canaries that arrive: heard from ingest's hint, read from the store, timed against the hub's clock.

Only ``Ears`` has a thread and a socket; the rest is called within notify's second.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from msgspec import DecodeError, Struct, msgpack

from hub.fleet.facts import SYS
from hub.hearing import Hearing
from hub.live import LiveDevice
from hub.settings import Settings
from hub.store.errors import StoreError
from hub.store.reader import Reader

SERIES = "canary"
HOUR_US = 3_600_000_000
EVERY_US = HOUR_US + 300_000_000
"""An hour and its jitter."""
LATE_US = 15 * 60 * 1_000_000
SKEW_US = 2_000_000
"""A canary from this far in the future: the clocks disagree, and the difference is no latency."""
LONG_US = 24 * HOUR_US
MAX_WAITING = 100_000


class Heard(Struct, frozen=True):
    device: str
    series: int
    t_us: int
    """The sample's own time on the hub's clock."""
    got_us: int
    """When notify heard of it."""


class Ears(Hearing):
    """Hears what ingest has committed; stamps it on arrival."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings.hub.run_dir, "committed", lambda payload: self.take(payload, time.time_ns() // 1000))
        self.heard: deque[Heard] = deque(maxlen=MAX_WAITING)
        self.others: set[int] = set()

    def take(self, payload: bytes, got_us: int) -> None:
        try:
            told: Any = msgpack.decode(payload)
            device, series = str(told["device"]), told["series"]
            for key, change in series.items():
                id_ = int(key)
                if id_ not in self.others:
                    self.heard.append(Heard(device, id_, int(change[0]), got_us))
        except (DecodeError, KeyError, TypeError, ValueError, IndexError, AttributeError):
            return  # from a newer ingest, perhaps: the store has it all


class Sorter:
    """Which series are canaries: asked of the store once for each series."""

    def __init__(self, reader: Reader, ears: Ears) -> None:
        self._reader = reader
        self._ears = ears
        self._canaries: dict[int, str] = {}

    def take(self) -> list[Heard]:
        """The canaries among what was heard; what cannot be told now is told the next time."""
        heard: list[Heard] = []
        while self._ears.heard:
            heard.append(self._ears.heard.popleft())
        strange = {one.series for one in heard} - set(self._canaries) - self._ears.others
        if strange:
            try:
                self._canaries = dict(self._reader.series_named(SYS, SERIES))
            except StoreError:
                self._ears.heard.extendleft(reversed(heard))
                return []
            self._ears.others |= strange - set(self._canaries)
        return [one for one in heard if one.series in self._canaries]


def judge(device: LiveDevice | None, t_us: int, got_us: int) -> tuple[int | None, str]:
    """(latency in us or None, how it is known)."""
    if device is not None and device.value(SYS, "clock-quality") == "unsynced":
        return None, "unsynced"  # its time is the time of its arrival: that would always be quick
    latency_us = got_us - t_us
    if latency_us < -SKEW_US or latency_us > LONG_US:
        return None, "skewed"
    return max(0, latency_us), "timed"
