"""Output lines of a relay: the real gpiod library over a stand-in of its C part."""

from __future__ import annotations

import errno

import pytest

from agent.api import ConfigError, Duty, LatchingRelay, PlainRelay
from agent.guard.drive import Driver
from agent.guard.keeper import Keeper
from agent.guard.lease import Ask
from agent.guard.pins import PinError, open_pins
from tests.agent.runner.c_gpiod import Pins, pins

__all__ = ["pins"]


def test_a_plain_relay_and_its_probe(pins: Pins, tmp_path) -> None:
    opened = open_pins(PlainRelay(line="GPIO17", probe_line="GPIO16"), tmp_path)
    assert pins.consumer == "hutkeeper-guard"
    opened.write("line", True)
    opened.write("line", False)
    assert pins.written == [("gpiochip0", 2, 1), ("gpiochip0", 2, 0)]
    assert opened.read("probe_line") is False
    pins.levels[1] = 1
    assert opened.read("probe_line") is True
    opened.close()


def test_a_latching_relay_over_two_chips_is_pulsed(pins: Pins, tmp_path) -> None:
    relay = LatchingRelay(set_line="GPIO17", reset_line="gpiochip1/1", pulse_ms=20)
    driver = Driver(relay, open_pins(relay, tmp_path))
    driver.put(True)
    driver.put(False)
    assert pins.written == [
        ("gpiochip1", 1, 0), ("gpiochip0", 2, 1), ("gpiochip0", 2, 0),
        ("gpiochip0", 2, 0), ("gpiochip1", 1, 1), ("gpiochip1", 1, 0)]


def test_two_names_of_one_pin_are_refused(pins: Pins, tmp_path) -> None:
    with pytest.raises(ConfigError, match="are the same pin"):
        open_pins(LatchingRelay(set_line="GPIO17", reset_line="gpiochip0/2"), tmp_path)


@pytest.mark.parametrize(("trouble", "words"), [
    ("held", "is held by someone"), ("denied", "no permission for"), ("missing", "no line of this name"),
])
def test_every_trouble_says_which_line_and_what_to_do(pins: Pins, tmp_path, trouble, words) -> None:
    if trouble == "held":
        pins.held[2] = "someone"
    elif trouble == "denied":
        pins.errors[str(tmp_path / "gpiochip0")] = errno.EACCES
    with pytest.raises(PinError, match=words):
        open_pins(PlainRelay(line="GPIO99" if trouble == "missing" else "GPIO17"), tmp_path)


def test_a_chip_that_is_pulled_out_while_on_is_told_and_opened_again_with_off(pins: Pins, tmp_path) -> None:
    relay = PlainRelay(line="GPIO17")
    keeper = Keeper("heater", Duty(kind="heat"), 0, open_driver=lambda: Driver(relay, open_pins(relay, tmp_path)))
    assert keeper.look(0).on is False
    assert keeper.ask(Ask(on=True, sample_us=1, sample_max_age_s=60), 1).on is True
    pins.gone = True
    state = keeper.ask(Ask(on=False), 2)
    assert state.on is None
    assert state.fault.startswith("E_GPIO")
    pins.gone = False
    pins.written.clear()
    assert keeper.look(5_000_002).on is False
    assert pins.written == [("gpiochip0", 2, 0)]
