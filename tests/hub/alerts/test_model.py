"""The book against a plain model: what lasts and has no open cause is told exactly once, what is over is not told."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from hub.alerts.shelf import GRACE_US
from hub.settings import Alerts
from tests.hub.alerts.desk import T0, Bench, S, condition

END_S = 900
SETTLE_S, LOST_S, HOLD_S = (round(seconds) for seconds in (Alerts().settle_s, Alerts().lost_s, Alerts().over_s))
GRACE_S = GRACE_US["mains"] // S
spans = st.tuples(st.integers(5, 300), st.integers(1, 500))
"""Begin and length in seconds; each condition is there once."""


@settings(max_examples=25, deadline=None)
@given(mains=st.none() | spans, lost=st.lists(spans, max_size=3), values=st.lists(spans, max_size=3),
       critical=st.lists(spans, max_size=2), restarts=st.sets(st.integers(5, END_S), max_size=2))
def test_told_exactly_once(mains: tuple[int, int] | None, lost: list[tuple[int, int]],
                           values: list[tuple[int, int]], critical: list[tuple[int, int]], restarts: set[int]) -> None:
    made = {f"lost:d{n}": (condition(f"lost:d{n}", f"device:d{n}", absent=True), span) for n, span in enumerate(lost)}
    made |= {f"value-{n}": (condition(f"value-{n}", f"property:d{n}/x/y"), span) for n, span in enumerate(values)}
    made |= {f"leak-{n}": (condition(f"leak-{n}", severity="critical"), span) for n, span in enumerate(critical)}
    if mains is not None:
        made["mains"] = (condition("mains", "mains", "critical", since_us=T0 + mains[0] * S), mains)
    with TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        bench.at(0)
        for second in range(1, END_S):
            if second in restarts:
                began_us = bench.book.began_us
                bench.kill()
                bench.book.began_us = began_us  # the time after a start has tests of its own
            bench.wrong = {key: one for key, (one, (at, long)) in made.items() if at <= second < at + long}
            bench.at(second)
        bench.db.close()
    for key, (_, span) in made.items():
        told = [event for event in bench.events if event.alert.key == key]
        begins = [(event.t_us - T0) // S for event in told if event.what == "opened"]
        ends = [(event.t_us - T0) // S for event in told if event.what == "resolved"]
        wanted = expected(key, span, mains)
        assert begins == ([wanted] if wanted is not None else []), key
        assert ends == ([span[0] + span[1] + HOLD_S] if begins else []), key
        assert all(span[0] <= second < span[0] + span[1] for second in begins), "never told as open when it was over"
        assert len(told) == len(begins) + len(ends)


def expected(key: str, span: tuple[int, int], mains: tuple[int, int] | None) -> int | None:
    """The second in which it is told, by a model that knows the whole evening."""
    begin, end = span[0], span[0] + span[1]
    settle = 0 if key.startswith("leak") or key == "mains" else SETTLE_S
    due = begin + (LOST_S if key.startswith("lost:") else settle)
    if key.startswith("lost:") and mains is not None:
        cut, over = mains[0], mains[0] + mains[1] + HOLD_S
        # from then on it is a child; a cause that was found out up to two minutes later still counts
        child_from = max(begin, cut)
        plausible = begin >= cut - 120
        if plausible and child_from <= due and begin < over:
            due = over + GRACE_S
        elif plausible and over <= begin < over + GRACE_S:
            due = max(due, over + GRACE_S)
    return due if due < end and due < END_S else None


def test_the_model_itself() -> None:
    assert expected("leak-0", (10, 5), None) == 10
    assert expected("value-0", (10, 5), None) is None and expected("value-0", (10, 6), None) == 15
    assert expected("lost:d0", (30, 500), (10, 100)) == 10 + 100 + HOLD_S + GRACE_S
