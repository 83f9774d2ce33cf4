"""How many rows a second: of the decoder, of the whole plugin on a virtual clock, and live over a pty or a socket."""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from agent.api import Reading
from agent.runner.io import RunnerIo
from agent.runner.logs import CappedLog
from agent.runner.worker import Worker, Yield
from agent.testing.fakes import Lines, io_over
from firmware_bridges.esp32_csi import DIALECTS, CsiRow, LineDecoder, write_row
from plugins.esp32_csi.plugin import Esp32Csi, Esp32CsiConfig
from plugins.esp32_csi.simulate import SENDER, Room


class Rate(NamedTuple):
    """``cpu``: part of one core."""

    rows_s: float
    line_bytes: int
    lost: int = 0
    cpu: float = 0.0


def rows_of(values: int, count: int, rate_hz: float = 500.0) -> list[CsiRow]:
    """Simulated rows with the legacy field and HT fields behind it (the same again)."""
    rows = []
    for _, row in Room(1).rows(rate_hz, count / rate_hz, lambda t: False):
        row.values = (row.values * (values // 128))[:values]
        rows.append(row)
    return rows


def decoding(values: int, count: int) -> dict[str, Rate]:
    """Bytes to rows, in pieces of 4096."""
    rates = {}
    rows = rows_of(values, 200)
    for dialect in DIALECTS:
        data = b"".join(write_row(row, dialect) for row in rows)
        wire = data * (count // len(rows))
        decoder, got, began = LineDecoder(), 0, time.process_time()
        for at in range(0, len(wire), 4096):
            got += len(decoder.feed(wire[at : at + 4096]))
        rates[dialect] = Rate(got / (time.process_time() - began), len(data) // len(rows))
    return rates


def plugin(values: int, count: int) -> Rate:
    """Bytes to readings, through the plugin's own run(): process time."""
    wire = b"".join(write_row(row) for row in rows_of(values, count))
    with io_over(wire) as io:
        kind = Esp32Csi(Esp32CsiConfig(links={SENDER: "hall"}, baudrate=6_000_000))
        began = time.process_time()
        for _ in kind.run(io):
            pass
        took = time.process_time() - began
    return Rate(kind._line.rows / took, len(wire) // count)


def live(transport: str, rows_s: int, seconds: float, values: int = 384) -> Rate:
    """The plugin on the runner's worker, its sender a process of its own at ``rows_s``."""
    rows = rows_of(values, 500)
    lines = [write_row(row) for row in rows]
    count = round(rows_s * seconds)
    context = multiprocessing.get_context("fork")
    go = context.Event()
    config: Any
    if transport == "serial":
        master, slave = os.openpty()
        tty.setraw(slave)
        config = Esp32CsiConfig(port=os.ttyname(slave), links={SENDER: "hall"}, interval_s=1)
        sender = context.Process(target=_to_fd, args=(go, master, lines, rows_s, count))
    else:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        config = Esp32CsiConfig(transport="udp", udp_address="127.0.0.1", udp_port=port, links={SENDER: "hall"},
                                interval_s=1)
        sender = context.Process(target=_to_port, args=(go, port, lines, rows_s, count))
    sender.start()  # before there is any thread here
    log = CappedLog(Lines())
    kind = Esp32Csi(config)
    worker = Worker("csi", lambda: Esp32Csi(config), kind, 1.0, threading.Event().set, log)
    worker.io = RunnerIo(worker, log, lambda: None, Path("/nonexistent"))
    worker.start()
    try:
        _until(lambda: kind._line._reported_s > 0)  # the port is open
        cpu, began = time.process_time(), time.monotonic()
        go.set()
        sender.join(seconds * 3 + 30)
        took = time.monotonic() - began
        _until(lambda: kind._line.rows >= count, 10 if transport == "serial" else 0.5)
        cpu = time.process_time() - cpu
    finally:
        worker.stop()
        worker.join(2)
        if transport == "serial":
            os.close(master)
            os.close(slave)
    assert any(isinstance(item, Yield) and isinstance(item.what, Reading) for item in worker.items)
    got = kind._line.rows
    return Rate(got / took, len(lines[0]), count - got, cpu / took)


def _until(done: Callable[[], bool], patience_s: float = 30.0) -> None:
    deadline = time.monotonic() + patience_s
    while not done() and time.monotonic() < deadline:
        time.sleep(0.01)


def _pace(lines: list[bytes], rows_s: int, count: int) -> Any:
    began = time.monotonic()
    for number in range(count):
        ahead = number / rows_s - (time.monotonic() - began)
        if ahead > 0.002:
            time.sleep(ahead)
        yield lines[number % len(lines)]


def _to_fd(go: Any, fd: int, lines: list[bytes], rows_s: int, count: int) -> None:
    go.wait(30)
    for line in _pace(lines, rows_s, count):
        view = memoryview(line)
        while view:
            view = view[os.write(fd, view) :]


def _to_port(go: Any, port: int, lines: list[bytes], rows_s: int, count: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))
        go.wait(30)
        for line in _pace(lines, rows_s, count):
            sender.send(line)
