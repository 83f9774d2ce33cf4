"""``restarts_held`` of a mains plugin, of this device or of one in ``device.inputs``, for the watchdog (B63).

The file ``<run_dir>/restarts_held`` is there while one of them says so, and is touched each time it is said again.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

PROPERTY = "restarts_held"
FILE = "restarts_held"


class Held:
    """:meth:`note` each value; cheap for all others."""

    def __init__(self, run_dir: Path) -> None:
        self._path = run_dir / FILE
        self._by: set[str] = set()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)  # of an uplink before this one: who still holds says so within a minute

    def note_all(self, node: str, values: Iterable[tuple[str, str, Any, int, str | None]]) -> None:
        for _, name, value, _, quality in values:
            if name == PROPERTY and quality is None:
                self.note(node, value)

    def note(self, source: str, value: object) -> None:
        before = bool(self._by)
        (self._by.add if value is True else self._by.discard)(source)
        try:
            if self._by:
                self._path.write_text(" ".join(sorted(self._by)))
            elif before:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s cannot be written, the watchdog does not know of the mains: %s", self._path, error)
