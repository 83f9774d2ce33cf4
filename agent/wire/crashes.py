"""An exception that nobody caught, as one message: ``unhandled <Type>: <text>``, then its traceback. Pure.

The same form everywhere: in a plugin's log line on ``$log/error`` and at the end of a process's log. It is bounded, and
holds no telephone number and nothing that stands beside a word like password (:mod:`agent.wire.private`). Its first
line ends with ``(<n> more like this in the last <s> s)`` where others were left out before it.
"""

from __future__ import annotations

import re
import time
import traceback
from collections.abc import Callable
from typing import Any

from agent.wire import private

WORD = "unhandled "
MAX_CHARS = 4000
MAX_FIRST = 300
REPEAT_S = 60.0
MAX_KINDS = 200
"""So many kinds are remembered; of one that invents them the oldest is forgotten."""
_PLACE = re.compile(r'^ +File "(.+", line \d+)', re.MULTILINE)
_MORE = re.compile(r" \((\d+) more like this in the last \d+ s\)\Z")


def text(error: BaseException, value: Any = None) -> str:
    """The message. ``value``: that of the command that was carried out, left out of the text."""
    # a stack without end (RecursionError) is cut by format_exception itself; a long one here
    trace = "".join(traceback.format_exception(error)).rstrip()
    said = _safe(f"{type(error).__name__}: {error}", value).replace("\n", "\\n")[:MAX_FIRST]
    return f"{WORD}{said}\n{_cut(_safe(trace, value), MAX_CHARS - len(WORD) - len(said) - 80)}"


def kind(message: str) -> str:
    """What makes two messages the same: the type, and where it was raised."""
    first = message.partition("\n")[0].removeprefix(WORD).partition(":")[0]
    return " ".join((first, *_PLACE.findall(message)[-1:]))


def is_crash(message: str) -> bool:
    return message.startswith(WORD) and "\n" in message


def more(message: str) -> int:
    """How many others this message stands for."""
    found = _MORE.search(message.partition("\n")[0])
    return int(found[1]) if found else 0


def last_in(log: str) -> str:
    """The last such message at the end of a process's log, or nothing: what killed it."""
    at = max(log.rfind(f"\n{WORD}") + 1, 0 if log.startswith(WORD) else -1)
    message = log[at:].rstrip() if at > 0 or log.startswith(WORD) else ""
    return message[:MAX_CHARS] if is_crash(message) else ""


def _safe(words: str, value: Any) -> str:
    return private.in_trace(private.without(words, value))


def _cut(trace: str, room: int) -> str:
    """The outermost call stays, and the innermost ones: where it began, and where it broke."""
    if len(trace) <= room:
        return trace
    head = trace[: room // 5].rpartition("\n")[0]
    return f"{head}\n  ...\n{trace[-(room - len(head) - 10):]}"


class Pace:
    """One message a minute and kind, with the number of those between."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._now = monotonic_s
        self._seen: dict[str, tuple[float, int]] = {}

    def message(self, told: str) -> str | None:
        """``told`` as it is to be sent now; None: it was counted."""
        now, one = self._now(), kind(told)
        since, held = self._seen.pop(one, (float("-inf"), 0))
        if now - since < REPEAT_S:
            self._seen[one] = since, held + 1
            return None
        if len(self._seen) >= MAX_KINDS:
            del self._seen[next(iter(self._seen))]
        self._seen[one] = now, 0
        if not held:
            return told
        first, _, trace = told.partition("\n")
        return f"{first} ({held} more like this in the last {now - since:.0f} s)\n{trace}"
