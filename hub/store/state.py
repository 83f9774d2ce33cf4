"""What the writer keeps in memory of each device: series, epochs and boots, loaded when the device is first heard.

Everything here can be thrown away at any time and read again; a rollback does exactly that.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import msgspec

from agent.wire.records import Columns
from hub.store.seqs import Seqs


class SeriesState:
    """One series, and the samples of the open transaction that belong to it."""

    __slots__ = ("boolean", "changed", "datatype", "device", "guesses", "id", "live_quality", "live_us", "live_value",
                 "max_us", "moved", "n", "q", "raw_from_us", "t", "v")

    def __init__(self, id_: int, device: str, datatype: str | None, raw_from_us: int = 0) -> None:
        self.id = id_
        self.device = device
        self.datatype = datatype
        self.raw_from_us = raw_from_us
        """Older raw samples are deleted: roll-ups before it cannot be computed again."""
        self.n = 0
        self.moved = 0
        self.max_us = 0
        self.live_us = 0
        self.live_value: Any = None
        self.live_quality: str | None = None
        self.t: list[int] = []
        self.v: list[Any] = []
        self.q: dict[int, str] = {}
        self.guesses: list[tuple[int, int, int, int]] = []
        """(start, stop, boot row, offset): samples of ``t`` whose time is a guess"""

    def take(self, columns: Columns, offset_us: int) -> None:
        """Add samples to the open transaction."""
        if columns.q is not None:
            start = len(self.t)
            for at, quality in enumerate(columns.q):
                if quality is not None:
                    self.q[start + at] = quality
        self.t += [t + offset_us for t in columns.t]
        self.v += columns.v

    def clear(self) -> None:
        self.t, self.v, self.q, self.guesses = [], [], {}, []


class EpochState:
    """One epoch of a device: what is settled, and the hub's counts."""

    __slots__ = ("batches", "dropped", "duplicates", "epoch", "forgot", "fresh", "id", "last_us", "quarantined",
                 "retired", "seqs", "stored")

    def __init__(self, id_: int, epoch: str) -> None:
        self.id = id_
        self.epoch = epoch
        self.seqs = Seqs()
        self.batches = 0
        self.stored = 0
        self.quarantined = 0
        self.dropped: dict[str, int] = {}
        self.duplicates = 0
        self.retired = False
        self.last_us = 0
        self.forgot = 0
        """Keys of single batches up to here are deleted."""
        self.fresh: list[tuple[int, int, int]] = []
        """(epoch row, seq, n) of the open transaction"""


class BootState:
    """One boot of a device: its clock offset, or the guess."""

    __slots__ = ("boot", "changed", "end_us", "first_us", "flagged", "guess_us", "id", "last_us", "offset_us",
                 "quality")

    def __init__(self, id_: int, boot: str) -> None:
        self.id = id_
        self.boot = boot
        self.offset_us: int | None = None
        self.quality = "unsynced"
        self.guess_us: int | None = None
        self.flagged = 0
        self.first_us = 0
        self.last_us = 0
        self.end_us = 0
        self.changed = False


class DeviceState:
    """A device with everything the writer must know to take its next batch."""

    __slots__ = ("boots", "device", "epochs", "id", "last_us", "saved_us", "series")

    def __init__(self, id_: int, device: str) -> None:
        self.id = id_
        self.device = device
        self.last_us = 0
        self.saved_us = 0
        self.series: dict[str, SeriesState] = {}
        self.epochs: dict[str, EpochState] = {}
        self.boots: dict[str, BootState] = {}


def load(db: sqlite3.Connection, device: str, now_us: int) -> DeviceState:
    """The device's state; a device that was never heard is made (inside the open transaction)."""
    row = db.execute("SELECT id, last_us FROM devices WHERE device = ?", (device,)).fetchone()
    if row is None:
        made = db.execute("INSERT INTO devices (device, name, first_us, last_us) VALUES (?, ?, ?, ?)",
                          (device, device, now_us, now_us))
        state = DeviceState(int(made.lastrowid or 0), device)
        state.saved_us = state.last_us = now_us
        return state
    state = DeviceState(int(row[0]), device)
    state.saved_us = state.last_us = row[1] or 0
    for id_, node, name, datatype, raw_from, n, moved, max_us, live_us, value, quality in db.execute(
        "SELECT s.id, s.node, s.property, s.datatype, s.raw_from_us, st.n, st.moved, st.max_us, st.live_us, "
        "st.live_value, st.live_quality FROM series s LEFT JOIN series_state st ON st.series_id = s.id "
        "WHERE s.device_id = ?", (state.id,)):
        series = SeriesState(id_, device, datatype, raw_from or 0)
        series.n, series.moved, series.max_us, series.live_us = n or 0, moved or 0, max_us or 0, live_us or 0
        series.live_value, series.live_quality = value, quality
        state.series[f"{node}/{name}"] = series
    for id_, name, upto, above, batches, stored, quarantined, dropped, duplicates, retired, last_us in db.execute(
        "SELECT id, epoch, upto, above, batches, stored, quarantined, dropped, duplicates, retired, last_us "
        "FROM epochs WHERE device_id = ?", (state.id,)):
        epoch = EpochState(id_, name)
        epoch.seqs = Seqs(upto, msgspec.json.decode(above, type=list[tuple[int, int]]))
        epoch.batches, epoch.stored, epoch.quarantined, epoch.duplicates = batches, stored, quarantined, duplicates
        epoch.dropped = msgspec.json.decode(dropped, type=dict[str, int])
        epoch.retired, epoch.last_us = bool(retired), last_us
        state.epochs[name] = epoch
    for id_, name, offset, quality, guess, flagged, first_us, last_us, end_us in db.execute(
        "SELECT id, boot, offset_us, quality, guess_us, flagged, first_us, last_us, end_us FROM boots "
        "WHERE device_id = ?", (state.id,)):
        boot = BootState(id_, name)
        boot.offset_us, boot.quality, boot.guess_us, boot.flagged = offset, quality, guess, flagged
        boot.first_us, boot.last_us, boot.end_us = first_us, last_us, end_us
        state.boots[name] = boot
    return state
