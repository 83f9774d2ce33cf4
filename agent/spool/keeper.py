"""The spool whatever the disk does: opens it, salvages it, and holds samples in memory while the disk fails.

While the card is read-only or answers with errors, batches are numbered in memory under an epoch of their own and sent
at once, ten minutes of them at most; so a number is never used twice, whatever the card has or has not kept. When the
disk is back they are moved to it under their numbers. They are counted like all others, and told apart by
``E_DISK_IO``: unlike those of the disk they do not survive this process.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from agent import clock
from agent.bus import Batch
from agent.spool import database as db
from agent.spool import room, soundness
from agent.spool.rows import OLD
from agent.spool.spool import Damaged, Limits, Spool

log = logging.getLogger(__name__)

RAM = Limits(max_bytes=16 << 20, max_age_s=600.0, keep_receipted_s=0.0)
TRY_DISK_S = 10.0
FULL_OVER_S = 30.0


class Keeper:
    """``spool`` is the one in use. ``failed`` takes any error of it and returns when the next call may be made."""

    def __init__(
        self,
        path: Path,
        limits: Limits,
        *,
        hardware: list[str],
        fault: Callable[..., None],
        clear: Callable[[str], None],
        now_us: Callable[[], int] = clock.boottime_us,
        boot: str | None = None,
    ) -> None:
        self.path = path
        self.limits = limits
        self.hardware = hardware
        self._fault = fault
        self._clear = clear
        self._now_us = now_us
        self._boot = boot or clock.boot_id()
        self._try_s = 0.0
        self._full_s: float | None = None
        self._told_dropped = 0
        self.spool: Spool

    @property
    def on_disk(self) -> bool:
        return self.spool.path != db.MEMORY

    def open(self) -> None:
        """The agent always starts: a damaged file is salvaged, a disk that fails is replaced by memory."""
        try:
            self.spool = self._open_disk()
            self._note()
        except (sqlite3.Error, OSError) as error:
            self.spool = self._open_memory()
            self._disk_fails(error)

    def _open_disk(self) -> Spool:
        try:
            if soundness.was_interrupted(self.path):
                raise Damaged(f"{self.path}: a salvage was cut short, it is done again")
            if not soundness.looks_sound(self.path):
                raise Damaged(f"{self.path}: the check found errors")
            return self._spool()
        except (sqlite3.Error, Damaged, UnicodeDecodeError) as error:
            if isinstance(error, sqlite3.Error) and not db.is_corrupt(error):
                raise
            return self._salvage(error)

    def _note(self) -> None:
        soundness.note_epochs(self.path, {epoch.id: epoch.epoch for epoch in self.spool.epochs.values()})

    def _spool(self) -> Spool:
        return Spool(self.path, self.limits, hardware=self.hardware, now_us=self._now_us, boot=self._boot)

    def _open_memory(self) -> Spool:
        return Spool(db.MEMORY, RAM, now_us=self._now_us, boot=self._boot)

    def _salvage(self, error: Exception) -> Spool:
        from agent.spool import salvage  # only where it is needed: this process counts its memory

        log.error("%s", error)
        found = salvage.rebuild(self.path, self.hardware)
        self._fault("E_SPOOL_CORRUPT", "spool-corrupt", saved=found.saved, lost=found.words())
        return self._spool()

    def _disk_fails(self, error: Exception) -> None:
        self._fault("E_DISK_IO", "disk-io", path=self.path, error=error)
        self._try_s = time.monotonic() + TRY_DISK_S

    # --- trouble ------------------------------------------------------------------------------------------

    def failed(self, error: Exception) -> None:
        """A call of the spool raised this: afterwards :attr:`spool` can be used again, perhaps another one."""
        corrupt = isinstance(error, Damaged | UnicodeDecodeError) or (
            isinstance(error, sqlite3.Error) and db.is_corrupt(error))
        if corrupt and self.on_disk:
            db.close_database(self.spool.db, self.path)
            try:
                self.spool = self._salvage(error)
                self._note()
                return
            except (sqlite3.Error, OSError) as worse:
                error = worse
        elif isinstance(error, sqlite3.Error) and db.is_full(error) and self.on_disk:
            try:
                room.recover_space(self.spool)
                self.say_full()
                return
            except (sqlite3.Error, Damaged) as worse:
                error = worse
        if not self.on_disk:
            raise error  # memory does not fail like this: an error of ours
        self._to_memory(error)

    def _to_memory(self, error: Exception) -> None:
        disk = self.spool
        self.spool = self._open_memory()
        with self.spool.transaction():
            for (instance, run), n in disk.runs.items():
                self.spool.db.execute("INSERT INTO runs VALUES(?,?,?,0)", (instance, run, n))
        self.spool.runs |= disk.runs
        self.spool.kept |= disk.kept
        if disk.boot.offset_us is not None:
            self.spool.boot.offset_us, self.spool.boot.quality = disk.boot.offset_us, disk.boot.quality
        db.close_database(disk.db, self.path)
        self._disk_fails(error)

    def tick(self, now_s: float) -> bool:
        """About once a second; True when another spool is in use since."""
        if self._full_s is not None and now_s - self._full_s > FULL_OVER_S:
            self._full_s = None
            self._clear("spool-full")
        self.say_full()
        if self.on_disk or now_s < self._try_s:
            return False
        self._try_s = now_s + TRY_DISK_S
        try:
            disk = self._open_disk()
            try:
                move(self.spool, disk)
            except BaseException:
                db.close_database(disk.db, self.path)
                raise
        except (sqlite3.Error, OSError, Damaged) as error:
            self._fault("E_DISK_IO", "disk-io", path=self.path, error=error)
            return False
        memory, self.spool = self.spool, disk
        db.close_database(memory.db, db.MEMORY)
        self._note()
        self._clear("disk-io")
        log.info("%s can be written again: %d batches were moved to it from memory", self.path,
                 sum(epoch.waiting for epoch in memory.epochs.values()))
        return True

    def say_full(self) -> None:
        """E_SPOOL_FULL while samples are being dropped for space, with the exact count."""
        dropped = sum(epoch.dropped.get(room.FULL, 0) for epoch in self.spool.epochs.values())
        if dropped > self._told_dropped:
            self._full_s = time.monotonic()
            kept = sum(epoch.unsettled for epoch in self.spool.epochs.values())
            self._fault("E_SPOOL_FULL", "spool-full", dropped=dropped, kept=kept)
        self._told_dropped = dropped

    # --- what the bus needs ---------------------------------------------------------------------------------

    def welcome(self, instance: str, run: str) -> tuple[int, bytes | None]:
        return self.spool.welcome(instance, run)

    def commit(self, batches: Iterable[Batch]) -> dict[tuple[str, str], int]:
        return self.spool.commit(batches)


def move(memory: Spool, disk: Spool) -> None:
    """What waits in memory goes to the disk under its own epoch and numbers, with its counters; all or nothing."""
    with disk.transaction():
        boots = {boot.id: disk.boot_number(boot.boot) for boot in memory.boots.values()}
        for epoch in list(memory.epochs.values()):
            fresh = disk.new_epoch(epoch.hardware)
            fresh.epoch, fresh.next_seq, fresh.produced = epoch.epoch, epoch.next_seq, epoch.produced
            fresh.receipted, fresh.settled, fresh.dropped = epoch.receipted, epoch.settled, dict(epoch.dropped)
            fresh.waiting, fresh.state = epoch.waiting, OLD
            disk.adopt(memory, epoch, fresh, boots)
        for (instance, run), n in memory.runs.items():
            if n > disk.committed(instance, run):
                disk.db.execute("INSERT OR REPLACE INTO runs VALUES(?,?,?,?)", (instance, run, n, disk.now_s))
        for instance, value in memory.kept.items():
            disk.db.execute("INSERT OR REPLACE INTO kept VALUES(?,?)", (instance, value))
        disk.save()
    for key, n in memory.runs.items():
        disk.runs[key] = max(n, disk.runs.get(key, 0))
    disk.kept |= memory.kept
    for number, epoch in disk.epochs.items():
        if epoch.state == OLD:
            disk.settle(disk.epochs[number], [])  # one that has nothing left is over at once

