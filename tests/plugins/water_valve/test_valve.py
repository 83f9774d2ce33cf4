"""Open or closed: by a leak, by a person, for an exercise; on a moved clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.api import PlainRelay
from agent.guard.lease import Ask, Lease
from agent.testing.at_work import at_work
from agent.wire import faults
from plugins.water_valve.plugin import WaterValve
from plugins.water_valve.settings import WaterValveConfig
from plugins.water_valve.stuck import Stuck
from plugins.water_valve.valve import Refused, Valve
from tests.plugins.actuator_moved import Life, latching, plain

US = 1_000_000
RELAY = PlainRelay(line="GPIO17")
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def made(**more) -> Valve:
    valve = Valve(WaterValveConfig(relay=RELAY, **more), 0)
    valve.closed = False
    return valve


def config(folder, **more) -> WaterValveConfig:
    return WaterValveConfig(relay=latching(folder), travel_s=5, interval_s=3600, timezone="UTC", **more)


def words(end_s: int, *leaks: tuple[float, str], litres: float = 1000.0) -> list[tuple[float, str]]:
    """A meter that speaks each minute: its leak from when on, and an index that stands still."""
    lines = []
    for t in range(0, end_s, 60):
        leak = [word for since, word in ((0, "none"), *leaks) if since <= t][-1]
        lines += [(t, f'now/water/leak "{leak}"'), (t, f"now/water/index_l {litres}"), (t, "now/water/flow_l_h 0.0")]
    return lines


# --- a leak, and a person -----------------------------------------------------------------------------------------


def test_a_leak_closes_at_once_and_only_a_person_opens_when_it_is_over():
    valve = made()
    valve.heard("leak", "burst", None, 10 * US)
    valve.tick(10 * US, None)
    assert valve.wants_closed(10 * US) and valve.by == "burst"
    with pytest.raises(Refused, match="still reports burst"):
        valve.open(20 * US, None)
    valve.heard("leak", "none", None, 30 * US)
    valve.tick(3000 * US, None)
    assert valve.wants_closed(3000 * US)
    valve.open(3000 * US, None)
    assert valve.wants_closed(3001 * US), "opening waits until it is kept"
    assert not valve.wants_closed(3002 * US)


@pytest.mark.parametrize(("close_on", "leak", "closes"), [
    (("burst",), "running", False), (("burst",), "drip", False), (("burst", "running"), "running", True),
    (("vacation",), "vacation", True), (("burst",), "unknown", False)])
def test_only_configured_leaks_close(close_on, leak, closes):
    valve = made(close_on=close_on)
    valve.heard("leak", leak, None, 0)
    valve.tick(1, None)
    assert bool(valve.wants_closed(1)) is closes


def test_forced_open_ends_and_closes_again_while_the_leak_is_reported():
    valve = made()
    for t in range(0, 1300, 10):
        valve.heard("leak", "burst", None, t * US)
        if t == 100:
            valve.force_open(10, t * US, None)
        valve.tick(t * US, None)
        assert bool(valve.wants_closed(t * US)) is not (102 <= t < 700)
    for minutes in (-1, 721):
        with pytest.raises(Refused, match="expected 0 to 720"):
            valve.force_open(minutes, 0, None)


def test_b41_a_silent_meter_moves_nothing_and_its_old_word_holds_nothing():
    valve = made(meter_max_age_s=300)
    valve.heard("leak", "burst", None, 0)
    valve.tick(1, None)
    assert not valve.silent(300 * US) and valve.silent(301 * US)
    valve.tick(400 * US, None)
    assert valve.wants_closed(400 * US)
    valve.open(400 * US, None)  # a burst of long ago refuses nothing
    valve.tick(500 * US, None)
    assert not valve.wants_closed(500 * US)


@pytest.mark.parametrize(("name", "value", "quality"), [
    ("leak", "flood", None), ("leak", 3, None), ("leak", "burst", "bad"), ("leak", None, "sensor_error"),
    ("index_l", "many", None), ("index_l", float("nan"), None), ("index_l", True, None), ("flow_l_h", 1e3, "bad")])
def test_b43_what_no_meter_says_counts_for_nothing(name, value, quality):
    valve = made()
    valve.heard(name, value, quality, 0)
    valve.tick(1, None)
    assert valve.rejected == 1 and not valve.wants_closed(1)


# --- over a restart -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kept", "guard_closed", "closed"), [
    ({"closed": True, "by": "burst"}, True, True), ({"closed": True, "by": "burst"}, False, True),
    ({"closed": True, "by": "burst"}, None, True), ({"closed": False}, True, True), ({"closed": False}, False, False),
    ({"closed": False}, None, False), (None, True, True), (None, False, False), (None, None, None),
    ({"closed": False, "exercise": True}, True, False), ({"closed": True, "exercise": True}, True, True),
    ({"closed": "no"}, True, True), ("rubbish", False, False)])
def test_where_it_is_after_a_restart(kept, guard_closed, closed):
    valve = Valve(WaterValveConfig(relay=RELAY), 0)
    valve.restore(kept, guard_closed, 0, None)
    assert valve.closed is closed


def test_after_a_restart_the_leak_counts_as_reported_until_the_meter_says_otherwise():
    for word, refused in ((None, True), ("burst", True), ("none", False)):
        valve = Valve(WaterValveConfig(relay=RELAY), 0)
        valve.restore({"closed": True, "by": "burst"}, True, 0, None)
        if word is not None:
            valve.heard("leak", word, None, US)
        if refused:
            with pytest.raises(Refused):
                valve.open(2 * US, None)
            valve.open(1000 * US, None)  # a meter that never speaks again refuses nothing for ever
        else:
            valve.open(2 * US, None)


def test_a_forced_opening_outlives_a_restart_only_with_a_clock():
    valve = made()
    valve.force_open(30, 0, None)
    kept = valve.kept(0, 1000 * US)
    for wall_us, forced in ((1600 * US, True), (None, False), (2801 * US, False)):
        after = Valve(WaterValveConfig(relay=RELAY), 50 * US)
        after.restore(kept, False, 50 * US, wall_us)
        assert after.forced(51 * US) is forced
    after = Valve(WaterValveConfig(relay=RELAY), 0)
    after.restore(kept, False, 0, 1600 * US)
    assert after.forced(1199 * US) and not after.forced(1200 * US)


def test_lives_after_lives_with_the_real_keeper(tmp_path):
    """Burst in the first life; the second has lost what was kept, the third what guard remembered."""
    setting = config(tmp_path)
    first = Life(WaterValve, setting, words(400, (120, "burst")))
    assert first.told("valve") == [(0.0, True), (120.0, False)] and first.contact.contact
    second = Life(WaterValve, setting, words(400, (0, "none")), told=True)
    assert second.told("valve") == [(0.0, False)] and second.contact.contact
    third = Life(WaterValve, setting, words(400), kept=first.kept)  # told None: guard starts from the probe
    assert third.told("valve") == [(0.0, False)] and third.contact.contact
    assert third.contact.moves == 0
    fourth = Life(WaterValve, setting, [*words(400), (200, "set/valve true")], kept=third.kept, told=True)
    assert fourth.told("valve") == [(0.0, False), (200.0, True)] and not fourth.contact.contact
    assert fourth.contact.longest_us < 200_000


# --- by hand ------------------------------------------------------------------------------------------------------


def test_a_hand_at_the_relay_decides_but_opens_nothing_while_a_leak_is_reported(tmp_path):
    life = Life(WaterValve, config(tmp_path), words(900, (300, "burst")), told=False,
                at={100: lambda life: life.contact.by_hand(True), 200: lambda life: life.contact.by_hand(False),
                    500: lambda life: life.contact.by_hand(False)})
    assert life.contact.contact, "opened by hand during the burst: closed again"
    assert [value for _, value in life.told("valve")] == [True, False, True, False]
    assert life.at("why", 150) == "closed by a person, by hand at the relay; only a person opens it"
    assert "closed again" in life.log.of("warning")[-1]


# --- stuck --------------------------------------------------------------------------------------------------------


def test_water_through_the_closed_valve_is_told_and_one_late_pulse_is_not():
    stuck = Stuck(travel_s=10, stuck_l=5)
    stuck.told(False, 0)
    stuck.told(True, 100 * US)
    stuck.index(50, 120 * US)  # it has flowed before, the meter is behind
    for t, litres in ((200, 100), (260, 110), (600, 110)):  # a late pulse of a coarse meter
        stuck.index(litres, t * US)
    assert stuck.look(600 * US) is None
    stuck.index(120, 700 * US)
    assert stuck.look(700 * US) == "20 L have flowed since"
    stuck.told(False, 800 * US)
    assert stuck.look(801 * US) is None


def test_where_only_a_flow_is_told_it_must_go_on_for_ten_minutes():
    stuck = Stuck(travel_s=10, stuck_l=5)
    stuck.told(False, 0)
    stuck.told(True, 0)
    for t in range(0, 600, 60):
        stuck.flow(3600 / max(t, 1), t * US)
    assert stuck.look(600 * US) is None
    for t in range(600, 800, 60):
        stuck.flow(100, t * US)
    assert stuck.look(800 * US) == "100 L/h flow on"


@pytest.mark.parametrize(("closed", "end", "reason"), [
    (True, False, "its end switch is still open"), (False, True, "its end switch is still closed"), (True, True, None),
    (False, False, None)])
def test_the_end_switch_has_the_travel_time_and_ten_seconds(closed, end, reason):
    stuck = Stuck(travel_s=15, stuck_l=5)
    stuck.told(not closed, 0)
    stuck.told(closed, 100 * US)
    stuck.end(end)
    assert stuck.look(124 * US) is None
    assert stuck.look(125 * US) == reason


def test_stuck_reads_as_the_table_of_faults_has_it(tmp_path):
    lines = [*words(61), (61, "set/valve false"),
             *((t, f"now/water/index_l {1000 + t / 60}") for t in range(180, 1200, 60))]
    life = Life(WaterValve, config(tmp_path), lines, told=False)
    raised = [text for alert_id, text in life.alerts if alert_id == "stuck-test" and text]
    assert raised == [faults.line("E_VALVE_STUCK", valve="test", told="closed", evidence="5 L have flowed since")]
    assert life.told("position")[-1][1] == "stuck"


def test_a_forced_opening_goes_on_after_a_restart_and_never_longer_than_it_may_be():
    """B27: a clock that was wrong when it was kept, or is now, gives no month of an open burst pipe."""
    wall_us = 1_800_000_000 * US
    before = made()
    before.force_open(60, 0, None)
    kept = before.kept(600 * US, wall_us)
    for jump_s, left_s in ((0, 3000), (1000, 2000), (3001, None), (-30 * 86_400, None)):
        after = Valve(WaterValveConfig(relay=RELAY), 0)
        after.restore(kept, False, 0, wall_us + jump_s * US)
        if left_s is None:
            assert after.forced_until_us is None
        else:
            assert abs(after.forced_until_us - left_s * US) <= 10 * US
    unknown = Valve(WaterValveConfig(relay=RELAY), 0)
    unknown.restore(kept, False, 0, None)
    assert unknown.forced_until_us is None, "no clock, no promise: a burst closes it"


# --- the exercise -------------------------------------------------------------------------------------------------


def exercised(hours: int, *, every_days: float = 1.0, leak: str = "none", flows: bool = False, closed: bool = False,
              known: bool = True) -> list[datetime]:
    """When an exercise began, with a meter that speaks each 5 min."""
    valve = made(exercise_days=every_days)
    valve.closed = closed
    begun, was = [], False
    for t in range(0, hours * 3600, 20):
        now = NOON + timedelta(seconds=t)
        if t % 300 == 0:
            valve.heard("leak", leak, None, t * US)
            valve.heard("index_l", float(t if flows else 0), None, t * US)
        valve.tick(t * US, now if known else None)
        if valve.exercise.active and not was:
            begun.append(now)
        was = valve.exercise.active
    return begun


def test_exercised_by_day_and_never_while_it_leaks_flows_or_is_closed():
    begun = exercised(24 * 4)
    assert len(begun) == 3 and all(10 <= at.hour < 16 for at in begun)
    assert exercised(24 * 3, leak="drip") == []
    assert exercised(24 * 3, flows=True) == []
    assert exercised(24 * 3, closed=True) == []
    assert exercised(24 * 3, known=False) == []
    assert exercised(24 * 3, every_days=0) == []


def test_a_burst_in_the_middle_of_an_exercise_keeps_it_closed():
    valve = made(exercise_days=1, travel_s=30)
    for t in range(0, 90_000, 10):
        valve.heard("leak", "none", None, t * US)
        valve.heard("index_l", 0.0, None, t * US)
        valve.tick(t * US, NOON + timedelta(seconds=t))
        if valve.exercise.closes(t * US):
            break
    assert valve.wants_closed(t * US) and valve.closed is False
    assert valve.kept(t * US, None)["exercise"] is True
    valve.heard("leak", "burst", None, t * US)
    valve.tick(t * US, NOON)
    for later in range(t, t + 500, 10):
        valve.tick(later * US, NOON)
        assert valve.wants_closed(later * US)
    assert valve.kept(t * US, None)["exercise"] is False


# --- whatever happens ---------------------------------------------------------------------------------------------

STEPS = st.lists(st.tuples(st.sampled_from(("burst", "none", "open", "close", "force", "index", "hand_open", "restart",
                                            "restart_lost", "wait", "garbage")),
                           st.integers(1, 700)), max_size=60)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_closed_by_a_burst_it_stays_so_until_a_person_acts(steps):
    """With the real lease of guard; ``restart_lost``: all that was kept is gone, guard's memory is not."""
    setting = WaterValveConfig(relay=RELAY, exercise_days=1)
    valve, lease, t, burst = made(exercise_days=1), Lease(WaterValve.duty(setting), 0, False), 0, False
    for step, seconds in steps:
        t += seconds * US
        now = NOON + timedelta(microseconds=t)
        if step in ("burst", "none"):
            valve.heard("leak", step, None, t)
        elif step == "index":
            valve.heard("index_l", float(t), None, t)
        elif step == "garbage":
            valve.heard("leak", "flood", None, t)
        elif step == "close":
            valve.close("a person", now)
        elif step == "open":
            try:
                valve.open(t, now)
                burst = False
            except Refused:
                assert valve.leak(t) == "burst"
        elif step == "force":
            valve.force_open(5, t, now)
            burst = False
        elif step == "hand_open":
            if valve.by_hand(False, t, now):
                burst = False
        elif step.startswith("restart"):
            kept = msgspec.json.decode(msgspec.json.encode(valve.kept(t, t)))
            told = lease.look(t).on
            valve, lease = Valve(setting, t), Lease(WaterValve.duty(setting), t, told)
            valve.restore(None if step == "restart_lost" else kept, told, t, t)
        valve.tick(t, now)
        wants = valve.wants_closed(t)
        assert wants is not None
        lease.ask(Ask(on=wants), t)
        burst = burst or (valve.closed is True and valve.by == "burst")
        if burst:
            assert wants and lease.look(t + 400 * 86_400 * US).on


def test_the_simulated_valve_travels_to_its_end_switch(tmp_path, monkeypatch):
    monkeypatch.setattr("plugins.water_valve.plugin.TICK_S", 0.05)
    setting = WaterValveConfig(relay=latching(tmp_path), travel_s=0.5, end_line="GPIO5", interval_s=3600)
    with WaterValve.simulate(setting) as simulated, at_work(WaterValve, simulated) as valve:
        valve.until("open", lambda: valve.value("position") == "open")
        assert valve.order("valve", False).ok
        valve.until("closed by its end switch", lambda: valve.value("position") == "closed")
        assert valve.values("position") == ["open", "closing", "closed"]
        assert valve.order("valve", True).ok
        valve.until("open again", lambda: valve.values("position")[-2:] == ["opening", "open"])
        assert valve.value("stuck") is False and valve.refused == []
    assert valve.committed["valve"]["closed"] is False


def test_plain_relay_and_normally_closed(tmp_path):
    """Relay ON opens; a power cut would close it."""
    setting = WaterValveConfig(relay=plain(tmp_path), normally="closed", interval_s=3600)
    life = Life(WaterValve, setting, [*words(300, (120, "burst")), (60, "set/valve true")])
    assert life.told("valve") == [(0.0, False), (60.5, True), (120.0, False)]
    assert not life.contact.contact and life.contact.moves == 2
