"""B55 on a moved clock: an adapter that hangs, how soon it hears again, and how little of it is in the log."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterable

import pytest

from agent.testing import Lines, io_over
from plugins.ble.ladder import Budget, Ladder, Step
from plugins.ble.plugin import Ble
from plugins.ble.settings import BleConfig

TICK_S = 0.25
ADDRESS = "C4:7C:8D:6A:11:07"


class Adapter:
    """A radio that advertises twice a second and hangs until the step that cures it was carried out."""

    def __init__(self, cure: Step | None, hangs_s: float, works_s: float) -> None:
        self.cure, self.hangs_s, self.works_s = cure, hangs_s, works_s
        self.until_s = float("inf")
        self.steps: list[tuple[float, Step]] = []

    def ordered(self, step: Step, now_s: float) -> None:
        self.steps.append((now_s, step))
        if now_s >= self.hangs_s and self.cure is not None and step in (self.cure, "power"):
            self.until_s = min(self.until_s, now_s + self.works_s)

    def hears(self, now_s: float) -> bool:
        return now_s < self.hangs_s or now_s >= self.until_s


def watch(ladder: Ladder, adapter: Adapter, seconds: float) -> Iterable[tuple[float, str]]:
    """(time, state) of every change."""
    before = ladder.state
    for tick in range(int(seconds / TICK_S)):
        now_s = tick * TICK_S
        if adapter.hears(now_s) and tick % 2 == 0:
            ladder.heard(now_s)
        if step := ladder.look(now_s):
            adapter.ordered(step, now_s)
        if ladder.state != before:
            before = ladder.state
            yield now_s, before


@pytest.mark.parametrize("cure", ["restart", "power"])
def test_b55_back_within_120_s(cure: Step) -> None:
    for seed in range(50):
        dice = random.Random(seed)
        hangs_s = dice.uniform(1, 100)
        adapter = Adapter(cure, hangs_s, dice.uniform(0.5, 4.0))
        (stalled_s, stalled), (up_s, up) = watch(Ladder(90.0, True, 0.0), adapter, 400)
        assert (stalled, up) == ("stalled", "up")
        assert stalled_s - hangs_s <= 90.5
        assert up_s - hangs_s <= 120.0
        assert [step for _, step in adapter.steps] == (["restart"] if cure == "restart" else ["restart", "power"])


def test_b55_down_is_said_after_110_s_and_tried_on() -> None:
    adapter = Adapter(None, 0.25, 0)
    ladder = Ladder(90.0, True, 0.0)
    assert [(round(t_s), state) for t_s, state in watch(ladder, adapter, 1000)] == [(90, "stalled"), (110, "down")]
    assert ladder.reason.startswith("no advertisement for ")
    assert [(round(t_s), step) for t_s, step in adapter.steps[:8]] == [
        (90, "restart"), (100, "power"), (110, "restart"), (170, "restart"), (230, "restart"), (290, "restart"),
        (350, "power"), (410, "restart")]
    assert ladder.heard(1000.0)
    assert ladder.state == "up"


def test_an_adapter_of_others_is_never_switched() -> None:
    adapter = Adapter(None, 0.0, 0)
    list(watch(Ladder(90.0, False, 0.0), adapter, 2000))
    assert {step for _, step in adapter.steps} == {"restart"}


def test_b54_an_adapter_that_is_gone_is_looked_for_every_5_s() -> None:
    ladder = Ladder(90.0, True, 0.0)
    ladder.heard(0.0)
    ladder.failed("hci1 was unplugged", 10.0)
    assert ladder.state == "stalled"
    asked = []
    for tick in range(4 * 600):
        now_s = 10 + tick * TICK_S
        if ladder.look(now_s):
            asked.append(now_s)
            ladder.failed("no adapter hci1", now_s + 0.05)
    assert asked[0] == 12.0
    assert max(b - a for a, b in itertools.pairwise(asked)) <= 5.5
    assert (ladder.state, ladder.reason) == ("down", "no adapter hci1")


def test_budget() -> None:
    budget = Budget(3)
    assert [budget.take(t_s) for t_s in (0, 1, 2, 3, 3599, 3600, 3600.5, 3601)] == [
        True, True, True, False, False, True, False, True]


@pytest.mark.parametrize(("works_s", "silent_s"), [(1, 95), (5, 130), (60, 95), (310, 130), (400, 200), (200, 91)])
def test_b55_at_most_ten_lines_an_hour(works_s: float, silent_s: float) -> None:
    """A radio that comes and goes for three hours; lines and alerts together, in any hour."""
    lines = []
    start_s = 0.0
    while start_s < 3 * 3600:
        for t_s in (start_s, start_s + works_s / 2, start_s + works_s):
            lines.append(json.dumps({"t": t_s, "address": ADDRESS, "rssi_dbm": -60, "receiver": "hci0"}))
        start_s += works_s + silent_s
    told = Told()
    plugin = Ble(BleConfig(interval_s=300.0))
    with io_over("\n".join(lines).encode(), told, kind=Ble, config=plugin.config) as io:
        told.clock = io.clock
        states = [reading.value for reading in plugin.run(io) if getattr(reading, "property", "") == "scanner"]
    assert {"up", "stalled"} <= set(states)
    assert told.times
    assert max(sum(1 for t_s in told.times if start_s <= t_s < start_s + 3600) for start_s in told.times) <= 10


class Told(Lines):
    """Only what a person gets: log lines, and alerts raised. ``degraded`` is a state and no line."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []
        self.clock: object = None

    def __call__(self, level: str, text: str) -> None:
        super().__call__(level, text)
        if not text.startswith("degraded"):
            self.times.append(self.clock.monotonic_s())  # type: ignore[attr-defined]
