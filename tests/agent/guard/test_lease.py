"""What a guard allows: each rule alone, then a checker of its own over a million random moments."""

from __future__ import annotations

import os
import random

import pytest

from agent.api import Duty
from agent.guard.lease import Ask, Lease

S = 1_000_000
H = 3600 * S
HEAT = Duty(kind="heat")
START = 1_000 * S


def asked(lease: Lease, at_s: float, *, sample_s: float | None = None, max_age_s: float = 60.0, **more: object) -> bool:
    now_us = START + round(at_s * S)
    sample_us = now_us if sample_s is None else START + round(sample_s * S)
    return lease.ask(Ask(on=True, sample_us=sample_us, sample_max_age_s=max_age_s, **more), now_us).on  # type: ignore[arg-type]


def is_on(lease: Lease, at_s: float) -> bool:
    return lease.look(START + round(at_s * S)).on


def test_b45_control_that_falls_silent_loses_the_lease_in_ten_seconds():
    lease = Lease(HEAT, START)
    assert asked(lease, 1)
    verdict = lease.look(START + 2 * S)
    assert verdict.on
    assert verdict.due_us == START + 11 * S  # the guard knows when to wake up
    assert is_on(lease, 10.9)
    assert not is_on(lease, 11)
    assert lease.look(START + 11 * S).why == "lease ended: control silent for 10 s"


def test_a_hang_up_ends_the_lease_at_once():
    lease = Lease(HEAT, START)
    assert asked(lease, 1)
    assert not lease.gone(START + 2 * S).on


def test_b41_no_on_with_a_sample_older_than_its_max_age_and_120_s():
    lease = Lease(HEAT, START)
    assert asked(lease, 100, sample_s=10)
    assert asked(lease, 189, sample_s=10)
    assert not asked(lease, 190, sample_s=10)


@pytest.mark.parametrize(("sample_s", "max_age_s", "why"), [
    (-1.0, 60.0, "no fresh sample since the start"),
    (60.0, 60.0, "the sample's stamp lies in the future"),
    (4.0, 601.0, "a max age of 601 s (0 to 600 is allowed)"),
    (4.0, float("nan"), "a max age of nan s (0 to 600 is allowed)"),
])
def test_b49_an_unfit_sample_is_no_reason_to_heat(sample_s, max_age_s, why):
    lease = Lease(HEAT, START)
    assert not asked(lease, 5, sample_s=sample_s, max_age_s=max_age_s)
    assert lease.look(START + 5 * S).why == why


def test_on_without_any_sample_is_refused():
    lease = Lease(HEAT, START)
    assert not lease.ask(Ask(on=True), START + S).on


def test_after_four_hours_of_on_it_rests_and_wants_a_proof():
    lease = Lease(HEAT, START)
    at = 0
    while asked(lease, at):
        at += 5
    assert at == 4 * 3600
    assert not asked(lease, at + 179)
    assert not asked(lease, at + 181)
    assert lease.look(START + (at + 181) * S).why == "4 h of ON and nothing showed that it heats"
    assert asked(lease, at + 182, heats=True)
    assert asked(lease, at + 187)  # the proof counts for the whole of the next span


def test_b52_frost_duty_is_ten_minutes_an_hour_and_nothing_after_a_start():
    lease = Lease(Duty(kind="heat", frost_s_per_h=3600), START)
    on = []
    for at in range(0, 4 * 3600, 5):
        now_us = START + at * S
        if lease.ask(Ask(on=True, frost=True), now_us).on:
            on.append(at)
    assert min(on) >= 3000  # what was before the start counts as spent
    for at in range(0, 4 * 3600, 60):
        assert sum(5 for one in on if at <= one < at + 3600) <= 605


def test_b52_the_grace_before_frost_duty_comes_off_its_hour():
    """ON is held 120 s past the last sample's age, then frost duty takes over: 600 s with no good sample, not 720."""
    lease = Lease(Duty(kind="heat", frost_s_per_h=600), START)
    good = START + 2 * H
    blind = 0
    for at in range(0, 3600, 5):
        now_us = good + at * S
        ask = Ask(on=True, sample_us=good, sample_max_age_s=60, frost=at > 175, heats=True)
        if lease.ask(ask, now_us).on and at >= 60:
            blind += 5
    assert 590 <= blind <= 605


def test_b52_a_sample_in_time_costs_no_frost_duty():
    lease = Lease(Duty(kind="heat", frost_s_per_h=600), START)
    for at in range(0, 7200, 5):
        now_us = START + at * S
        assert lease.ask(Ask(on=True, sample_us=now_us - at % 60 * S, sample_max_age_s=60, heats=True), now_us).on
    on = [at for at in range(7200, 8400, 5) if lease.ask(Ask(on=True, frost=True), START + at * S).on]
    assert 590 <= 5 * len(on) <= 605


def test_frost_duty_that_was_not_declared_is_none():
    lease = Lease(HEAT, START)
    assert not lease.ask(Ask(on=True, frost=True), START + 2 * H).on


def test_a_valve_stays_where_it_was_told():
    lease = Lease(Duty(kind="hold"), START, told=True)
    assert lease.look(START + 100 * H).on
    assert not lease.ask(Ask(on=False), START + 101 * H).on
    assert not lease.gone(START + 102 * H).on


def test_a_hand_beats_a_wish_that_is_not_new():
    lease = Lease(Duty(kind="hold"), START, told=False)
    lease.ask(Ask(on=False), START + S)
    assert lease.moved(True, START + 2 * S).on
    assert lease.ask(Ask(on=False), START + 3 * S).on
    assert not lease.ask(Ask(on=False, insist=True), START + 4 * S).on


def test_random_moments_never_break_a_limit():
    """A checker that knows only asks, looks and verdicts. 10^6 steps in the long form."""
    steps = 1_000_000 if os.environ.get("HUTKEEPER_LONG") else 60_000
    dice = random.Random(20261126)
    duty = Duty(kind="heat", max_on_s=600, rest_s=120, frost_s_per_h=300)
    now, lease, started = START, Lease(duty, START), START
    ask: Ask | None = None
    asked_us = on_since = last_off = 0
    frost: list[tuple[int, int]] = []
    most_frost = longest = calm_until = rough_until = 0
    frosty = False
    for _ in range(steps):
        before = now
        was = lease.look(now).on
        if calm_until < now < rough_until:
            step, kind = dice.choice((0, 1, S, 3 * S, 9 * S, 11 * S, 40 * S)), dice.random()
        else:
            step, kind = dice.choice((S, 3 * S, 9 * S)), 0.5
        if now >= rough_until:
            calm_until = now + dice.randrange(1500) * S
            rough_until = calm_until + dice.randrange(600) * S
        now += step
        if not lease.look(now).on:
            on_since = 0  # it went OFF meanwhile, and may be ON again by the next word
        if kind < 0.002:
            lease, started, ask, was, on_since, frost = Lease(duty, now), now, None, False, 0, []
        elif kind < 0.02:
            ask = None
            lease.gone(now)
        elif kind < 0.7:
            sample = now - dice.choice((-5 * S, 0, S, 100 * S, 170 * S, 181 * S, 300 * S))
            if now > calm_until:
                ask = Ask(on=dice.random() < 0.9, sample_us=dice.choice((sample, sample, None)),
                          sample_max_age_s=dice.choice((60.0, 60.0, 900.0)), frost=dice.random() < 0.1,
                          heats=dice.random() < 0.5)
            else:
                ask = Ask(on=True, sample_us=now, sample_max_age_s=60.0, frost=frosty, heats=True)
            frosty = dice.random() < (0.99 if frosty else 0.01)
            asked_us = now
            lease.ask(ask, now)
        verdict = lease.look(now)
        if verdict.on:
            assert ask is not None
            assert ask.on
            assert now - asked_us < 10 * S
            assert verdict.due_us is not None
            assert verdict.due_us > now
            if not ask.frost:
                assert ask.sample_us is not None
                assert started <= ask.sample_us <= now + S
                assert now - ask.sample_us < (ask.sample_max_age_s + 120) * S
                assert ask.sample_max_age_s <= 600
            if not was or not on_since:
                on_since = now
            longest = max(longest, now - on_since)
            assert now - on_since < 600 * S
            good_until = 0 if ask.frost else (ask.sample_us or 0) + round(ask.sample_max_age_s * S)
            if was and (blind := max(before, good_until)) < now:
                frost.append((blind, now))
        else:
            on_since, last_off = 0, now
        if len(frost) > 1 and verdict.on and ask is not None and ask.frost:  # a grace after it is one of its own
            frost = [span for span in frost if span[1] > now - H]
            spent = sum(end - max(begin, now - H) for begin, end in frost)
            most_frost = max(most_frost, spent)
            assert spent <= 340 * S
    assert longest > 580 * S  # the dice did reach the limit
    assert last_off
    assert most_frost > 250 * S
