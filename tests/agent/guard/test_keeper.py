"""One relay on pins that are files: pulses, probe, repeated OFF, broken pins, and the hand that moves a lamp."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import msgspec
import pytest

from agent.api import ConfigError, Duty, LatchingRelay, PlainRelay
from agent.guard import pins
from agent.guard.drive import Driver
from agent.guard.keeper import Keeper
from agent.guard.lease import Ask

S = 1_000_000
HEAT, HOLD = Duty(kind="heat"), Duty(kind="hold")


@pytest.fixture
def plain(tmp_path):
    return pins.stand_in(PlainRelay(line="GPIO17", probe_line="GPIO22"), tmp_path, "heater")


@pytest.fixture
def latching(tmp_path):
    return pins.stand_in(LatchingRelay(set_line="GPIO23", reset_line="GPIO24", pulse_ms=20), tmp_path, "lamp")


def path_of(line: str) -> Path:
    return Path(line.removeprefix("sim:"))


def keeper(relay, duty, now_us=0, told=None, remember=lambda on: None):
    return Keeper("heater", duty, now_us, open_driver=lambda: Driver(relay, pins.open_pins(relay)), told=told,
                  remember=remember)


def fresh(now_us, on=True):
    return Ask(on=on, sample_us=now_us, sample_max_age_s=60)


def probe(relay, level):
    pins.append_level(path_of(relay.probe_line), level)


def levels(line):
    """Without what changes nothing."""
    all_ = [level for _, level in pins.edges(path_of(line))]
    return [level for n, level in enumerate(all_) if n == 0 or level != all_[n - 1]]


def test_the_first_thing_on_the_pin_is_off(plain):
    pins.append_level(path_of(plain.line), True)  # as a killed guard left it
    one = keeper(plain, HEAT)
    one.look(0)
    assert levels(plain.line)[-1] is False


def test_a_latching_heater_is_pulsed_to_off_at_the_start_and_no_coil_is_held(latching):
    latching = msgspec.structs.replace(latching, probe_line="")
    one = keeper(latching, HEAT)
    one.look(0)
    one.ask(fresh(S), S)
    assert levels(latching.reset_line) == [False, True, False]
    assert levels(latching.set_line) == [False, True, False]
    (rise, _), (fall, _) = list(pins.edges(path_of(latching.set_line)))[-2:]
    assert 20_000 <= fall - rise < 200_000


def test_a_coil_is_low_again_after_an_error_in_the_middle_of_a_pulse(latching):
    def interrupted(seconds):
        raise KeyboardInterrupt

    driver = Driver(latching, pins.open_pins(latching), sleep=interrupted)
    with pytest.raises(KeyboardInterrupt):
        driver.put(True)
    assert levels(latching.set_line)[-2:] == [True, False]


def test_b47_off_that_the_probe_denies_is_repeated_and_told(plain):
    one = keeper(plain, HEAT)
    one.look(0)
    probe(plain, True)  # welded
    states = [one.look(second * S) for second in range(1, 200)]
    assert states[0].contact is True
    first = next(n for n, state in enumerate(states, 1) if state.fault)
    assert first <= 5
    assert states[-1].fault.startswith("E_RELAY_STUCK heater was told OFF and its probe says it is ON")
    repeats = len(list(pins.edges(path_of(plain.line))))
    assert 6 <= repeats <= 15  # a minute quickly, then one a minute
    probe(plain, False)
    assert one.look(201 * S).fault == ""


def test_on_that_the_probe_denies_is_told_as_dead(plain):
    one = keeper(plain, HEAT)
    one.look(0)
    for second in range(1, 8):
        state = one.ask(fresh(second * S), second * S)
    assert state.fault.startswith("E_RELAY_DEAD heater was told ON")
    assert len(list(pins.edges(path_of(plain.line)))) < 8


def test_a_lamp_is_where_it_was_told_after_a_restart(latching):
    told = []
    one = keeper(latching, HOLD, told=True, remember=told.append)
    probe(latching, True)
    assert one.look(0).on is True
    assert levels(latching.set_line)[-2:] == [True, False]
    assert told == [True]


def test_a_lamp_nobody_remembers_starts_from_its_probe_and_is_not_moved(latching):
    probe(latching, True)
    one = keeper(latching, HOLD)
    state = one.look(0)
    assert (state.on, state.contact) == (True, True)
    assert True not in levels(latching.set_line)
    assert True not in levels(latching.reset_line)


def test_a_lamp_moved_by_hand_stays_so_until_the_wish_changes(latching):
    told = []
    one = keeper(latching, HOLD, told=False, remember=told.append)
    probe(latching, False)
    one.look(0)
    one.ask(Ask(on=False), S)
    probe(latching, True)
    state = one.ask(Ask(on=False), 20 * S)
    assert (state.on, state.contact, state.why) == (True, True, "moved by hand")
    assert told[-1] is True
    one.ask(Ask(on=False, insist=True), 22 * S)
    assert levels(latching.reset_line)[-2:] == [True, False]


def test_pins_that_are_not_there_are_told_and_tried_again(tmp_path):
    relay = PlainRelay(line=f"sim:{tmp_path / 'no' / 'line'}")
    (tmp_path / "no").write_text("a file where the folder should be")
    one = Keeper("heater", HEAT, 0, open_driver=lambda: _opened(relay))
    state = one.look(0)
    assert state.fault.startswith("E_GPIO heater:")
    assert state.on is None
    assert one.due_us == 5 * S
    (tmp_path / "no").unlink()
    state = one.look(5 * S)
    assert (state.on, state.fault) == (False, "")


def _opened(relay):
    try:
        return Driver(relay, pins.open_pins(relay))
    except OSError as error:
        raise pins.PinError(str(error)) from None


def test_the_same_pin_twice_is_refused():
    with pytest.raises(ConfigError, match="each needs its own line"):
        pins.open_pins(LatchingRelay(set_line="GPIO23", reset_line="GPIO23"))


def test_a_simulated_pin_keeps_its_level_when_its_history_is_cut(tmp_path, monkeypatch):
    monkeypatch.setattr(pins, "MAX_SIM_BYTES", 2000)
    path = tmp_path / "pin"
    for n in range(400):
        pins.append_level(path, n % 2 == 0)
        assert pins.last_level(path) is (n % 2 == 0)
    assert path.stat().st_size < 2100


def test_two_writers_of_one_simulated_pin_leave_whole_lines(tmp_path):
    path = tmp_path / "pin"

    def write():
        for n in range(300):
            pins.append_level(path, bool(n % 2))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(list(pins.edges(path))) == 1200
    assert time.monotonic() * 1e6 > max(at for at, _ in pins.edges(path))
