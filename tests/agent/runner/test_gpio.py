"""Input pins: the real gpiod library over a stand-in of its C part (no machine of the tests has a gpiochip), and
simulated pins over real sockets on the runner's own stream."""

from __future__ import annotations

import errno
import time
from itertools import pairwise
from pathlib import Path

import pytest

from agent.api import ConfigError, Message, RetryLater
from agent.runner.gpio import EdgeSource
from agent.runner.gpio_lines import BUFFER_EVENTS, GpioTrouble
from agent.runner.messages import SourceStream
from agent.simpins import SimPins
from agent.testing.fakes import Lines
from tests.agent.runner.c_gpiod import Pins, pins

__all__ = ["pins"]


class Log(Lines):
    def warning(self, msg: str, *args: object) -> None:
        self("warning", msg % args)


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


def test_lines_of_two_chips_are_one_source(pins: Pins, tmp_path: Path) -> None:
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


def test_edges_of_several_lines_come_in_the_order_of_their_stamps() -> None:
    with SimPins("a", "b", "c") as sim:
        edges = EdgeSource((sim.line("a"), sim.line("b"), sim.line("c")), "none", False, Log())
        first: list[Message] = []
        while len(first) < 3:
            wait(5.0, edges.fileno())
            first += edges.receive()
        for t_us, name in ((30, "a"), (10, "c"), (20, "b")):
            sim.set(name, 1, t_us=t_us)
        assert [message.t_us for message in edges.receive()] == [10, 20, 30]
        edges.close()


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
