"""Debounce, direction, flow and leaks, each on stamps alone."""

from __future__ import annotations

import random

import pytest

from plugins.water_meter.debounce import Change, Debounce
from plugins.water_meter.flow import Flow
from plugins.water_meter.leak import LeakWatch
from plugins.water_meter.rules import Rules
from plugins.water_meter.sim_house import DAY_S, Use, pulses, year
from plugins.water_meter.turns import STUCK_CHANGES, OneContact, Quadrature, Turn
from tests.plugins.water_meter.figures import LEAKS, Recorded, delay_s, false_alarms
from tests.plugins.water_meter.leaks import HOUR_S, RECORDED, episodes

MS = 1000


def bounced(rng: random.Random, t_us: int, level: bool) -> list[tuple[int, bool]]:
    """A contact's edge with one to eight bounces within 5 ms."""
    times = sorted(rng.sample(range(1, 5 * MS), 2 * rng.randint(1, 8)))
    return [(t_us, level)] + [(t_us + at, level if n % 2 else not level) for n, at in enumerate(times)]


def test_300_bounced_pulses_are_300() -> None:
    rng = random.Random(1)
    line = Debounce(20 * MS)
    changes: list[Change] = []
    raw = 0
    line.edge(0, False)
    line.settle(10**6)
    for n in range(300):
        for at, level in ((n * 10**6 + 10**6, True), (n * 10**6 + 14 * 10**5, False)):
            for t_us, now in bounced(rng, at, level):
                raw += 1
                changes += [change for change in [line.edge(t_us, now)] if change]
    changes += [change for change in [line.settle(400 * 10**6)] if change]
    assert raw > 3000
    assert [change.level for change in changes] == [True, False] * 300
    assert line.rejected == raw - 600
    began = [(n // 2 + 1) * 10**6 + n % 2 * 400 * MS for n in range(600)]
    assert all(0 <= change.t_us - at <= 5 * MS for change, at in zip(changes, began, strict=True))


def test_B43_spikes_and_mains_hum_are_no_pulse() -> None:
    line = Debounce(20 * MS)
    line.edge(0, False)
    line.settle(30 * MS)
    for n in range(1000):  # 50 Hz picked up by an open line: a change each 10 ms
        assert line.edge(10**6 + n * 10 * MS, n % 2 == 0) is None
    assert line.settle(20 * 10**6) is None
    assert (line.level, line.rejected) == (False, 1000)


def test_a_level_that_is_told_again_changes_nothing() -> None:
    line = Debounce(20 * MS)
    assert line.edge(0, True) is None
    assert line.edge(5 * MS, True) is None
    assert line.due_us == 20 * MS
    assert line.settle(20 * MS) == Change(0, True)
    assert line.due_us is None


def test_one_contact_counts_closings_and_the_one_that_was_missed_while_away() -> None:
    assert OneContact(None).change(0, 5, True) is None  # it stood there, nobody knows since when
    assert OneContact(False).change(0, 5, True) == Turn(5, True)
    contact = OneContact(True)
    assert [bool(contact.change(0, t, bool(t % 2))) for t in range(6)] == [False, True, False, True, False, True]


def wheel(turns: Quadrature, quarters: list[int], start: int = 0) -> list[Turn]:
    """Move the wheel by these steps of +1 or -1 and collect what is told."""
    levels = {0: (False, False), 1: (True, False), 2: (True, True), 3: (False, True)}
    at, found = start, []
    for n, step in enumerate(quarters):
        before = levels[at % 4]
        at += step
        after = levels[at % 4]
        contact = 0 if before[0] != after[0] else 1
        turn = turns.change(contact, n, after[contact])
        found += [turn] if turn else []
    return found


def quadrature() -> Quadrature:
    turns = Quadrature()
    turns.change(0, 0, False)
    turns.change(1, 0, False)
    return turns


def test_two_contacts_know_the_direction() -> None:
    turns = quadrature()
    assert [turn.forward for turn in wheel(turns, [1] * 12)] == [True] * 3
    assert [turn.forward for turn in wheel(turns, [-1] * 8)] == [False] * 2
    assert turns.behind == 2
    assert [turn.forward for turn in wheel(turns, [1] * 12)] == [True]  # two are made up first
    assert turns.behind == 0


def test_a_wheel_that_swings_over_one_contact_is_no_water_and_the_other_contact_is_doubted() -> None:
    turns = quadrature()
    assert wheel(turns, [1, -1] * (STUCK_CHANGES // 2)) == []
    assert turns.stuck == 1
    wheel(turns, [1, 1])
    assert turns.stuck is None


def test_swings_over_the_edge_of_a_turn_tell_one_turn_back_at_most() -> None:
    turns = quadrature()
    wheel(turns, [1] * 4)
    assert len(wheel(turns, [-1] * 4 + [1, -1] * 50)) == 1


def test_flow_is_exact_between_pulses_and_a_falling_bound_after() -> None:
    flow = Flow(1.0, zero_after_s=7200)
    assert flow.at(0) == 0
    flow.pulse(100)
    assert flow.at(101) == 0  # one pulse says nothing yet
    flow.pulse(110)
    assert flow.at(115) == pytest.approx(360)
    assert flow.at(150) == pytest.approx(90)
    assert flow.at(7309) == pytest.approx(0.5, rel=1e-3)
    assert flow.at(7310) == 0
    flow.pulse(20_000)
    assert flow.at(20_001) == 0


# --- leaks --------------------------------------------------------------------------------------------------------


def steady(flow_l_h: float, begin_s: float, length_s: float) -> list[float]:
    return list(pulses([Use(begin_s, length_s, flow_l_h)]))


def test_a_quiet_hour_says_that_nothing_drips_and_before_it_nothing_is_known() -> None:
    watch = LeakWatch(Rules())
    assert watch.look(0).kind == "unknown"  # B72: not watched for long enough is no "none"
    watch.pulse(1800)
    assert watch.look(3000).kind == "unknown"
    assert watch.look(1800 + 1.1 * HOUR_S).kind == "none"


def test_never_zero_in_24_hours_is_a_drip_with_its_volume() -> None:
    rng = random.Random(4)
    at, times = 5 * HOUR_S, []
    while at < 40 * HOUR_S:  # uneven, but never a pause of an hour
        times.append(at)
        at += rng.uniform(600, 3300)
    found = episodes(times, Rules(), 40 * HOUR_S)
    assert [one.kind for one in found] == ["drip"]
    assert 21.9 * HOUR_S <= found[0].at_s - found[0].since_s <= 22.1 * HOUR_S
    assert found[0].at_s <= 5 * HOUR_S + 24 * HOUR_S
    assert 22 <= found[0].volume_l <= 26  # of at most 3600/3300 l/h, and not the third more that flowed in all


def test_equal_intervals_find_a_drip_in_the_first_night() -> None:
    uses = [Use(0, 12 * HOUR_S, 3.0), *(Use(hour * HOUR_S, 60, 360) for hour in (1, 2, 4.5))]  # and somebody gets up
    found = episodes(pulses(uses), Rules(), 12 * HOUR_S)
    assert [one.kind for one in found] == ["drip"]
    assert found[0].at_s < 6 * HOUR_S
    assert found[0].volume_l == pytest.approx(3 * found[0].at_s / HOUR_S, rel=0.2)


def test_uneven_use_all_evening_is_no_drip() -> None:
    rng = random.Random(8)
    times = sorted(rng.uniform(0, 6 * HOUR_S) for _ in range(60))
    assert episodes(times, Rules(), 6 * HOUR_S) == []


def test_a_drip_ends_with_still_water_and_not_with_the_first_quiet_hour() -> None:
    times = [at for at in steady(2.0, 0, 30 * HOUR_S) if not 25 * HOUR_S < at < 26.5 * HOUR_S]
    assert [one.kind for one in episodes(times, Rules(), 30 * HOUR_S)] == ["drip"]
    watch = LeakWatch(Rules())
    for at in times:
        watch.pulse(at)
        watch.look(at)
    assert watch.look(31 * HOUR_S).kind == "drip"
    assert watch.look(34.5 * HOUR_S).kind == "none"


def test_slower_than_looked_for_is_not_said() -> None:
    assert episodes(steady(0.8, 0, 60 * HOUR_S), Rules(), 60 * HOUR_S) == []


@pytest.mark.parametrize(("kind", "flow_l_h", "limit_s"), LEAKS)
def test_an_added_leak_is_found_in_time(kind: str, flow_l_h: float, limit_s: float) -> None:
    assert max(delay_s(kind, flow_l_h, seed) for seed in range(2)) <= limit_s


def test_running_water_ends_when_it_stops_and_is_not_said_while_it_is_meant() -> None:
    times = steady(300.0, 0, 2 * HOUR_S)
    watch = LeakWatch(Rules())
    for at in times:
        watch.pulse(at)
        verdict = watch.look(at)
    assert verdict.kind == "running"
    assert verdict.volume_l == pytest.approx(600, rel=0.02)
    watch.running_is_meant = True
    assert watch.look(times[-1] + 1).kind != "running"
    watch.running_is_meant = False
    assert watch.look(times[-1] + 3 * HOUR_S).kind == "none"


def test_a_vacation_allows_a_few_litres_a_day() -> None:
    watch = LeakWatch(Rules())
    watch.look(0)
    watch.vacation(True, 0)
    for day in range(5):
        for n in range(4):
            watch.pulse(day * DAY_S + n * 7000)
            assert watch.look(day * DAY_S + n * 7000).kind in ("unknown", "none")
    for n in range(5):
        watch.pulse(6 * DAY_S + n * 7000)
    verdict = watch.look(6 * DAY_S + 40_000)
    assert verdict.kind == "vacation"
    assert verdict.volume_l >= 5
    watch.vacation(False, 7 * DAY_S)
    assert watch.look(7 * DAY_S).kind == "none"


def test_B42_B72_a_hole_in_the_watch_is_no_quiet_hour() -> None:
    watch = LeakWatch(Rules())
    for at in steady(3.0, 0, 3 * HOUR_S):
        watch.pulse(at)
        watch.look(at)
    watch.hole(6 * HOUR_S, 2 * HOUR_S)
    assert watch.look(6 * HOUR_S).kind == "unknown"
    watch.pulse(6.3 * HOUR_S)
    assert watch.look(6.4 * HOUR_S).kind == "unknown"


def test_a_short_restart_a_day_does_not_hide_a_drip() -> None:
    state, said = {}, []
    for day in range(3):
        watch = LeakWatch(Rules())
        begin = day * DAY_S + 300 * bool(day)
        watch.look(begin)
        if state:
            watch.restore(state, begin, 300)
        for at in steady(1.0, 0, 3 * DAY_S):
            if begin <= at < (day + 1) * DAY_S and (at // HOUR_S) % 2 != 0:  # never five equal intervals
                watch.pulse(at - 600)
                watch.pulse(at)
                said.append(watch.look(at).kind)
            elif begin <= at < (day + 1) * DAY_S:
                watch.pulse(at)
                said.append(watch.look(at).kind)
        state = watch.state((day + 1) * DAY_S)
    assert "drip" in said[:26] + said[26:30]
    assert set(said[30:]) == {"drip"}  # it stays said over both restarts


def test_B57_months_of_the_fastest_flow_take_no_more_memory() -> None:
    watch = LeakWatch(Rules())
    for n in range(60_000):  # ten hours of 6000 l/h
        watch.pulse(n * 0.6)
        if n % 100 == 0:
            watch.look(n * 0.6)
    assert len(watch._marks) < 25_000
    assert watch.look(36_000).kind == "burst"


def test_a_damaged_state_is_no_state() -> None:
    watch = LeakWatch(Rules())
    watch.restore({"quiet_age_s": "x", "drip": [1]}, 100, 5)
    assert watch.look(100).kind == "unknown"


def test_pulses_of_overlapping_uses_come_at_the_right_times() -> None:
    assert steady(3600, 10, 3.5) == pytest.approx([11, 12, 13])
    both = list(pulses([Use(0, 10, 1800), Use(4, 2, 1800)]))
    assert both == pytest.approx([2, 4, 5, 6, 8, 10])
    total = sum(use.length_s * use.flow_l_h / 3600 for use in year(1, days=30))
    assert abs(len(list(pulses(year(1, days=30)))) - total) <= 1


def test_fewer_than_one_false_alarm_a_month_in_a_synthetic_year() -> None:
    assert sum(false_alarms(1, 4).values()) < 12


@pytest.mark.skipif(not RECORDED.exists(), reason="the recorded households (data/water_hourly) are not here")
def test_recorded_households_at_most_3_episodes_a_year_and_3_litres_an_hour_found_in_24_hours() -> None:
    recorded = Recorded(3.0, 120 * DAY_S)
    assert recorded.a_year <= 3.0
    assert len(recorded.delays_h) > 20
    assert recorded.missed == 0
