"""ICMP echo without root: Linux's datagram sockets (``net.ipv4.ping_group_range``), else a raw one for who may."""

from __future__ import annotations

import os
import socket
import struct

ECHO = {socket.AF_INET: (8, 0), socket.AF_INET6: (128, 129)}
PROTOCOL = {socket.AF_INET: socket.IPPROTO_ICMP, socket.AF_INET6: socket.IPPROTO_ICMPV6}


class NotAllowed(OSError):
    """This user may not ping."""


class Pinger:
    """One family's socket; :meth:`send` and :meth:`receive` do not wait. Raises NotAllowed."""

    def __init__(self, family: socket.AddressFamily) -> None:
        self.family = family
        self._ident = os.getpid() & 0xFFFF
        self._raw = False
        try:
            self.socket = socket.socket(family, socket.SOCK_DGRAM, PROTOCOL[family])
        except PermissionError:
            try:
                self.socket = socket.socket(family, socket.SOCK_RAW, PROTOCOL[family])
                self._raw = True
            except PermissionError:
                raise NotAllowed("this user may not ping: sudo sysctl -w net.ipv4.ping_group_range='0 2147483647'"
                                 ) from None
        self.socket.setblocking(False)

    def send(self, address: str, sequence: int) -> None:
        """Raises OSError, ENETUNREACH among them, when our own network is down."""
        packet = struct.pack("!BBHHH8s", ECHO[self.family][0], 0, 0, self._ident, sequence & 0xFFFF, b"presence")
        if self._raw and self.family == socket.AF_INET:  # for ICMPv6 and datagram sockets the kernel does it
            packet = packet[:2] + struct.pack("!H", checksum(packet)) + packet[4:]
        self.socket.sendto(packet, (address, 0))

    def receive(self) -> list[tuple[str, int]]:
        """(address, sequence) of every answer that has come."""
        found: list[tuple[str, int]] = []
        while True:
            try:
                data, sender = self.socket.recvfrom(2048)
            except BlockingIOError:
                return found
            except OSError:  # an ICMP error of an earlier packet: that one stays unanswered
                continue
            if self._raw and self.family == socket.AF_INET and data:
                data = data[(data[0] & 0x0F) * 4 :]
            if len(data) >= 8 and data[0] == ECHO[self.family][1]:
                ident, sequence = struct.unpack_from("!HH", data, 4)
                if not self._raw or ident == self._ident:
                    found.append((str(sender[0]).partition("%")[0], sequence))

    def close(self) -> None:
        self.socket.close()


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF
