"""Input pins: the real gpiod library over a stand-in of its C part (no machine of the tests has a gpiochip), and
simulated pins over real sockets on the runner's own stream."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.api import ConfigError, Message, RetryLater
from agent.runner.gpio import BUFFER_EVENTS, EdgeSource, GpioTrouble
from agent.runner.messages import SourceStream
from agent.simpins import SimPins
from agent.testing.fakes import Lines

gpiod = pytest.importorskip("gpiod", reason="the extra gpio is not installed")


class Log(Lines):
    def warning(self, msg: str, *args: object) -> None:
        self("warning", msg % args)


class Pins:
    """What the kernel would be: chips by path, each line with level, holder and queued edges."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.levels: dict[int, int] = {}
        self.held: dict[int, str] = {}
        self.errors: dict[str, int] = {}
        self.events: list[Any] = []
        self.seqnos: dict[int, int] = {}
        self.buffer: int | None = None
        self.consumer: str | None = None
        self.fd = os.eventfd(0, os.EFD_NONBLOCK)
        self.gone = False

    def edge(self, offset: int, rising: bool, t_ns: int | None = None, seqno: int | None = None) -> None:
        seqno = self.seqnos.get(offset, 0) + 1 if seqno is None else seqno
        self.seqnos[offset] = seqno
        kind = gpiod._ext.EDGE_EVENT_TYPE_RISING if rising else gpiod._ext.EDGE_EVENT_TYPE_FALLING
        stamp = time.monotonic_ns() if t_ns is None else t_ns
        self.events.append(gpiod.EdgeEvent(kind, stamp, offset, seqno, seqno))
        os.eventfd_write(self.fd, 1)


class CChip:
    """The C extension's Chip, as gpiod/chip.py calls it."""

    pins: Pins

    def __init__(self, path: str) -> None:
        self.path = path
        if path in self.pins.errors:
            number = self.pins.errors[path]
            raise OSError(number, os.strerror(number))
        if not Path(path).exists():
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")
        self.names = self.pins.names[Path(path).name]

    def close(self) -> None: ...

    def get_info(self) -> Any:
        return gpiod.ChipInfo(Path(self.path).name, "stand-in", len(self.names))

    def line_offset_from_id(self, name: str) -> int:
        if name not in self.names:
            raise OSError(errno.ENOENT, "no such line")
        return self.names.index(name)

    def get_line_name(self, offset: int) -> str:
        return self.names[offset]

    def get_line_info(self, offset: int, watch: bool) -> Any:
        ext, held = gpiod._ext, self.pins.held.get(offset, "")
        return gpiod.LineInfo(offset, self.names[offset], bool(held), held, ext.DIRECTION_INPUT, False,
                              ext.BIAS_UNKNOWN, ext.DRIVE_PUSH_PULL, ext.EDGE_NONE, ext.CLOCK_MONOTONIC, False, 0)

    def request_lines(self, config: Any, consumer: str, event_buffer_size: int) -> CRequest:
        if self.pins.held:
            raise OSError(errno.EBUSY, "Device or resource busy")
        self.pins.consumer, self.pins.buffer = consumer, event_buffer_size
        return CRequest(self.pins, Path(self.path).name)


class CRequest:
    def __init__(self, pins: Pins, chip_name: str) -> None:
        self.pins, self.chip_name, self.offsets, self.fd = pins, chip_name, list[int](), pins.fd

    def get_values(self, offsets: list[int], out: list[Any]) -> None:
        for number, offset in enumerate(offsets):
            out[number] = gpiod.line.Value(self.pins.levels.get(offset, 0))

    def read_edge_events(self, most: int | None) -> list[Any]:
        if self.pins.gone:
            raise OSError(errno.ENODEV, "No such device")
        os.eventfd_read(self.fd)
        events, self.pins.events = self.pins.events, []
        return events

    def release(self) -> None: ...


@pytest.fixture
def pins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Pins]:
    pins = Pins()
    for number, names in enumerate((["ID_SDA", "GPIO16", "GPIO17"], ["EXP0", "EXP1"])):
        (tmp_path / f"gpiochip{number}").touch()
        pins.names[f"gpiochip{number}"] = names
    CChip.pins = pins
    monkeypatch.setattr(gpiod._ext, "Chip", CChip)
    yield pins
    os.close(pins.fd)


def source(tmp_path: Path, *lines: str, log: Log | None = None) -> EdgeSource:
    return EdgeSource(lines, "up", False, log or Log(), tmp_path)


def now_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def test_the_level_at_the_start_then_each_edge_with_the_kernels_stamp(pins: Pins, tmp_path: Path) -> None:
    before = now_us()
    pins.levels = {2: 1}
    edges = source(tmp_path, "GPIO17", "gpiochip0/1")
    first = edges.receive()
    assert [(message.topic, message.data) for message in first] == [("GPIO17", b"1"), ("gpiochip0/1", b"0")]
    assert all(before <= (message.t_us or 0) <= now_us() for message in first)
    assert (pins.consumer, pins.buffer) == ("hutkeeper", BUFFER_EVENTS)
    boot_less_mono_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    t_ns = time.monotonic_ns()
    for n in range(4):
        pins.edge(2, rising=bool(n % 2), t_ns=t_ns + n * 1_000_000)
    got = edges.receive()
    assert [(message.topic, message.data) for message in got] == [("GPIO17", level) for level in (b"0", b"1") * 2]
    stamps = [message.t_us or 0 for message in got]
    assert abs(stamps[0] - (t_ns + boot_less_mono_ns) // 1000) < 1000
    assert [b - a for a, b in pairwise(stamps)] == [1000] * 3
    edges.close()


def test_an_edge_while_the_level_is_asked_is_not_told_twice(pins: Pins, tmp_path: Path) -> None:
    pins.levels = {2: 1}  # read after the edge
    pins.edge(2, rising=True)
    edges = source(tmp_path, "GPIO17")
    assert [message.data for message in edges.receive()] == [b"0", b"1"]
    edges.close()


def test_lines_of_two_chips_come_in_order_of_their_stamps(pins: Pins, tmp_path: Path) -> None:
    edges = source(tmp_path, "EXP1", "GPIO17")
    assert {message.topic for message in edges.receive()} == {"EXP1", "GPIO17"}
    edges.close()


def test_edges_that_the_kernel_dropped_are_said(pins: Pins, tmp_path: Path) -> None:
    log = Log()
    edges = source(tmp_path, "GPIO17", log=log)
    pins.edge(2, True, seqno=1)
    pins.edge(2, False, seqno=42)
    assert len(edges.receive()) == 3
    assert log.of("warning") == ["GPIO17: 40 edges lost, faster than this machine could take them"]
    edges.close()


def test_every_trouble_names_chip_and_reason(pins: Pins, tmp_path: Path) -> None:
    with pytest.raises(GpioTrouble, match=r"^E_GPIO GPIO99: no line of this name on gpiochip0, gpiochip1; .*gpioinfo"):
        source(tmp_path, "GPIO99")
    with pytest.raises(GpioTrouble, match=r"no .*/gpiochip7; .*there is gpiochip0, gpiochip1"):
        source(tmp_path, "gpiochip7/1")
    with pytest.raises(ConfigError, match=r"gpiochip0 has no such line"):
        source(tmp_path, "gpiochip0/64")
    with pytest.raises(ConfigError, match=r"gpiochip0/2 and GPIO17 are the same pin"):
        source(tmp_path, "GPIO17", "gpiochip0/2")
    with pytest.raises(ConfigError, match=r"'17' is no line"):
        source(tmp_path, "17")
    pins.held = {2: "w1"}
    with pytest.raises(GpioTrouble, match=r"gpiochip0/2 is held by w1; "):
        source(tmp_path, "GPIO17")
    pins.errors = {str(tmp_path / "gpiochip0"): errno.EACCES}
    with pytest.raises(GpioTrouble, match=r"no permission for .*gpiochip0; .*usermod -aG \S+ \S+, then restart"):
        source(tmp_path, "GPIO17")


def test_a_machine_without_pins_says_so(tmp_path: Path) -> None:
    with pytest.raises(GpioTrouble, match=r"E_GPIO GPIO17: no .*gpiochip\* on this machine"):
        source(tmp_path, "GPIO17")


def test_a_chip_that_is_pulled_out(pins: Pins, tmp_path: Path) -> None:
    edges = source(tmp_path, "GPIO17")
    edges.receive()
    pins.edge(2, True)
    pins.gone = True
    with pytest.raises(RetryLater, match="the chip went away: No such device"):
        edges.receive()
    edges.close()


# --- simulated pins -----------------------------------------------------------------------------------------------


def wait(seconds: float, fd: int | None = None) -> bool:
    import select

    return bool(select.select([fd] if fd is not None else [], (), (), seconds)[0])


def read(stream: SourceStream) -> Message:
    message = stream.read(5.0)
    assert message is not None
    return message


def test_simulated_pins_over_real_sockets() -> None:
    with SimPins("pulse", "back") as sim:
        sim.set("pulse", 1)
        lines = sim.line("pulse"), sim.line("back")
        stream = SourceStream(EdgeSource(lines, "none", False, Log()), wait)
        assert {(m.topic, m.data) for m in (read(stream), read(stream))} == {(lines[0], b"1"), (lines[1], b"0")}
        for n in range(300):
            sim.set("pulse", n % 2, t_us=1_000_000 + n)
        got = [read(stream) for _ in range(300)]
        assert [m.t_us for m in got] == list(range(1_000_000, 1_000_300))
        assert [m.data for m in got[:3]] == [b"0", b"1", b"0"]
        stream.close()
        inverted = SourceStream(EdgeSource(lines[:1], "none", True, Log()), wait)
        assert read(inverted).data == b"0"
        inverted.close()


def test_a_simulated_pin_that_goes_away_and_comes_back() -> None:
    with SimPins("pulse") as sim:
        stream = SourceStream(EdgeSource((sim.line("pulse"),), "none", False, Log()), wait)
        read(stream)
        sim.unplug()
        with pytest.raises(GpioTrouble, match=r"E_GPIO sim:.*: the simulated pin went away: closed"):
            stream.read(5.0)
        stream.close()
        with pytest.raises(GpioTrouble, match=r"no simulated pin there \(No such file or directory\)"):
            EdgeSource((sim.line("pulse"),), "none", False, Log())
        sim.plug()
        again = SourceStream(EdgeSource((sim.line("pulse"),), "none", False, Log()), wait)
        assert read(again).data == b"0"
        again.close()


def test_a_simulated_pin_that_speaks_nonsense(tmp_path: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "pin"))
        listener.listen()
        edges = EdgeSource((f"sim:{tmp_path / 'pin'}",), "none", False, Log())
        peer = listener.accept()[0]
        peer.sendall(b" 1\n1234 ")
        assert edges.receive() == [Message(b"1", None, f"sim:{tmp_path / 'pin'}")]
        peer.sendall(b"0\nhello\n")
        with pytest.raises(GpioTrouble, match=r"it said b'hello', not '<t_us> <0 or 1>'"):
            edges.receive()
        edges.close()
        peer.close()
