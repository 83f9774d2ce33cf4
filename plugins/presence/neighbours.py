"""The kernel's table of neighbours (ARP and IPv6 neighbour discovery) over rtnetlink; no root needed.

A lookup is made by sending a datagram to the host: the kernel then asks for its link address, and confirms an old entry
by asking the host directly (RFC 4861 section 7.3, which Linux uses for ARP too). Source of the layout: rtnetlink(7).
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import struct
from typing import NamedTuple

RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
NDA_DST, NDA_LLADDR, NDA_CACHEINFO = 1, 2, 3
DISCARD_PORT = 9
TIMEOUT_S = 2.0


class Neighbour(NamedTuple):
    address: str
    mac: str
    confirmed_s: float
    """How long ago it answered for the last time."""


def table() -> list[Neighbour]:
    """Every entry that has a link address. Raises OSError."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.settimeout(TIMEOUT_S)
        netlink.bind((0, 0))
        body = struct.pack("=BxxxiHBB", 0, 0, 0, 0, 0)
        netlink.send(struct.pack("=IHHII", 16 + len(body), RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body)
        found: list[Neighbour] = []
        while True:
            data = netlink.recv(1 << 16)
            at = 0
            while at + 16 <= len(data):
                length, kind, _, _, _ = struct.unpack_from("=IHHII", data, at)
                if kind == NLMSG_DONE or length < 16:
                    return found
                if kind == NLMSG_ERROR:
                    raise OSError(-struct.unpack_from("=i", data, at + 16)[0], "rtnetlink")
                if kind == RTM_NEWNEIGH:
                    entry = parse(data[at + 16 : at + length])
                    if entry is not None:
                        found.append(entry)
                at += (length + 3) & ~3


def parse(message: bytes) -> Neighbour | None:
    """One ``ndmsg`` with its attributes; None for one without a link address (it has not answered)."""
    if len(message) < 12:
        return None
    address, mac, confirmed_s = b"", b"", float("inf")
    at = 12
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if length < 4:
            break
        value = message[at + 4 : at + length]
        if kind == NDA_DST:
            address = value
        elif kind == NDA_LLADDR:
            mac = value
        elif kind == NDA_CACHEINFO and len(value) >= 4:
            confirmed_s = struct.unpack_from("=I", value)[0] / os.sysconf("SC_CLK_TCK")
        at += (length + 3) & ~3
    if len(mac) != 6 or len(address) not in (4, 16):
        return None
    return Neighbour(str(ipaddress.ip_address(address)), mac.hex(":"), confirmed_s)


def poke(host: str) -> None:
    """An empty datagram to the discard port, so that the kernel looks for the host. Raises OSError when there is no way
    to it at all (our own network is down)."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender, contextlib.suppress(ConnectionRefusedError):
        sender.setblocking(False)
        sender.sendto(b"", (host, DISCARD_PORT))
