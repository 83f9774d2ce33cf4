"""The real processes: ``hutkeeper-agent run`` with a heater that wants ON for ever, and its guard, killed and stopped.

The pin is a file that outlives every process; every edge in it has CLOCK_MONOTONIC. Each case takes seconds because
the limits do; the long form (every pair, several seeds) is ``make safety``."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from agent.guard import pins, wire
from tests.agent.supervision.device import Device
from tests.waiting import until

HEATER = """
[plugins.heater]
use = "stand_in_heater"
simulate = false
relay = {{ driver = "plain", line = "sim:{pin}" }}
{more}
"""


@pytest.fixture
def device(tmp_path):
    with Device(tmp_path) as device:
        yield device


def start(device: Device, more: str = "") -> Path:
    pin = device.folder / "heater.pin"
    device.write(HEATER.format(pin=pin, more=more))
    device.start()
    return pin


def on(pin: Path) -> bool:
    return pins.last_level(pin)


def pid(device: Device, program: str) -> int:
    return device.states()[program][1]


def test_b45_killed_control_loses_its_heat_at_once_and_gets_it_back(device):
    pin = start(device)
    until("heating", lambda: on(pin))
    before = time.monotonic()
    os.kill(pid(device, "plugin-heater"), signal.SIGKILL)
    until("off", lambda: not on(pin))
    assert time.monotonic() - before < 10
    until("heating again", lambda: on(pin))


def test_b45_stopped_control_loses_its_heat_within_the_lease(device):
    pin = start(device)
    until("heating", lambda: on(pin))
    victim = pid(device, "plugin-heater")
    os.kill(victim, signal.SIGSTOP)
    stopped = time.monotonic()
    until("off", lambda: not on(pin), timeout_s=40)
    assert 5 < time.monotonic() - stopped < 30
    os.kill(victim, signal.SIGCONT)
    until("heating again", lambda: on(pin))


def test_a_stopped_guard_is_killed_by_control_and_its_successor_starts_with_off(device):
    pin = start(device)
    until("heating", lambda: on(pin))
    first = pid(device, "guard-heater")
    edges = len(list(pins.edges(pin)))
    os.kill(first, signal.SIGSTOP)
    stopped_us = time.monotonic_ns() // 1000
    until("off by the successor", lambda: len(list(pins.edges(pin))) > edges, timeout_s=40)
    at_us, level = list(pins.edges(pin))[edges]
    assert level is False
    assert at_us - stopped_us < 30_000_000
    until("heating again", lambda: on(pin))
    assert pid(device, "guard-heater") != first
    assert "E_GUARD_SILENT" in device.log("plugin-heater")


def test_without_supervisord_control_starts_a_guard_of_its_own(device):
    pin = start(device)
    until("heating", lambda: on(pin))
    boss = device.supervisord()
    first = pid(device, "guard-heater")
    os.kill(boss, signal.SIGSTOP)
    try:
        edges = len(list(pins.edges(pin)))
        killed_us = time.monotonic_ns() // 1000
        os.kill(first, signal.SIGKILL)
        until("off by a guard of control's own", lambda: len(list(pins.edges(pin))) > edges, timeout_s=40)
        at_us, level = list(pins.edges(pin))[edges]
        assert level is False
        assert at_us - killed_us < 30_000_000
        until("heating again", lambda: on(pin))
        lock = wire.GuardLock(device.run_dir, "heater")
        holder = lock.holder()
        assert holder not in (None, first)
    finally:
        os.kill(boss, signal.SIGCONT)
    # supervisord's own guard comes back and waits; two never move the pin
    until("two guards", lambda: len(guards(device)) == 2)
    assert lock.holder() == holder


def guards(device: Device) -> list[psutil.Process]:
    return [one for one in device.processes() if "guard" in one.cmdline()]


def test_an_end_leaves_the_pin_off(device):
    pin = start(device)
    until("heating", lambda: on(pin))
    device.stop()
    assert not on(pin)


def test_b46_the_hardware_watchdog_is_fed_and_closed_with_its_letter(device):
    fed = device.folder / "watchdog"
    fed.write_bytes(b"")
    pin = device.folder / "heater.pin"
    device.write(HEATER.format(pin=pin, more=""))
    device.toml.write_text(device.toml.read_text().replace(
        "[device]\n", f'[device]\nhardware_watchdog = "{fed}"\n'))
    device.start()
    until("fed", lambda: fed.stat().st_size >= 2)
    device.stop()
    assert fed.read_bytes().strip(b"\0") == b"V"


def test_a_valve_stays_where_it_was_told_whoever_dies(device):
    wish = device.folder / "wish"
    wish.write_text("on")
    pin = start(device, f'kind = "hold"\nwish = "{wish}"')
    until("open", lambda: on(pin))
    for program in ("plugin-heater", "guard-heater"):
        victim = pid(device, program)
        os.kill(victim, signal.SIGKILL)
        until("a new one", lambda program=program, victim=victim: device.states().get(program, ("", 0))[1]
              not in (0, victim))
        until("still open", lambda: on(pin))
    device.stop()
    assert on(pin)
    pin.unlink()  # a power cut: a plain relay falls off
    wish.write_text("off")
    device.start()
    until("open again before anybody wished anything", lambda: True in [level for _, level in pins.edges(pin)])
    until("closed by the new wish", lambda: pin.exists() and not on(pin))
