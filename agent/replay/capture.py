"""Captured files: raw bytes, a transcript with seconds and directions, or a folder that stands for ``/``. Pure parsing.

A transcript is text. Its first line is a comment (where and when it was captured), then one line a chunk::

    # Main meter, 2026-11-02, garage
    > 0.000 hex:f8 04 00 00 00 0a 64 64
    < 0.041 hex:f8 04 14 08 d3
    < 1.250 \\x02\\nADCO 021861348497 L\\r
    < 9.000

``<`` came from the device, ``>`` was sent to it, then seconds since the start. The payload is text with the escapes
``\\r \\n \\t \\0 \\\\ \\xNN``, or ``hex:`` with pairs of digits. An empty payload lets time pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

LINE = re.compile(r"([<>])[ \t]+(\d+(?:\.\d+)?)(?:[ \t](.*))?\Z", re.S)
ESCAPES = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
SNAPSHOT = re.compile(r"root(?:@(\d+(?:\.\d+)?))?\Z")


class CaptureError(ValueError):
    """The file is no capture that can be replayed, in one line."""


class Entry(NamedTuple):
    """One line of a transcript."""

    sent: bool
    """True: to the device."""
    t_s: float
    data: bytes
    line: int


def is_transcript(data: bytes) -> bool:
    """Whether every line is a comment, empty or an entry, and one at least is an entry."""
    if b"\0" in data[:4096] or data.lstrip()[:1] not in (b"#", b"<", b">"):
        return False
    entries = 0
    for line in data.splitlines():
        if line.startswith(b"#") or not line.strip():
            continue
        if not re.match(rb"[<>][ \t]+\d", line):
            return False
        entries += 1
    return entries > 0


def parse_transcript(data: bytes, name: str = "transcript") -> list[Entry]:
    """The entries in order of the file. Raises CaptureError with ``name:line``."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise CaptureError(f"{name}:{number}: not UTF-8 text; write other bytes as \\xNN or hex:") from None
    entries: list[Entry] = []
    last_s = 0.0
    for number, whole_line in enumerate(text.split("\n"), 1):
        line = whole_line.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        found = LINE.match(line)
        if found is None:
            raise CaptureError(f"{name}:{number}: expected '< SECONDS PAYLOAD' or '> SECONDS PAYLOAD'")
        t_s = float(found[2])
        if t_s < last_s:
            raise CaptureError(f"{name}:{number}: {found[2]} s is before the line above; seconds only grow")
        last_s = t_s
        try:
            payload = unescape(found[3] or "")
        except ValueError as error:
            raise CaptureError(f"{name}:{number}: {error}") from None
        entries.append(Entry(found[1] == ">", t_s, payload, number))
    if not entries:
        raise CaptureError(f"{name}: no line with '<' or '>'")
    return entries


def stamped_entries(messages: Iterable[tuple[float, bytes]], name: str = "capture") -> list[Entry]:
    """Entries of messages that came with their seconds. Raises CaptureError."""
    entries: list[Entry] = []
    for number, (t_s, data) in enumerate(messages, 1):
        if not t_s >= (entries[-1].t_s if entries else 0.0):
            raise CaptureError(f"{name}: message {number}: {t_s} s is before the one above; seconds only grow")
        entries.append(Entry(False, t_s, data, number))
    if not entries:
        raise CaptureError(f"{name}: no message in it")
    return entries


def unescape(text: str) -> bytes:
    """The bytes of one payload. Raises ValueError."""
    if text.startswith("hex:"):
        try:
            return bytes.fromhex(text[4:])
        except ValueError:
            raise ValueError("hex: takes pairs of hex digits, spaces between pairs are allowed") from None
    out = bytearray()
    position = 0
    while position < len(text):
        character = text[position]
        if character != "\\":
            out += character.encode("utf-8")
            position += 1
            continue
        escape = text[position + 1 : position + 2]
        if escape == "x":
            digits = text[position + 2 : position + 4]
            if not re.fullmatch(r"[0-9a-fA-F]{2}", digits):
                raise ValueError("\\x takes two hex digits")
            out.append(int(digits, 16))
            position += 4
        elif escape in ESCAPES:
            out += ESCAPES[escape]
            position += 2
        else:
            raise ValueError(f"\\{escape} is no escape; there are \\r \\n \\t \\0 \\\\ \\xNN")
    return bytes(out)


def escape(data: bytes) -> str:
    """The payload that :func:`unescape` reads back: readable text where it is text, else ``hex:``."""
    if sum(32 <= byte < 127 or byte in b"\r\n\t" for byte in data) * 10 < len(data) * 8:
        return "hex:" + data.hex(" ")
    names = {13: "\\r", 10: "\\n", 9: "\\t", 92: "\\\\"}
    return "".join(names.get(b) or (chr(b) if 32 <= b < 127 else f"\\x{b:02x}") for b in data)


class Snapshot(NamedTuple):
    """A folder that stands for ``/`` from ``t_s`` on."""

    t_s: float
    root: Path


def snapshots(folder: Path) -> list[Snapshot]:
    """``root``, ``root@10``, ``root@20.5`` in order; a folder without any is itself the root."""
    found = []
    for child in folder.iterdir():
        match = SNAPSHOT.match(child.name)
        if match is not None and child.is_dir():
            found.append(Snapshot(float(match[1] or 0.0), child))
    return sorted(found) or [Snapshot(0.0, folder)]
