"""What the kernel knows of the way out: default route, carrier, neighbours; and /etc/resolv.conf. Read from a root.

Sources: proc(5) (net/route, net/arp), the kernel's Documentation/ABI/testing/sysfs-class-net (carrier), resolv.conf(5).
"""

from __future__ import annotations

import errno
import ipaddress
from pathlib import Path
from typing import NamedTuple

from .config import Address, is_ip

UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM)
RTF_UP_GATEWAY = 0x3
MAX_NAMESERVERS = 3


class Way(NamedTuple):
    """The default route."""

    interface: str
    router: str


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def default_route(root: Path) -> Way | None:
    """The one with the lowest metric, of IPv4."""
    found: list[tuple[int, Way]] = []
    for text in _read(root / "proc/net/route").splitlines()[1:]:
        fields = text.split()
        try:
            if len(fields) >= 8 and int(fields[1], 16) == 0 and int(fields[7], 16) == 0 \
                    and int(fields[3], 16) & RTF_UP_GATEWAY == RTF_UP_GATEWAY:
                router = ipaddress.IPv4Address(int.from_bytes(bytes.fromhex(fields[2]), "little"))
                found.append((int(fields[6]), Way(fields[0], str(router))))
        except ValueError:
            continue
    return min(found)[1] if found else None


def carrier(root: Path, interface: str) -> bool | None:
    """Whether the interface has a signal; None where the kernel does not say (it is switched off)."""
    text = _read(root / "sys/class/net" / interface / "carrier").strip()
    return text == "1" if text in ("0", "1") else None


def without_carrier(root: Path) -> str | None:
    """The names of all real interfaces, if none has a signal; else None."""
    names = sorted(path.name for path in (root / "sys/class/net").glob("*") if (path / "device").exists())
    if not names or any(carrier(root, name) for name in names):
        return None
    return "+".join(names)


def in_arp_table(root: Path, address: str) -> bool:
    """Whether the kernel has the hardware address of this neighbour. One that has gone is dropped some seconds after it
    was last spoken to."""
    for text in _read(root / "proc/net/arp").splitlines()[1:]:
        fields = text.split()
        if len(fields) >= 4 and fields[0] == address and fields[3] != "00:00:00:00:00:00":
            try:
                return bool(int(fields[2], 16) & 0x2)
            except ValueError:
                return False
    return False


def nameservers(root: Path) -> list[Address]:
    """Those of resolv.conf; without any, this machine's own, as the C library does."""
    found = []
    for text in _read(root / "etc/resolv.conf").splitlines():
        fields = text.split()
        if len(fields) >= 2 and fields[0] == "nameserver" and is_ip(fields[1]):
            found.append(Address(fields[1], 53))
    return found[:MAX_NAMESERVERS] or [Address("127.0.0.1", 53)]


def hosts(root: Path, name: str) -> str | None:
    """The address of a name in /etc/hosts; ``localhost`` always has one."""
    for text in _read(root / "etc/hosts").splitlines():
        fields = text.partition("#")[0].lower().split()
        if name.lower() in fields[1:] and is_ip(fields[0]):
            return fields[0]
    return "127.0.0.1" if name.lower() == "localhost" else None
