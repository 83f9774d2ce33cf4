"""Where a heater hears from: readings of this device's bus, of other devices' live lane, and DS18B20s on the 1-Wire
bus of this machine (kernel documentation, w1/slaves/w1_therm.rst: ``w1_slave``)."""

from __future__ import annotations

import re
from pathlib import Path

from agent.api import Place, property_place

W1 = "w1:"
_TEMPERATURE = re.compile(r"\bt=(-?[0-9]{1,7})\b")
_ID = re.compile(r"[0-9a-f]{2}-[0-9a-f]{1,16}")


def place(text: str) -> Place | None:
    """``node/property`` or ``device/node/property``; None for nothing and for a 1-Wire sensor."""
    return None if not text or text.startswith(W1) else property_place(text)


def w1_id(source: str) -> str | None:
    return source.removeprefix(W1) if source.startswith(W1) else None


def w1_valid(sensor_id: str) -> bool:
    return bool(_ID.fullmatch(sensor_id))


def read_w1(root: Path, sensor_id: str) -> tuple[float | None, str | None]:
    """Temperature in °C and quality. Takes up to 750 ms, the sensor's own time. Raises OSError when it is not there."""
    text = (root / "sys/bus/w1/devices" / sensor_id / "w1_slave").read_text("ascii", "replace")
    return parse_w1(text)


def parse_w1(text: str) -> tuple[float | None, str | None]:
    """Two lines: the scratchpad with ``crc=.. YES``, and once more with ``t=`` in thousandths of a degree."""
    lines = text.splitlines()
    found = _TEMPERATURE.search(lines[1]) if len(lines) > 1 else None
    if found is None or not lines[0].rstrip().endswith("YES") or set(lines[0].split(":")[0].split()) == {"00"}:
        return None, "sensor_error"  # all zero passes the CRC: the line is shorted
    return int(found[1]) / 1000, None
