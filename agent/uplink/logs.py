"""Uplink's log: one JSON object a line on stderr, the newest ones kept for the request ``log_tail``."""

from __future__ import annotations

import logging
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from agent.wire import crashes

KEPT = 500
REPEAT_S = 60.0
MAX_MESSAGES = 200


class JsonLines(logging.Handler):
    """``{"t": "...Z", "level": "warning", "logger": "...", "message": "..."}``; the same message at most once a minute
    (a message is its format string), with the number of those left out."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.tail: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}
        self._pace = crashes.Pace()
        self.on_crash: Callable[[str], object] | None = None
        """Called with an exception that was logged, as agent.wire.crashes writes it."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            now = time.monotonic()
            key = record.name, str(record.msg)
            since, held = self._seen.get(key, (-REPEAT_S, 0))
            if now - since < REPEAT_S and record.levelno < logging.CRITICAL:
                self._seen[key] = since, held + 1
                return
            if len(self._seen) >= MAX_MESSAGES:
                del self._seen[next(iter(self._seen))]
            self._seen[key] = now, 0
            line = {
                "t": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
                "level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()[:4000],
            }
            if held:
                line["repeated"] = str(held)
            if record.exc_info:
                line["traceback"] = self.formatter_or_default().formatException(record.exc_info)[-4000:]
                self._crash(record.exc_info[1])
            self.tail.append(line)
            sys.stderr.write(msgspec.json.encode(line).decode() + "\n")
            sys.stderr.flush()
        except (OSError, ValueError, TypeError):
            return  # whoever read our stderr is gone, or a message cannot be formatted: never stop for that

    def _crash(self, error: BaseException | None) -> None:
        if error is None or self.on_crash is None:
            return
        message = self._pace.message(crashes.text(error))
        if message is not None:
            self.on_crash(message)

    def formatter_or_default(self) -> logging.Formatter:
        return self.formatter or logging.Formatter()


def install() -> JsonLines:
    """Make it the root logger's only handler."""
    handler = JsonLines()
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    return handler
