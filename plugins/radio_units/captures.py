"""Captured files in the dress that people keep them in: hex text, NDJSON or CSV with seconds and hex frames."""

from __future__ import annotations

import json
import re

HEX = re.compile(rb"[0-9a-fA-F]{2}(?:[ :]?[0-9a-fA-F]{2})*")
ROW = re.compile(rb"(\d+(?:\.\d+)?) *[,;\t]\s*+\"?([0-9a-fA-F][0-9a-fA-F: ]{7,}+)\"?")


def wire_bytes(data: bytes) -> bytes:
    """The frames of a file with one in hex a line; any other file as it is."""
    lines = [line.strip() for line in data.splitlines() if line.strip() and not line.startswith(b"#")]
    if not lines or not all(HEX.fullmatch(line) for line in lines):
        return data
    return b"".join(_frame(line) for line in lines)


def stamped(data: bytes) -> list[tuple[float, bytes]] | None:
    """Frames with their seconds since the first, of ``{"t": 12.5, "hex": "4d..."}`` or ``12.5,4d...`` a line; lines
    that are neither, and stamps that run back, are left out. None: no such file."""
    found: list[tuple[float, bytes]] = []
    for line in data.splitlines():
        row = _json_row(line) if line.lstrip().startswith(b"{") else _csv_row(line)
        if row is not None and (not found or row[0] >= found[-1][0]):
            found.append(row)
    if not found:
        return None
    first = found[0][0]
    return [(t_s - first, frame) for t_s, frame in found]


def _json_row(line: bytes) -> tuple[float, bytes] | None:
    try:
        row = json.loads(line)
        t_s = float(row["t"])
        return (t_s, _frame(row["hex"].encode())) if 0 <= t_s < 1e11 else None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _csv_row(line: bytes) -> tuple[float, bytes] | None:
    match = ROW.fullmatch(line.strip())
    try:
        return (float(match[1]), _frame(match[2])) if match else None
    except ValueError:
        return None


def _frame(text: bytes) -> bytes:
    """Bytes of hex text, filled up to a frame as HID captures leave the zeros out. Raises ValueError."""
    return bytes.fromhex(text.decode().replace(":", "")).ljust(64, b"\0")
