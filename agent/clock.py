"""Time of this machine: the boot's id, CLOCK_BOOTTIME, and what is known of the wall clock.

Stamps are microseconds of CLOCK_BOOTTIME, which never jumps and counts through suspend. Wall time is that plus the
boot's offset, and the offset is only known once something says that the wall clock is right: the kernel (adjtimex(2),
cleared by ntpd, chrony with ``rtcsync`` and systemd-timesyncd), or timesyncd's own mark for this boot. NTP slews both
clocks alike, so within a boot the offset changes only by a step. Once known it stays known for that boot: a lost
network does not make it wrong.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from agent.wire.records import ClockInfo

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
TIMESYNCD_MARK = Path("/run/systemd/timesync/synchronized")
"""Touched by systemd-timesyncd at its first answer of a boot; /run is empty at boot."""
FLOOR_US = 1_767_225_600_000_000
"""2026-01-01: no wall clock before this code was written is right, whatever says so (never 1970 in the store)."""
STEP_US = 500_000
"""A change of the offset that counts as a step; below it the old offset is kept if the change is only noise."""
NOISE_US = 1_000
STA_UNSYNC = 0x0040
TIME_ERROR = 5


def boot_id() -> str:
    """32 hex digits, new at every boot of this machine."""
    return BOOT_ID.read_text().strip().replace("-", "")


def boottime_us() -> int:
    """Microseconds since boot, suspend included (clock_gettime(2) CLOCK_BOOTTIME)."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def wall_us() -> int:
    """Microseconds since 1970 UTC by the wall clock, right or wrong."""
    return time.time_ns() // 1000


def kernel_synchronised() -> bool:
    """Whether the kernel's clock is disciplined (adjtimex(2) without STA_UNSYNC). Reading needs no privilege."""
    import ctypes  # here, because a plugin process that never asks for wall time need not pay for it

    class Timex(ctypes.Structure):
        _fields_ = (
            ("modes", ctypes.c_uint),
            ("offset", ctypes.c_long),
            ("freq", ctypes.c_long),
            ("maxerror", ctypes.c_long),
            ("esterror", ctypes.c_long),
            ("status", ctypes.c_int),
            ("rest", ctypes.c_byte * 256),  # the remainder of struct timex, which differs between machines
        )

    timex = Timex()
    answer = int(ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(timex)))
    return answer not in (-1, TIME_ERROR) and not timex.status & STA_UNSYNC


def ntp_synchronised() -> bool:
    """Whether anything on this machine says that the wall clock is right."""
    return kernel_synchronised() or TIMESYNCD_MARK.exists()


class Sources(Struct, frozen=True):
    """Where the time comes from; tests put their own here."""

    boot: Callable[[], str] = boot_id
    boottime_us: Callable[[], int] = boottime_us
    wall_us: Callable[[], int] = wall_us
    synchronised: Callable[[], bool] = ntp_synchronised


class ClockState:
    """What is known of this boot's clock, and when it stepped.

    ``mode`` is ``[device] clock``: ``auto`` asks the machine, ``trust`` takes its clock for right."""

    def __init__(self, mode: str = "auto", sources: Sources | None = None) -> None:
        self.sources = sources or Sources()
        self.trust = mode == "trust"
        self.boot = self.sources.boot()
        self.steps = 0
        """How often the wall clock stepped since it was first known."""
        self._offset_us: int | None = None

    def _measure_us(self) -> int:
        """Wall minus boot time, read between two looks at the boot clock; the tightest of three."""
        best: tuple[int, int] | None = None
        for _ in range(3):
            before = self.sources.boottime_us()
            wall = self.sources.wall_us()
            after = self.sources.boottime_us()
            width = after - before
            if best is None or width < best[0]:
                best = width, wall - (before + after) // 2
        assert best is not None
        return best[1]

    def offset(self) -> ClockInfo:
        """The header's clock for the running boot, as of now."""
        measured = self._measure_us()
        right = measured + self.sources.boottime_us() >= FLOOR_US
        if self._offset_us is None:
            if not right or not (self.trust or self.sources.synchronised()):
                return ClockInfo(None, "unsynced", self.sources.boottime_us())
            self._offset_us = measured
        elif abs(measured - self._offset_us) > NOISE_US and right:
            if abs(measured - self._offset_us) > STEP_US:
                self.steps += 1
            self._offset_us = measured
        return ClockInfo(self._offset_us, "synced")

    def wall_us(self, boottime: int | None = None) -> int | None:
        """Wall time of a moment of this boot (default: now), or None while the offset is not known."""
        info = self.offset()
        if info.offset_us is None:
            return None
        return info.offset_us + (self.sources.boottime_us() if boottime is None else boottime)

    def skew_us(self) -> int:
        """How far the wall clock has moved away from the offset that is used (0 while none is known)."""
        return 0 if self._offset_us is None else self._measure_us() - self._offset_us


class SystemClock:
    """The real :class:`agent.api.Clock`. Set ``stop`` to end every sleep."""

    def __init__(self, state: ClockState | None = None, stop: threading.Event | None = None) -> None:
        self.state = state or ClockState()
        self.stop = stop or threading.Event()

    def boottime_us(self) -> int:
        return boottime_us()

    def monotonic_s(self) -> float:
        return time.monotonic()

    def wall_us(self) -> int | None:
        return self.state.wall_us()

    def sleep(self, seconds: float) -> bool:
        return not self.stop.wait(max(0.0, seconds))
