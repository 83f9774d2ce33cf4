"""Captures as people keep them -> the bytes that were on the wire: byte literals, hex, CSV, text with LF only."""

from __future__ import annotations

import ast
import csv
import io
import re

_LITERAL = re.compile(r"""[bB]?'(?:[^'\\\n]|\\.)*'|[bB]?"(?:[^"\\\n]|\\.)*\"""", re.ASCII)
_HEX_CELL = re.compile(r"(?:0x)?[0-9A-Fa-f]{2}(?:[ :,]*(?:0x)?[0-9A-Fa-f]{2})*")
_DUMP_ROW = re.compile(r"^[0-9A-Fa-f]{6,8}:? {1,2}((?:[0-9A-Fa-f]{2,4} ?)+)(?:  .*| *\|.*)?$")
#: Fewer bytes than any frame has: a number in a table, not a frame.
_SHORTEST = 5


def wire_bytes(data: bytes) -> bytes:
    """The bytes of the line in a captured file; ``data`` itself when it is what came off the wire."""
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        return data
    for read in (_literals, _dump, _hex, _table):
        found = read(text)
        if found:
            return found
    # An editor or a log made CR LF into LF; the CRC of a P1 telegram runs over both.
    if "\r" not in text and text.lstrip().startswith("/") and "\n!" in text:
        return text.replace("\n", "\r\n").encode()
    return data


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def _literals(text: str) -> bytes:
    """Python byte literals, in their order, when they are most of the file."""
    rows = _lines(text)
    found = [literal for row in rows for literal in _LITERAL.findall(row)]
    if not found or sum(map(len, found)) < 0.7 * sum(map(len, rows)):
        return b""
    out = b""
    for literal in found:
        try:
            value = ast.literal_eval(literal)
        except (ValueError, SyntaxError):
            return b""
        out += value if isinstance(value, bytes) else value.encode("latin-1", "replace")
    return out


def _dump(text: str) -> bytes:
    """``xxd`` and ``hexdump -C``: an offset, then bytes, then text."""
    rows = _lines(text)
    matches = [_DUMP_ROW.match(row) for row in rows]
    if not rows or not all(matches):
        return b""
    return b"".join(_bytes(match[1]) for match in matches if match)


def _hex(text: str) -> bytes:
    """Nothing but hexadecimal bytes."""
    rows = _lines(text)
    if not rows or not all(_HEX_CELL.fullmatch(row.rstrip(" ,;")) for row in rows):
        return b""
    return b"".join(map(_bytes, rows))


def _table(text: str) -> bytes:
    """A CSV with a column of frames in hex; rows that say they went to the meter are left out."""
    rows = list(csv.reader(io.StringIO("\n".join(_lines(text)))))
    if len(rows) < 2:
        return b""
    head, body = rows[0], rows[1:]
    for column in range(len(head)):
        cells = [row[column].strip() for row in body if len(row) > column]
        frames = [cell for cell in cells if _HEX_CELL.fullmatch(cell) and len(_bytes(cell)) >= _SHORTEST]
        if cells and len(frames) == len(cells):
            return b"".join(_bytes(row[column]) for row in body if len(row) > column and not _to_meter(row))
    return b""


def _to_meter(row: list[str]) -> bool:
    return any(cell.strip().lower() in ("request", "tx", "out", ">", "write") for cell in row)


def _bytes(cell: str) -> bytes:
    return bytes.fromhex(re.sub(r"0x|[^0-9A-Fa-f]", "", cell))
