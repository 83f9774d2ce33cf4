"""What a board prints for its motion detectors, line by line: ``PIR1``, or ``PIR1 1``, ``PIR2=OFF``. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_LINE = 256
LINE = re.compile(rb"([A-Za-z][A-Za-z0-9_-]{0,23})(?:(?:[ \t]*[:=][ \t]*|[ \t]+)([A-Za-z0-9.+%-]{1,16}))?")
LEVELS = {"1": True, "on": True, "high": True, "0": False, "off": False, "low": False}


class Said(NamedTuple):
    """A detector's name, and its level; None for a name alone: a moment of motion."""

    word: str
    active: bool | None


def parse(line: bytes, words: frozenset[str]) -> Said | None:
    """A line about one of ``words`` (empty: about anything); None: it is another sensor's. A whole line or nothing.
    Raises ValueError for noise."""
    found = LINE.fullmatch(line.strip())
    if found is None:
        raise ValueError("neither a name nor a name and a level")
    word = found[1].decode()
    if words and word not in words:
        return None
    if found[2] is None:
        return Said(word, None)
    level = found[2].decode().lower()
    if level not in LEVELS:
        if not words:
            return None
        raise ValueError(f"{level!r} is no level")
    return Said(word, LEVELS[level])
