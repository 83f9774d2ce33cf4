"""Between control and guard: one message a packet on ``<run_dir>/guard-<id>.sock`` (SOCK_SEQPACKET), the lock file
that says who the guard is, and where a ``hold`` actuator was left."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import struct
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from agent.api import RelayState
from agent.bus import MAX_IPC_PATH
from agent.guard.lease import Ask
from agent.supervision.heartbeat import FOLDER

log = logging.getLogger("guard")

MAX_PACKET = 4096
STILL_S = 10.0
"""A guard that stands still for so long is killed by whoever is ready to take its place."""

encode = msgspec.json.Encoder().encode
decode_ask = msgspec.json.Decoder(Ask).decode
decode_state = msgspec.json.Decoder(RelayState).decode

_FLOCK = "hhqqi4x"
"""struct flock of fcntl(2) with 64-bit offsets: type, whence, start, len, pid."""


def socket_path(run_dir: Path, instance: str) -> Path:
    """Raises ValueError when it is too long for a unix socket."""
    path = run_dir / f"guard-{instance}.sock"
    if len(os.fsencode(path)) > MAX_IPC_PATH:
        raise ValueError(f"{path}: longer than {MAX_IPC_PATH} bytes, set [device] run_dir to a shorter one")
    return path


def progress_name(instance: str) -> str:
    """Of the file by which others see that it moves."""
    return f"guard-{instance}"


class GuardLock:
    """The right to move the pins of one actuator: a POSIX record lock, because the kernel tells who holds it, whatever
    a file says. It goes with its process; a stopped process keeps it until it is killed."""

    def __init__(self, run_dir: Path, instance: str) -> None:
        self._path = run_dir / f"guard-{instance}.lock"
        self._fd = -1

    def take(self) -> bool:
        """True: we have it, until this process ends. Raises OSError where the file cannot be made."""
        if self._fd < 0:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def replaced(self) -> bool:
        """Somebody has deleted the file under us: another one may hold the right to the same pins now."""
        try:
            there, ours = os.stat(self._path), os.fstat(self._fd)
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def holder(self) -> int | None:
        """The pid of the guard, by the kernel's word (F_GETLK). None: nobody, or one whom we cannot see."""
        fd = self._fd
        try:
            if fd < 0:
                fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            answer = fcntl.fcntl(fd, fcntl.F_GETLK, struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0))
            kind, _, _, _, pid = struct.unpack(_FLOCK, answer)
        except (OSError, struct.error):
            return None
        finally:
            if fd != self._fd:
                os.close(fd)  # of a process without the lock: nothing is given up
        return int(pid) if kind != fcntl.F_UNLCK and pid > 0 else None


class Told:
    """Where a ``hold`` actuator was told to be, over restarts and power cuts."""

    def __init__(self, data_dir: Path, instance: str) -> None:
        self._path = data_dir / "guard" / f"{instance}.json"

    def read(self) -> bool | None:
        with suppress(OSError, ValueError, KeyError, TypeError):
            on = json.loads(self._path.read_text(encoding="utf-8"))["on"]
            return on if isinstance(on, bool) else None
        return None

    def write(self, on: bool) -> None:
        """On the disk before it returns."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        scratch = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with scratch.open("w", encoding="utf-8") as file:
            file.write(json.dumps({"on": on}))
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def stands_still(run_dir: Path, instance: str, limit_s: float = STILL_S) -> bool:
    """The holder's progress file has not moved."""
    try:
        stamp_s = (run_dir / FOLDER / progress_name(instance)).stat().st_mtime_ns / 1e9
    except OSError:
        return False
    return time.monotonic() - stamp_s > limit_s


def kill(pid: int | None, instance: str, lock: GuardLock) -> bool:
    """End a guard that stands still. Nothing but the lock's holder, by the kernel's word, is ever killed: the process
    is held fast first, and killed only if it is the holder still (its number may have gone to another one)."""
    if pid is None or pid == os.getpid():
        return False
    try:
        process = os.pidfd_open(pid)
    except OSError as error:
        log.error("guard %s: process %d cannot be killed: %s", instance, pid, error.strerror)
        return False
    try:
        if lock.holder() != pid:
            return False
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except OSError as error:
        log.error("guard %s: process %d cannot be killed: %s", instance, pid, error.strerror)
        return False
    finally:
        os.close(process)
    log.error("guard %s: process %d stood still and was killed", instance, pid)
    return True
