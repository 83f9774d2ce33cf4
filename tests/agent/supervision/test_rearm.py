"""The back-off of dead programs on a moved clock: B56 (1 to 300 s), B59 (FATAL re-armed within 60 s)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.supervision.rearm import CAP_S, SHORT_CAP_S, STABLE_S, Action, Rearm


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def starts(actions: list[Action]) -> list[str]:
    return [action.program for action in actions if action.verb == "start"]


def delays_of_a_crash_loop(rearm: Rearm, clock: Clock, program: str, code: int | None, rounds: int) -> list[float]:
    """supervisord's events of a program that ends at once, and after what time each next start comes."""
    delays = []
    for _ in range(rounds):
        rearm.state(program, "STARTING")
        if code is not None:
            rearm.exited(program, code)
        rearm.state(program, "BACKOFF")
        rearm.state(program, "FATAL")
        assert not starts(rearm.due()), "not at once"
        wait = rearm.next_due_s()
        assert wait is not None
        clock.now += wait
        delays.append(wait)
        assert starts(rearm.due()) == [program]
        assert rearm.next_due_s() is None, "one start, not a stream of them"
    return delays


def test_B56_a_crash_loop_is_tried_again_after_1_to_300_s_for_ever() -> None:
    clock = Clock()
    delays = delays_of_a_crash_loop(Rearm(clock), clock, "plugin-x", 1, 14)
    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300, 300, 300]


def test_B59_what_cannot_be_started_and_uplink_come_back_within_60_s() -> None:
    clock = Clock()
    rearm = Rearm(clock, short=lambda program: program == "uplink")
    assert max(delays_of_a_crash_loop(rearm, clock, "plugin-x", None, 12)) == SHORT_CAP_S == 60
    assert max(delays_of_a_crash_loop(rearm, clock, "uplink", 1, 12)) == SHORT_CAP_S


def test_B56_the_alert_names_count_and_reason_and_goes_after_a_steady_time() -> None:
    clock = Clock()
    rearm = Rearm(clock)
    told = []
    for _ in range(4):
        rearm.exited("plugin-x", -11)
        told += [action for action in rearm.state("plugin-x", "FATAL") if action.verb == "alert"]
    assert [action.deaths for action in told] == [3, 4]
    assert told[0].reason == "killed by SIGSEGV"
    rearm.state("plugin-x", "RUNNING")
    clock.now += STABLE_S - 1
    assert rearm.due() == []
    clock.now += 1
    assert rearm.due() == [Action("clear", "plugin-x")]
    rearm.exited("plugin-x", 1)
    rearm.state("plugin-x", "FATAL")
    assert rearm.next_due_s() == 1, "a clean record"


def test_a_kill_from_outside_is_no_crash_and_costs_no_time() -> None:
    clock = Clock()
    rearm = Rearm(clock)
    for _ in range(50):
        rearm.exited("plugin-x", -9)
        assert rearm.state("plugin-x", "FATAL") == []
        assert starts(rearm.due()) == ["plugin-x"]


def test_B56_a_program_that_lives_a_little_is_stopped_and_held_from_the_fourth_death_on() -> None:
    clock = Clock()
    rearm = Rearm(clock)
    for death in range(1, 6):
        rearm.state("plugin-x", "RUNNING")
        clock.now += 10
        rearm.exited("plugin-x", 1)
        actions = rearm.state("plugin-x", "EXITED")
        held = Action("stop", "plugin-x") in actions
        assert held == (death >= 4)
        if held:
            rearm.state("plugin-x", "STOPPED")
            assert rearm.next_due_s() == 2 ** (death - 1)
            clock.now += 2 ** (death - 1)
            assert starts(rearm.due()) == ["plugin-x"]


def test_what_somebody_stopped_by_hand_stays_stopped() -> None:
    clock = Clock()
    rearm = Rearm(clock)
    rearm.state("plugin-x", "RUNNING")
    rearm.state("plugin-x", "STOPPED")
    clock.now += 10 * CAP_S
    assert rearm.due() == [] and rearm.next_due_s() is None


def test_a_state_that_no_event_told_is_found_by_looking() -> None:
    clock = Clock()
    rearm = Rearm(clock)
    rearm.seen("plugin-x", "FATAL")
    rearm.seen("plugin-y", "RUNNING")
    assert starts(rearm.due()) == ["plugin-x"]


def test_a_plugin_taken_out_of_agent_toml_is_forgotten_with_its_alert() -> None:
    rearm = Rearm(Clock())
    for _ in range(3):
        rearm.exited("plugin-x", 1)
        rearm.state("plugin-x", "FATAL")
    assert rearm.forget({"uplink"}) == [Action("clear", "plugin-x")]
    assert rearm.next_due_s() is None


@given(st.lists(st.tuples(st.sampled_from(["RUNNING", "EXITED", "FATAL", "UNKNOWN", "BACKOFF", "STARTING"]),
                          st.one_of(st.none(), st.integers(-15, 3)), st.floats(0, 1000)), min_size=1, max_size=40))
def test_B56_whatever_happens_a_program_that_was_left_is_started_again_within_300_s(
        events: list[tuple[str, int | None, float]]) -> None:
    clock = Clock()
    rearm = Rearm(clock)
    for state, code, later in events:
        clock.now += later
        if code is not None and state in ("EXITED", "FATAL"):
            rearm.exited("plugin-x", code)
        rearm.state("plugin-x", state)
        rearm.due()
    rearm.state("plugin-x", "FATAL")
    wait = rearm.next_due_s()
    assert wait is not None and wait <= CAP_S
    clock.now += CAP_S
    assert starts(rearm.due()) == ["plugin-x"]


@pytest.mark.parametrize(("code", "reason"), [(2, "exit code 2"), (-15, "killed by SIGTERM"),
                                              (-99, "killed by signal 99"), (None, "could not be started")])
def test_the_reason_in_words(code: int | None, reason: str) -> None:
    rearm = Rearm(Clock())
    for _ in range(3):
        if code is not None:
            rearm.exited("plugin-x", code)
        actions = rearm.state("plugin-x", "FATAL")
    assert actions[-1].reason == reason
