"""A light sensor on the kernel's IIO bus, read from sysfs. Source: Documentation/ABI/testing/sysfs-bus-iio.

``in_illuminance_input`` is in lx; else it is (``raw`` + ``offset``) x ``scale``. Drivers with several channels number
them (``in_illuminance0_input`` of tsl2563): the first is taken. bh1750, tsl2563, tsl2583, veml6030, opt3001, apds9300,
isl29018, max44000, ltr501 and vcnl4000 are like this.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

from agent.api import RetryLater

DEVICES = "sys/bus/iio/devices"
CHANNEL = re.compile(r"in_illuminance(\d*)_(input|raw)\Z")
FULL_SCALE = 0xFFFF
"""The largest word of every 16-bit sensor: there may be more light than that."""


class Absent(RetryLater):
    """No such sensor. Looking again is cheap."""

    max_delay_s = 10.0


class Sample(NamedTuple):
    """One reading of the sensor."""

    illuminance_lx: float
    step_lx: float
    """One count of its converter, or the last digit that the driver prints."""
    saturated: bool


def find(root: Path, wanted: str) -> Path:
    """The folder of the sensor ``wanted`` (``auto``, its name, or ``iio:device0``). Looked for anew at every reading:
    the number changes when a sensor comes back. Raises Absent."""
    there = []
    for folder in sorted((root / DEVICES).glob("iio:device*")):
        name = _text(folder / "name") or folder.name
        light = _channel(folder) is not None
        if light and wanted in ("auto", name, folder.name):
            return folder
        there.append(f"{folder.name} {name}{'' if light else ' (no light)'}")
    raise Absent(f"no light sensor{'' if wanted == 'auto' else ' ' + repr(wanted)} in /{DEVICES} "
                 f"({', '.join(there) or 'it is empty'}): check wiring and i2cdetect, and load its driver, for example "
                 "dtoverlay=i2c-sensor,bh1750")


def read(folder: Path) -> Sample:
    """Raises OSError where the sensor does not answer, ValueError where it answers no number."""
    channel = _channel(folder)
    if channel is None:
        raise OSError("the sensor went away")
    number, kind = channel
    stem = f"in_illuminance{number}"
    value = _number(folder / f"{stem}_{kind}")
    if kind == "input":
        decimals = len(_text(folder / f"{stem}_input").partition(".")[2])
        return Sample(value, 10.0 ** -decimals, False)
    scale = _shared(folder, number, "scale", 1.0)
    lux = round((value + _shared(folder, number, "offset", 0.0)) * scale, 3)
    return Sample(lux, abs(scale), value >= FULL_SCALE)


def _channel(folder: Path) -> tuple[str, str] | None:
    names = (CHANNEL.match(path.name) for path in folder.glob("in_illuminance*"))
    return min(((name[1], name[2]) for name in names if name), default=None)  # "input" sorts before "raw"


def _shared(folder: Path, number: str, what: str, default: float) -> float:
    """Of the channel, else of all channels of the kind."""
    for stem in dict.fromkeys((f"in_illuminance{number}", "in_illuminance")):
        if (folder / f"{stem}_{what}").exists():
            return _number(folder / f"{stem}_{what}")
    return default


def _number(path: Path) -> float:
    text = path.read_text("ascii", "replace").strip()
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{path.name} is {text[:30]!r}, no number") from None
    if not math.isfinite(value):
        raise ValueError(f"{path.name} is {text[:30]!r}")
    return value


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
