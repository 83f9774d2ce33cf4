"""Readers of /proc: CPU time, memory, load, uptime, network counters and addresses. Text in, numbers out, no state.

Sources: proc(5) of Linux. A file that is missing or of another form gives None or nothing, never an exception: a
kernel without a feature is not a fault.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple


def read(path: Path) -> str | None:
    """A small file's text, or None when there is none to read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return None


def number(path: Path) -> int | None:
    """A file that holds one integer (decimal or 0x...), or None."""
    text = read(path)
    try:
        return int(text.strip(), 0) if text is not None else None
    except ValueError:
        return None


class CpuTime(NamedTuple):
    """Jiffies since boot: all, and those that were busy (idle and iowait are not; guest is within user)."""

    total: int
    busy: int


def cpu_times(stat: str) -> dict[str, CpuTime]:
    """``cpu`` (all cores) and ``cpu0``... from /proc/stat."""
    times: dict[str, CpuTime] = {}
    for line in stat.splitlines():
        name, *fields = line.split() or [""]
        if not name.startswith("cpu"):
            break
        try:
            jiffies = [int(field) for field in fields[:8]]
        except ValueError:
            continue
        if len(jiffies) >= 4:
            idle = jiffies[3] + (jiffies[4] if len(jiffies) > 4 else 0)
            times[name] = CpuTime(sum(jiffies), sum(jiffies) - idle)
    return times


def usage_percent(before: CpuTime, after: CpuTime) -> float | None:
    """Busy share between two looks; None when no time passed or the counters went back (suspend, hot-plug)."""
    total, busy = after.total - before.total, after.busy - before.busy
    if total <= 0 or not 0 <= busy <= total:
        return None
    return round(100.0 * busy / total, 1)


def meminfo(text: str) -> dict[str, int]:
    """/proc/meminfo in bytes."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        fields = rest.split()
        if fields and fields[0].isdigit():
            found[name] = int(fields[0]) * (1024 if fields[1:] == ["kB"] else 1)
    return found


def first_floats(text: str, count: int) -> list[float] | None:
    """The first ``count`` numbers of a line (/proc/loadavg, /proc/uptime)."""
    try:
        values = [float(field) for field in text.split()[:count]]
    except ValueError:
        return None
    return values if len(values) == count else None


def process_count(proc: Path) -> int | None:
    """Processes of this machine: the numbered folders of /proc."""
    try:
        return sum(1 for entry in proc.iterdir() if entry.name.isdigit())
    except OSError:
        return None


class Traffic(NamedTuple):
    """Bytes since the interface came up."""

    received: int
    sent: int


def traffic(net_dev: str) -> dict[str, Traffic]:
    """Interface -> counters from /proc/net/dev."""
    found: dict[str, Traffic] = {}
    for line in net_dev.splitlines()[2:]:
        name, colon, rest = line.partition(":")
        fields = rest.split()
        if colon and len(fields) >= 9 and fields[0].isdigit() and fields[8].isdigit():
            found[name.strip()] = Traffic(int(fields[0]), int(fields[8]))
    return found


def wifi_rssi_dbm(wireless: str) -> dict[str, int]:
    """Interface -> signal level from /proc/net/wireless, where the driver reports dBm (negative numbers)."""
    found: dict[str, int] = {}
    for line in wireless.splitlines()[2:]:
        name, colon, rest = line.partition(":")
        fields = rest.split()
        if not colon or len(fields) < 3:
            continue
        try:
            level = int(float(fields[2].rstrip(".")))
        except ValueError:
            continue
        if -120 <= level < 0:
            found[name.strip()] = level
    return found


def ipv6_addresses(if_inet6: str) -> Iterator[tuple[str, str]]:
    """(interface, address) of global scope from /proc/net/if_inet6."""
    for line in if_inet6.splitlines():
        fields = line.split()
        if len(fields) == 6 and fields[3] == "00" and re.fullmatch("[0-9a-f]{32}", fields[0]):
            yield fields[5], str(ipaddress.IPv6Address(int(fields[0], 16)))


def ipv4_addresses(fib_trie: str, route: str) -> Iterator[tuple[str, str]]:
    """(interface, address): the machine's own addresses (/proc/net/fib_trie) by the directly connected network
    (/proc/net/route) that each lies in."""
    networks: list[tuple[ipaddress.IPv4Network, str]] = []
    for line in route.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or fields[2] != "00000000":  # behind a gateway
            continue
        try:
            base, mask = (int.from_bytes(bytes.fromhex(field), "little") for field in (fields[1], fields[7]))
            networks.append((ipaddress.IPv4Network((base, mask.bit_count())), fields[0]))
        except ValueError:
            continue
    networks.sort(key=lambda item: -item[0].prefixlen)
    own: dict[str, None] = {}
    lines = fib_trie.splitlines()
    for line, following in pairwise(lines):
        if "/32 host LOCAL" in following and "|-- " in line:
            own[line.rpartition("|-- ")[2].strip()] = None
    for text in own:
        try:
            address = ipaddress.IPv4Address(text)
        except ValueError:
            continue
        if not address.is_loopback:
            for network, name in networks:
                if address in network:
                    yield name, text
                    break
