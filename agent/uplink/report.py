"""What uplink says of itself: ``<run_dir>/status.json`` for ``hutkeeper-agent status``, and the node ``sys``."""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path
from typing import Any

import msgspec

log = logging.getLogger(__name__)

EVERY_S = 2.0
AT_LEAST_S = 30.0
FILE = "status.json"


class StatusFile:
    """Written whole or not at all, at a change at most every 2 s, else every 30 s."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / FILE
        self._text = b""
        self._at_s = float("-inf")
        self._failed = False

    def due_s(self) -> float:
        return self._at_s + EVERY_S

    def write(self, status: dict[str, Any], now_s: float, *, steady: tuple[str, ...] = (), force: bool = False) -> bool:
        """``steady``: keys that change all the time and are no reason to write. Never raises."""
        if now_s - self._at_s < EVERY_S and not force:
            return False
        text = msgspec.json.encode({key: value for key, value in status.items() if key not in steady})
        if text == self._text and now_s - self._at_s < AT_LEAST_S and not force:
            return False
        self._at_s, self._text = now_s, text
        part = self._path.with_suffix(f".json.{os.getpid()}")
        try:
            part.write_bytes(msgspec.json.encode(status))
            part.replace(self._path)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("%s cannot be written: %s", self._path, error)
            self._failed = True
            with contextlib.suppress(OSError):
                part.unlink()
            return False
        return True
