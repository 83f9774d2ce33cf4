"""Bytes of the line to whole lines: echo, prompt, units after their header, USSD texts of several lines. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

MAX_LINE = 4096
HEADS = ("+CMGL:", "+CMGR:", "+CMT:", "+CDS:")
"""The next line is the unit, in hexadecimal."""
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){4,}")


class Line(NamedTuple):
    text: str
    unit: str | None = None


PROMPT = Line(">")


class LineReader:
    """``feed`` gives what is whole; the rest waits. ``damaged`` counts lines that hold no text."""

    def __init__(self) -> None:
        self.damaged = 0
        self._rest = ""
        self._head: str | None = None
        self._quoted: str | None = None

    def feed(self, data: bytes) -> list[Line]:
        self._rest += data.decode("latin-1")
        out: list[Line] = []
        *whole, self._rest = re.split(r"[\r\n]", self._rest)
        for text in whole:
            out += self._line(text)
        if self._rest.lstrip() in (">", "> ") and self._rest:
            self._rest = ""
            out.append(PROMPT)
        if len(self._rest) > MAX_LINE:
            self._rest, self.damaged = "", self.damaged + 1
        return out

    def _line(self, text: str) -> list[Line]:
        if self._quoted is not None:  # a USSD text goes on
            self._quoted += "\n" + text
            if self._quoted.count('"') % 2 and len(self._quoted) < MAX_LINE:
                return []
            text, self._quoted = re.sub(r"\n+", "\n", self._quoted), None
            return [Line(text)]
        text = text.strip(" \0")
        if not text:
            return []
        if text.startswith("> ") and len(text) > 2:
            text = text[2:]  # what was typed at the prompt, echoed
        if any(not (character.isprintable()) for character in text):
            self.damaged += 1
            return []
        if self._head is not None:
            head, self._head = self._head, None
            if _HEX.fullmatch(text):
                return [Line(head, text)]
            return [Line(head), *self._line(text)]
        if text.startswith(HEADS):
            self._head = text
            return []
        if text.startswith("+CUSD:") and text.count('"') % 2:
            self._quoted = text
            return []
        return [Line(text)]
