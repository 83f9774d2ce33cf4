"""Hypothesis drives the random machine, and shrinks what it finds (B48): single steps, one operation again and again,
and stretches of a walk. ``longest`` goes on until so many steps were made, with another seed each time."""

from __future__ import annotations

import os
import random
import time

from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from .machine import Machine, drawn_op

STRETCH = 120
OPS = sorted(set(Machine.OPS))
share = st.floats(0, 1, exclude_max=True)


class Walk(RuleBasedStateMachine):
    """Counts its steps in :attr:`made`."""

    made = 0

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine()

    def _step(self, op: str, x: float) -> None:
        self.machine.step(op, x)
        Walk.made += 1

    @rule(op=st.sampled_from(OPS), x=share)
    def step(self, op: str, x: float) -> None:
        self._step(op, x)

    @rule(op=st.sampled_from(("tick", "sample", "bogus", "kill", "guard", "load")), x=share, times=st.integers(2, 20))
    def again(self, op: str, x: float, times: int) -> None:
        for number in range(times):
            self._step(op, (x + 0.618 * number) % 1)

    @rule(number=st.integers(0, 2**32), steps=st.integers(1, STRETCH))
    def stretch(self, number: int, steps: int) -> None:
        rng = random.Random(number)
        for _ in range(steps):
            self._step(drawn_op(rng), rng.random())


def drive(examples: int, count: int, number: int | None = None) -> int:
    """The steps that were made. Raises what the machine raises, with the shortest way there."""
    before = Walk.made
    machine = Walk if number is None else seed(number)(type("Walk", (Walk,), {}))
    run_state_machine_as_test(machine, settings=settings(
        max_examples=examples, stateful_step_count=count, deadline=None, database=None,
        suppress_health_check=list(HealthCheck)))
    return Walk.made - before


def longest(steps: int, number: int) -> tuple[int, float, str]:
    """At least so many steps; how many, in how many seconds, and what broke."""
    made, began = 0, time.monotonic()
    os.environ.setdefault("HYPOTHESIS_NO_PLUGINS", "1")
    try:
        while made < steps:
            made += drive(40, 50, number)
            number += 1
    except AssertionError as error:
        return made, time.monotonic() - began, f"hypothesis seed {number}: {error}"
    return made, time.monotonic() - began, ""
