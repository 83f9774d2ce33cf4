"""Recordings of the serial line with the rows' own stamps, so that a replay keeps their pace and not the line's."""

from __future__ import annotations

from collections.abc import Iterable

from firmware_bridges.esp32_csi import CsiRow, LineDecoder

MAX_STEP_S = 60.0
"""More between two rows is a restart of the chip, or another recording."""
LOOK = 1 << 16


def stamped(data: bytes) -> Iterable[tuple[float, bytes]] | None:
    """(seconds since the first row, line with its end). None where fewer than two rows have a stamp."""
    first = [event for event in LineDecoder().feed(data[:LOOK]) if isinstance(event, CsiRow)]
    if sum(_stamp(row) is not None for row in first) < 2:
        return None
    return list(_lines(data))


def _lines(data: bytes) -> Iterable[tuple[float, bytes]]:
    decoder = LineDecoder()
    t_s = 0.0
    last: float | None = None
    for line in data.split(b"\n"):
        for event in decoder.feed(line + b"\n"):
            stamp = _stamp(event) if isinstance(event, CsiRow) else None
            if stamp is None:
                continue
            if last is not None and 0 < stamp - last < MAX_STEP_S:
                t_s += stamp - last
            last = stamp
        yield t_s, line + b"\n"


def _stamp(row: CsiRow) -> float | None:
    if row.device_us is not None:
        return row.device_us / 1e6
    return row.host_s
