"""What this machine says of a serial port: who holds it, which others there are, as whom we ask.

Holders are read from /proc (proc(5)): no tool needed, no root for our own processes.
"""

from __future__ import annotations

import os
from pathlib import Path


def user_name() -> str:
    """Our effective user, by name where it has one."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def others(port: Path | str) -> list[str]:
    """Up to four serial ports that are there instead: by their stable names when they have some."""
    by_id = sorted(str(path) for path in Path("/dev/serial/by-id").glob("*"))
    kinds = ("ttyUSB*", "ttyACM*", "ttyAMA*")
    there = by_id or [str(path) for kind in kinds for path in sorted(Path("/dev").glob(kind))]
    return [path for path in there if path != str(port)][:4]


def holders_of(path: Path | str, *, but_agent: bool = False, proc: Path = Path("/proc")) -> list[str]:
    """Other processes that have this file open, as ``ModemManager (process 412)``, by their number.

    Links and other names of the same device count as the file itself. Without root: those of our user only.
    ``but_agent`` leaves out plugin processes of the agent itself, which hold their port rightly."""
    try:
        wanted = _identity(path)
    except OSError:
        return []
    found = []
    for process in proc.glob("[0-9]*"):
        if process.name == str(os.getpid()) or (but_agent and _is_ours(process)):
            continue
        if _has_open(process, wanted):
            found.append((int(process.name), _name(process)))
    return [f"{name} (process {pid})" for pid, name in sorted(found)]


def _identity(path: Path | str) -> tuple[int, int, int]:
    """Equal for every name of one file or device node."""
    told = os.stat(path)
    return told.st_rdev, told.st_ino, told.st_dev


def _has_open(process: Path, wanted: tuple[int, int, int]) -> bool:
    try:
        fds = list((process / "fd").iterdir())
    except OSError:
        return False  # ended, or another user's
    for fd in fds:
        try:
            # only names are looked into: the stat of a dead network mount would hang
            if os.readlink(fd).startswith("/dev/") and _identity(fd) == wanted:
                return True
        except OSError:
            continue  # closed meanwhile
    return False


def _is_ours(process: Path) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(word.endswith(b"hutkeeper-agent") for word in words[:3]) and b"plugin" in words


def _name(process: Path) -> str:
    try:
        return (process / "comm").read_text().strip() or "a process"
    except OSError:
        return "a process"
