"""The real processes, killed: a valve stays where it was told."""

from __future__ import annotations

import pytest

from tests.plugins.actuator_bench import Bench


@pytest.fixture
def bench(tmp_path):
    with Bench(tmp_path, "water_valve", "travel_s = 1\ninterval_s = 1\n") as bench:
        yield bench


def leak(bench: Bench, word: str) -> None:
    bench.tell("water", "leak", word)


def test_a_burst_closes_it_and_it_stays_closed_whoever_dies_until_a_person_opens_it(bench):
    bench.contact.by_hand(False)
    bench.start("guard", "plugin")
    bench.until("open as it was", lambda: bench.said.get("valve") is True)
    bench.until("closed", lambda: leak(bench, "burst") or bench.contact.contact)
    bench.until("kept", lambda: bench.kept_has("valve", closed=True, by="burst"))
    moves = bench.contact.moves
    bench.kill("plugin", "guard")
    assert bench.contact.contact
    bench.said.clear()
    bench.start("guard", "plugin")
    bench.until("it speaks again", lambda: bench.said.get("position") == "closed")
    answer = bench.order("valve", True)
    assert not answer.ok and "still reports burst" in answer.message
    bench.until("mended", lambda: leak(bench, "none") or bench.order("valve", True).ok)
    bench.until("open", lambda: not bench.contact.contact)
    assert bench.contact.moves == moves + 1
    assert bench.contact.longest_us < 200_000
