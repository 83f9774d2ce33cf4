"""Recordings with stamps of their own, as lines of ours: NDJSON and CSV in the dresses that people keep them in.

* NDJSON with ``t`` (``ts``, ``timestamp``): our own lines, or those of other gateways (dialects.py);
* CSV with a head: stamp, address (``mac``, ``beacon``), ``rssi`` and, if there is one, ``receiver``;
* CSV with a head and a column a receiver (``rssi_1`` ... ): one tag and who hears it;
* CSV with a head and a column a beacon (``B1`` ... ``B6``): what a badge hears;
* CSV without a head: stamp, receiver, address, dBm, anything.

In a table without stamps a row is a second.

What is unreadable is handed on as it is, so that the plugin counts and names it.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator

from .adverts import Advert, Badge, encode, is_address, tidy_address
from .dialects import ADDRESSES, RECEIVERS, SECONDS, STRENGTHS, dbm_of, seconds

WIDE = re.compile(r"rssi[_ -]?(\w+)\Z", re.I)
BEACON = re.compile(r"b(eacon)?[_ -]?\d+\Z", re.I)
TAG = "tag"
"""The name of the one tag in a recording that names none."""
Stamped = tuple[float, bytes]


def stamped(data: bytes) -> list[Stamped] | None:
    """Seconds since the start and the line, in the order of time. None: there are no stamps in it."""
    text = data.decode("utf-8", "replace").lstrip("\ufeff")
    first = next((line for line in text.splitlines() if line.strip()), "")
    try:
        found = list(_json_lines(text) if first.lstrip().startswith("{") else _table(text, first))
    except csv.Error:  # a cell of more than 128 KiB: no table
        return None
    if not any(t_s is not None for t_s, _ in found):
        return None
    return _in_order(found)


def _in_order(found: list[tuple[float | None, bytes]]) -> list[Stamped]:
    """From the first stamp on; a line without one comes with the line before. Several receivers' clocks and threads
    write a little out of order."""
    whole: list[Stamped] = []
    last_s: float | None = None
    early: list[bytes] = []
    for t_s, line in found:
        if t_s is None and last_s is None:
            early.append(line)
            continue
        last_s = t_s if t_s is not None else last_s
        assert last_s is not None
        whole.append((last_s, line))
    whole.sort(key=lambda item: item[0])
    start_s = whole[0][0] if whole else 0.0
    return [(0.0, line) for line in early] + [(round(t_s - start_s, 6), line) for t_s, line in whole]


def _json_lines(text: str) -> Iterator[tuple[float | None, bytes]]:
    for line in text.splitlines():
        if not line.strip():
            continue
        stamp = None
        try:
            raw = json.loads(line)
            if isinstance(raw, dict):
                stamp = next((seconds(raw[name]) for name in SECONDS if name in raw), None)
        except (ValueError, RecursionError):
            stamp = None
        yield stamp, line.encode()


def _table(text: str, first: str) -> Iterator[tuple[float | None, bytes]]:
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(text.splitlines(), delimiter=delimiter)
    if seconds(first.split(delimiter)[0]) is not None:
        yield from _headless(rows)
        return
    titles = [cell.strip().strip('"') for cell in next(rows, [])]
    head = [title.lower() for title in titles]
    at = {name: number for number, name in enumerate(head)}
    stamp = next((at[name] for name in SECONDS if name in at), None)
    address = next((at[name] for name in ADDRESSES if name in at), None)
    strength = next((at[name] for name in STRENGTHS if name in at), None)
    receiver = next((at[name] for name in RECEIVERS if name in at), None)
    wide = {number: found[1] for number, name in enumerate(head)
            if (found := WIDE.match(name)) and name not in STRENGTHS}
    beacons = {number: name for number, name in enumerate(titles) if BEACON.match(name)}
    for number, row in enumerate(rows):
        cells = dict(enumerate(cell.strip() for cell in row))
        t_s = seconds(cells.get(stamp)) if stamp is not None else float(number)
        if strength is not None and (address is not None or receiver is not None):
            yield t_s, _line(cells.get(address, TAG) if address is not None else TAG, cells.get(strength),
                             cells.get(receiver, "") if receiver is not None else "")
        elif wide:
            for column, name in wide.items():
                if cells.get(column):
                    yield t_s, _line(cells.get(address, TAG) if address is not None else TAG, cells[column], name)
        elif beacons:
            heard = {name: dbm for column, name in beacons.items() if (dbm := dbm_of(cells.get(column))) is not None}
            yield t_s, encode(Advert(address="badge:badge", badge=Badge("badge", heard)))
        else:
            yield (t_s if stamp is not None else None), delimiter.join(row).encode()


def _headless(rows: Iterator[list[str]]) -> Iterator[tuple[float | None, bytes]]:
    for row in rows:
        if len(row) >= 4 and (dbm := dbm_of(row[3])) is not None and dbm < 0:
            yield seconds(row[0]), _line(row[2], row[3], row[1])
        elif row:
            yield seconds(row[0]), ",".join(row).encode()


def _line(address: str, strength: str | None, receiver: str) -> bytes:
    """Who has no address there is named by ``local_name``."""
    known = tidy_address(address)
    return encode(Advert(address=known, name=None if is_address(known) else known, rssi_dbm=dbm_of(strength),
                         receiver=receiver.strip()))
