"""The detector alone: on the recordings that set nothing, and what it must not mind."""

from __future__ import annotations

import pytest

from firmware_bridges.esp32_csi import layout_of
from plugins.esp32_csi import simulate
from plugins.esp32_csi.arrays import Array, np
from plugins.esp32_csi.motion import MotionDetector, Tuning, Verdict, figures, usable
from tests.plugins.esp32_csi import recordings

RATE_HZ = 100.0
with_recordings = pytest.mark.skipif(not recordings.HERE, reason=recordings.MISSING)


def room(seconds: float, moving: bool, seed: int = 1, rate_hz: float = RATE_HZ, subcarriers: int = 40) -> Array:
    """Amplitudes: a fixed profile, noise of 2 %, and while moving a smooth fading of 8 % in each sub-carrier."""
    rng = np.random.default_rng(seed)
    count = round(seconds * rate_hz)
    profile = 20 + 5 * np.sin(np.arange(subcarriers) / 6)
    fading = np.zeros((count, subcarriers))
    if moving:
        t = np.arange(count)[:, None] / rate_hz
        for _ in range(6):
            fading += np.sin(2 * np.pi * rng.uniform(2, 9) * t + rng.uniform(0, 6) + np.arange(subcarriers) / 9)
        fading *= 0.08 / np.sqrt(3)
    return (profile * (1 + fading + 0.02 * rng.standard_normal((count, subcarriers)))).astype(np.float32)


def run(detector: MotionDetector, rows: Array, start_s: float = 0.0, rate_hz: float = RATE_HZ) -> list[Verdict]:
    verdicts = [detector.feed(start_s + i / rate_hz, row) for i, row in enumerate(rows)]
    return [verdict for verdict in verdicts if verdict is not None]


def moved(verdicts: list[Verdict]) -> float:
    said = [verdict.motion for verdict in verdicts if verdict.motion is not None]
    assert said
    return sum(said) / len(said)


@with_recordings
@pytest.mark.parametrize("name", recordings.MOTION["held_back"])
def test_row_10_recall_and_false_positives_of_csi_motion_takes_that_set_nothing(name: str) -> None:
    tally = recordings.csi_motion("held_back", name)
    assert tally.quiet > 30 and tally.moving > 30
    assert tally.recall >= 0.96 and tally.false_positives <= 0.02, str(tally)


@with_recordings
def test_row_10_recall_and_false_positives_of_csi_activity_executions_that_set_nothing() -> None:
    tally = recordings.csi_activity("held_back")
    assert tally.quiet > 30 and tally.moving > 150
    assert tally.recall >= 0.96 and tally.false_positives <= 0.02, str(tally)


@with_recordings
def test_still_scenes_at_ten_packets_a_second() -> None:
    found = recordings.csi_scene()
    assert sum(tally.quiet for tally in found.values()) > 250
    assert all(tally.false_positives <= 0.02 for tally in found.values()), found


def test_motion_is_told_within_a_second_and_a_half_and_ends_as_fast() -> None:
    detector = MotionDetector()
    rows = np.concatenate([room(6, False), room(5, True, 2), room(6, False, 3)])
    verdicts = run(detector, rows)
    began = next(v.t_s for v in verdicts if v.motion)
    ended = max(v.t_s for v in verdicts if v.motion)
    assert 6.0 < began < 7.5 and 10.5 < ended < 12.5


def test_it_knows_motion_before_it_has_seen_a_quiet_room() -> None:
    detector = MotionDetector()
    assert moved(run(detector, room(4, True))) > 0.9
    assert not detector.quiet.known


def test_the_receivers_gain_does_not_matter() -> None:
    """AGC: each packet has a gain of its own, to and fro by 6 dB."""
    rng = np.random.default_rng(5)
    quiet = room(10, False) * rng.choice([0.5, 1.0, 1.4], (1000, 1)).astype(np.float32)
    assert moved(run(MotionDetector(), quiet)) == 0.0


def test_bursts_of_foreign_packets_are_no_motion_B43() -> None:
    rng = np.random.default_rng(6)
    rows = room(20, False)
    for at in rng.choice(len(rows), 60, replace=False):
        rows[at] *= rng.uniform(0.1, 4, rows.shape[1]).astype(np.float32)
    assert moved(run(MotionDetector(), rows)) <= 0.02
    loud = figures(rows[:100], 1e9).spread
    assert figures(rows[:100], Tuning().outlier).spread < loud / 3, "the outliers are there, and drawn in"


def test_dead_and_weak_sub_carriers_are_left_out() -> None:
    rows = room(2, False)
    rows[:, 7] = 0.0
    rows[:, 8] = 1.5
    chosen = usable(rows)
    assert chosen.sum() == 38 and not chosen[7] and not chosen[8]
    rows[:] = 0.0
    assert not usable(rows).any()
    assert run(MotionDetector(), rows) == [], "nothing to judge is no verdict"


def test_what_was_taught_as_quiet_is_no_motion_any_more_and_a_person_is() -> None:
    """A fan: coherent, all day."""
    t = np.arange(6000)[:, None] / RATE_HZ
    fan = room(60, False) * (1 + 0.05 * np.sin(2 * np.pi * 6 * t + np.arange(40) / 5)).astype(np.float32)
    detector = MotionDetector()
    assert moved(run(detector, fan[:1000])) > 0.9
    detector.teach(10)
    told = run(detector, fan[1000:2200], 10)
    assert [v.motion for v in told[:20]] == [None] * 20, "nothing is said while it learns"
    assert not detector.teaching
    assert moved(run(detector, fan[2200:], 22)) <= 0.02
    person = fan[:800] * room(8, True, 9) / room(8, False, 9)
    assert moved(run(detector, person, 60)) > 0.8


def test_a_slow_link_is_judged_by_its_spread_once_it_knows_the_quiet_room() -> None:
    detector = MotionDetector()
    quiet = run(detector, room(20, False, rate_hz=20), rate_hz=20)
    assert {v.motion for v in quiet[:10]} == {None} and moved(quiet) == 0.0
    assert moved(run(detector, room(10, True, rate_hz=20), 20, 20)) > 0.85


def test_four_packets_a_second_are_enough_for_a_verdict_and_one_in_two_seconds_is_not() -> None:
    assert run(MotionDetector(), room(30, False, rate_hz=4), rate_hz=4)
    assert not run(MotionDetector(), room(60, False, rate_hz=0.5), rate_hz=0.5)


def test_a_link_at_the_edge_of_two_kinds_of_judgement_does_not_forget_again_and_again() -> None:
    detector = MotionDetector()
    rng = np.random.default_rng(8)
    t_s, known = 0.0, []
    for row in room(60, False, rate_hz=75):
        t_s += float(rng.uniform(0.9, 1.1)) / 75
        if detector.feed(t_s, row) is not None:
            known.append(detector.quiet.known)
    assert all(known[20:])


def test_a_restart_forgets_and_a_gap_does_not() -> None:
    detector = MotionDetector()
    run(detector, room(8, False))
    assert detector.quiet.known
    detector.gap()
    assert detector.quiet.known and detector.motion is None
    assert detector.feed(100.0, room(1, False)[0]) is None, "a window is filled anew"
    detector.restart()
    assert not detector.quiet.known


@pytest.mark.parametrize("metres_s", [0.1, 0.3, 0.6, 1.0, 1.5])
def test_slow_and_fast_walkers_of_the_simulated_room(metres_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 1.5 m/s across, two packets a hundredth of a second apart see a path turned by a quarter of a wave."""
    monkeypatch.setattr(simulate, "WALK_M_S", metres_s)
    detector = MotionDetector()
    verdicts = []
    for t_s, row in simulate.Room(1).rows(RATE_HZ, 12, lambda t: t >= 7):
        values = np.array(row.values, dtype=np.float32)
        verdict = detector.feed(t_s, np.hypot(values[0::2], values[1::2])[list(layout_of(row).used)])
        if verdict is not None:
            verdicts.append(verdict)
    assert moved([v for v in verdicts if v.t_s < 7]) == 0.0
    assert moved([v for v in verdicts if v.t_s > 8.1]) >= 0.9
