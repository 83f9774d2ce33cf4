"""A real serial port behind :class:`agent.api.ByteStream`: exclusive, read in bulk, every trouble named.

pyserial opens and configures; reading is select and os.read, because its own ``readline`` costs one select per byte.
"""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import struct
import termios
from collections.abc import Callable

from agent.api import ConfigError, RetryLater
from agent.ports import holders_of, others, user_name
from agent.wire import faults

NAP_S = 0.05
"""Longest wait for more bytes once one is there: a 1200-baud line would else wake the process for each of them."""
NAP_BYTES = 1024
WRITE_TIMEOUT_S = 2.0

Wait = Callable[[float, int | None], bool]
"""``wait(seconds, fd)``: True as soon as fd is readable, False after the time or when the plugin is to stop."""


class SerialTrouble(RetryLater):
    """E_SERIAL: which port, why, and what to do. Looking again is cheap, so the back-off stays short (B54)."""

    max_delay_s = 5.0

    def __init__(self, port: str, reason: str, do: str) -> None:
        super().__init__(faults.line("E_SERIAL", port=port, reason=reason, do=do))
        self.port = port


class SerialPort:
    """One open port. ``wait`` is the worker's, so a stop or a command ends a read at once."""

    def __init__(self, port: str, wait: Wait, *, baudrate: int, bytesize: int, parity: str, stopbits: int) -> None:
        try:
            import serial
        except ImportError:
            raise ConfigError("serial ports need pyserial, which is not installed: pip install hutkeeper[serial]"
                              ) from None
        self.port = port
        self._wait = wait
        self._frameless = _is_pty(port)
        if self._frameless:
            bytesize, parity, stopbits = 8, "N", 1
        self._error: tuple[type[Exception], ...] = (serial.SerialException, OSError, termios.error)
        try:
            self._serial = serial.Serial(
                port, baudrate=baudrate, bytesize=bytesize, parity=parity, stopbits=stopbits, timeout=0,
                write_timeout=WRITE_TIMEOUT_S, exclusive=True)
        except ValueError as error:
            raise ConfigError(f"{port}: {error}") from None
        except self._error as error:
            raise _opening(port, error) from None
        self._baudrate = baudrate

    def read(self, size: int, timeout_s: float) -> bytes:
        try:
            fd = self._serial.fileno()
            if not self._wait(timeout_s, fd):
                return b""
            if _waiting(fd) < min(size, 256):
                self._wait(min(NAP_S, NAP_BYTES * 10 / self._baudrate), None)
            data = os.read(fd, size)
        except BlockingIOError:
            return b""
        except self._error as error:
            raise self._gone(error) from None
        if not data:
            raise self._gone(None)
        return data

    def write(self, data: bytes) -> None:
        try:
            self._serial.write(data)
        except self._error as error:
            raise self._gone(error) from None

    def reconfigure(self, *, baudrate: int, bytesize: int = 8, parity: str = "N", stopbits: int = 1) -> None:
        if self._frameless:
            bytesize, parity, stopbits = 8, "N", 1
        try:
            self._serial.apply_settings(
                {**self._serial.get_settings(), "baudrate": baudrate, "bytesize": bytesize, "parity": parity,
                 "stopbits": stopbits})
        except ValueError as error:
            raise ConfigError(f"{self.port}: {error}") from None
        except self._error as error:
            raise self._gone(error) from None
        self._baudrate = baudrate

    def close(self) -> None:
        try:
            self._serial.close()
        except self._error:
            return  # it went away on its own

    def _gone(self, error: Exception | None) -> SerialTrouble:
        self.close()
        if error is None or getattr(error, "errno", None) in (None, errno.EIO, errno.ENODEV, errno.ENXIO, errno.EBADF):
            return SerialTrouble(self.port, "the device went away", "check its cable and its power")
        return SerialTrouble(self.port, str(error), "check its cable and its power")


def _is_pty(port: str) -> bool:
    """A pseudo-terminal (a simulated device) carries whole bytes only: Linux ignores another frame at its first setting
    and refuses it at the next one (EINVAL)."""
    try:
        return 136 <= os.major(os.stat(port).st_rdev) <= 143
    except OSError:
        return False


def _waiting(fd: int) -> int:
    answer = fcntl.ioctl(fd, termios.FIONREAD, b"\0\0\0\0")
    return int(struct.unpack("i", answer)[0])


def _opening(port: str, error: Exception) -> SerialTrouble:
    number = getattr(error, "errno", None)
    if number == errno.ENOENT:
        return SerialTrouble(port, "no such port", f"check the cable; {_others(port)}")
    if number == errno.EACCES:
        group = group_of(port)
        return SerialTrouble(port, "no permission", f"sudo usermod -aG {group} {user_name()}, then restart the agent")
    if number in (errno.EBUSY, errno.EAGAIN):
        holders = ", ".join(holders_of(port))
        return SerialTrouble(port, f"held by {holders or 'another process'}", "stop it, or set another port")
    return SerialTrouble(port, str(error), "check the device")


def _others(port: str) -> str:
    """What there is instead."""
    there = others(port)
    return f"there is {', '.join(there)}" if there else "there is no other serial device"


def group_of(port: str) -> str:
    """The group that may open the port (``dialout`` on Debian)."""
    try:
        return grp.getgrgid(os.stat(port).st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"
