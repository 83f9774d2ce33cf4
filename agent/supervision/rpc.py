"""Calls to our supervisord over its unix socket, a new connection each: a transport that failed once stays broken."""

from __future__ import annotations

import http.client
import socket
import xmlrpc.client
from pathlib import Path
from typing import Any

TIMEOUT_S = 10.0
BAD_NAME, NOT_RUNNING, ALREADY_STARTED, STILL_RUNNING = 10, 70, 60, 91


class RpcFailed(Exception):
    """supervisord did not answer, or refused: one line. ``code`` is its fault code, or None when it was silent."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__()
        self._path, self._timeout_s = path, timeout_s

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _Connection(self._path, self._timeout_s)


def call(path: Path, method: str, *args: Any, timeout_s: float = TIMEOUT_S) -> Any:
    """``call(socket, "supervisor.getState")``. Raises RpcFailed."""
    proxy = xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(path, timeout_s))
    try:
        with proxy:
            function: Any = proxy
            for part in method.split("."):
                function = getattr(function, part)
            return function(*args)
    except xmlrpc.client.Fault as fault:
        raise RpcFailed(f"supervisord refused {method}: {fault.faultString}", fault.faultCode) from None
    except (OSError, http.client.HTTPException, xmlrpc.client.Error, ValueError) as error:
        raise RpcFailed(f"supervisord at {path} does not answer {method}: {error}") from None
