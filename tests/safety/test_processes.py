"""The short form of ``make safety`` for real processes: the two pairs where nobody is left but one keeper."""

from __future__ import annotations

import pytest

from tests.safety.processes import LIMIT_S, Fault, combinations, strike


def test_each_one_and_each_pair_is_in_the_long_form() -> None:
    assert len(list(combinations())) == 8 + 24
    assert len(set(combinations())) == 32


@pytest.mark.parametrize(("faults", "keeper"), [
    ((Fault("control", "stop"), Fault("guard", "stop")), "the watchdog"),
    ((Fault("guard", "stop"), Fault("supervisord", "stop")), "control itself"),
])
def test_g9_the_heat_ends_within_thirty_seconds(faults: tuple[Fault, ...], keeper: str) -> None:
    outcome = strike(faults, seed=1)
    assert outcome.off_after_s is not None, f"{keeper} did not end it"
    assert outcome.off_after_s <= LIMIT_S
    assert outcome.on_again
