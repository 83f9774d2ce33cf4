"""The broker's process: find the program, start it so that it never outlives us, see that it listens, keep its log."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence

from hub.broker import ports

PR_SET_PDEATHSIG = 1
POLL_S = 0.01
STOP_S = 10.0
TAIL_LINES = 40


class BrokerError(RuntimeError):
    """Why there is no broker, and what to do, in one line."""


def find_mosquitto() -> str | None:
    """Path of the program; Debian keeps it in /usr/sbin, which is not on everybody's PATH."""
    return shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin:/usr/sbin")))


def have_iotcore() -> bool:
    return importlib.util.find_spec("iotcore") is not None


def _die_with_parent(parent: int) -> Callable[[], None]:
    """In the child, before exec: SIGKILL when the parent goes (prctl(2)), and an empty signal mask.

    SIGKILL and not SIGTERM: a stopped broker obeys nothing else, and would keep the port from its successor."""
    libc = ctypes.CDLL(None, use_errno=True)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if os.getppid() != parent:  # it went before we asked
            os._exit(1)

    return prepare


class Child:
    """One run of the program. ``ready`` waits until it has opened its ports, which it does after reading its state."""

    def __init__(self, command: Sequence[str], listen: Sequence[int], log: Callable[[str], None]) -> None:
        self.command = list(command)
        self.ports = tuple(listen)
        self.tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
        self._log = log
        self._hung = False
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", preexec_fn=_die_with_parent(os.getpid()),
        )
        self._reader = threading.Thread(target=self._read_log, name="broker-log", daemon=True)
        self._reader.start()

    def _read_log(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.tail.append(line.rstrip())
            # a full disk under our own log must not stop the broker
            with contextlib.suppress(OSError, ValueError):
                self._log(line.rstrip())

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def ready(self, timeout_s: float) -> bool:
        """True once every port is open; False when the process ended first, or hung for ``timeout_s``."""
        deadline = time.monotonic() + timeout_s
        while self.alive and time.monotonic() < deadline:
            if all(ports.listens(self.pid, port) for port in self.ports):
                return True
            time.sleep(POLL_S)
        self._hung = self.alive
        return False

    def stop(self) -> None:
        """SIGTERM, then SIGKILL. mosquitto writes its state at SIGTERM."""
        for ask in (self.process.terminate, self.process.kill):
            if not self.alive:
                break
            ask()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_S)
        self._reader.join(1.0)

    def ended(self) -> str:
        """How it ended, with the last words of its log."""
        code = self.process.returncode or 0
        how = "it hung" if self._hung else f"ended by {signal.Signals(-code).name}" if code < 0 else f"exit {code}"
        words = [line for line in self.tail if "rror" in line] or list(self.tail)
        return f"{how}; {'; '.join(words[-3:]) or 'it said nothing'}"


def print_line(line: str) -> None:
    """A line of the broker's log on our own standard output, where supervisord or the journal keeps it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
