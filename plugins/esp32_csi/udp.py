"""Rows by UDP: a socket as a :class:`agent.api.Source`. A message is a datagram, its topic the sender's address."""

from __future__ import annotations

import errno
import socket

from agent.api import Message, RetryLater

BUFFER_BYTES = 1 << 20
"""A second of 500 rows of 1 kB, twice: a busy SD card may hold the process up for as long."""
AT_ONCE = 512


class UdpSource:
    """Raises RetryLater when the address is taken or not ours."""

    def __init__(self, address: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        try:
            self._socket.bind((address, port))
        except OSError as error:
            self._socket.close()
            place = f"udp {address or '*'}:{port}"
            if error.errno == errno.EADDRINUSE:
                raise RetryLater(f"{place}: another program listens there: stop it, or set udp_port") from None
            if error.errno == errno.EADDRNOTAVAIL:
                raise RetryLater(f"{place}: no interface has this address: set udp_address to one of ours") from None
            raise RetryLater(f"{place}: {error.strerror or error}") from None

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> list[Message]:
        found: list[Message] = []
        while len(found) < AT_ONCE:
            try:
                data, sender = self._socket.recvfrom(65_535)
            except BlockingIOError:
                break
            except ConnectionError:
                continue  # an ICMP answer to nothing that we sent
            found.append(Message(data, topic=str(sender[0])))
        return found

    def send(self, data: bytes) -> None:
        return  # the firmware listens to nothing

    def close(self) -> None:
        self._socket.close()
