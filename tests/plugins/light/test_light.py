"""Sensor folders, boards on ptys, and years on a moved clock."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.api import Reading, RetryLater
from agent.testing import FakePty, Lines, at_work, io_over
from firmware_bridges.printed_lines import Splitter
from plugins.light import iio
from plugins.light.judge import Dark, Frozen
from plugins.light.lines import parse
from plugins.light.plugin import Light, LightConfig
from plugins.light.simulate import SCALE, write_sensor
from tests.plugins.light.figures import damaged, false_alarms, found_after_s

FAST = 0.05


# --- the sensor on the IIO bus ------------------------------------------------------------------------------------


def test_the_kernels_three_dresses_of_a_light_sensor(tmp_path: Path) -> None:
    write_sensor(tmp_path, 120)
    folder = tmp_path / "sys/bus/iio/devices/iio:device0"
    assert iio.read(folder) == iio.Sample(pytest.approx(100.0, abs=0.01), SCALE, False)
    (folder / "in_illuminance_raw").write_text("65535\n")
    assert iio.read(folder).saturated
    (folder / "in_illuminance_raw").unlink()
    (folder / "in_illuminance_scale").unlink()
    (folder / "in_illuminance0_input").write_text("37\n")  # tsl2563
    assert iio.read(folder) == iio.Sample(37.0, 1.0, False)
    (folder / "in_illuminance0_input").write_text("37.25\n")
    assert iio.read(folder).step_lx == 0.01


def test_B41_no_sensor_is_said_with_what_there_is_instead(tmp_path: Path) -> None:
    with pytest.raises(iio.Absent, match="it is empty"):
        iio.find(tmp_path, "auto")
    adc = tmp_path / "sys/bus/iio/devices/iio:device0"
    adc.mkdir(parents=True)
    (adc / "name").write_text("ads1115\n")
    write_sensor(tmp_path, 5, "bh1750", 1)
    assert iio.find(tmp_path, "auto").name == iio.find(tmp_path, "bh1750").name == "iio:device1"
    with pytest.raises(iio.Absent, match=r"'tsl2591' .*iio:device0 ads1115 \(no light\), iio:device1 bh1750"):
        iio.find(tmp_path, "tsl2591")


def test_B54_a_sensor_that_comes_back_under_another_number_is_found_again(tmp_path: Path) -> None:
    write_sensor(tmp_path, 60)
    config = LightConfig(sensor="bh1750", interval_s=FAST, root=str(tmp_path))
    with at_work(Light, config) as plugin:
        plugin.until("a value", lambda: plugin.value("illuminance_lx") == pytest.approx(50, abs=0.1))
        shutil.rmtree(tmp_path / "sys/bus/iio/devices/iio:device0")
        plugin.until("told", lambda: "no light sensor" in plugin.state.reason)
        write_sensor(tmp_path, 240, number=3)
        plugin.until("back", lambda: plugin.value("illuminance_lx") == pytest.approx(200, abs=0.1))
        assert plugin.value("dark") is False


def test_B43_a_sensor_that_answers_no_number_gives_no_value_and_a_counter(tmp_path: Path) -> None:
    write_sensor(tmp_path, 60)
    raw = tmp_path / "sys/bus/iio/devices/iio:device0/in_illuminance_raw"
    with at_work(Light, LightConfig(interval_s=FAST, root=str(tmp_path))) as plugin:
        plugin.until("a value", lambda: plugin.value("illuminance_lx"))
        raw.write_text("nan\n")
        plugin.until("counted", lambda: (plugin.value("bad_reads") or 0) >= 3)
        assert plugin.value("illuminance_lx") is None
        assert [r.quality for r in plugin.readings if r.value is None] == ["sensor_error"] * plugin.value("bad_reads")
        raw.unlink()
        raw.mkdir()  # read() fails as with a sensor that does not answer on the bus
        plugin.until("said", lambda: any("check the sensor's wires" in line for line in plugin.lines.of("warning")))
        raw.rmdir()
        raw.write_text("-3\n")
        plugin.until("negative", lambda: plugin.value("illuminance_lx") == pytest.approx(-2.5, abs=0.01))
        raw.write_text("240\n")
        plugin.until("well", lambda: plugin.value("illuminance_lx") == pytest.approx(200, abs=0.1))
        assert set(plugin.values("dark")) == {False}, "no wrong value decided anything"
        assert len(plugin.refused) == 1 and "-2.5 is outside" in plugin.refused.pop()


# --- dark ---------------------------------------------------------------------------------------------------------


def test_dark_has_hysteresis_in_value_and_in_time() -> None:
    dark = Dark(20, 25, 60)
    assert not dark.feed(0, 30)
    assert not dark.feed(10, 22) and not dark.feed(1000, 22), "between the thresholds nothing changes"
    assert not dark.feed(1010, 19) and not dark.feed(1069, 19)
    assert dark.feed(1070, 19)
    assert dark.feed(1080, 24) and dark.feed(2000, 24)
    assert dark.feed(2010, 90) and dark.feed(2030, 10), "a headlight"
    assert dark.feed(2040, 90) and dark.feed(2099, 90)
    assert not dark.feed(2100, 90)


def test_dusk_with_noise_switches_once() -> None:
    chance = random.Random(4)
    dark = Dark(10, 20, 30)
    states = [dark.feed(t, max(0.0, 40 - t / 60) * (1 + chance.gauss(0, 0.15))) for t in range(0, 3600, 10)]
    assert states[0] is False and states[-1] is True
    assert sum(a != b for a, b in pairwise(states)) == 1


# --- frozen -------------------------------------------------------------------------------------------------------


def test_B42_a_frozen_sensor_is_found_within_half_an_hour_by_day_and_no_live_one_is_called_so() -> None:
    """The short form of figures.py."""
    assert false_alarms(seed=1, days=60) == 0
    assert (found_after_s(seed=2) or 1e9) <= 1800


def test_B42_a_sensor_that_reads_zero_for_two_nights_and_the_day_between_is_dead() -> None:
    frozen = Frozen(1800, 36 * 3600)
    assert not any(frozen.feed(t, 0.0, SCALE) for t in range(0, 35 * 3600, 60))
    assert frozen.feed(36 * 3600, 0.0, SCALE)
    assert not frozen.feed(36 * 3600 + 60, 0.8, SCALE), "it lives"


def test_a_coarse_percent_or_full_scale_may_stand_still_for_a_night() -> None:
    for value, step, saturated in ((60.0, 1.0, False), (54612.0, SCALE, True)):
        frozen = Frozen(1800, 36 * 3600)
        assert not any(frozen.feed(t, value, step, saturated) for t in range(0, 12 * 3600, 300))


def test_B42_a_frozen_sensor_decides_nothing(tmp_path: Path) -> None:
    for number in range(40):
        write_sensor(tmp_path / f"root@{number * 300}", 900 if number < 20 else 901 + number)
    lines = Lines()
    with io_over(tmp_path, lines) as io:
        found = [item for item in Light(LightConfig(interval_s=60)).run(io) if isinstance(item, Reading)]
    frozen = [item.value for item in found if item.property == "frozen"]
    assert frozen[:29] == [False] * 29 and frozen[30:100] == [True] * 70 and frozen[105:] == [False] * len(frozen[105:])
    assert {item.quality for item in found if item.property == "dark"} == {None, "uncertain"}
    assert len([text for text in lines.of("warning") if "E_SENSOR_FROZEN" in text]) == 1


# --- lines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("line", "value", "percent"), [
    (b"Lit 23%", 23.0, True), (b"Lit: 23", 23.0, True), (b"LIT=0", 0.0, True), (b"lux=120.5", 120.5, False),
    (b"illuminance 350 lx", 350.0, False), (b"Light:\t12", 12.0, False), (b"light 40%", 40.0, True),
    (b'{"Lit": "23%", "Tmp": "20.5C"}', 23.0, True), (b'{"lux": 120.5}', 120.5, False),
    (b"$lux=120.5*74", 120.5, False),
])
def test_what_boards_print(line: bytes, value: float, percent: bool) -> None:
    found = parse(line)
    assert found is not None and (found.value, found.percent) == (value, percent)


@pytest.mark.parametrize("line", [b"Tmp: 20.5C", b"PIR1", b"Vb* 2.9V", b'{"Tmp": "20.5C"}', b"hum 40 %"])
def test_other_sensors_of_the_board_are_left_out(line: bytes) -> None:
    assert parse(line) is None


@pytest.mark.parametrize("line", [
    b"Lit", b"Lit 2 3", b"Lit 23%%", b"Lit --3", b"Lit 230%", b"Lit 12V", b"lux=12e9", b"lux=.5", b"\xff\xfe", b"{",
    b'{"Lit": "2', b'{"Lit": null}', b'{"Lit": true}', b"lux=120.5*40", b"Lit 23" + b" " * 300, b"lux=nan", b"23",
])
def test_B53_bad_lines_are_bad(line: bytes) -> None:
    with pytest.raises(ValueError):
        parse(line)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_B53_noise_never_raises_anything_else(data: bytes) -> None:
    splitter = Splitter()
    for line in splitter.feed(data + b"\n"):
        try:
            parse(line)
        except ValueError:
            pass


@pytest.mark.parametrize(("checksum", "most_wrong"), [(True, 0), (False, 3)])
def test_B53_flips_and_cuts_give_no_value_that_is_far_from_the_true_one(checksum: bool, most_wrong: int) -> None:
    """Without a checksum a lost digit near a small value is no jump: one in 10 000, with one line in five damaged."""
    wrong, believed = damaged(30_000, 7, checksum)
    assert wrong <= most_wrong and believed > 20_000


@contextmanager
def speaking(device: FakePty, lines: Iterator[bytes]) -> Iterator[None]:
    """A board that prints a line every few milliseconds, whether anybody reads or not."""
    stop = threading.Event()

    def speak() -> None:
        for line in lines:
            if stop.wait(0.01):
                return
            try:
                if device.plugged:
                    os.set_blocking(device._master, False)
                    os.write(device._master, line)
            except OSError:
                continue

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5)


def endless(*lines: bytes) -> Iterator[bytes]:
    while True:
        yield from lines


def test_B54_a_board_that_is_pulled_and_put_back_speaks_again(tmp_path: Path) -> None:
    device = FakePty(tmp_path)
    config = LightConfig(port=device.port, interval_s=FAST, hold_s=0)
    with device, speaking(device, endless(b"Lit 23%\r\n", b"\xff\x00noise\r\n", b"Tmp 20.5C\r\n")), \
            at_work(Light, config) as plugin:
        plugin.until("a value", lambda: plugin.value("luminosity_pct") == 23.0)
        plugin.until("counted", lambda: plugin.value("bad_lines"))
        assert plugin.value("dark") is False, "23 lies between 20 and 25: nearer to light"
        device.unplug()
        plugin.until("told", lambda: plugin.state.state == "failed")
        seen = len(plugin.collect())
        device.plug()
        plugin.until("again", lambda: len(plugin.values("luminosity_pct")) and len(plugin.readings) > seen + 3)
    assert any("E_SERIAL" in line for line in plugin.lines.of("warning"))


def test_B41_a_board_that_falls_silent_is_told_within_three_intervals_and_a_minute() -> None:
    with io_over(b"< 0.0 Lit 23%\\r\\n\n< 1.0 Lit 24%\\r\\n\n< 900.0 Lit 25%\\r\\n\n") as io, \
            pytest.raises(RetryLater, match=r"no value for 9\d s"):
        list(Light(LightConfig(port="x", interval_s=10)).run(io))
