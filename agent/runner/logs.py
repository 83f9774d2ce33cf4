"""A plugin's log: one line each to stderr, warnings and above also to the hub, repeats capped at one a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from agent.wire import crashes

REPEAT_S = 60.0
MAX_MESSAGES = 500
"""How many different messages are remembered; a plugin that invents them is capped by the oldest being forgotten."""
MAX_LINE = 2000

Sink = Callable[[str, str], None]
"""Called with (level, text); must not block."""


def to_stderr(instance: str) -> Sink:
    """``2026-11-22T02:00:00Z WARNING main-meter: text``: supervisord keeps stderr."""

    def write(level: str, text: str) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        try:
            sys.stderr.write(f"{stamp} {level.upper()} {instance}: {text}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            return  # whoever read our stderr is gone; the bus still carries warnings

    return write


class CappedLog:
    """``logging``'s calls (:class:`agent.api.Log`) without its weight. A message is its format string."""

    def __init__(self, *sinks: Sink, debug: bool = False, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.sinks = list(sinks)
        self.show_debug = debug
        self.monotonic_s = monotonic_s
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}
        self._crashes = crashes.Pace(lambda: self.monotonic_s())

    def crash(self, error: BaseException, value: Any = None) -> None:
        """An exception that nobody caught, with its trace, as one message (agent.wire.crashes)."""
        message = self._crashes.message(crashes.text(error, value))
        if message is not None:
            for sink in self.sinks:
                sink("error", message)

    def debug(self, msg: str, *args: object) -> None:
        if self.show_debug:
            self._log("debug", msg, args)

    def info(self, msg: str, *args: object) -> None:
        self._log("info", msg, args)

    def warning(self, msg: str, *args: object) -> None:
        self._log("warning", msg, args)

    def error(self, msg: str, *args: object) -> None:
        self._log("error", msg, args)

    def _log(self, level: str, msg: str, args: tuple[object, ...]) -> None:
        now = self.monotonic_s()
        key = (level, msg)
        since, held = self._seen.get(key, (-REPEAT_S, 0))
        if now - since < REPEAT_S:
            self._seen[key] = (since, held + 1)
            return
        if len(self._seen) >= MAX_MESSAGES and key not in self._seen:
            del self._seen[next(iter(self._seen))]
        self._seen[key] = (now, 0)
        try:
            text = msg % args if args else msg
        except (TypeError, ValueError):
            text = f"{msg} {args!r}"  # a wrong format in a plugin must not hide what it wanted to say
        if held:
            text += f" ({held} more like this in the last {now - since:.0f} s)"
        text = text.replace("\n", "\\n")[:MAX_LINE]
        for sink in self.sinks:
            sink(level, text)
