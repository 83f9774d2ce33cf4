"""What small boards print on a serial line: whole lines of bounded length, and people's logs of them with stamps. Pure.

A log is what a terminal program or a script made of a line: a stamp, a separator, what the board said. Stamps are
ISO 8601 (``2026-11-02 10:00:01.5``, ``...T10:00:01Z``), a time of day (``10:00:01.123 ->`` of the Arduino IDE,
``[10:00:01]``), or seconds or milliseconds since 1970. With a header line (``time,lux,temperature``) each column is one
line, ``name=value``.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

MAX_LINE = 256
STAMPED_SHARE = 0.8
DAY_S = 86400.0
_GAP = rb"\]?[ \t]*(?:->|[,;|>\t ])[ \t]*"
_FRACTION = rb"(?:\.\d{1,9}|,\d{1,9}(?=[\] \t]))?"
"""A comma before a blank is a decimal one (Python's logging), else it parts columns."""
_STAMP = re.compile(
    rb"\[?(?:(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d" + _FRACTION + rb")?(?:Z|[+-]\d\d:?\d\d)?)"
    rb"|(\d\d:\d\d:\d\d" + _FRACTION + rb")|(1\d{9}(?:\.\d{1,9})?)|(1\d{12}))" + _GAP + rb"(\S.*)")
_HEADER = re.compile(rb"[A-Za-z_][\w .%()/-]{0,40}(?:[,;\t][ \t]*[A-Za-z_][\w .%()/-]{0,40}){1,30}")


class Splitter:
    """Bytes to whole lines, without their ends. Noise without line ends is one bad line, however long."""

    def __init__(self, limit: int = MAX_LINE) -> None:
        self._limit = limit
        self._rest = b""
        self._long = False

    def feed(self, data: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + data).replace(b"\r", b"\n").split(b"\n")
        if lines and self._long:
            self._long = False
            lines = lines[1:]  # the end of what was too long
        if len(self._rest) > self._limit:
            if not self._long:
                lines.append(self._rest)
            self._rest, self._long = b"", True
        return [line for line in lines if line.strip()]


def stamped(data: bytes) -> list[tuple[float, bytes]] | None:
    """What the board said, each line with its end and its seconds since the first; None: the file has no stamps.

    A stamp that goes back (a clock that was set, a new day) goes on from the last one."""
    lines = [line for line in data.splitlines() if line.strip()]
    columns: list[str] = []
    if lines and _HEADER.fullmatch(lines[0].strip()):
        columns = [name.strip().replace(" ", "_") for name in re.split(r"[,;\t]", lines[0].decode("ascii"))][1:]
        lines = lines[1:]
    found = [_STAMP.fullmatch(line.strip()) for line in lines]
    if sum(match is not None for match in found) < max(2, STAMPED_SHARE * len(lines)):
        return None
    messages: list[tuple[float, bytes]] = []
    first_s, now_s, last_raw_s = None, 0.0, 0.0
    for match in found:
        if match is None:
            continue  # what the program itself said
        try:
            raw_s = _seconds(match)
        except ValueError:
            continue
        if first_s is None:
            first_s = last_raw_s = raw_s
        step_s = raw_s - last_raw_s
        if match[2] and step_s < -DAY_S / 2:
            step_s += DAY_S
        now_s += max(0.0, step_s)
        last_raw_s = raw_s
        messages += [(round(now_s, 6), text + b"\n") for text in _said(match[5], columns)]
    return messages or None


def _said(rest: bytes, columns: list[str]) -> list[bytes]:
    if not columns:
        return [rest]
    values = re.split(rb"[,;\t]", rest)
    return [b"%s=%s" % (name.encode(), value.strip()) for name, value in zip(columns, values, strict=False)
            if value.strip()]


def _seconds(match: re.Match[bytes]) -> float:
    """Raises ValueError."""
    if match[1]:
        when = datetime.fromisoformat(match[1].decode().replace(",", "."))
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    if match[2]:
        hours, minutes, seconds = match[2].decode().replace(",", ".").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    return float(match[3]) if match[3] else int(match[4]) / 1000
