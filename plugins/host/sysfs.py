"""Readers of /sys: temperatures, supply voltage and throttling of a Raspberry Pi, wear of eMMC.

Sources: the kernel's Documentation/ABI (thermal, hwmon, mmc) and the Raspberry Pi firmware's ``get_throttled`` word.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from .proc import number, read

CPU_ZONES = ("cpu-thermal", "cpu_thermal", "soc-thermal", "soc_thermal", "x86_pkg_temp", "bcm2835_thermal")
PLAUSIBLE_C = (-60.0, 150.0)
THROTTLED = "devices/platform/soc/soc:firmware/get_throttled"
BITS = ((0, "under_voltage"), (1, "frequency_capped"), (2, "throttled"), (3, "soft_temperature_limit"))
"""Bit now; the same 16 higher: it happened since boot."""


class Temperature(NamedTuple):
    """One sensor: a name that a property can have, and degrees Celsius."""

    name: str
    celsius: float


def temperatures(sys: Path) -> tuple[float | None, list[Temperature]]:
    """The processor's temperature, and every other sensor: thermal zones, then hwmon chips that are no zone."""
    soc: float | None = None
    others: dict[str, float] = {}
    for zone in sorted((sys / "class/thermal").glob("thermal_zone*"), key=_by_number):
        kind = (read(zone / "type") or "").strip()
        value = _celsius(zone / "temp")
        if value is None:
            continue
        if soc is None and kind in CPU_ZONES:
            soc = value
        else:
            others[_unique(f"{kind or zone.name}_c", others)] = value
    for chip in sorted((sys / "class/hwmon").glob("hwmon*"), key=_by_number):
        name = (read(chip / "name") or chip.name).strip()
        if name in CPU_ZONES:  # the same zone seen through hwmon
            continue
        for sensor in sorted(chip.glob("temp*_input"), key=_by_number):
            value = _celsius(sensor)
            if value is None:
                continue
            label = (read(sensor.with_name(sensor.name.replace("_input", "_label"))) or "").strip()
            if soc is None and (label.startswith("Package id") or (name == "k10temp" and label == "Tctl")):
                soc = value
            else:
                number_ = sensor.name[4:].split("_")[0]
                others[_unique(f"{name}_{label or number_}_c", others)] = value
    if soc is None and others:  # a board with one nameless zone: that is the processor's
        zone0 = _celsius(sys / "class/thermal/thermal_zone0/temp")
        if zone0 is not None and len(others) == 1:
            soc, others = zone0, {}
    return soc, [Temperature(name, value) for name, value in others.items()]


def _celsius(path: Path) -> float | None:
    milli = number(path)
    if milli is None or not PLAUSIBLE_C[0] <= milli / 1000 <= PLAUSIBLE_C[1]:
        return None
    return milli / 1000


def _by_number(path: Path) -> tuple[int, str]:
    digits = re.search(r"\d+", path.name)
    return (int(digits[0]) if digits else 0, path.name)


def _unique(text: str, taken: dict[str, float]) -> str:
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    candidate, n = name, 2
    while candidate in taken:
        candidate, n = f"{name.removesuffix('_c')}_{n}_c", n + 1
    return candidate


def supply(sys: Path) -> dict[str, bool]:
    """What the board says of its supply and throttling: ``under_voltage``, ``throttled``, ... and each with
    ``_since_boot``. Empty where a board has no such sense."""
    found: dict[str, bool] = {}
    text = read(sys / THROTTLED)
    if text is not None:
        try:
            word = int(text.strip().removeprefix("throttled="), 16)  # the file has hex digits without 0x
        except ValueError:
            word = None
        if word is not None:
            for bit, name in BITS:
                found[name] = bool(word >> bit & 1)
                found[f"{name}_since_boot"] = bool(word >> (bit + 16) & 1)
    for chip in (sys / "class/hwmon").glob("hwmon*"):
        if (read(chip / "name") or "").strip() == "rpi_volt":
            alarm = number(chip / "in0_lcrit_alarm")
            if alarm is not None:
                found["under_voltage"] = bool(alarm) or found.get("under_voltage", False)
    return found


class Wear(NamedTuple):
    """Used share of the guaranteed life (upper end of the device's own 10 % steps); its word on spare blocks."""

    percent: int
    spare: str


SPARE = {1: "normal", 2: "warning", 3: "urgent"}


def emmc_wear(sys: Path) -> Wear | None:
    """The most worn eMMC (JEDEC 84-B51: DEVICE_LIFE_TIME_EST_TYP_A/B, PRE_EOL_INFO). SD cards do not tell."""
    worst: Wear | None = None
    for device in (sys / "bus/mmc/devices").glob("*"):
        text = read(device / "life_time")
        if text is None:
            continue
        try:
            steps = [int(field, 16) for field in text.split()]
        except ValueError:
            continue
        known = [step for step in steps if 1 <= step <= 11]
        if known:
            wear = Wear(min(100, 10 * max(known)), SPARE.get(number(device / "pre_eol_info") or 0, "unknown"))
            if worst is None or wear.percent > worst.percent:
                worst = wear
    return worst
