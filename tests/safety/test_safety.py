"""The short form of ``python -m tests.safety``, and what allows its short cuts."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from msgspec.structs import replace

from agent.guard.lease import Lease
from plugins.relay_heater.control import Control

from .checker import Checker
from .faults import Fault, draw
from .machine import Machine, walk
from .mutants import HOUR_US, MUTANTS, Mutant, NoStarts, caught
from .scenarios import Day
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


@pytest.mark.parametrize("seed", [2])
def test_skipping_from_event_to_event_changes_nothing_that_matters(seed: int) -> None:
    """The same day with a tick every five seconds: edges at other seconds, as the noise falls, and no limit broken; as
    much heat and as many starts within what noise makes of them."""
    faults = [Fault("absent", 3 * HOUR_US, 4 * HOUR_US), Fault("control_kill", 5 * HOUR_US, 5 * HOUR_US + 60_000_000)]
    skipped, ticked = (Checker(Day(seed, faults=faults, step_s=step_s).run()) for step_s in (None, 5.0))
    assert skipped.judge().violations == [] and ticked.judge().violations == []
    on = [sum(end - begin for begin, end in one.on) / 3.6e9 for one in (skipped, ticked)]
    assert on[0] == pytest.approx(on[1], abs=0.5, rel=0.06)
    assert len(skipped.on) == pytest.approx(len(ticked.on), abs=4, rel=0.15)


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


class Walk(RuleBasedStateMachine):
    """Hypothesis drives the machine, and shrinks what it finds."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine()

    @rule(op=st.sampled_from(sorted(set(Machine.OPS))), x=st.floats(0, 1, exclude_max=True))
    def step(self, op: str, x: float) -> None:
        assert math.isfinite(x)
        self.machine.step(op, x)


def test_hypothesis_machine() -> None:
    run_state_machine_as_test(Walk, settings=settings(
        max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)))
