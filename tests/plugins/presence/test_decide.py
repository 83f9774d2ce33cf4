"""The decision core on moved stamps: delays, dead sources, what holds a person at home."""

from __future__ import annotations

import random

import pytest

from plugins.presence.decide import Person, Sign, anyone

HOLD_S, SILENCE_S = 60.0, 120.0


def ble(name: str = "ble") -> Sign:
    return Sign(name, "ble", HOLD_S, SILENCE_S)


def word(name: str = "mqtt") -> Sign:
    return Sign(name, "mqtt", None, None)


def run(person: Person, until_s: float, start_s: float = 0.0, alive: tuple[Sign, ...] = ()) -> list[tuple[float, str]]:
    """Every second a look; the changes. ``alive``: signs whose source goes on working without seeing anything."""
    changes = []
    t_s = start_s
    while t_s <= until_s:
        for sign in alive:
            sign.source_up(t_s)
        if person.decide(t_s):
            changes.append((t_s, person.presence))
        t_s += 1.0
    return changes


def test_arrival_at_once_and_departure_after_hold_and_delay() -> None:
    sign = ble()
    person = Person([sign], 0, 300)
    assert run(person, 9, alive=(sign,)) == []
    sign.seen(10)
    assert run(person, 1000, 10, alive=(sign,)) == [(10, "home"), (10 + HOLD_S + 1 + 300, "away")]


def test_an_arrival_delay_needs_the_sign_all_the_time() -> None:
    sign = ble()
    person = Person([sign], 100, 0)
    sign.seen(0)
    assert run(person, 70, alive=(sign,)) == [(61, "away")], "passed the house by"
    for t_s in range(80, 300, 30):
        sign.seen(t_s)
        person.decide(t_s)
    assert run(person, 299, 260) == [] and person.presence == "home"


def test_at_the_start_nobody_knows_until_a_source_has_listened() -> None:
    sign = ble()
    person = Person([sign], 0, 0)
    assert run(person, 50, alive=(sign,)) == [] and person.presence == "unknown"
    assert run(person, 70, 51, alive=(sign,)) == [(61, "away")]


def test_B55_a_dead_scanner_makes_nobody_go_away() -> None:
    sign = ble()
    person = Person([sign], 0, 30)
    sign.seen(0)
    sign.seen(100)
    run(person, 100)
    sign.source_down("the scanner is down")
    changes = run(person, 5000, 101)
    assert [answer for _, answer in changes] == ["unknown"]
    assert person.evidence(5000)["ble"]["why"] == "the scanner is down"
    sign.source_up(5001)
    assert run(person, 5300, 5001, alive=(sign,)) == [(5001 + HOLD_S + 1 + 30, "away")], "it listens, and hears nothing"


def test_a_source_that_only_falls_silent_is_dead_too() -> None:
    sign = ble()
    person = Person([sign], 0, 0)
    sign.seen(0)
    assert run(person, 3000) == [(0, "home"), (SILENCE_S + 1, "unknown")], "and never away, with no delay at all"


def test_a_sleeping_phone_does_not_send_home_who_is_held_by_a_dead_scanner() -> None:
    badge, phone = ble(), Sign("ping", "ping", 180, 100)
    person = Person([badge, phone], 0, 30)
    badge.seen(0)
    assert run(person, 40, alive=(phone,)) == [(0, "home")]
    badge.source_down("the scanner is stalled")
    changes = run(person, 3000, 41, alive=(phone,))
    assert [answer for _, answer in changes] == ["unknown"], "ping says gone, but it never said here in this stay"
    phone.seen(3001)
    assert run(person, 3001, 3001) == [(3001, "home")]
    assert [answer for _, answer in run(person, 6000, 3002, alive=(phone,))] == ["away"], "the ping that held is gone"


def test_one_living_sign_is_enough_to_know() -> None:
    """A sign that never says a word (an app that was never set up) does not make a person unknown for ever."""
    badge, app = ble(), word()
    person = Person([badge, app], 0, 0)
    assert run(person, 100, alive=(badge,)) == [(61, "away")]


def test_words_stand_until_others_come() -> None:
    app = word()
    person = Person([app], 0, 10)
    app.seen(5)
    assert run(person, 90_000, 5) == [(5, "home")]
    app.gone(90_001)
    assert run(person, 90_100, 90_001) == [(90_011, "away")]
    app.source_down("zigbee2mqtt/available says offline")
    assert run(person, 90_200, 90_101) == [(90_111, "unknown")]


def test_a_sign_that_comes_back_within_the_delay_changes_nothing() -> None:
    sign = ble()
    person = Person([sign], 0, 300)
    for t_s in range(0, 3000, 300):  # every five minutes a packet, held for one
        sign.seen(t_s)
        changes = run(person, t_s + 299, t_s, alive=(sign,))
        assert changes == ([(0, "home")] if t_s == 0 else [])


def test_who_was_at_home_before_a_restart_stays_until_the_signs_have_spoken() -> None:
    sign = ble()
    person = Person([sign], 0, 300)
    person.restore("home", {"ble", "no-such-sign"})
    assert person.held_by == {"ble"}
    assert run(person, 299, alive=(sign,)) == []
    assert run(person, 2000, 300, alive=(sign,))[-1][1] == "away"
    person = Person([ble()], 0, 300)
    person.restore("home", {"ble"})
    assert run(person, 2000) == [(300, "unknown")], "the scanner did not come back"


@pytest.mark.parametrize("answers, wanted", [
    (["home", "unknown"], "home"), (["away", "unknown"], "unknown"), (["away", "away"], "away"), ([], "unknown")])
def test_anyone(answers: list[str], wanted: str) -> None:
    assert anyone(answers) == wanted  # type: ignore[arg-type]


def test_B41_in_ten_thousand_random_hours_away_always_has_a_witness() -> None:
    """Whatever sources do: ``away`` is said only while every sign that held the stay is alive and says gone."""
    rng = random.Random(4)
    for _ in range(100):
        signs = [ble("a"), Sign("b", "ping", 180, 100), word("c")]
        person = Person(signs, rng.choice((0, 20)), rng.choice((0, 60, 300)))
        for t_s in range(0, 3600, 5):
            for sign in signs:
                match rng.randrange(60):
                    case 0 | 1:
                        sign.seen(t_s)
                    case 2:
                        sign.gone(t_s)
                    case 3:
                        sign.source_down("dead")
                    case 4 | 5 | 6:
                        sign.source_up(t_s)
            held_before = set(person.held_by)
            if person.decide(t_s) and person.presence == "away":
                says = {sign.name: sign.sight(t_s) for sign in signs}
                assert "gone" in says.values() and "here" not in says.values()
                assert all(says[name] == "gone" for name in held_before)
