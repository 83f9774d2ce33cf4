"""Real input lines through libgpiod v2 (python ``gpiod`` >= 2, libgpiod.readthedocs.io), and how a line is found.

The kernel stamps an edge in its interrupt with CLOCK_MONOTONIC and keeps up to 1024 of them until we look.
"""

from __future__ import annotations

import errno
import os
import re
import select
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.api import ConfigError, Log, Message, RetryLater
from agent.ports import user_name
from agent.runner.serial_port import group_of
from agent.wire import faults

if TYPE_CHECKING:
    import gpiod

CONSUMER = "hutkeeper"
BUFFER_EVENTS = 1024
"""The most that the kernel gives one request (GPIO_V2_LINES_MAX * 16, uapi/linux/gpio.h)."""
SUSPEND_NS = 1_000_000
"""A smaller change between the two clocks is the jitter of reading them; only a suspend moves them apart."""
_BY_OFFSET = re.compile(r"(gpiochip\d+)/(\d+)\Z")


class GpioTrouble(RetryLater):
    """E_GPIO: which line, why, and what to do. Looking again is cheap, so the back-off stays short."""

    max_delay_s = 5.0

    def __init__(self, line: str, reason: str, do: str) -> None:
        super().__init__(faults.line("E_GPIO", line=line, reason=reason, do=do))


def open_lines(lines: tuple[str, ...], pull: str, active_low: bool, log: Log, dev: Path) -> list[LineRequest]:
    """One request for each chip that has some of the lines. Raises GpioTrouble, ConfigError."""
    gpiod = library()
    by_chip: dict[Path, dict[int, str]] = {}
    for line in lines:
        chip, offset = find(gpiod, line, dev)
        there = by_chip.setdefault(chip, {})
        if offset in there:
            raise ConfigError(f"{line} and {there[offset]} are the same pin ({chip.name}/{offset})")
        there[offset] = line
    requests: list[LineRequest] = []
    try:
        for chip, names in by_chip.items():
            requests.append(LineRequest(gpiod, chip, names, pull, active_low, log))
    except BaseException:
        for request in requests:
            request.close()
        raise
    return requests


def library() -> Any:
    try:
        import gpiod
    except ImportError:
        raise ConfigError("pins need gpiod, which is not installed: pip install hutkeeper[gpio], or on a 32-bit "
                          "Debian 13: sudo apt install python3-libgpiod") from None
    if not hasattr(gpiod, "LineSettings"):
        raise ConfigError(f"pins need gpiod 2; this is {getattr(gpiod, '__version__', '1')}: "
                          "pip install 'gpiod>=2'")
    return gpiod


def _chips(dev: Path) -> list[Path]:
    """Character devices by number; a link (a Pi 5 has gpiochip4 for gpiochip0) is the same chip once more."""
    found = [path for path in dev.glob("gpiochip*") if re.fullmatch(r"gpiochip\d+", path.name)]
    return sorted((path for path in found if not path.is_symlink()), key=lambda path: int(path.name[8:]))


def find(gpiod: Any, line: str, dev: Path) -> tuple[Path, int]:
    """The chip and offset of ``GPIO17`` or ``gpiochip0/17``."""
    by_offset = _BY_OFFSET.match(line)
    if by_offset is not None:
        return (dev / by_offset[1]).resolve(), int(by_offset[2])
    if not line or line.isdigit() or "/" in line:
        raise ConfigError(f"{line!r} is no line: write its name (GPIO17), gpiochip0/17, or sim:/path/of/a/socket")
    chips = _chips(dev)
    if not chips:
        raise GpioTrouble(line, f"no {dev}/gpiochip* on this machine",
                          "a Pi has one; in a container it must be passed in")
    for path in chips:
        with opened(gpiod, path, line) as chip, suppress(OSError):
            return path, int(chip.line_offset_from_id(line))
    raise GpioTrouble(line, f"no line of this name on {', '.join(path.name for path in chips)}",
                      "gpioinfo lists the names")


def opened(gpiod: Any, path: Path, line: str) -> Any:
    try:
        return gpiod.Chip(str(path))
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise GpioTrouble(line, f"no permission for {path}", f"sudo usermod -aG {group_of(str(path))} "
                              f"{user_name()}, then restart the agent") from None
        if error.errno == errno.ENOENT:
            there = ", ".join(chip.name for chip in _chips(path.parent))
            raise GpioTrouble(line, f"no {path}", f"there is {there}" if there else "this machine has none") from None
        raise GpioTrouble(line, f"{path}: {error.strerror}", "check the device") from None


def refused(chip: Any, path: Path, names: dict[int, str], error: Exception) -> Exception:
    """What to raise when ``chip`` does not give us the lines ``names`` (offset -> name)."""
    if isinstance(error, ValueError):
        return ConfigError(f"{', '.join(names.values())}: {path.name} has no such line: {error}")
    if getattr(error, "errno", None) == errno.EBUSY:
        for offset, name in names.items():
            with suppress(OSError):
                info = chip.get_line_info(offset)
                if info.used:
                    return GpioTrouble(name, f"{path.name}/{offset} is held by {info.consumer or 'the kernel'}",
                                       "stop it, or wire to another line")
    return GpioTrouble(", ".join(names.values()), f"{path.name}: {error}", "gpioinfo shows what it can do")


class LineRequest:
    """The input lines of one chip, held by us alone, with the kernel's queue of their edges."""

    def __init__(self, gpiod: Any, chip: Path, names: dict[int, str], pull: str, active_low: bool, log: Log) -> None:
        line = gpiod.line
        bias = {"none": line.Bias.DISABLED, "up": line.Bias.PULL_UP, "down": line.Bias.PULL_DOWN}[pull]
        settings = gpiod.LineSettings(direction=line.Direction.INPUT, edge_detection=line.Edge.BOTH, bias=bias,
                                      active_low=active_low, event_clock=line.Clock.MONOTONIC)
        self._names = names
        self._log = log
        self._rising = gpiod.EdgeEvent.Type.RISING_EDGE
        self._offset_ns = _boot_less_monotonic_ns()
        self._seqnos: dict[int, int] = {}
        self._opened_us = (time.monotonic_ns() + self._offset_ns) // 1000
        with opened(gpiod, chip, ", ".join(names.values())) as open_chip:
            try:
                self._request: gpiod.LineRequest = open_chip.request_lines(
                    {tuple(names): settings}, consumer=CONSUMER, event_buffer_size=BUFFER_EVENTS)
            except (OSError, ValueError) as error:
                raise refused(open_chip, chip, names, error) from None
        try:
            self._levels: list[bool] | None = [bool(value) for value in self._request.get_values(list(names))]
        except OSError as error:
            self._request.release()
            raise self._gone(error) from None
        self._epoll = select.epoll()
        self._epoll.register(self._request.fd, select.EPOLLIN)
        self._begun = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)  # readable: the levels are to be told
        self._epoll.register(self._begun, select.EPOLLIN)

    def _gone(self, error: OSError) -> GpioTrouble:
        return GpioTrouble(", ".join(self._names.values()), f"the chip went away: {error.strerror}", "check its cable")

    def fileno(self) -> int:
        return self._epoll.fileno()

    def receive(self) -> list[Message]:
        try:
            events: list[gpiod.EdgeEvent] = []
            while len(events) < BUFFER_EVENTS and self._request.wait_edge_events(0):
                events += self._request.read_edge_events(BUFFER_EVENTS)
        except OSError as error:
            raise self._gone(error) from None
        found = self._first(events)
        offset_ns = _boot_less_monotonic_ns()
        if abs(offset_ns - self._offset_ns) > SUSPEND_NS:
            self._offset_ns = offset_ns
        for event in events:
            name = self._names[event.line_offset]
            self._count(event.line_offset, event.line_seqno, name)
            level = b"1" if event.event_type is self._rising else b"0"
            found.append(Message(level, (event.timestamp_ns + self._offset_ns) // 1000, name))
        return found

    def _first(self, events: list[gpiod.EdgeEvent]) -> list[Message]:
        """The levels at the start. Where an edge came while we asked, the level was the other one before it."""
        if self._levels is None:
            return []
        levels = dict(zip(self._names, self._levels, strict=True))
        self._levels = None
        with suppress(BlockingIOError):
            os.eventfd_read(self._begun)
        for event in reversed(events):
            levels[event.line_offset] = event.event_type is not self._rising
        return [Message(b"1" if level else b"0", self._opened_us, self._names[offset])
                for offset, level in levels.items()]

    def _count(self, offset: int, seqno: int, name: str) -> None:
        """The kernel numbers the edges of a line; when its queue is full it drops the oldest."""
        lost = seqno - self._seqnos.get(offset, seqno - 1) - 1
        self._seqnos[offset] = seqno
        if lost > 0:
            self._log.warning("%s: %d edges lost, faster than this machine could take them", name, lost)

    def close(self) -> None:
        self._epoll.close()
        os.close(self._begun)
        with suppress(OSError):
            self._request.release()


def _boot_less_monotonic_ns() -> int:
    """CLOCK_BOOTTIME less CLOCK_MONOTONIC: the time this machine was suspended."""
    before = time.monotonic_ns()
    boot = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return boot - (before + time.monotonic_ns()) // 2
