"""A heater is what looks like one: a node with ``setpoint-c``, ``mode``, ``why`` and ``schedule``, whatever plugin.

Everything read here was written by others: a value that is missing or odd is None and never an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from hub.command.values import span, words
from hub.fleet.facts import number, stamp_us
from hub.heating.levels import PASSING, moment_us
from hub.live import LiveDevice, NodeInfo

MARKS = ("setpoint-c", "mode", "why", "schedule")
HERE = ("ready", "sleeping", "init")


class Override(Struct, frozen=True):
    """A level above the base, in force or waiting below a higher one."""

    level: str
    what: str
    until_us: int | None


class Heater(Struct, frozen=True):
    device: str
    device_name: str
    node: str
    name: str
    here: bool
    """The device is connected: what is shown is true now."""
    last_us: int | None
    room_c: float | None
    second_c: float | None
    aim_c: float | None
    low_c: float
    high_c: float
    mode: str
    modes: tuple[str, ...]
    profile: str
    profiles: tuple[str, ...]
    action: str
    relay: bool | None
    contact: bool | None
    power_pct: float | None
    demand: bool
    window_open: bool
    failsafe: bool
    shed: bool
    why: str
    next_us: int | None
    next_c: float | None
    overrides: tuple[Override, ...]
    base: str
    schedule: dict[str, Any] | None
    """None: it cannot be read."""
    settable: frozenset[str] = frozenset()
    """Property ids."""

    @property
    def off(self) -> bool:
        return self.mode == "off"

    @property
    def key(self) -> str:
        return f"{self.device}-{self.node}"

    @property
    def path(self) -> str:
        return f"/heating/{self.device}/{self.node}"

    def comfort(self, kind: str) -> float | None:
        """``comfort`` or ``eco`` temperature of the profile in force."""
        profile = profiles_of(self.schedule).get(self.profile)
        value = profile.get(f"{kind}_c") if isinstance(profile, dict) else None
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def is_heater(node: NodeInfo) -> bool:
    return all(mark in node.properties for mark in MARKS)


def heaters(devices: Iterable[LiveDevice]) -> list[Heater]:
    """Of all devices, by name."""
    found = [heater(device, node) for device in devices if device.description is not None
             for node in device.description.nodes.values() if is_heater(node)]
    return sorted(found, key=lambda one: (_natural(one.name), one.device, one.node))


def _natural(name: str) -> list[tuple[int, str]]:
    """Room 2 stands before Room 10."""
    return [(int(part[:18]), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", name.lower())]


def any_heater(devices: Iterable[LiveDevice]) -> bool:
    return any(is_heater(node) for device in devices if device.description is not None
               for node in device.description.nodes.values())


def heater(device: LiveDevice, node: NodeInfo) -> Heater:
    def raw(prop: str) -> str | None:
        return device.value(node.id, prop)

    def flag(prop: str) -> bool | None:
        return {"true": True, "false": False}.get(raw(prop) or "")

    low, high, _ = span(node.properties["setpoint-c"])
    levels = document(raw("levels"))
    schedule = document(raw("schedule"))
    profiles = words(node.properties["profile"]) if "profile" in node.properties else ()
    base = levels.get("base") if levels else None
    return Heater(
        device=device.id, device_name=_name(device), node=node.id, name=node.name, here=device.state in HERE,
        last_us=stamp_us(raw("last-update")), room_c=number(raw("room-temperature-c")),
        second_c=number(raw("second-temperature-c")), aim_c=number(raw("setpoint-c")),
        low_c=low if low is not None else 5.0, high_c=high if high is not None else 30.0,
        mode=raw("mode") or "", modes=words(node.properties["mode"]), profile=raw("profile") or "",
        profiles=profiles or tuple(profiles_of(schedule)), action=raw("action") or "", relay=flag("relay"),
        contact=flag("contact"), power_pct=number(raw("power-pct")), demand=flag("heat-demand") is True,
        window_open=flag("window-open") is True, failsafe=flag("failsafe") is True, shed=flag("shed") is True,
        why=raw("why") or "", next_us=stamp_us(raw("next-change")), next_c=number(raw("next-setpoint-c")),
        overrides=_overrides(levels), base=str(base.get("profile", "")) if isinstance(base, dict) else "",
        schedule=schedule if schedule is None or isinstance(schedule.get("profiles"), dict) else None,
        settable=frozenset(prop.id for prop in node.properties.values() if prop.settable),
    )


def document(raw: str | None) -> dict[str, Any] | None:
    try:
        value = json.loads(raw or "")
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def profiles_of(schedule: dict[str, Any] | None) -> dict[str, Any]:
    found = schedule.get("profiles") if schedule else None
    return found if isinstance(found, dict) else {}


def _overrides(levels: dict[str, Any] | None) -> tuple[Override, ...]:
    made = []
    for name in reversed(PASSING):
        level = levels.get(name) if levels else None
        if isinstance(level, dict):
            setpoint = level.get("setpoint_c")
            what = f"{setpoint:g} °C" if isinstance(setpoint, int | float) else str(level.get("profile", ""))[:60]
            until = level.get("until")
            made.append(Override(name, what, moment_us(until) if isinstance(until, str) else None))
    return tuple(made)


def _name(device: LiveDevice) -> str:
    told = device.reported.name if device.reported else ""
    return told or (device.description.name if device.description else "") or device.id
