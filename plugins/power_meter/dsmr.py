"""DSMR P1 bytes -> telegrams of OBIS lines. No port, no clock.

Source: P1 companion standard 5.0.2 (Netbeheer Nederland) with 4.2.2, 3.0 and 2.2 behind it; the Belgian, Luxembourg
and Nordic dialects keep the same form. ``/header CR LF CR LF lines !CRC CR LF``: the CRC-16 runs from ``/`` to ``!``.
Up to version 3 there is no CRC and the line is 9600 7E1; there a telegram is held to the whole grammar instead.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from . import crc
from .frames import MASK_PARITY, Garbage, seven_bit

#: Longest telegram that is met: 99.97.0 logs and two 1024-character messages, under 4 KiB.
MAX_TELEGRAM = 8192
_END = re.compile(rb"(?:^|\n|\r)!([0-9A-Fa-f]{4})?[ \t]*(\r\n|\n|\r(?!\n)|(?=/))")
_HEADER = re.compile(r"/[A-Za-z0-9]{3}[ -~]{1,60}", re.ASCII)
_LINE = re.compile(r"(\d{1,3}-\d{1,3}:\d{1,3}\.\d{1,3}\.\d{1,3}(?:\.\d{1,3})?)((?:\([ -'*-~]*\))+)", re.ASCII)
_BRACKETS = re.compile(r"\(([^()]*)\)")


@dataclass(frozen=True, slots=True)
class Line:
    """``1-0:1.8.1(000004.426*kWh)`` -> obis ``1-0:1.8.1``, values ``("000004.426*kWh",)``."""

    obis: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Telegram:
    """A telegram that passed its CRC, or (``crc`` False) a whole one of a version that has none."""

    header: str
    lines: tuple[Line, ...]
    crc: bool


def parse_lines(body: str) -> tuple[Line, ...] | None:
    """The OBIS lines behind the header, or None if one line is not of the grammar. A line that starts with a bracket
    goes on with the one above (the gas reading of DSMR 2 and 3)."""
    joined: list[str] = []
    for row in body.splitlines():
        if row.startswith("(") and joined:
            joined[-1] += row
        elif row:
            joined.append(row)
    lines = []
    for row in joined:
        match = _LINE.fullmatch(row)
        if match is None:
            return None
        lines.append(Line(match[1], tuple(_BRACKETS.findall(match[2]))))
    return tuple(lines)


class DsmrCodec:
    """``feed`` bytes in any portions; telegrams and garbage come out in order."""

    def __init__(self) -> None:
        self._crc_seen = False
        self.reset()

    def reset(self) -> None:
        self._raw = b""

    def feed(self, data: bytes) -> list[Telegram | Garbage]:
        self._raw += data
        out: list[Telegram | Garbage] = []
        while True:
            masked = self._raw.translate(MASK_PARITY)
            start = masked.find(b"/")
            if start < 0:
                self._raw = b""
                return out
            if start:
                self._raw, masked = self._raw[start:], masked[start:]
            end = _END.search(masked)
            again = self._restart(masked)
            if again and (end is None or again <= end.start()):
                out.append(Garbage("torn", again))
                self._raw = self._raw[again:]
                continue
            if end is None:
                if len(masked) > MAX_TELEGRAM:
                    out.append(Garbage("no end", len(masked)))
                    self._raw = self._raw[1:]
                    continue
                return out
            if end.end() == len(masked) and masked.endswith(b"\r"):
                return out  # the LF of this end is still to come
            out.append(self._telegram(self._raw[: end.end()], masked.index(b"!", end.start()), end[1]))
            self._raw = self._raw[end.end() :]

    def finish(self) -> list[Telegram | Garbage]:
        """The last telegram of a file that ends without a line end."""
        out = self.feed(b"\n") if self._raw else []
        self.reset()
        return out

    @staticmethod
    def _restart(masked: bytes) -> int:
        """Where another header begins at the start of a line inside this telegram: then this one was torn."""
        again = masked.find(b"\n/", 1)
        return again + 1 if again >= 0 else 0

    def _telegram(self, raw: bytes, mark: int, given: bytes | None) -> Telegram | Garbage:
        """One telegram; ``mark`` is where its ``!`` stands, ``given`` the four hexadecimal digits behind it."""
        if given:
            if crc.arc(raw[: mark + 1]) != int(given, 16):
                return Garbage("crc", len(raw))
        elif self._crc_seen:
            return Garbage("no crc", len(raw))
        text = seven_bit(raw[:mark])
        if text is None or (given and not raw.isascii()):
            return Garbage("not text", len(raw))
        header, _, body = text.decode("ascii").replace("\r\n", "\n").partition("\n")
        lines = parse_lines(body)
        if not _HEADER.fullmatch(header.rstrip()) or not lines:
            return Garbage("grammar", len(raw))
        if not given and any(line.obis.endswith(":0.2.8") and line.values[0] >= "40" for line in lines):
            return Garbage("no crc", len(raw))
        self._crc_seen = self._crc_seen or bool(given)
        return Telegram(header.rstrip(), lines, bool(given))
