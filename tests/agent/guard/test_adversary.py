"""What a hostile world does to guard and client: each case was a defect once, or would be one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys

import pytest

from agent.api import Duty, PlainRelay
from agent.guard import client, pins, service, wire
from agent.guard.drive import Driver
from agent.guard.keeper import Keeper
from agent.guard.lease import Ask
from agent.runner.logs import CappedLog
from agent.settings import Settings
from agent.testing.fakes import Lines
from tests.waiting import until

S = 1_000_000
HOLDER = """
import sys, time
from pathlib import Path
from agent.guard import wire
lock = wire.GuardLock(Path(sys.argv[1]), "heater")
print(lock.take(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that has the lock, as a living guard has."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "True\n"
        yield process
        process.kill()


def relay_of(tmp_path, clock, start=None):
    clock["now"] = 1000 * S
    return client.GuardedRelay(tmp_path, "heater", CappedLog(Lines()), lambda alert_id, text: None, start)


@pytest.fixture
def clock(monkeypatch):
    now = {"now": 0}
    monkeypatch.setattr(client, "boottime_us", lambda: now["now"])
    return now


def test_a_control_that_was_stopped_itself_kills_no_guard_that_lives(tmp_path, holder, clock):
    relay = relay_of(tmp_path, clock)
    relay.ask(False)
    clock["now"] += 60 * S  # SIGSTOP, or a 1-Wire sensor that answers late
    relay.ask(False)
    assert holder.poll() is None, "it had no chance to be heard"
    for _ in range(12):
        clock["now"] += S
        relay.ask(False)
    until("killed", lambda: holder.poll() is not None)  # now it had, and said nothing


def test_a_guard_that_cannot_be_started_ends_no_control(tmp_path, clock):
    tries = []

    def start():
        tries.append(clock["now"])
        raise BlockingIOError("no process is left")

    relay = relay_of(tmp_path, clock, start)
    for _ in range(20):
        clock["now"] += S
        relay.ask(True)
    assert len(tries) >= 2, "tried again"


def test_only_the_holder_of_the_lock_is_killed(tmp_path, holder):
    with subprocess.Popen(["sleep", "60"]) as bystander:
        assert not wire.kill(bystander.pid, "heater", wire.GuardLock(tmp_path, "heater"))
        assert bystander.poll() is None
        bystander.kill()
    assert wire.kill(holder.pid, "heater", wire.GuardLock(tmp_path, "heater"))
    assert holder.wait(5) == -signal.SIGKILL


def settings_of(tmp_path, run_dir) -> Settings:
    from agent.settings import load

    config = tmp_path / "agent.toml"
    config.write_text(f"""
[device]
id = "pi"
name = "Pi"
run_dir = "{run_dir}"
data_dir = "{tmp_path / 'data'}"
[plugins.heater]
use = "relay_heater"
relay = {{ driver = "plain", line = "sim:{tmp_path / 'heater.pin'}" }}
[plugins.heater.sensors.main]
source = "room/temperature_c"
""")
    return load(config)


@pytest.mark.parametrize("broken", ["no folder can be made", "the lock is a folder", "the socket cannot be made"])
def test_a_guard_that_cannot_lock_or_listen_leaves_the_pin_off(tmp_path, broken):
    """A full or read-only run_dir: the one before was killed while ON, and its successor must say OFF all the same."""
    pins.append_level(tmp_path / "heater.pin", True)
    run_dir = tmp_path / "run"
    if broken == "no folder can be made":
        run_dir.write_text("a file is in the way")
    else:
        run_dir.mkdir()
        name = "guard-heater.lock" if broken == "the lock is a folder" else "guard-heater.sock"
        (run_dir / name).mkdir()
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    try:
        assert service.Guard(settings_of(tmp_path, run_dir), "heater").run() == 1
    finally:
        signal.set_wakeup_fd(-1)
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    assert not pins.last_level(tmp_path / "heater.pin")


def test_a_lock_that_was_deleted_is_no_lock(tmp_path):
    lock = wire.GuardLock(tmp_path, "heater")
    assert lock.take() and not lock.replaced()
    (tmp_path / "guard-heater.lock").unlink()
    assert lock.replaced()
    (tmp_path / "guard-heater.lock").write_text("")
    assert lock.replaced(), "that is another one's"


def test_a_lamp_that_was_left_on_does_not_blink_when_its_guard_starts_anew(tmp_path):
    lamp = PlainRelay(line=f"sim:{tmp_path / 'lamp.pin'}")
    pins.append_level(tmp_path / "lamp.pin", True)
    keeper = Keeper("lamp", Duty(kind="hold"), 0, told=True,
                    open_driver=lambda: Driver(lamp, pins.open_pins(lamp, active=keeper.holds)))
    keeper.look(0)
    assert {level for _, level in pins.edges(tmp_path / "lamp.pin")} == {True}
    keeper.ask(Ask(on=False), S)
    assert not pins.last_level(tmp_path / "lamp.pin")


def test_a_heater_is_never_opened_on(tmp_path):
    heater = PlainRelay(line=f"sim:{tmp_path / 'heater.pin'}")
    keeper = Keeper("heater", Duty(kind="heat"), 0, told=True,
                    open_driver=lambda: Driver(heater, pins.open_pins(heater, active=keeper.holds)))
    keeper.look(0)
    assert {level for _, level in pins.edges(tmp_path / "heater.pin")} == {False}


def test_the_last_word_of_a_guard_is_off_also_when_the_pin_fails_once(tmp_path):
    pin = tmp_path / "heater.pin"
    heater = PlainRelay(line=f"sim:{pin}")
    keeper = Keeper("heater", Duty(kind="heat", start_rest_s=0), 0,
                    open_driver=lambda: Driver(heater, pins.open_pins(heater)))
    keeper.ask(Ask(on=True, sample_us=S, sample_max_age_s=60), S)
    assert pins.last_level(pin)
    keeper._driver._pins.write = fails_once(keeper._driver._pins.write)
    keeper.off(2 * S)
    assert not pins.last_level(pin)


def fails_once(write):
    left = [1]

    def maybe(field, active):
        if left:
            left.pop()
            raise pins.PinError("the line is gone")
        write(field, active)

    return maybe


def test_a_full_socket_is_silence_and_no_error(tmp_path, clock):
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(os.fspath(wire.socket_path(tmp_path, "heater")))
    listening.listen(1)
    relay = relay_of(tmp_path, clock)
    for _ in range(3000):  # nobody reads
        relay.ask(True, why="x" * 400)
    assert relay.state.on is None
    listening.close()
