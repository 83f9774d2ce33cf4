"""Who listens on a TCP port of this machine, read from /proc (proc(5)): no tool needed, no root for our own."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

LISTEN = "0A"
"""TCP_LISTEN in /proc/net/tcp."""


def listening_inodes(port: int) -> set[str]:
    """Inodes of the sockets that listen on ``port``, of any address and either IP version."""
    found = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for row in Path(table).read_text().splitlines()[1:]:
                fields = row.split()
                if fields[3] == LISTEN and int(fields[1].rsplit(":", 1)[1], 16) == port:
                    found.add(fields[9])
    return found


def sockets_of(pid: int) -> set[str]:
    """Inodes of the sockets that a process holds; empty when it is gone or not ours to look at."""
    found = set()
    with contextlib.suppress(OSError):
        for fd in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(fd.path)
                if target.startswith("socket:["):
                    found.add(target[8:-1])
    return found


def listens(pid: int, port: int) -> bool:
    """True once the process has the port open for connections. Unlike a test connection it leaves no trace."""
    inodes = listening_inodes(port)
    return bool(inodes) and not inodes.isdisjoint(sockets_of(pid))


def holder_of(port: int) -> str | None:
    """``name (process n)`` of the listener, ``another user's program`` when we may not see it, None when free."""
    inodes = listening_inodes(port)
    if not inodes:
        return None
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and not inodes.isdisjoint(sockets_of(int(entry.name))):
            with contextlib.suppress(OSError):
                return f"{(entry / 'comm').read_text().strip()} (process {entry.name})"
    return "another user's program"
