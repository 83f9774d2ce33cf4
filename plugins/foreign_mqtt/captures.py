"""What ``mosquitto_sub -F %J`` (or ``%j``) wrote: a JSON object a line, with stamp, topic and the retain flag. Pure."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from agent.api import mqtt_line

STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?Z?([+-]\d\d:?\d\d)?Z?\Z")


def messages(data: bytes) -> list[tuple[float, bytes]] | None:
    """(seconds since the first, ``mqtt_line``) of each; None where the file is of another kind. Never raises."""
    lines = [line for line in data.splitlines() if line.strip()]
    first = _object(lines[0]) if lines else None
    if first is None or "topic" not in first:
        return None
    found: list[tuple[float, bytes]] = []
    began: float | None = None
    t_s = 0.0
    for line in lines:
        one = _object(line)
        if one is None or not isinstance(one.get("topic"), str):
            found.append((t_s, line))  # half a line of a capture that was cut: the plugin counts it as bad
            continue
        stamp = _seconds(one.get("tst"))
        if stamp is not None:
            began = stamp if began is None else began
            t_s = max(t_s, round(stamp - began, 6))  # a clock that was set back
        payload = one.get("payload")
        if not isinstance(payload, str):
            payload = "" if payload is None else json.dumps(payload, ensure_ascii=False)
        found.append((t_s, mqtt_line(_utf8(one["topic"]), payload.encode("utf-8", "replace"),
                                     retained=bool(one.get("retain")))))
    return found


def lines(data: bytes) -> bytes:
    """What ``mosquitto_sub -v`` wrote, where topics with spaces stand before a JSON object: as ``mqtt_line`` has it."""
    if b" {" not in data or data.startswith(b"\0"):
        return data
    made = []
    for line in data.split(b"\n"):
        topic, brace, rest = line.partition(b" {")
        spaced = brace and b" " in topic and b"/" in topic and b"\0" not in line
        made.append(b"\0" + topic + b"\0{" + rest if spaced else line)
    return b"\n".join(made)


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _seconds(stamp: Any) -> float | None:
    if isinstance(stamp, int | float) and not isinstance(stamp, bool):
        return float(stamp) if 0 <= stamp < 1e12 else None
    found = STAMP.match(stamp) if isinstance(stamp, str) else None
    if found is None:
        return None
    zone = (found[3] or "+0000").replace(":", "")
    try:
        return datetime.strptime(found[1] + zone, "%Y-%m-%dT%H:%M:%S%z").timestamp() + float(f"0.{found[2] or 0}")
    except (ValueError, OverflowError):
        return None
