"""One thing that a source said: a line of JSON, the same live, in a transcript and in an NDJSON recording."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Struct


class Event(Struct, frozen=True, omit_defaults=True):
    """Exactly one of ``sign``, ``bus``, ``mqtt``, ``probe``, ``file`` says what it is."""

    t: float | None = None
    """Seconds; in recordings only."""
    sign: str | None = None
    """``anna/ble``: a sign by name, whatever its kind."""
    bus: str | None = None
    """A node of the local bus, with ``property``, ``value``, ``quality``, ``device`` (None: this one)."""
    mqtt: str | None = None
    """A topic, with ``payload`` and ``retained``."""
    probe: str | None = None
    """``ping`` or ``arp`` of ``host`` (arp: with ``mac``, "" for whoever has the address)."""
    file: str | None = None
    """The path of a file with its ``text`` and ``age_s``; without text it is as it was, with ``down`` it is gone."""

    here: bool | None = None
    """sign, probe: seen, or explicitly not seen; neither: only that the source works."""
    down: str | None = None
    """sign, probe: why the source does not work."""
    host: str = ""
    mac: str = ""
    property: str = ""
    value: Any = None
    quality: str | None = None
    device: str | None = None
    payload: str = ""
    retained: bool = False
    text: str | None = None
    age_s: float = 0.0


KINDS = ("sign", "bus", "mqtt", "probe", "file")
_decoder = msgspec.json.Decoder(Event)
encode = msgspec.json.Encoder().encode


def decode(line: bytes) -> Event:
    """A line of JSON, or ``topic payload`` as ``mosquitto_sub -v`` prints. Raises ValueError with what is wrong."""
    line = line.strip()
    if line.startswith(b"{"):
        try:
            event = _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise ValueError(f"no event: {error}") from None
        if sum(getattr(event, kind) is not None for kind in KINDS) != 1:
            raise ValueError(f"no event: exactly one of {', '.join(KINDS)} says what it is")
        return event
    topic, space, payload = line.decode("utf-8", "replace").partition(" ")
    if not space or not topic:
        raise ValueError("no event: neither JSON nor 'topic payload'")
    return Event(mqtt=topic, payload=payload)


def recorded(data: bytes) -> list[tuple[float, bytes]] | None:
    """Lines of an NDJSON recording with their seconds since the first. Lines without a stamp, or with one that runs
    back, come with the one before. None: no line has one."""
    found: list[tuple[float, bytes]] = []
    first: float | None = None
    for line in data.splitlines():
        if not line.strip():
            continue
        t_s = _stamp(line)
        if first is None:
            first = t_s
        last_s = found[-1][0] if found else 0.0
        found.append((max(last_s, t_s - first) if t_s is not None and first is not None else last_s, line))
    return found if first is not None else None


def _stamp(line: bytes) -> float | None:
    try:
        row = json.loads(line)
        t_s = float(row["t"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return t_s if 0 <= t_s < 1e11 else None
