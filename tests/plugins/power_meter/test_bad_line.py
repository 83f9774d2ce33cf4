"""One bit in a hundred is wrong: what passes, telegram by telegram, against what the meter said.

A short run here; HUTKEEPER_LONG=1 makes it 10^5 telegrams (figures.py prints the same as a table)."""

from __future__ import annotations

import os

import pytest

from plugins.power_meter.plausibility import Outcomes, Plausibility
from tests.plugins.power_meter.damage import MAKERS, run

LONG = bool(os.environ.get("HUTKEEPER_LONG"))
COUNT = 100_000 if LONG else 700
TELEINFO = [name for name in MAKERS if name.startswith("teleinfo")]


@pytest.mark.parametrize("rate", [0.01, 0.0005])
@pytest.mark.parametrize("name", ["dsmr 4", "dsmr 5", "sml", "pzem"])
def test_B53_protocols_with_a_crc_let_no_wrong_value_through(name: str, rate: float) -> None:
    got = run(name, COUNT, rate, alone=False)
    assert (got.wrong_counters, got.wrong_instant) == (0, 0), got.examples


@pytest.mark.parametrize("name", ["dsmr 2.2", "dsmr 3"])
def test_B53_p1_without_a_crc_is_held_to_its_grammar(name: str) -> None:
    got = run(name, COUNT, 0.01)
    assert (got.wrong_counters, got.wrong_instant) == (0, 0), got.examples
    # Where damage is rare enough that telegrams look whole, grammar alone is not enough, and the rest is.
    got = run(name, COUNT, 0.001)
    assert got.alone_counters + got.alone_instant > 10
    assert got.wrong_counters == 0 and 10 * got.wrong_instant <= got.alone_instant, got.examples


@pytest.mark.parametrize("name", TELEINFO)
def test_B53_teleinfo_books_no_wrong_counter(name: str) -> None:
    got = run(name, COUNT, 0.01)
    assert got.alone_counters + got.alone_instant > 3, "the line was too good to test anything"
    assert got.wrong_counters == 0, got.examples
    assert 10 * got.wrong_instant <= got.alone_instant, got.examples
    assert got.accepted_counters > 0, "a counter that is never believed is no reading"


@pytest.mark.parametrize("name", TELEINFO)
def test_teleinfo_with_its_parity_bits_is_nearly_immune(name: str) -> None:
    got = run(name, COUNT, 0.01, parity=True)
    assert (got.wrong_counters, got.wrong_instant) == (0, 0), got.examples


@pytest.mark.parametrize("name", MAKERS)
def test_plausibility_throws_nothing_of_a_clean_line_away(name: str) -> None:
    got = run(name, 300, 0.0)
    assert got.accepted == got.offered and got.accepted_counters == got.offered_counters
    assert (got.wrong_counters, got.wrong_instant) == (0, 0), got.examples


@pytest.mark.parametrize("name", TELEINFO)
def test_a_fair_line_keeps_nearly_all(name: str) -> None:
    got = run(name, COUNT, 0.0001)
    assert got.accepted >= 0.95 * got.offered
    assert got.wrong_counters == 0, got.examples


# --- the rules one by one -----------------------------------------------------------------------------------------


def noisy(bad: int) -> tuple[Outcomes, Plausibility]:
    outcomes = Outcomes(256)
    for _ in range(bad):
        outcomes.record(False)
    return outcomes, Plausibility(outcomes, fair=8)


def test_on_a_noisy_line_the_middle_of_three_equal_readings_is_booked() -> None:
    _, rules = noisy(100)
    read = [rules.counter("BASE", value, t, rate_per_s=11, slack=1)
            for t, value in enumerate([700, 702, 902, 702, 703, 702, 702])]
    assert read == [None, None, None, None, None, 3, 5]


def test_on_a_fair_line_a_counter_cannot_jump_nor_fall() -> None:
    _, rules = noisy(1)
    for t in range(3):  # three that agree begin a line
        last = rules.counter("BASE", 1000 + t, t, rate_per_s=11, slack=1)
    assert last == 2
    assert rules.counter("BASE", 5002, 3, rate_per_s=11, slack=1) is None
    assert rules.counter("BASE", 1001, 4, rate_per_s=11, slack=1) is None
    assert rules.counter("BASE", 1010, 5, rate_per_s=11, slack=1) == 5


def test_a_swapped_meter_is_believed_after_three_readings() -> None:
    outcomes, rules = noisy(1)
    for t in range(4):
        rules.counter("BASE", 90_000 + t, t, rate_per_s=11, slack=1)
    assert [rules.counter("BASE", 3 + t, 10 + t, rate_per_s=11, slack=1) for t in range(4)] == [None, None, 12, 13]
    assert outcomes.bad == 1


def test_a_quantity_that_jumps_is_looked_at_twice_on_a_fair_line() -> None:
    _, rules = noisy(1)
    assert [rules.quantity("PAPP", value, t, small=150) for t, value in enumerate([500, 520, 8520, 530, 3000, 3010])] \
        == [None, 1, None, 3, None, 5]


def test_link_quality_is_the_share_of_the_last_frames() -> None:
    outcomes = Outcomes(4)
    for good in (False, True, True, True, True):
        outcomes.record(good)
    assert (outcomes.quality_pct, outcomes.bad, outcomes.bad_total) == (100.0, 0, 1)
