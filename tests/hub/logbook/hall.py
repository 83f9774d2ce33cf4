"""The notify process's parts over a real database, a second at a time on a clock of the test's own."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hub import settings as hub_settings
from hub.live.tree import LiveTree
from hub.logbook.book import Logbook
from hub.logbook.gather import Gather
from hub.notify.part import Hall, Part
from hub.notify.service import Service
from hub.store.alerts_db import AlertsDb

NOON_US = 1_795_694_400_000_000
"""2026-11-26T12:00:00Z"""
SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US


class Clock:
    def __init__(self, now_us: int = NOON_US) -> None:
        self.now_us = now_us

    def __call__(self) -> int:
        return self.now_us


@contextlib.contextmanager
def notify(tmp_path: Path, clock: Clock, more: str = "") -> Iterator[Service]:
    """The real service; its loop is the test's (``service.step()``), its broker is not there."""
    run = Path(tempfile.mkdtemp(prefix="hk-", dir="/tmp"))
    toml = tmp_path / "hub.toml"
    toml.write_text(f'[hub]\ndata_dir = "{tmp_path}/data"\nrun_dir = "{run}"\n{more}')
    (tmp_path / "data").mkdir(exist_ok=True)

    def parts(hall: Hall, book: object) -> list[Part]:
        return [Gather(hall)]

    service = Service(hub_settings.load(toml), parts, clock)
    try:
        for part in service.parts:
            part.begin()
        yield service
    finally:
        for part in reversed(service.parts):
            part.close()
        service.hall.reader.close()
        service.desk.close()
        service.db.close()
        shutil.rmtree(run, ignore_errors=True)


def device(tree: LiveTree, name: str, now_us: int, state: bytes = b"ready", *, retained: bool = False) -> None:
    tree.apply(f"homie/5/{name}/$state", state, retained=retained, now_us=now_us)


def synced(tree: LiveTree, *ready: str, now_us: int) -> None:
    """Everything retained has come."""
    tree.begin_sync()
    for name in ready:
        device(tree, name, now_us, retained=True)
    tree.end_sync()


def log_line(tree: LiveTree, name: str, level: str, text: str, now_us: int) -> None:
    tree.apply(f"homie/5/{name}/$log/{level}", text.encode(), retained=False, now_us=now_us)


__all__ = ["HOUR_US", "NOON_US", "SECOND_US", "AlertsDb", "Clock", "Logbook", "device", "log_line", "notify", "synced"]
