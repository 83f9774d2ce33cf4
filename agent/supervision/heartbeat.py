"""Liveness is progress: a process that stands still ends itself (B64), and shows the watchdog that it moves (B57).

``Heartbeat`` is the process's own fuse: the kernel's interval timer, pushed back at every beat. It costs no thread and
no wake-up, and it fires even when a C library holds the interpreter's lock: the tracebacks of all threads go to stderr
and the process dies of SIGALRM, so its supervisor starts it anew.
``Progress`` is what others see: a file whose time changes while the plugin moves.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

LIMIT_S = 30.0
FOLDER = "progress"
UPLINK_HANG_S = 60.0


class Heartbeat:
    """Ends the process when one of ``names`` has not beaten for ``limit_s``. One per process (one interval timer).

    ``beat`` may be called often and from any thread; it makes a system call at most once a second."""

    def __init__(self, names: Iterable[str] = ("main",), limit_s: float = LIMIT_S) -> None:
        self._limit_s = limit_s
        now = time.monotonic()
        self._last = dict.fromkeys(names, now)
        self._armed_for = 0.0

    def start(self) -> None:
        """Light the fuse; call from the main thread."""
        try:
            faulthandler.register(signal.SIGALRM, file=sys.__stderr__ or 2, all_threads=True, chain=True)
        except (OSError, ValueError):  # stderr is closed: die without the tracebacks
            faulthandler.unregister(signal.SIGALRM)
        for name in self._last:
            self._last[name] = time.monotonic()
        self._arm(time.monotonic())

    def beat(self, name: str = "main") -> None:
        """``name`` made progress now."""
        now = time.monotonic()
        self._last[name] = now
        oldest = min(self._last.values())
        if oldest + self._limit_s >= self._armed_for + min(1.0, self._limit_s / 10):
            self._arm(now)

    def stop(self) -> None:
        """Put the fuse out (a clean end)."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        faulthandler.unregister(signal.SIGALRM)

    def _arm(self, now: float) -> None:
        self._armed_for = min(self._last.values()) + self._limit_s
        signal.setitimer(signal.ITIMER_REAL, max(0.001, self._armed_for - now))


class Progress:
    """The file ``<run_dir>/progress/<instance>``: its time is when the plugin last moved, in CLOCK_MONOTONIC seconds.

    That clock is one for all processes of a machine and is never set, so a moved clock kills nobody."""

    def __init__(self, run_dir: Path, instance: str, hang_after_s: float) -> None:
        self._path = run_dir / FOLDER / instance
        self._next = 0.0
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(f"{os.getpid()} {hang_after_s:g}\n")
        self.touch()

    def touch(self, moved_at_s: float | None = None) -> None:
        """Progress at ``moved_at_s`` (``time.monotonic()``), default now; at most one system call a second."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 1.0
            stamp_ns = int((now if moved_at_s is None else moved_at_s) * 1e9)
            with contextlib.suppress(OSError):  # the folder is gone: supervision itself is being taken down
                os.utime(self._path, ns=(stamp_ns, stamp_ns))


    def busy_for(self, seconds: float) -> None:
        """Something begins that may take so long; the next :meth:`touch` ends it."""
        self._next = 0.0
        stamp_ns = int((time.monotonic() + seconds) * 1e9)
        with contextlib.suppress(OSError):
            os.utime(self._path, ns=(stamp_ns, stamp_ns))


def default_hang_after_s(interval_s: float) -> float:
    """Three intervals (B57), at least 30 s: a serial device may be slow without being dead."""
    return max(30.0, 3.0 * interval_s)
