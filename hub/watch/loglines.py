"""Lines of a log as a page shows them: when, how grave, what. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

LEVELS = ("debug", "info", "warning", "error")
MAX_LINE = 4000
_WORDS = {"debug": "debug", "info": "info", "warn": "warning", "warning": "warning", "err": "error", "error": "error",
          "critical": "error", "crit": "error", "fatal": "error", "alarm": "error"}
_LEVEL = re.compile(r"\b(DEBUG|INFO|WARN(?:ING)?|ERR(?:OR)?|CRIT(?:ICAL)?|FATAL|ALARM)\b")
_STAMP = re.compile(r"(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?Z?)[: ]\s*")


class LogLine(Struct, frozen=True, array_like=True):
    t: str
    """As it stands in the log; '' where there is none."""
    level: str
    text: str


def parsed(lines: Iterable[Any]) -> list[LogLine]:
    """A line without a level is of the one before it: a trace belongs to its error."""
    found: list[LogLine] = []
    level = "info"
    for line in lines:
        one = _of_object(line) if isinstance(line, dict) else _of_text(str(line)[:MAX_LINE], level)
        level = one.level
        found.append(one)
    return found


def _of_text(text: str, before: str) -> LogLine:
    if text.startswith("{"):
        try:
            told = msgspec.json.decode(text)
        except (msgspec.DecodeError, RecursionError):
            told = None
        if isinstance(told, dict) and "message" in told:
            return _of_object(told)
    stamp = _STAMP.match(text)
    rest = text[stamp.end():] if stamp is not None else text
    word = _LEVEL.search(rest[:60])
    if word is not None and (stamp is not None or word.start() < 20):
        level = _WORDS[word[1].lower()]
        if word.start() == 0:
            rest = rest[word.end():].lstrip()
    else:
        level = "info" if stamp is not None else before
    return LogLine(stamp[1] if stamp is not None else "", level, rest)


def _of_object(told: dict[str, Any]) -> LogLine:
    where = f"{told['logger']}: " if told.get("logger") else ""
    trace = f"\n{told['traceback']}" if told.get("traceback") else ""
    again = f" ({told['repeated']} times more)" if told.get("repeated") else ""
    return LogLine(str(told.get("t", ""))[:40], _WORDS.get(str(told.get("level", "")).lower(), "info"),
                   f"{where}{told.get('message', '')}{again}{trace}"[:2 * MAX_LINE])


def from_level(lines: Iterable[LogLine], level: str) -> list[LogLine]:
    """Those at least as grave as ``level``; an unknown word keeps all."""
    least = LEVELS.index(level) if level in LEVELS else 0
    return [line for line in lines if LEVELS.index(line.level) >= least]
