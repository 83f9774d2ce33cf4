"""What a group of messages changed of epochs, boots and devices, written in one go at its end."""

from __future__ import annotations

import sqlite3

import msgspec

from hub.store.state import DeviceState, EpochState

SEEN_EVERY_US = 10_000_000
"""How far a device's ``last_us`` may lie behind: not each message writes its row."""


def write(db: sqlite3.Connection, epochs: dict[int, tuple[DeviceState, EpochState]]) -> None:
    """``epochs``: by row id, each with its device; what is written is no longer pending in them."""
    rows, fresh = [], []
    devices: dict[int, DeviceState] = {}
    for device, epoch in epochs.values():
        devices[device.id] = device
        fresh += epoch.fresh
        epoch.fresh = []
        rows.append((epoch.seqs.upto, msgspec.json.encode(epoch.seqs.above).decode(), epoch.batches, epoch.stored,
                     epoch.quarantined, msgspec.json.encode(epoch.dropped).decode(), epoch.duplicates,
                     epoch.last_us, epoch.id))
    db.executemany("INSERT OR REPLACE INTO batches VALUES (?, ?, ?)", fresh)
    db.executemany("UPDATE epochs SET upto = ?, above = ?, batches = ?, stored = ?, quarantined = ?, "
                   "dropped = ?, duplicates = ?, last_us = ? WHERE id = ?", rows)
    boots = [boot for device in devices.values() for boot in device.boots.values() if boot.changed]
    db.executemany("UPDATE boots SET offset_us = ?, quality = ?, guess_us = ?, flagged = ?, last_us = ?, "
                   "end_us = ? WHERE id = ?", [
        (boot.offset_us, boot.quality[:32], boot.guess_us, boot.flagged, boot.last_us, boot.end_us, boot.id)
        for boot in boots])
    for boot in boots:
        boot.changed = False
    seen = [(device.last_us, device.id) for device in devices.values()
            if device.last_us - device.saved_us > SEEN_EVERY_US]
    db.executemany("UPDATE devices SET last_us = ? WHERE id = ?", seen)
    for device in devices.values():
        if device.last_us - device.saved_us > SEEN_EVERY_US:
            device.saved_us = device.last_us


def flush(db: sqlite3.Connection, epoch: EpochState) -> None:
    """One epoch's settled batches now, before the group's end: what comes next in it looks them up in the table."""
    db.executemany("INSERT OR REPLACE INTO batches VALUES (?, ?, ?)", epoch.fresh)
    epoch.fresh = []
