"""The plugin on real ptys with the runner's own port: pulled plugs, renamed ports, noise, every protocol found."""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from agent.api import Reading, RetryLater
from agent.testing import AtWork, FakePty, Lines, at_work, io_over
from plugins.power_meter import pzem, sim_wire
from plugins.power_meter.detect import CANDIDATES, Detector
from plugins.power_meter.link import LinkWatch
from plugins.power_meter.plausibility import Outcomes
from plugins.power_meter.plugin import PowerMeter, PowerMeterConfig
from plugins.power_meter.sim_house import House
from tests.plugins.power_meter.damage import START_S, telegrams, with_parity

PATIENCE_S = 20.0


def running(config: PowerMeterConfig) -> AbstractContextManager[AtWork]:
    return at_work(PowerMeter, config, instance="meter")


@contextlib.contextmanager
def talking(device: FakePty, chunks: Iterator[bytes], pause_s: float = 0.03) -> Iterator[None]:
    """A meter that goes on talking; a pulled plug is not its concern."""
    stop = threading.Event()

    def talk() -> None:
        for chunk in chunks:
            if stop.wait(pause_s):
                return
            with contextlib.suppress(OSError):
                if device.plugged:
                    os.set_blocking(device._master, False)  # what nobody reads is lost, as on a line
                    os.write(device._master, chunk)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def endless(name: str) -> Iterator[bytes]:
    while True:
        for _, telegram in telegrams(name, 1000):
            yield telegram


def open_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_B54_unplugged_meter_comes_back_on_another_tty_behind_the_same_name(tmp_path: Path) -> None:
    device = FakePty(tmp_path)
    config = PowerMeterConfig(protocol="teleinfo", mode="historic", port=device.port)
    with device, talking(device, endless("teleinfo historic")), running(config) as plugin:
        plugin.wait(lambda: plugin.value("apparent_power_va") is not None)
        device.unplug()
        plugin.wait(lambda: bool(plugin.lines.of("warning")))
        spare = os.openpty()  # the old name is taken: the meter comes back as another tty
        fds = []
        for _ in range(2):
            device.plug()
            seen = len(plugin.collect())
            plugin.wait(lambda seen=seen: len(plugin.readings) > seen + 5)
            fds.append(open_fds())
            device.unplug()
            plugin.wait(lambda: plugin.worker._failing is not None)
        assert fds[0] == fds[-1], "file descriptors leak"
        for fd in spare:
            os.close(fd)
        device.plug()
    assert "E_SERIAL" in plugin.lines.of("warning")[0]
    stamps = [r.t_us for r in plugin.readings if r.property == "apparent_power_va" and r.t_us is not None]
    assert stamps == sorted(stamps)
    assert not plugin.lines.of("error")


def test_B53_noise_on_the_port_yields_no_value_that_the_meter_did_not_send(tmp_path: Path) -> None:
    rng = random.Random(3)
    clean = [telegram for _, telegram in telegrams("dsmr 5", 40)]
    said = {f"{int(State.import_wh) / 1000:.3f}" for State in (House(1, 3).at(START_S + n) for n in range(41))}

    def chunks() -> Iterator[bytes]:
        for telegram in clean:
            yield rng.randbytes(rng.randrange(60))
            yield telegram[: rng.randrange(len(telegram))] if rng.random() < 0.4 else telegram
        while True:
            yield rng.randbytes(30)

    device = FakePty(tmp_path)
    config = PowerMeterConfig(protocol="dsmr", port=device.port, baudrate=115200)
    with device, talking(device, chunks(), 0.01), running(config) as plugin:
        plugin.wait(lambda: sum(r.property == "active_power_w" for r in plugin.readings) >= 12)
    values = {r.value for r in plugin.readings if r.property == "active_energy_import_kwh"}
    assert values and all(any(abs(float(v) - float(s)) < 0.0021 for s in said) for v in values)
    assert list(plugin.nodes) == ["gas-1"]


@pytest.mark.parametrize(("name", "protocol"), [
    ("teleinfo historic", "teleinfo"), ("teleinfo standard", "teleinfo"), ("dsmr 5", "dsmr"), ("dsmr 2.2", "dsmr"),
    ("sml", "sml"),
])
def test_auto_finds_who_speaks(tmp_path: Path, name: str, protocol: str) -> None:
    device = FakePty(tmp_path)
    with device, talking(device, endless(name)), running(PowerMeterConfig(port=device.port)) as plugin:
        plugin.wait(lambda: plugin.value("active_energy_import_kwh") or plugin.value("active_energy_import_peak_kwh"))
    assert str(plugin.value("protocol")).startswith(protocol)


def test_auto_asks_a_pzem_on_a_silent_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.power_meter.detect.CANDIDATES", tuple(
        replace(setting, patience_s=0.3) for setting in CANDIDATES))
    house = House(1)

    def answer(heard: bytes) -> bytes:
        return sim_wire.pzem(house.at(START_S)) if heard == pzem.request() else b""

    with FakePty(tmp_path, respond=answer) as device, running(PowerMeterConfig(port=device.port)) as plugin:
        plugin.wait(lambda: plugin.value("power_factor") is not None)
    assert plugin.value("protocol") == "pzem 9600 8N1"


class SpeedyLine:
    """A source that is readable at one speed only, as a real line is."""

    def __init__(self, baudrate: int, data: bytes) -> None:
        self.baudrate, self.data, self.now = baudrate, data, 0
        self.at_us = 0
        self.tried: list[int] = []
        self.rng = random.Random(1)

    def serial(self, port: str, *, baudrate: int) -> SpeedyLine:
        self.reconfigure(baudrate=baudrate)
        return self

    def reconfigure(self, *, baudrate: int) -> None:
        self.now = baudrate
        self.tried.append(baudrate)

    def read(self, size: int, timeout_s: float) -> bytes:
        self.at_us += 100_000
        chunk, self.data = self.data[:200], self.data[200:] + self.data[:200]
        return chunk if self.now == self.baudrate else self.rng.randbytes(100)

    def write(self, data: bytes) -> None:
        return

    def close(self) -> None:
        return


@pytest.mark.parametrize(("name", "found"), [
    ("teleinfo historic", "teleinfo 1200 7E1"), ("teleinfo standard", "teleinfo 9600 7E1"),
    ("dsmr 3", "dsmr 9600 7E1"), ("dsmr 5", "dsmr 115200 8N1"), ("sml", "sml 9600 8N1"), ("pzem", "pzem 9600 8N1"),
])
def test_auto_tries_speeds_until_one_is_right(name: str, found: str) -> None:
    data = b"".join(telegram for _, telegram in telegrams(name, 3))
    line = SpeedyLine(int(found.split()[1]), with_parity(data) if found.endswith("7E1") else data)
    with io_over(b"x") as io:
        io.serial = line.serial  # the boundary: everything above it is real
        io.clock = type("Clock", (), {"boottime_us": lambda _: line.at_us, "sleep": lambda _, s: True})()
        plugin = PowerMeter(PowerMeterConfig())
        readings = (item for item in plugin.run(io) if isinstance(item, Reading) and item.property == "protocol")
        assert next(readings).value == found
    assert line.now == line.baudrate and len(line.tried) <= len(CANDIDATES)


def test_a_line_that_is_not_a_meter_is_named_with_what_was_tried(tmp_path: Path) -> None:
    line = SpeedyLine(0, b"x" * 50)
    with io_over(b"x") as io:
        io.serial = line.serial
        io.clock = type("Clock", (), {"boottime_us": lambda _: line.at_us, "sleep": lambda _, s: True})()
        tried = "1200 7E1, 9600 7E1 or 8N1, 115200 8N1, 9600 7E1"
        with pytest.raises(RetryLater, match=f"no right frame at {tried}: check"):
            list(PowerMeter(PowerMeterConfig(port="/dev/ttyUSB7")).run(io))


def test_detector_is_not_misled_by_noise() -> None:
    rng = random.Random(4)
    detector = Detector(("teleinfo", "dsmr", "sml", "pzem"))
    assert all(detector.feed(rng.randbytes(500)) is None for _ in range(200))


def test_a_bad_link_is_logged_at_most_once_a_minute() -> None:
    lines = Lines()
    with io_over(b"x", lines) as io:
        outcomes, watch = Outcomes(64), LinkWatch("/dev/ttyUSB0")
        for second in range(600):
            outcomes.record(second % 3 != 0)
            io.clock.advance(1)
            watch.look(io, outcomes, float(second))
    warned = [text for text in lines.of("warning") if text.startswith("/dev/ttyUSB0: link quality")]
    assert 2 <= len(warned) <= 10 and "check wiring" in warned[0]


@pytest.mark.parametrize("protocol", ["teleinfo", "dsmr", "sml", "pzem"])
def test_the_simulated_meter_speaks_every_protocol(protocol: str) -> None:
    with PowerMeter.simulate(PowerMeterConfig(protocol=protocol), seed=2) as config:
        assert config.port.startswith("/dev/pts/")
        with running(msgspec.structs.replace(config)) as plugin:
            plugin.wait(lambda: any(r.property.startswith("active_energy_import") for r in plugin.readings))
            plugin.wait(lambda: plugin.value("active_power_w") or plugin.value("apparent_power_va"))


def test_simulated_counters_are_the_sum_of_the_power() -> None:
    house = House(5)
    steps = [house.at(START_S + n * 60) for n in range(2880)]
    grown = steps[-1].import_wh - steps[0].import_wh
    summed = sum(state.power_w / 60 for state in steps[:-1])
    assert abs(grown - summed) < 0.01 * grown
    assert all(later.import_wh >= earlier.import_wh for earlier, later in pairwise(steps))


def test_interval_thins_measurements_but_not_words() -> None:
    data = b"".join(telegram for _, telegram in telegrams("dsmr 5", 8))
    config = PowerMeterConfig(protocol="dsmr", interval_s=3600, baudrate=115200)
    with io_over(data) as io:
        readings = [item for item in PowerMeter(config).run(io) if isinstance(item, Reading)]
    assert sum(reading.property == "active_power_w" for reading in readings) == 1
    assert sum(reading.property == "tariff" for reading in readings) == 8
