"""A TCP connection to upsd that never blocks: whole lines out, commands in."""

from __future__ import annotations

import errno
import os
import select
import socket

from agent.api import RetryLater

from .nut import MAX_LINE

CHUNK = 16384


class UpsdTrouble(RetryLater):
    """upsd is not there. Looking again is cheap, and the mains may be gone: the back-off stays short."""

    max_delay_s = 10.0

    def __init__(self, where: str, reason: str, do: str) -> None:
        super().__init__(f"upsd at {where}: {reason}: {do}")


class UpsdSource:
    """:class:`agent.api.Source`. ``host`` is an IP address: a name would be looked up without a time-out."""

    def __init__(self, host: str, port: int) -> None:
        self._where = f"{host}:{port}"
        self._waiting = b""
        """Commands until the connection stands."""
        self._rest = b""
        self._connected = False
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        self._epoll = select.epoll()
        error = self._socket.connect_ex((host, port))
        if error not in (0, errno.EINPROGRESS):
            self.close()
            raise self._trouble(error)
        self._epoll.register(self._socket, select.EPOLLIN | select.EPOLLOUT)

    def fileno(self) -> int:
        return self._epoll.fileno()

    def receive(self) -> list[bytes]:
        if not self._connected:
            error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise self._trouble(error)
            self._connected = True
            self._epoll.modify(self._socket, select.EPOLLIN)
            self._flush()
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return []
        except OSError as failed:
            raise self._trouble(failed.errno or 0) from None
        if not data:
            raise UpsdTrouble(self._where, "it closed the connection", "see its log")
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > 2 * MAX_LINE:
            lines.append(self._rest)
            self._rest = b""
        return [line for line in lines if line.strip()]

    def send(self, data: bytes) -> None:
        self._waiting += data
        if self._connected:
            self._flush()

    def _flush(self) -> None:
        try:
            self._waiting = self._waiting[self._socket.send(self._waiting) :] if self._waiting else b""
        except BlockingIOError:
            return  # goes with the next command: upsd answers before it is asked again
        except OSError as failed:
            raise self._trouble(failed.errno or 0) from None

    def _trouble(self, error: int) -> UpsdTrouble:
        if error == errno.ECONNREFUSED:
            return UpsdTrouble(self._where, "nobody listens there",
                               "systemctl status nut-server, and LISTEN in upsd.conf")
        return UpsdTrouble(self._where, os.strerror(error), "check its address and the network")

    def close(self) -> None:
        self._epoll.close()
        self._socket.close()
