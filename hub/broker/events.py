"""What the broker's keeper has to tell the hub's event log, left as one small file each until ingest takes it.

The keeper has neither the store nor a connection of its own, and what it reports happens while both may be down."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from agent.wire import faults


class Event(Struct, frozen=True):
    """A fault of ``agent.wire.faults`` with its fields; ``line`` is the text to show."""

    code: str
    t_us: int
    fields: dict[str, Any]
    line: str


def folder(run_dir: Path) -> Path:
    return run_dir / "events"


def report(run_dir: Path, code: str, **fields: object) -> Event:
    """Leave an event for :func:`take`. Raises OSError when the run directory cannot be written."""
    now_us = time.time_ns() // 1000
    texts = {name: str(value) for name, value in fields.items()}
    event = Event(code, now_us, texts, faults.line(code, now_us, **fields))
    where = folder(run_dir)
    where.mkdir(parents=True, exist_ok=True)
    path = where / f"{now_us}-{os.getpid()}.json"
    part = path.with_suffix(".part")
    part.write_bytes(msgspec.json.encode(event))
    part.rename(path)
    return event


def take(run_dir: Path) -> list[tuple[Path, Event]]:
    """Events in their order. Unlink each path once it is stored; an unreadable file is set aside as ``.bad``."""
    found = []
    for path in sorted(folder(run_dir).glob("*.json")):
        try:
            found.append((path, msgspec.json.decode(path.read_bytes(), type=Event)))
        except msgspec.DecodeError:
            with contextlib.suppress(OSError):
                path.rename(path.with_suffix(".bad"))
        except OSError:
            continue  # somebody else took it
    return found
