"""Faults of this device that stand right now: one line each, as ``$alert``, in the log and in status.json."""

from __future__ import annotations

import logging
from collections.abc import Callable

from agent.bus import Alert
from agent.wire import faults

log = logging.getLogger(__name__)

LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR, "critical": logging.CRITICAL}
OWNER = "sys"


class Faultbook:
    """``wall_us`` gives the time of day or None; ``on_alert`` is the state plane's."""

    def __init__(self, wall_us: Callable[[], int | None], on_alert: Callable[[Alert], None]) -> None:
        self._wall_us = wall_us
        self._on_alert = on_alert
        self.standing: dict[str, str] = {}
        """alert id -> line"""
        self._since: dict[str, int | None] = {}
        self._code: dict[str, str] = {}

    def fault(self, code: str, alert_id: str, **fields: object) -> None:
        """A fault stands; said again with other figures it changes its line and is not logged a second time."""
        fresh = self._code.get(alert_id) != code
        if fresh:
            self._since[alert_id] = self._wall_us()
            self._code[alert_id] = code
        text = faults.line(code, self._since[alert_id], **fields)
        if self.standing.get(alert_id) == text:
            return
        self.standing[alert_id] = text
        if fresh:
            log.log(LEVELS[faults.FAULTS[code].severity], "%s", text)
        self._on_alert(Alert(OWNER, alert_id, text))

    def clear(self, alert_id: str) -> None:
        """It is over."""
        if alert_id in self.standing:
            log.info("%s is over", self._code.pop(alert_id))
            del self.standing[alert_id], self._since[alert_id]
            self._on_alert(Alert(OWNER, alert_id, None))
