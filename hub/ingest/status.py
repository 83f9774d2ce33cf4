"""What ingest says of itself without needing the database or the broker: ``<run_dir>/ingest.json``, whole or not."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

FILE = "ingest.json"


class Status(Struct):
    """Written when it changes, and every 10 s as a sign of life."""

    pid: int = 0
    state: str = "starting"
    """starting, ready, full (disk), second (another hub is active), stopped"""
    term: int = 0
    generation: str = ""
    connected: bool = False
    samples: int = 0
    batches: int = 0
    commits: int = 0
    duplicates: int = 0
    unreadable: int = 0
    """Messages without a readable header: no receipt, the device sends them again."""
    overflowed: int = 0
    """Messages that found the queue full: no receipt, the device sends them again."""
    waiting: int = 0
    lag_s: float = 0.0
    """How long the oldest message of the last commit had waited."""
    faults: dict[str, str] = {}
    """Open faults of the hub, code -> line."""


def write(run_dir: Path, status: Status) -> None:
    """Raises OSError."""
    scratch = run_dir / f"{FILE}.{os.getpid()}"
    scratch.write_bytes(msgspec.json.encode(status))
    scratch.replace(run_dir / FILE)


def read(run_dir: Path) -> Status | None:
    """What ingest last said, or None."""
    try:
        return msgspec.json.decode((run_dir / FILE).read_bytes(), type=Status)
    except (OSError, msgspec.DecodeError):
        return None
