"""What ``check`` says of a relay before anything is switched."""

from __future__ import annotations

import pytest

from agent.api import Duty, LatchingRelay, PlainRelay
from agent.guard.look import at_power_on, problems
from tests.agent.runner.c_gpiod import Pins, pins

__all__ = ["pins"]
HEAT, HOLD = Duty(kind="heat"), Duty(kind="hold")


@pytest.mark.parametrize(("relay", "duty", "words"), [
    (PlainRelay(line="GPIO17"), HEAT, None),
    (PlainRelay(line="GPIO5"), HEAT, "pull-up there, which is ON"),
    (PlainRelay(line="GPIO17", active_low=True), HEAT, "pull-down there, which is ON"),
    (PlainRelay(line="GPIO5", active_low=True), HEAT, None),
    (PlainRelay(line="GPIO5"), HOLD, None),
    (PlainRelay(line="gpiochip0/5"), HEAT, None),
    (LatchingRelay(set_line="GPIO17", reset_line="GPIO18"), HEAT, "latching relay stays ON"),
])
def test_a_heater_that_would_be_on_at_power_on_is_a_problem(relay, duty, words) -> None:
    found = list(at_power_on(relay, duty))
    assert len(found) == (words is not None)
    if words:
        assert words in found[0]


def test_it_looks_and_moves_nothing(pins: Pins, tmp_path) -> None:
    assert list(problems(PlainRelay(line="GPIO17", probe_line="GPIO16"), HEAT, tmp_path)) == []
    assert pins.written == []
    assert pins.consumer is None
    assert "are the same pin" in next(iter(problems(
        LatchingRelay(set_line="GPIO17", reset_line="gpiochip0/2"), HOLD, tmp_path)))
    pins.held[2] = "someone"
    assert list(problems(PlainRelay(line="GPIO17"), HEAT, tmp_path)) == [
        "GPIO17 is held by someone: stop it, or wire the relay to another line"]
    pins.held[2] = "hutkeeper-guard"
    assert list(problems(PlainRelay(line="GPIO17"), HEAT, tmp_path)) == []


def test_a_machine_without_pins_says_so(tmp_path) -> None:
    assert "no " in next(iter(problems(PlainRelay(line="GPIO17"), HEAT, tmp_path)))
