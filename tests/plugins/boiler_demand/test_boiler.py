"""When the boiler runs: the pure part with the real lease, and the plugin on a moved clock with real pin files."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.api import PlainRelay
from agent.guard.lease import Ask, Lease
from agent.wire import faults
from plugins.boiler_demand.demand import Demand
from plugins.boiler_demand.plugin import BoilerDemand
from plugins.boiler_demand.proof import Proof
from plugins.boiler_demand.settings import BoilerDemandConfig, heater
from tests.plugins.actuator_moved import Life, plain
from tests.plugins.boiler_demand import figures

US = 1_000_000
RELAY = PlainRelay(line="GPIO17")
HERE, THERE = (None, "living"), ("annex", "bedroom")
BOTH = ("living", "annex/bedroom")


def config(**more) -> BoilerDemandConfig:
    return BoilerDemandConfig(**{"relay": RELAY, "heaters": BOTH, "min_off_s": 0, "min_on_s": 0, **more})


class Boiler:
    """The pure part and guard's lease, second by second."""

    def __init__(self, setting: BoilerDemandConfig) -> None:
        self.config = setting
        self.demand, self.proof = Demand(setting, 0), Proof(setting)
        self.lease = Lease(BoilerDemand.duty(setting), 0)
        self.on = False

    def tick(self, t: float, **wants: bool) -> bool:
        """``living=True``: it said so just now."""
        now_us = round(t * US)
        for name, value in wants.items():
            self.demand.heard(HERE if name == "living" else THERE, value, None, now_us, now_us)
        wish = self.demand.decide(now_us)
        self.on = self.lease.ask(Ask(on=wish.on, sample_us=wish.sample_us,
                                     sample_max_age_s=self.config.demand_max_age_s, heats=self.proof.heats is True),
                                 now_us).on
        self.demand.is_(self.on, now_us)
        self.proof.running(self.on, now_us)
        return self.on

    def over(self, begin: int, end: int, says: Callable[[int], dict[str, bool]], step: int = 1
             ) -> list[tuple[int, bool]]:
        """Changes."""
        changes, before = [], self.on
        for t in range(begin, end, step):
            if self.tick(t, **says(t)) != before:
                before = self.on
                changes.append((t, before))
        return changes


# --- demand -------------------------------------------------------------------------------------------------------


def test_on_while_any_heater_asks():
    boiler = Boiler(config())
    says = lambda t: {"living": 100 <= t < 300, "bedroom": 200 <= t < 400} if t % 10 == 0 else {}  # noqa: E731
    assert boiler.over(0, 600, says) == [(100, True), (400, False)]


def test_two_must_ask_to_start_and_one_keeps_it_on():
    boiler = Boiler(config(min_heaters=2))
    says = lambda t: {"living": 100 <= t < 300, "bedroom": 200 <= t < 400} if t % 10 == 0 else {}  # noqa: E731
    assert boiler.over(0, 600, says) == [(200, True), (400, False)]


def test_b41_a_stale_demand_is_none():
    boiler = Boiler(config(demand_max_age_s=60, overrun_s=900, min_on_s=3600))
    assert boiler.over(0, 300, lambda t: {"living": True} if t <= 100 else {}) == [(0, True), (161, False)]


def test_minimum_run_and_overrun_rest_on_fresh_words():
    boiler = Boiler(config(min_on_s=200))
    assert boiler.over(0, 600, lambda t: {"living": 10 <= t < 20}) == [(10, True), (210, False)]
    boiler = Boiler(config(overrun_s=120))
    assert boiler.over(0, 600, lambda t: {"living": 10 <= t < 20}) == [(10, True), (139, False)]


def test_b48_it_rests_and_starts_no_more_often_than_allowed():
    boiler = Boiler(config(min_off_s=100, max_starts_per_h=4))
    changes = boiler.over(0, 7200, lambda t: {"living": t // 30 % 2 == 0})
    starts = [t for t, on in changes if on]
    ends = [t for t, on in changes if not on]
    assert starts[0] == 120, "a start of the plugin counts as a stop"
    assert all(start - end >= 100 for end, start in zip(ends, starts[1:], strict=False))
    assert all(sum(t <= other < t + 3600 for other in starts) <= 4 for t in starts)
    assert len(starts) == 8


def test_b48_starts_count_over_a_restart_and_a_reboot_forgets_them():
    demand = Demand(config(max_starts_per_h=2), 0)
    for t in (100, 200):
        demand.is_(True, t * US)
        demand.is_(False, (t + 50) * US)
    for kept, now, on in ((demand.starts, 300, False), (demand.starts, 3800, True), (demand.starts, 50, True),
                          ("rubbish", 300, True), (["x", None], 300, True)):
        again = Demand(config(max_starts_per_h=2), now * US)
        again.restore(kept, now * US)
        again.heard(HERE, True, None, now * US, now * US)
        assert again.decide(now * US).on is on


@pytest.mark.parametrize(("value", "quality", "t_us"), [
    (1, None, 0), ("true", None, 0), (None, None, 0), (True, "bad", 0), (True, "uncertain", 0), (True, None, 5 * US)])
def test_b43_what_is_no_demand_asks_for_nothing(value, quality, t_us):
    demand = Demand(config(), 0)
    demand.heard(HERE, True, None, 0, 0)
    demand.heard(HERE, value, quality, t_us, 0)
    assert not demand.decide(0).on and demand.rejected == 1


def test_an_older_word_that_comes_late_does_not_count():
    demand = Demand(config(), 0)
    demand.heard(HERE, False, None, 10 * US, 11 * US)
    demand.heard(HERE, True, None, 9 * US, 11 * US)
    assert not demand.decide(11 * US).on


# --- guard's lease ------------------------------------------------------------------------------------------------


def test_b49_a_word_from_before_guards_start_heats_nothing():
    setting = config()
    demand = Demand(setting, 0)
    demand.heard(HERE, True, None, 5 * US, 10 * US)
    wish = demand.decide(10 * US)
    lease = Lease(BoilerDemand.duty(setting), 8 * US)
    verdict = lease.ask(Ask(on=wish.on, sample_us=wish.sample_us, sample_max_age_s=180), 10 * US)
    assert wish.on and not verdict.on and "since the start" in verdict.why


def hours(proof: Callable[[Boiler, int], None]) -> list[tuple[int, bool]]:
    """Asked for without end, for 9 h."""
    boiler = Boiler(config(min_off_s=180))

    def says(t: int) -> dict[str, bool]:
        proof(boiler, t)
        return {"living": True} if t % 30 == 0 else {}

    return boiler.over(0, 9 * 3600, says, 5)


def test_after_four_hours_it_goes_on_only_where_something_became_warmer():
    never = hours(lambda boiler, t: None)
    assert never == [(180, True), (180 + 4 * 3600, False)]
    supply = hours(lambda boiler, t: boiler.proof.supply(20.0 + min(30.0, t / 60), None, t * US))
    assert supply == [(180, True), (14580, False), (14760, True), (29160, False), (29340, True)]
    room = hours(lambda boiler, t: boiler.proof.room(HERE, 18.0 + t / 36000, None, t * US))
    assert room[:3] == [(180, True), (14580, False), (14760, True)]
    cold = hours(lambda boiler, t: boiler.proof.supply(20.0, None, t * US))
    assert cold == never


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 900), st.sampled_from(("living", "bedroom")), st.booleans()), max_size=80),
       st.integers(0, 600), st.integers(0, 600), st.integers(0, 900))
def test_whatever_the_heaters_say_it_is_never_on_without_a_fresh_word(words, min_on, min_off, overrun):
    """Also after this loop falls silent, by guard alone."""
    boiler = Boiler(config(min_on_s=min_on, min_off_s=min_off, overrun_s=overrun, demand_max_age_s=60))
    t, word_t = 0, None
    for gap, name, value in words:
        for now in range(t + 1, t + gap, 10):
            if boiler.tick(now):
                assert word_t is not None and now - word_t <= 60
        t += gap
        boiler.tick(t, **{name: value})
        word_t = t
    assert not boiler.lease.look((t + 11) * US).on


def test_hours_with_faults_keep_every_limit():
    """The short form of figures.py."""
    for seed in (3, 4, 5):
        worst = figures.scenario(seed)
        assert {key: value for key, value in worst.items() if value > figures.LIMITS[key]} == {}


# --- proof --------------------------------------------------------------------------------------------------------


def test_b44_nothing_became_warmer_is_told_after_half_an_hour_and_taken_back():
    proof = Proof(config())
    proof.running(True, 0)
    for t in range(0, 1800, 60):
        proof.supply(20.0, None, t * US)
        assert proof.look(t * US) is None
    assert proof.look(1800 * US) == "nothing became warmer in 30 min" and proof.heats is False
    proof.supply(25.0, None, 1900 * US)
    assert proof.look(1901 * US) is None and proof.heats is True
    proof.running(False, 2000 * US)
    assert proof.heats is True, "the last run is what counts"


@pytest.mark.parametrize(("value", "quality"), [("hot", None), (True, None), (float("nan"), None), (85e3, None),
                                                (60.0, "bad"), (-127.0, None)])
def test_b43_a_lying_thermometer_proves_nothing(value, quality):
    proof = Proof(config())
    proof.running(True, 0)
    proof.supply(20.0, None, 0)
    proof.supply(value, quality, US)
    assert proof.heats is None


def test_a_warm_pipe_from_before_proves_nothing():
    proof = Proof(config())
    proof.supply(60.0, None, 0)
    proof.running(True, 10 * US)
    assert proof.heats is None
    proof.supply(45.0, None, 20 * US)
    assert proof.heats is True


# --- the plugin ---------------------------------------------------------------------------------------------------


def lines(end: int, *more: tuple[float, str]) -> list[tuple[float, str]]:
    return [*((t, f"live/annex/bedroom/heat_demand {str(100 <= t < 400).lower()}") for t in range(0, end, 20)), *more]


def life(folder, wire: list[tuple[float, str]], **more) -> Life:
    return Life(BoilerDemand, config(relay=plain(folder), interval_s=3600, **more), wire)


def test_another_devices_demand_by_the_live_lane_and_only_its_own(tmp_path):
    was = life(tmp_path, lines(600, (50, "live/shed/bedroom/heat_demand true"), (60, "now/bedroom/heat_demand true")))
    assert was.told("boiler") == [(1.0, False), (100.0, True), (400.0, False)]
    assert was.at("contact", 300) is True and was.at("contact", 590) is False
    assert was.at("why", 300) == "annex/bedroom asks for heat"
    assert not was.contact.step()


def test_a_welded_contact_is_told(tmp_path):
    setting = config(relay=plain(tmp_path), interval_s=3600)

    def weld(one: Life) -> None:
        one.contact.stuck = True

    was = Life(BoilerDemand, setting, lines(600), at={200: weld})
    assert [alert_id for alert_id, text in was.alerts if text and "E_RELAY_STUCK" in text] == ["relay-test"]
    assert was.at("boiler", 590) is False and was.at("contact", 590) is True


def test_cold_reads_as_the_table_of_faults_has_it(tmp_path):
    wire = [*((t, "now/living/heat_demand true") for t in range(0, 2400, 30)),
            *((t, "now/boiler/supply_c 21.0") for t in range(0, 2400, 60))]
    was = life(tmp_path, wire, supply="boiler/supply_c")
    raised = [text for alert_id, text in was.alerts if alert_id == "no-response-test" and text]
    assert raised == [faults.line("E_BOILER_COLD", boiler="test", evidence="nothing became warmer in 30 min")]


@pytest.mark.parametrize(("wrong", "says"), [
    ({"heaters": ("Living",)}, 'heaters: "Living"'), ({"heaters": ("a/b/c",)}, 'heaters: "a/b/c"'),
    ({"heaters": ("a", "a")}, "named twice"), ({"min_heaters": 3}, "would never be"), ({"supply": "pipe"}, "supply:")])
def test_settings_that_cannot_be(wrong, says):
    with pytest.raises(ValueError, match=says):
        config(**wrong)


def test_heaters_here_and_elsewhere():
    assert [heater(text) for text in BOTH] == [HERE, THERE]
    assert config(supply="annex/pipe/supply_c").topics == ["live/annex/bedroom", "live/annex/pipe", "now/living"]
