"""Which processes a device runs: ``uplink``, ``watchdog`` and the plugins, each alone or sharing on small boards."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from msgspec import Struct

from agent import loader
from agent.api import ConfigError, Plugin
from agent.ruling import desired
from agent.settings import PluginEntry, Settings, default_interval_s
from agent.supervision.heartbeat import UPLINK_HANG_S, default_hang_after_s

UPLINK = "uplink"
WATCHDOG = "watchdog"
GUARD = "guard-"
"""Before an actuator's id: its guard's program, and its progress file."""
GUARD_HANG_S = 15.0
RULES = "rules"
"""The program that evaluates the rules of this device; there while it has some."""
RULES_HANG_S = 60.0
SMALL_BOARD_BYTES = 1 << 30
"""Below this, plugins whose class names a ``process`` share it; agent.toml's own ``process`` always counts."""


class Program(Struct, frozen=True):
    """One supervised process."""

    name: str
    instances: tuple[str, ...]
    """The plugins in it, by the names of their progress files."""
    hang_after_s: float
    section: str
    """Hash of what agent.toml says about it: another one means a restart."""


class Plan(Struct, frozen=True):
    """The processes of one configuration, and what could not be judged."""

    programs: tuple[Program, ...]
    shared: dict[str, tuple[str, ...]]
    """Process word -> the instances that share its fate."""


def plan(settings: Settings, *, memory_bytes: int | None = None) -> Plan:
    """The processes for these settings. A plugin that cannot be imported gets its process all the same: it says why."""
    small = (memory_bytes if memory_bytes is not None else total_memory_bytes()) < SMALL_BOARD_BYTES
    alone: list[tuple[PluginEntry, float]] = []
    actuators: list[PluginEntry] = []
    together: dict[str, list[tuple[PluginEntry, float]]] = {}
    for entry in settings.plugins.values():
        if not entry.enabled:
            continue
        try:
            kind: type[Plugin] | None = loader.load(entry.use)
        except ConfigError:
            kind = None
        hang_after_s = entry.hang_after_s or default_hang_after_s(
            default_interval_s(kind, entry) if kind else entry.interval_s or Plugin.interval_s)
        if kind is not None and kind.actuator:
            actuators.append(entry)
        word = entry.process or (kind.process if kind and small else None)
        if word is None or kind is None or kind.actuator:
            alone.append((entry, hang_after_s))
        else:
            together.setdefault(word, []).append((entry, hang_after_s))
    programs = [Program(UPLINK, (UPLINK,), UPLINK_HANG_S, _hash(_uplink_section(settings)))]
    for entry, hang_after_s in alone:
        programs.append(Program(f"plugin-{entry.id}", (entry.id,), hang_after_s, _hash(_section(settings, entry.id))))
    for entry in actuators:
        name = f"{GUARD}{entry.id}"
        programs.append(Program(name, (name,), GUARD_HANG_S, _hash(_section(settings, entry.id))))
    wanted = desired.read(settings.device.data_dir)
    if wanted is not None and wanted.rules:
        section = [_section(settings, RULES), settings.device.id, wanted.version, wanted.rules,
                   sorted(entry.id for entry in settings.plugins.values() if entry.enabled)]
        programs.append(Program(RULES, (RULES,), RULES_HANG_S, _hash(section)))
    for word, members in together.items():
        ids = tuple(entry.id for entry, _ in members)
        programs.append(Program(f"plugins-{word}", ids, max(limit for _, limit in members),
                                _hash([_section(settings, name) for name in ids])))
    shared = {word: tuple(entry.id for entry, _ in members) for word, members in together.items() if len(members) > 1}
    return Plan(tuple(programs), shared)


def total_memory_bytes(meminfo: Path = Path("/proc/meminfo")) -> int:
    """MemTotal of this machine; a large number when it cannot be read."""
    try:
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        return 1 << 40
    return 1 << 40


def _uplink_section(settings: Settings) -> Any:
    return [settings.raw.get(table) for table in ("device", "mqtt", "spool")]


def _section(settings: Settings, instance: str) -> Any:
    """What a plugin process depends on: its own table, and where the bus and the clock are."""
    device = settings.device
    return [settings.raw.get("plugins", {}).get(instance), str(device.data_dir), str(device.run_dir), device.clock,
            device.inputs, str(device.hardware_watchdog)]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]
