"""The short form of ``python -m tests.safety``, and what allows its short cuts."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from agent.guard.lease import Lease
from plugins.relay_heater.control import Control

from . import traces
from .checker import Checker
from .compare import Pair, compared, differences
from .faults import draw
from .machine import walk
from .mutants import MUTANTS, Mutant, NoStarts, caught
from .scenarios import Day
from .stateful import drive
from .verdict import LIMITS

SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_day_of_faults_breaks_no_limit(seed: int) -> None:
    verdict = Checker(Day(seed).run()).judge()
    assert verdict.violations == []
    assert {"bogus", "unbroken", "starts"} <= verdict.worst.keys() <= LIMITS.keys()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_rule_taken_away_is_seen_and_with_it_all_is_well(mutant: Mutant) -> None:
    assert caught(mutant)
    assert not caught(replace(mutant, control=Control, lease=Lease, seeds=1))


@pytest.mark.parametrize("name", ["age of a sample, in both", "4 h, in both", "the hour of frost duty, in both"])
def test_either_of_control_and_guard_alone_is_enough(name: str) -> None:
    mutant = next(one for one in MUTANTS if one.name == name)
    assert not caught(replace(mutant, control=Control, seeds=1))
    assert not caught(replace(mutant, lease=Lease, seeds=1))


def test_skipping_from_event_to_event_changes_nothing_that_matters() -> None:
    """A day with faults of guard and control; the long form compares twenty."""
    assert {"guard_kill", "guard_stop", "control_stop"} <= {fault.kind for fault in Day(100_011).faults}
    assert differences([compared(100_011, 5.0)]) == []


def test_a_control_that_heats_otherwise_is_a_difference() -> None:
    assert differences([Pair(1, (5.0, 9.0), (10, 10), [])]) != []
    assert differences([Pair(1, (5.0, 5.2), (10, 40), [])]) != []


def test_a_day_is_the_same_each_time() -> None:
    assert Day(7).run().edges == Day(7).run().edges


def test_faults_overlap_but_no_two_of_one_kind() -> None:
    for seed in range(200):
        found = draw(random.Random(seed))
        assert all(0 < one.begin_us < one.end_us <= 86_400_000_000 for one in found)


# --- the random machine -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_random_machine(seed: int) -> None:
    assert walk(seed, 1500) == 1500


def test_the_machine_sees_a_control_that_counts_no_starts() -> None:
    with pytest.raises(AssertionError, match="starts in an hour"):
        for seed in range(8):
            walk(seed, 2000, control=NoStarts)


def test_hypothesis_machine() -> None:
    assert drive(12, 25) > 300


# --- B42 on a recorded room ---------------------------------------------------------------------------------------


@pytest.mark.skipif(not traces.RECORDED.exists(), reason="the recorded room (../shared/data/heat) is not here")
def test_b42_a_recorded_room_that_is_frozen_is_found() -> None:
    """A fine digit in half an hour, a coarse one in what its longest standstill allows; neither alarms while it lives.
    """
    room, makes = traces.minutes(most_days=18), list(traces.MAKES)
    fine, coarse = (traces.examine(make, 12, 100_000, room) for make in (makes[2], makes[0]))
    assert fine.in_time == 1.0 and fine.false == coarse.false == 0
    assert all(found <= limit + 1 for found, limit in zip(coarse.found_min, coarse.limit_min, strict=True))
