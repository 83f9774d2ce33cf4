"""The engine against slow, plain references, and its state kept and restored at any moment."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.rules.declared import Declared
from agent.rules.engine import Change, Engine, Sample
from agent.rules.model import Rule, parse

S = 1_000_000
H = 3600 * S
T0 = 1_764_000_000 * S
quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def rule(kind: str, body: str, of: str = "hut/air/co2_ppm", head: str = "") -> Rule:
    return parse(f'id = "r"\nkind = "{kind}"\n' + (f'of = "{of}"\n' if of else "") + head + "\n" + body)


def series(name: str = "hut/air/co2_ppm", **more: object) -> Declared:
    return Declared(*name.split("/"), **more)  # type: ignore[arg-type]


def sample(t_us: int, value: object, name: str = "hut/air/co2_ppm", quality: str | None = None) -> Sample:
    device, node, prop = name.split("/")
    return Sample(device, node, prop, t_us, value, quality)


def standing(engine: Engine) -> str:
    (outcome,) = engine.outcomes()
    return outcome.standing


# --- threshold, hold, hysteresis ------------------------------------------------------------------------------


def reference(samples: list[tuple[int, float]], *, limit: float, hysteresis: float, hold: int, calm: int, age: int,
              end: int) -> list[tuple[bool, int]]:
    """(fires, when), found by looking at every single moment."""
    found: list[tuple[bool, int]] = []
    at = dict(samples)
    fires, wrong_from, well_from = False, None, None
    truth: bool | None = None
    last = None
    for now in range(end + 1):
        # what was so up to now comes before what changes now
        if not fires and wrong_from is not None and now - wrong_from >= hold:
            fires, wrong_from = True, None
            found.append((True, now))
        if fires and well_from is not None and now - well_from >= calm:
            fires, well_from = False, None
            found.append((False, now))
        if last is not None and now - last > age:  # unknown, if only until the sample of this very moment
            truth = wrong_from = well_from = None
        if now in at:
            last = now
            truth = at[now] > (limit - hysteresis if truth else limit)
        if truth is True:
            well_from = None
            if not fires and wrong_from is None:
                wrong_from = now
                if hold == 0:
                    fires, wrong_from = True, None
                    found.append((True, now))
        elif truth is False:
            wrong_from = None
            if fires and well_from is None:
                well_from = now
                if calm == 0:
                    fires, well_from = False, None
                    found.append((False, now))
        else:
            wrong_from = well_from = None
    return found


STREAM = st.lists(st.tuples(st.integers(0, 120), st.sampled_from([0.0, 7.0, 9.0, 10.0, 11.0, 20.0])),
                  max_size=30, unique_by=lambda one: one[0]).map(sorted)


@quick
@given(samples=STREAM, hold=st.integers(0, 30), calm=st.integers(0, 30), hysteresis=st.sampled_from([0.0, 2.0, 5.0]),
       age=st.integers(1, 60), ticks=st.sets(st.integers(0, 120)))
def test_threshold_hold_and_hysteresis_are_those_of_a_plain_reference(
        samples: list[tuple[int, float]], hold: int, calm: int, hysteresis: float, age: int, ticks: set[int]) -> None:
    """In microseconds, so that every moment can be looked at."""
    one = rule("threshold", f"above = 10\nhysteresis = {hysteresis}\nhold_s = {hold / 1e6:.7f}\n"
                            f"calm_s = {calm / 1e6:.7f}")
    engine = Engine([one], [series(max_age_s=age / 1e6)], UTC)
    engine.tick(T0)
    for now in range(121):
        for t, value in samples:
            if t == now:
                engine.feed(sample(T0 + t, value))
        if now in ticks:
            engine.tick(T0 + now)
    engine.tick(T0 + 200)
    expected = reference(samples, limit=10, hysteresis=hysteresis, hold=hold, calm=calm, age=age, end=200)
    assert [(change.fires, change.t_us - T0) for change in engine.changes()] == expected


def test_b68_a_square_wave_of_7_s_fires_at_most_once_in_10_min() -> None:
    for hold_s in (0, 5, 60):
        engine = Engine([rule("threshold", f"above = 1000\nhysteresis = 50\nhold_s = {hold_s}")], [series()], UTC)
        for second in range(600):
            engine.feed(sample(T0 + second * S, 1100 if second // 7 % 2 else 900))
            engine.tick(T0 + second * S)
        fired = [change for change in engine.changes() if change.fires]
        assert len(fired) == (0 if hold_s == 60 else 1)


# --- no data --------------------------------------------------------------------------------------------------


def test_b72_no_data_is_a_state_and_never_ok() -> None:
    watch = rule("threshold", "above = 1000")
    silent = parse('id = "silent"\nkind = "no_data"\nof = "*/*/*"\nhold_s = 60')
    engine = Engine([watch, silent], [series(max_age_s=30, expected=True)], UTC)
    engine.tick(T0)
    engine.feed(sample(T0, 900))
    for second in range(30):
        engine.tick(T0 + second * S)
    assert {one.rule: one.standing for one in engine.outcomes()} == {"r": "ok", "silent": "ok"}
    engine.tick(T0 + 30 * S + 1)
    assert {one.rule: one.standing for one in engine.outcomes()} == {"r": "no_data", "silent": "pending"}
    engine.tick(T0 + 91 * S)
    silence = {one.rule: one for one in engine.outcomes()}["silent"]
    assert (silence.standing, silence.since_us) == ("firing", T0 + 30 * S + 1)
    assert "gives no good value any more" in silence.text


def test_b72_what_fires_goes_on_to_fire_without_data() -> None:
    engine = Engine([rule("threshold", "above = 1000")], [series(max_age_s=30)], UTC)
    engine.feed(sample(T0, 1200))
    engine.tick(T0 + 3600 * S)
    assert standing(engine) == "firing"
    assert "gives no good value any more" in engine.outcomes()[0].text


def test_b72_what_has_never_come_is_missed_too_unless_it_is_optional() -> None:
    silent = parse('id = "silent"\nkind = "no_data"\nof = "*/*/*"')
    engine = Engine([silent], [series(max_age_s=30, expected=True), series("hut/air/extra", max_age_s=30)], UTC)
    engine.tick(T0)
    engine.tick(T0 + 31 * S)
    assert {one.subject: one.standing for one in engine.outcomes()} == {
        "hut/air/co2_ppm": "firing", "hut/air/extra": "no_data"}
    engine.feed(sample(T0 + 40 * S, 1, "hut/air/extra"))
    engine.tick(T0 + 71 * S)
    assert [one.standing for one in engine.outcomes()] == ["firing", "firing"]


def test_a_rule_that_nothing_matches_says_so() -> None:
    engine = Engine([rule("threshold", "above = 1", of="hut/air/co2_pmp")], [series()], UTC)
    engine.tick(T0)
    assert [(one.standing, one.text) for one in engine.outcomes()] == [("no_data", "no series is hut/air/co2_pmp")]


# --- samples ----------------------------------------------------------------------------------------------------


def test_a_late_sample_and_a_bad_one_change_nothing() -> None:
    engine = Engine([rule("threshold", "above = 1000\ncalm_s = 0")], [series()], UTC)
    engine.feed(sample(T0 + 10 * S, 1200))
    engine.feed(sample(T0 + 5 * S, 100))
    engine.feed(sample(T0 + 20 * S, 100, quality="sensor_error"))
    engine.feed(sample(T0 + 21 * S, None))
    engine.tick(T0 + 30 * S)
    assert standing(engine) == "firing"
    engine.feed(sample(T0 + 40 * S, 100, quality="estimated"))
    assert standing(engine) == "ok"


@pytest.mark.parametrize(("body", "value", "fires"), [
    ('is = "open"', "open", True), ('is = "open"', "shut", False), ("is = true", True, True), ("is = true", 1, False),
    ("is = 1", True, False), ("is = 1", 1, True),
    ('is_not = ["a", "b"]', "c", True), ('is_not = ["a", "b"]', "b", False),
])
def test_states_of_words_numbers_and_booleans(body: str, value: object, fires: bool) -> None:
    engine = Engine([rule("state", body)], [series()], UTC)
    engine.feed(sample(T0, value))
    assert (standing(engine) == "firing") is fires


def test_an_event_is_over_at_once() -> None:
    engine = Engine([rule("state", "is = true\ncalm_s = 5")], [series(event=True)], UTC)
    engine.feed(sample(T0, True))
    assert standing(engine) == "firing"
    engine.tick(T0 + 6 * S)
    assert standing(engine) == "ok"


def test_what_is_declared_later_or_otherwise_counts_from_then_on() -> None:
    """A device's samples may come before its declaration."""
    silent = parse('id = "silent"\nkind = "no_data"\nof = "*/*/*"')
    engine = Engine([silent, rule("threshold", "above = 1000")], [], UTC)
    engine.feed(sample(T0, 1200))
    engine.tick(T0 + 3600 * S)
    assert {one.rule: one.standing for one in engine.outcomes()} == {"r": "firing", "silent": "no_data"}
    engine.declare([series(max_age_s=30, expected=True)])
    engine.tick(T0 + 3601 * S)
    engine.tick(T0 + 3640 * S)
    assert {one.rule: one.standing for one in engine.outcomes()} == {"r": "firing", "silent": "firing"}
    engine.feed(sample(T0 + 3650 * S, 900))
    engine.tick(T0 + 3655 * S)
    assert {one.rule: one.standing for one in engine.outcomes()} == {"r": "firing", "silent": "firing"}, "calm"
    engine.feed(sample(T0 + 3675 * S, 900))
    engine.feed(sample(T0 + 3700 * S, 900))
    engine.tick(T0 + 3711 * S)
    assert {one.rule: one.standing for one in engine.outcomes()} == {"r": "ok", "silent": "ok"}
    engine.declare([series()])
    engine.tick(T0 + 9000 * S)
    assert {one.rule: one.standing for one in engine.outcomes()} == {"r": "ok", "silent": "no_data"}


# --- never zero --------------------------------------------------------------------------------------------------


def plain_use(samples: list[tuple[int, float]], hour: int, now: int) -> float | None:
    """What a counter grew by in an hour, as known from the samples before ``now``; None: nobody knows."""
    seen = [one for one in samples if one[0] < now]
    inside = [one for one in seen if one[0] // 60 == hour]
    before = [one for one in seen if one[0] // 60 < hour]
    after = [one for one in seen if one[0] // 60 > hour]
    if not inside:
        return 0.0 if before and after and after[0][1] <= before[-1][1] else None
    path = inside
    whole = False
    if before and (before[-1][0] // 60 == hour - 1 or inside[0][1] <= before[-1][1]):
        path, whole = [before[-1], *inside], True
    steps = [max(0.0, b[1] - a[1]) for a, b in pairwise(path)]
    return sum(steps) if whole or sum(steps) > 0 else None


@settings(quick, max_examples=100)
@given(steps=st.lists(st.tuples(st.integers(1, 150), st.sampled_from([0.0, 0.0, 1.0, 5.0, -3.0])), max_size=60),
       missing=st.integers(0, 3))
def test_never_zero_is_that_of_a_plain_reference(steps: list[tuple[int, float]], missing: int) -> None:
    """A counter that is read at odd minutes, with gaps and a new meter now and then; hours in minutes since T0."""
    begin = T0 - T0 % H
    engine = Engine([rule("never_zero", f"hours = 5\nmissing = {missing}\ncalm_s = 0")], [series(counter=True)], UTC)
    minute, index, samples = 0, 100.0, []
    for gap, growth in steps:
        minute, index = minute + gap, max(0.0, index + growth)
        samples.append((minute, index))
    engine.tick(begin)
    for hour in range(minute // 60 + 2):
        for t, value in samples:
            if t // 60 == hour:
                engine.feed(sample(begin + t * 60 * S, value))
        engine.tick(begin + (hour + 1) * H)
        uses = [plain_use(samples, one, (hour + 1) * 60) for one in range(hour + 1 - 5, hour + 1)]
        expected = "firing"
        if any(use is not None and use <= 0 for use in uses):
            expected = "ok"
        elif uses.count(None) > missing:
            expected = "no_data"
        (got,) = engine.outcomes()
        cell = engine.subjects["r", "hut/air/co2_ppm"].single
        assert cell is not None
        assert {True: "firing", False: "ok", None: "no_data"}[cell.truth] == expected, (hour, uses, got)


def test_never_zero_of_a_flow_and_its_sentence() -> None:
    engine = Engine([rule("never_zero", "hours = 24")], [series(unit="L/h")], UTC)
    begin = T0 - T0 % H
    for minute in range(0, 25 * 60, 5):
        engine.feed(sample(begin + minute * 60 * S, 3.0 if minute % 60 < 10 else 0.0))
    engine.tick(begin + 25 * H)
    assert standing(engine) == "firing"
    assert "was not zero in any of the last 24 h (smallest use in an hour: 3 L/h)" in engine.outcomes()[0].text
    for minute in range(25 * 60, 26 * 60, 5):
        engine.feed(sample(begin + minute * 60 * S, 0.0))
    engine.tick(begin + 26 * H + 120 * S)
    assert standing(engine) == "ok"


# --- rate, forecast, override, frozen ------------------------------------------------------------------------------


def test_rate_per_hour() -> None:
    engine = Engine([rule("rate", "below = -5\nwindow_s = 600")], [series(unit="°C")], UTC)
    for second in range(0, 900, 10):
        engine.feed(sample(T0 + second * S, 20 - second / 3600 * 6))
        engine.tick(T0 + second * S)
        assert standing(engine) == ("no_data" if second < 300 else "firing")
    assert "changes by -6 °C/h, below -5 °C/h" in engine.outcomes()[0].text


def test_forecast_sees_a_trend_and_no_step() -> None:
    for name, value, expected in (
        ("trend", lambda hour: 60 + hour / 24 * 4, "firing"),
        ("slow", lambda hour: 60 + hour / 24 * 0.1, "ok"),
        ("step", lambda hour: 85.0 if hour > 80 else 60.0, "ok"),
        ("daily", lambda hour: 60 + (hour % 24), "ok"),
        ("there", lambda hour: 96.0, "firing"),
    ):
        engine = Engine([rule("forecast", "above = 95\nwithin_days = 7\nwindow_days = 7")], [series(unit="%")], UTC)
        for hour in range(7 * 24):
            engine.feed(sample(T0 + hour * H, value(hour)))
            engine.tick(T0 + hour * H)
        assert standing(engine) == expected, (name, engine.outcomes())
        if name == "trend":
            assert "will be above 95 % in 2.0 days" in engine.outcomes()[0].text or "days" in engine.outcomes()[0].text


def test_a_forgotten_override_at_night_by_local_time() -> None:
    """B51: forced since the evening is no fault at 22:30, and is one from 23:30 on, until it ends."""
    zone = ZoneInfo("Europe/Paris")
    one = rule("override", 'hold_s = 1800\nbetween = "23:00-06:00"', of="*/*/levels")
    levels = {"base": {"profile": "work"}, "supplementary": None, "exceptional": None,
              "forced": {"setpoint_c": 22.0, "until": "2026-11-27T05:00:00Z"}}
    engine = Engine([one], [series("hut/heater/levels")], zone)
    evening = round(datetime(2026, 11, 26, 22, 0, tzinfo=zone).timestamp()) * S
    at = {}
    for minute in range(0, 600, 5):
        now = evening + minute * 60 * S
        engine.feed(sample(now, levels if minute < 180 else {**levels, "forced": None}, "hut/heater/levels"))
        engine.tick(now)
        at[minute] = standing(engine)
    assert (at[55], at[60], at[85], at[90], at[180], at[190]) == (
        "ok", "pending", "pending", "firing", "firing", "ok")
    fired = engine.changes()[0]
    assert "is still forced (22.0) until 2026-11-27T05:00:00Z" in fired.text


def test_frozen_is_not_silent() -> None:
    engine = Engine([rule("frozen", "for_s = 600")], [series(max_age_s=60)], UTC)
    for second in range(0, 700, 30):
        engine.feed(sample(T0 + second * S, 21.37))
        engine.tick(T0 + second * S)
    assert standing(engine) == "firing"
    engine.feed(sample(T0 + 700 * S, 21.38))
    engine.tick(T0 + 730 * S)
    (outcome,) = engine.outcomes()
    assert outcome.standing == "firing" and "stands still at 21.37" in outcome.text, "calm is not over"
    engine.tick(T0 + 760 * S)
    assert standing(engine) == "ok"
    engine.tick(T0 + 900 * S)
    assert standing(engine) == "no_data"
    engine.feed(sample(T0 + 1400 * S, 21.38))  # it was dark, and comes back with the same figure
    engine.tick(T0 + 1401 * S)
    assert standing(engine) == "ok"


# --- across devices -------------------------------------------------------------------------------------------------


def test_all_and_any_across_devices() -> None:
    body = ('[[conditions]]\nkind = "state"\nof = "*/window/open"\nis = true\nhold_s = 60\n'
            '[[conditions]]\nkind = "threshold"\nof = "hut/heater/power_pct"\nabove = 0\n')
    all_of = parse('id = "all"\nkind = "all"\ncalm_s = 0\n' + body)
    any_of = parse('id = "any"\nkind = "any"\ncalm_s = 0\n' + body)
    engine = Engine([all_of, any_of], [series("a/window/open"), series("b/window/open"),
                                       series("hut/heater/power_pct")], UTC)

    def stand(t: int) -> dict[str, str]:
        engine.tick(T0 + t * S)
        return {one.rule: one.standing for one in engine.outcomes()}

    assert stand(0) == {"all": "no_data", "any": "no_data"}
    engine.feed(sample(T0 + S, False, "a/window/open"))
    engine.feed(sample(T0 + S, True, "b/window/open"))
    engine.feed(sample(T0 + S, 0, "hut/heater/power_pct"))
    assert stand(2) == {"all": "ok", "any": "ok"}
    assert stand(61) == {"all": "ok", "any": "firing"}
    engine.feed(sample(T0 + 70 * S, 40, "hut/heater/power_pct"))
    assert stand(70) == {"all": "firing", "any": "firing"}
    text = next(one.text for one in engine.outcomes() if one.rule == "all")
    assert "b/window/open" in text and "hut/heater/power_pct" in text and "a/window/open" not in text
    engine.feed(sample(T0 + 80 * S, False, "b/window/open"))
    assert stand(80) == {"all": "ok", "any": "firing"}


# --- kept and restored -----------------------------------------------------------------------------------------------

RULES = [
    parse('id = "t"\nkind = "threshold"\nof = "*/air/*"\nabove = 10\nhysteresis = 2\nhold_s = 40\n'
          'between = "05:00-21:00"'),
    parse('id = "n"\nkind = "no_data"\nof = "*/*/*"\nhold_s = 30'),
    parse('id = "z"\nkind = "never_zero"\nof = "*/*/index_l"\nhours = 2'),
    parse('id = "f"\nkind = "frozen"\nof = "*/air/*"\nfor_s = 100'),
    parse('id = "v"\nkind = "rate"\nof = "*/*/index_l"\nabove = 3\nwindow_s = 60'),
    parse('id = "p"\nkind = "forecast"\nof = "*/air/*"\nabove = 15\nwindow_days = 0.1'),
    parse('id = "c"\nkind = "all"\n[[conditions]]\nkind = "threshold"\nof = "a/air/co2"\nabove = 9\nhold_s = 20\n'
          '[[conditions]]\nkind = "no_data"\nof = "b/air/co2"'),
]
KNOWN = [series("a/air/co2", max_age_s=120, expected=True), series("b/air/co2", max_age_s=90),
         series("a/water/index_l", counter=True, max_age_s=600)]


def play(steps: list[tuple[int, int, float, bool]], cuts: set[int], by_one: bool = False) -> list[object]:
    engine = Engine(RULES, KNOWN, UTC)
    now, seen = T0, []
    for n, (gap, which, value, tick) in enumerate(steps):
        now += gap * S
        device, node, prop = KNOWN[which].key
        engine.feed(Sample(device, node, prop, now, value))
        if tick:
            engine.tick(now)
        seen += engine.changes()
        if n in cuts:
            again = Engine(RULES, KNOWN, UTC)
            assert again.restore(engine.kept()) is None
            engine = again
    engine.tick(now + 3600 * S)
    return [*seen, *engine.changes(), *((one.rule, one.subject, one.standing, one.since_us)
                                        for one in engine.outcomes())]


@settings(quick, max_examples=60)
@given(steps=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 2), st.sampled_from([0.0, 8.0, 11.0, 14.0, 16.0]),
                                st.booleans()), max_size=60),
       cuts=st.sets(st.integers(0, 60)))
def test_kept_and_restored_at_any_moment_it_gives_the_same(
        steps: list[tuple[int, int, float, bool]], cuts: set[int]) -> None:
    def told(seen: list[object]) -> list[object]:
        return [(one.rule, one.subject, one.fires, one.t_us) if isinstance(one, Change) else one for one in seen]

    assert told(play(steps, cuts)) == told(play(steps, set()))


def test_what_was_kept_for_another_rule_is_not_taken() -> None:
    engine = Engine([rule("threshold", "above = 10")], [series()], UTC)
    engine.feed(sample(T0, 11))
    assert standing(engine) == "firing"
    other = Engine([rule("threshold", "above = 12")], [series()], UTC)
    assert other.restore(engine.kept()) is None
    assert standing(other) == "no_data"
    assert "begin anew" in str(other.restore(b"\xc1nonsense"))
    renamed = Engine([rule("threshold", "above = 10", head='title = "Stuffy"')], [series()], UTC)
    renamed.restore(engine.kept())
    assert standing(renamed) == "firing" and list(renamed.firing) == [("r", "hut/air/co2_ppm")]
