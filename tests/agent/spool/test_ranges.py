"""Ranges against plain sets."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from agent.spool.ranges import Ranges

pairs = st.lists(st.tuples(st.booleans(), st.integers(1, 40), st.integers(0, 12)), max_size=12)


@settings(deadline=None)
@given(pairs, st.integers(1, 60), st.integers(0, 30))
def test_ranges_are_a_set_of_numbers(steps: list[tuple[bool, int, int]], first: int, width: int) -> None:
    ranges, model = Ranges(), set[int]()
    for adding, start, length in steps:
        numbers = set(range(start, start + length))
        if adding:
            new = ranges.add(start, start + length - 1)
            assert {n for a, b in new for n in range(a, b + 1)} == numbers - model
            model |= numbers
        else:
            ranges.remove(start, start + length - 1)
            model -= numbers
    held = list(ranges)
    assert {n for a, b in held for n in range(a, b + 1)} == model
    assert all(b + 1 < c for (_, b), (c, _) in pairwise(held)), "joined and disjoint"
    holes = {n for a, b in ranges.holes(first, first + width) for n in range(a, b + 1)}
    assert holes == set(range(first, first + width + 1)) - model
    assert all((n in ranges) == (n in model) for n in range(70))
    upto = 0
    while upto + 1 in model:
        upto += 1
    assert ranges.upto == upto
