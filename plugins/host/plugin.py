"""What this machine says of itself, from /proc and /sys alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from agent.api import Io, Node, Plugin, Property, Reading, Yielded

from . import boots, disks, proc, sysfs

HISTORY_DELAY_S = 120.0
"""Before the first point: what was kept comes back when the local bus is up."""
SLOW_LOOKS = 6
"""Addresses, wear and sensors' names change rarely: every sixth time is enough."""

PERCENT = "%"
DATA_DIR = "/var/lib/hutkeeper/agent"
REBOOTS = "reboots.json"


def _measured(name: str, unit: str | None, title: str, **more: Any) -> Property:
    return Property(name=name, datatype="float", unit=unit, title=title, state_class="measurement", **more)


def _flag(name: str, title: str, **more: Any) -> Property:
    return Property(name=name, datatype="boolean", title=title, device_class="problem", diagnostic=True, optional=True,
                    **more)


PROPERTIES = (
    _measured("cpu_usage_percent", PERCENT, "CPU usage", minimum=0, maximum=100),
    _measured("load_average_1m", None, "Load average (1 min)", minimum=0),
    _measured("load_average_5m", None, "Load average (5 min)", minimum=0, enabled_by_default=False),
    _measured("load_average_15m", None, "Load average (15 min)", minimum=0, enabled_by_default=False),
    _measured("memory_used_percent", PERCENT, "Memory used", minimum=0, maximum=100),
    Property(name="memory_available_bytes", datatype="integer", unit="B", title="Memory available",
             device_class="data_size", state_class="measurement", minimum=0),
    _measured("swap_used_percent", PERCENT, "Swap used", minimum=0, maximum=100, optional=True),
    Property(name="process_count", datatype="integer", title="Processes", state_class="measurement", minimum=0,
             diagnostic=True),
    Property(name="uptime_s", datatype="integer", unit="s", title="Uptime", device_class="duration",
             state_class="measurement", minimum=0, diagnostic=True),
    _measured("soc_temperature_c", "°C", "Processor temperature", device_class="temperature", optional=True),
    _flag("under_voltage", "Under-voltage"),
    _flag("throttled", "Throttled"),
    _flag("frequency_capped", "Frequency capped"),
    _flag("soft_temperature_limit", "Soft temperature limit"),
    _flag("under_voltage_since_boot", "Under-voltage since boot"),
    _flag("throttled_since_boot", "Throttled since boot"),
    _flag("frequency_capped_since_boot", "Frequency capped since boot", enabled_by_default=False),
    _flag("soft_temperature_limit_since_boot", "Soft temperature limit since boot", enabled_by_default=False),
    _measured("emmc_wear_percent", PERCENT, "eMMC wear", minimum=0, maximum=100, diagnostic=True, optional=True,
              max_age_s=3600),
    Property(name="emmc_spare", datatype="enum", options=("normal", "warning", "urgent", "unknown"),
             title="eMMC spare blocks", diagnostic=True, optional=True, max_age_s=3600),
    Property(name="boot", datatype="datetime", title="Boot", event=True),
    Property(name="reboot_reason", datatype="enum", options=boots.REASONS, title="Reason of the reboot", event=True),
    Property(name="reboot_detail", datatype="string", title="Why the agent's watchdog rebooted", event=True,
             optional=True),
)


def disk_node(point: str) -> Node:
    """The node of one mounted file system."""
    return Node(id=disks.node_id(point), title=f"Disk {point}", properties=(
        _measured("used_percent", PERCENT, "Used", minimum=0, maximum=100),
        Property(name="free_bytes", datatype="integer", unit="B", title="Free", device_class="data_size",
                 state_class="measurement", minimum=0),
        Property(name="total_bytes", datatype="integer", unit="B", title="Size", device_class="data_size",
                 minimum=0, diagnostic=True),
        Property(name="read_only", datatype="boolean", title="Read-only", device_class="problem", diagnostic=True),
        Property(name="fill_trend", datatype="enum", options=("unknown", "steady", "filling"), title="Trend",
                 diagnostic=True),
        _measured("days_until_full", "d", "Days until full", device_class="duration", minimum=0, optional=True),
    ))


def network_node(name: str) -> Node:
    """The node of one network interface."""
    return Node(id=_id(f"net-{name}"), title=f"Network {name}", properties=(
        _measured("received_bytes_per_s", "B/s", "Received", device_class="data_rate", minimum=0),
        _measured("sent_bytes_per_s", "B/s", "Sent", device_class="data_rate", minimum=0),
        Property(name="link_up", datatype="boolean", title="Link", device_class="connectivity", diagnostic=True,
                 optional=True),
        Property(name="ipv4_address", datatype="string", title="IPv4 address", diagnostic=True, optional=True,
                 max_age_s=3600),
        Property(name="ipv6_address", datatype="string", title="IPv6 address", diagnostic=True, optional=True,
                 max_age_s=3600, enabled_by_default=False),
        Property(name="rssi_dbm", datatype="integer", unit="dBm", title="Wi-Fi signal", device_class="signal_strength",
                 state_class="measurement", diagnostic=True, optional=True),
    ))


def cores_node(names: list[str]) -> Node:
    """One property per processor core."""
    return Node(id="cores", title="Processor cores", properties=tuple(
        _measured(f"core_{name[3:]}_usage_percent", PERCENT, f"Core {name[3:]} usage", minimum=0, maximum=100,
                  diagnostic=True, enabled_by_default=False) for name in names))


def sensors_node(names: list[str]) -> Node:
    """Temperatures other than the processor's."""
    return Node(id="temperatures", title="Temperatures", properties=tuple(
        _measured(name, "°C", name.removesuffix("_c").replace("_", " ").capitalize(), device_class="temperature",
                  diagnostic=True) for name in names))


def _id(text: str) -> str:
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in text.lower()).strip("-")[:60]


class HostConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.host]`` of agent.toml."""

    interval_s: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0
    mounts: list[str] | None = None
    """File systems to watch, by mount point; left out: every local disk."""
    interfaces: list[str] | None = None
    """Network interfaces to watch; left out: all but loopback and those of containers."""
    root: str = ""
    """Another folder in which proc/ and sys/ are found (a container that sees the host's); left out: /."""


class Host(Plugin, name="host"):
    """Load, memory, disks, network, temperature, supply and boots of this machine."""

    title = "Host"
    Config = HostConfig
    properties = PROPERTIES
    process = "quiet"

    def __init__(self, config: HostConfig) -> None:
        super().__init__(config)
        self._cpu: dict[str, proc.CpuTime] = {}
        self._traffic: dict[str, tuple[int, proc.Traffic]] = {}
        self._known: dict[str, Node] = {}
        self._looks = 0
        self._boot_told = False

    def run(self, io: Io) -> Iterator[Yielded]:
        boot = boots.boot_id(self._root(io))
        began = io.clock.monotonic_s()
        while True:
            yield from self.look_at_all(io, self._root(io), boot, io.clock.monotonic_s() - began)
            if not io.clock.sleep(self.config.interval_s):
                break
        if boot is not None:
            boots.leave(io.kept, boot)
            yield from self._uptime(self._root(io))  # carries what is kept

    def _book(self, root: Path) -> Path:
        """Where the agent's watchdog writes down its restarts of this machine."""
        return root / os.environ.get("HUTKEEPER_DATA_DIR", DATA_DIR).lstrip("/") / REBOOTS

    def _root(self, io: Io) -> Path:
        return Path(self.config.root) if self.config.root else io.root

    def look_at_all(self, io: Io, root: Path, boot: str | None, running_s: float) -> Iterator[Yielded]:
        """Everything once."""
        slow = self._looks % SLOW_LOOKS == 0
        self._looks += 1
        if boot is not None:
            yield from self._boots(io, root, boot)
        yield from self._uptime(root)
        yield from self._look_at_cpu(root)
        yield from self._memory(root)
        yield from self._temperatures(root)
        for name, value in sysfs.supply(root / "sys").items():
            yield Reading(name, value)
        yield from self._network(io, root, slow)
        yield from self._disks(io, root, running_s)
        wear = sysfs.emmc_wear(root / "sys") if slow else None
        if wear is not None:
            yield Reading("emmc_wear_percent", float(wear.percent))
            yield Reading("emmc_spare", wear.spare)

    # --- one subject each -----------------------------------------------------------------------------------

    def _boots(self, io: Io, root: Path, boot: str) -> Iterator[Yielded]:
        before = boots.enter(io.kept, boot)
        if before is not None:
            ordered = boots.by_watchdog(self._book(root), before)
            why = boots.reason(root, before, ordered)
            io.log.info("this machine was rebooted: %s%s", why, f": {ordered}" if ordered else "")
            yield Reading("reboot_reason", why)
            if ordered:
                yield Reading("reboot_detail", ordered)
        now_us = io.clock.wall_us()
        if not self._boot_told and now_us is not None and not io.kept[boots.KEY + boot].get("told"):
            began = datetime.fromtimestamp((now_us - io.clock.boottime_us()) // 1_000_000, UTC)
            io.kept[boots.KEY + boot]["told"] = True
            yield Reading("boot", began.strftime("%Y-%m-%dT%H:%M:%SZ"))
            self._boot_told = True

    def _uptime(self, root: Path) -> Iterator[Yielded]:
        uptime = proc.first_floats(proc.read(root / "proc/uptime") or "", 1)
        if uptime is not None:
            yield Reading("uptime_s", int(uptime[0]))

    def _look_at_cpu(self, root: Path) -> list[Yielded]:
        now = proc.cpu_times(proc.read(root / "proc/stat") or "")
        before, self._cpu = self._cpu, now
        used = {name: proc.usage_percent(before[name], time) for name, time in now.items() if name in before}
        readings: list[Yielded] = []
        if (total := used.pop("cpu", None)) is not None:
            readings.append(Reading("cpu_usage_percent", total))
        cores = [name for name in now if name != "cpu"]
        if len(cores) > 1:
            readings += self._announce(cores_node(cores))  # at the first look: one announcement tells all
            readings += [Reading(f"core_{name[3:]}_usage_percent", used[name], node="cores")
                         for name in cores if used.get(name) is not None]
        averages = proc.first_floats(proc.read(root / "proc/loadavg") or "", 3)
        if averages is not None:
            readings += [Reading(f"load_average_{minutes}m", value)
                         for minutes, value in zip((1, 5, 15), averages, strict=True)]
        count = proc.process_count(root / "proc")
        if count:
            readings.append(Reading("process_count", count))
        return readings

    def _memory(self, root: Path) -> Iterator[Yielded]:
        memory = proc.meminfo(proc.read(root / "proc/meminfo") or "")
        total, available = memory.get("MemTotal", 0), memory.get("MemAvailable")
        if total and available is not None:
            yield Reading("memory_used_percent", round(100.0 * (total - available) / total, 1))
            yield Reading("memory_available_bytes", available)
        swap, free = memory.get("SwapTotal", 0), memory.get("SwapFree")
        if swap and free is not None:
            yield Reading("swap_used_percent", round(100.0 * (swap - free) / swap, 1))

    def _temperatures(self, root: Path) -> Iterator[Yielded]:
        soc, others = sysfs.temperatures(root / "sys")
        if soc is not None:
            yield Reading("soc_temperature_c", soc)
        if others:
            yield from self._announce(sensors_node([sensor.name for sensor in others]))
            for sensor in others:
                yield Reading(sensor.name, sensor.celsius, node="temperatures")

    def _network(self, io: Io, root: Path, slow: bool) -> Iterator[Yielded]:
        now_us = io.clock.boottime_us()
        signal = proc.wifi_rssi_dbm(proc.read(root / "proc/net/wireless") or "")
        wanted = self.config.interfaces
        counters = proc.traffic(proc.read(root / "proc/net/dev") or "")
        names = [name for name in counters if (name in wanted if wanted is not None else _is_physical(root, name))]
        for name in names:
            node = network_node(name)
            yield from self._announce(node)
            before = self._traffic.get(name)
            self._traffic[name] = (now_us, counters[name])
            if before is not None and now_us > before[0]:
                seconds = (now_us - before[0]) / 1e6
                for key, new, old in (("received", counters[name].received, before[1].received),
                                      ("sent", counters[name].sent, before[1].sent)):
                    if new >= old:  # else the interface was taken down and came back at 0
                        yield Reading(f"{key}_bytes_per_s", round((new - old) / seconds, 1), node=node.id)
            state = (proc.read(root / "sys/class/net" / name / "operstate") or "").strip()
            if state in ("up", "down", "lowerlayerdown", "dormant"):
                yield Reading("link_up", state == "up", node=node.id)
            if name in signal:
                yield Reading("rssi_dbm", signal[name], node=node.id)
        if slow:
            yield from self._addresses(root, names)

    def _addresses(self, root: Path, names: list[str]) -> Iterator[Yielded]:
        told: set[tuple[str, str]] = set()
        net = root / "proc/net"
        fours = proc.ipv4_addresses(proc.read(net / "fib_trie") or "", proc.read(net / "route") or "")
        sixes = proc.ipv6_addresses(proc.read(net / "if_inet6") or "")
        for key, addresses in (("ipv4_address", fours), ("ipv6_address", sixes)):
            for name, address in addresses:
                if name in names and (name, key) not in told:
                    told.add((name, key))
                    yield Reading(key, address, node=_id(f"net-{name}"))

    def _disks(self, io: Io, root: Path, running_s: float) -> Iterator[Yielded]:
        points = self.config.mounts
        if points is None:
            points = disks.mounts(proc.read(root / "proc/mounts") or proc.read(root / "proc/self/mounts") or "")
        now_us = io.clock.wall_us()
        for point in points:
            usage = disks.usage(root / point.lstrip("/"))
            if usage is None:
                continue
            node = disk_node(point)
            yield from self._announce(node)
            key = f"disk:{point}"
            if now_us is not None and running_s >= HISTORY_DELAY_S:
                history = list(io.kept.get(key, []))
                if disks.remember(history, now_us / 1e6, usage.free_bytes):
                    io.kept[key] = history
            outlook = disks.forecast(io.kept.get(key, []), usage.free_bytes)
            yield Reading("used_percent", usage.used_percent, node=node.id)
            yield Reading("free_bytes", usage.free_bytes, node=node.id)
            yield Reading("total_bytes", usage.total_bytes, node=node.id)
            yield Reading("read_only", usage.read_only, node=node.id)
            yield Reading("fill_trend", outlook.state, node=node.id)
            if outlook.days is not None:
                yield Reading("days_until_full", outlook.days, node=node.id, quality="estimated")

    def _announce(self, node: Node) -> list[Yielded]:
        """The node itself, when it is new or has got more to say."""
        if self._known.get(node.id) == node:
            return []
        self._known[node.id] = node
        return [node]

    @classmethod
    def simulate(cls, config: HostConfig, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulated import simulated_machine

        return simulated_machine(config, seed)


def _is_physical(root: Path, name: str) -> bool:
    """Not loopback, and not the inner end of a container or a bridge."""
    if name == "lo" or name.startswith(("veth", "docker", "br-", "virbr", "tap", "dummy", "sit", "tunl", "ip6tnl")):
        return False
    return not (root / "sys/class/net" / name / "bridge").exists()
