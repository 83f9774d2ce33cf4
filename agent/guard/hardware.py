"""The hardware watchdog of the board (``/dev/watchdog``, Documentation/watchdog/watchdog-api.rst of the kernel): when
nobody feeds it for 15 s the board resets, its pins fall back, and a non-latching relay opens (B46).

One guard feeds it; where there are several, whoever opened it first, and another one when that ends. A clean end says
so with the magic letter; a killed guard does not, and its successor has 15 s to take over.
"""

from __future__ import annotations

import array
import errno
import fcntl
import logging
import os
import time
from contextlib import suppress
from pathlib import Path

from agent.clock import boot_id

log = logging.getLogger("guard")

WDIOC_SETTIMEOUT = 0xC0045706
"""_IOWR('W', 6, int), include/uapi/linux/watchdog.h"""
TIMEOUT_S = 15
FEED_S = 2.0
RETRY_S = 10.0
MAGIC = b"V"
STARVE = "starve"
"""``<run_dir>/starve`` holds the id of the boot in which the board is to be reset."""


def starving(run_dir: Path) -> bool:
    """The watchdog asked for a reset in this boot: the file may have survived an earlier one."""
    try:
        return (run_dir / STARVE).read_text() == boot_id()
    except (OSError, UnicodeDecodeError):
        return False


class HardwareWatchdog:
    """``path`` None: the board has none, or systemd feeds it."""

    def __init__(self, path: Path | None, run_dir: Path | None = None) -> None:
        """``run_dir``: where the watchdog says that this machine is to be reset (agent.supervision.reboots)."""
        self._path = path
        self._run_dir = run_dir
        self._starving = False
        self._fd = -1
        self._next_s = 0.0
        self._told = False

    def feed(self) -> None:
        """Call in every round of the loop that is to be alive."""
        now = time.monotonic()
        if self._path is None or now < self._next_s or self._starve():
            return
        if self._fd < 0 and not self._open():
            self._next_s = now + RETRY_S
            return
        self._next_s = now + FEED_S
        try:
            os.write(self._fd, b"\0")
        except OSError as error:
            log.error("%s: cannot be fed (%s): this board may reset in %d s", self._path, error.strerror, TIMEOUT_S)
            os.close(self._fd)
            self._fd = -1

    def _starve(self) -> bool:
        if not self._starving and self._run_dir is not None and starving(self._run_dir):
            self._starving = True
            log.error("%s: fed no more, this machine is to be reset", self._path)
        return self._starving

    def _open(self) -> bool:
        assert self._path is not None
        try:
            self._fd = os.open(self._path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            if not self._told and error.errno != errno.EBUSY:
                log.error("%s: %s; without it a hung kernel is not noticed: sudo usermod -aG the group of it, or leave "
                          "out device.hardware_watchdog", self._path, error.strerror)
            self._told = True
            return False
        with suppress(OSError):  # a file in a test, or a driver of fixed time
            fcntl.ioctl(self._fd, WDIOC_SETTIMEOUT, array.array("i", [TIMEOUT_S]), True)
        return True

    def close(self) -> None:
        if self._fd >= 0:
            if not self._starving:
                with suppress(OSError):
                    os.write(self._fd, MAGIC)
            os.close(self._fd)
            self._fd = -1
