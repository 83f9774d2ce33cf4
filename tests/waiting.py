"""Waiting for a condition, the only way a test waits for another process."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(what: str, check: Callable[[], Any], timeout_s: float = 45.0, every_s: float = 0.05,
          found: Callable[[], Any] | None = None) -> Any:
    """Wait for a true answer and return it; fails naming what was waited for and what was ``found`` instead. A bound,
    not a measurement."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if answer := check():
            return answer
        time.sleep(every_s)
    raise AssertionError(f"{what}: not within {timeout_s:.0f} s{f', but {found()}' if found else ''}")
