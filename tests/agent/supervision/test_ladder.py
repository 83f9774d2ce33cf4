"""Plugin, uplink, machine: on a moved clock."""

from __future__ import annotations

import random

from agent.supervision.ladder import MACHINE_AFTER_S, STEADY_S, UPLINK_AFTER_S, Ladder, Step

TICK_S = 5.0
DAY_S = 86400.0


class House:
    """A ladder whose patient hangs again two minutes after each restart, for as long as ``hangs`` says."""

    def __init__(self, who: str = "camera") -> None:
        self.now = 1000.0
        self.who = who
        self.hangs = True
        self.ladder = Ladder(lambda: self.now, lambda: 60.0)
        self.steps: list[tuple[float, Step]] = []

    def run(self, seconds: float, held: bool = False) -> None:
        for _ in range(int(seconds / TICK_S)):
            self.now += TICK_S
            self.ladder.hold(held)
            phase = self.now % 120
            if self.hangs and phase == 0:
                self.ladder.stood_still(self.who, f"{self.who} made no progress for 40 s")
            elif phase == 10:
                self.ladder.moved(self.who)
            self.steps += [(self.now, step) for step in self.ladder.tick()]


def test_b57_a_plugin_that_hangs_for_ever_brings_uplink_and_then_the_machine() -> None:
    house = House()
    house.run(2 * MACHINE_AFTER_S)
    verbs = [step.verb for _, step in house.steps]
    assert verbs[:2] == ["uplink", "machine"]
    begun = house.steps[0][0] - 1000
    assert UPLINK_AFTER_S <= begun <= UPLINK_AFTER_S + 240
    assert house.steps[1][1] == Step("machine", "camera", "camera made no progress for 40 s")


def test_a_plugin_that_is_well_again_brings_nothing() -> None:
    house = House()
    house.run(UPLINK_AFTER_S - 120)
    house.hangs = False
    house.run(DAY_S)
    assert house.steps == [] and house.ladder.sick == {}


def test_b61_a_silent_hub_is_not_looked_at() -> None:
    """Nobody stands still, so nothing is restarted: the ladder has no ear for a hub."""
    house = House()
    house.hangs = False
    house.run(DAY_S)
    assert house.steps == []
    assert not any("hub" in name or "broker" in name for name in dir(house.ladder))


def test_an_uplink_that_stands_still_brings_the_machine_and_is_not_its_own_medicine() -> None:
    house = House("uplink")
    house.run(MACHINE_AFTER_S + 300)
    assert [step.verb for _, step in house.steps] == ["machine"]


def test_b63_nothing_is_restarted_while_the_mains_is_away_and_times_begin_anew_after_it() -> None:
    house = House()
    house.run(UPLINK_AFTER_S - 60)
    house.run(6 * 3600, held=True)
    assert house.steps == []
    back = house.now
    house.run(UPLINK_AFTER_S)
    assert house.steps == [], "the jitter and the whole time again"
    house.run(MACHINE_AFTER_S)
    assert house.steps[0][1].verb == "uplink"
    assert house.steps[0][0] - back >= UPLINK_AFTER_S + 60


def test_b63_twenty_devices_do_not_restart_as_one() -> None:
    times = set()
    for seed in range(20):
        dice = random.Random(seed)
        house = House()
        house.ladder = Ladder(lambda house=house: house.now, lambda dice=dice: dice.uniform(0, 120))  # type: ignore[misc]
        house.run(300, held=True)
        house.run(UPLINK_AFTER_S + 400)
        times.add(house.steps[0][0])
    assert len(times) > 1


def test_two_kills_are_no_reason() -> None:
    now = [0.0]
    ladder = Ladder(lambda: now[0])
    for _ in range(2):
        ladder.stood_still("x", "x made no progress for 40 s")
    now[0] = DAY_S
    assert ladder.tick() == []
    ladder.moved("x")
    now[0] += STEADY_S
    assert ladder.tick() == [] and ladder.sick == {}
