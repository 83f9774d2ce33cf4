from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from agent.api import CommandRefused
from plugins.relay_heater.levels import (
    HOUR_US,
    KEPT_EVERY_US,
    MAX_FORCED_US,
    MAX_LEVEL_US,
    NAMES,
    Levels,
    parse_until,
    rfc3339,
)

US = 1_000_000
WALL = 1_795_700_000 * US
DAY_US = 24 * HOUR_US


def levels_with(name: str, boot: int, wall: int | None, *, until: int | None = None, for_us: int | None = None
                ) -> Levels:
    levels = Levels("work_week")
    levels.tick(boot, wall)
    profile, setpoint = (None, 21.0) if name == "forced" else ("frost", None)
    levels.put(name, levels.make(name, boot, wall, until, profile=profile, setpoint_c=setpoint, for_us=for_us))
    return levels


def restarted(levels: Levels) -> Levels:
    again = Levels("other")
    assert again.from_kept(json.loads(json.dumps(levels.to_kept())), {"work_week", "frost", "other"}) is None
    return again


def test_b51_an_override_without_an_end_is_refused() -> None:
    levels = Levels("work_week")
    for name, until, for_us, line in [
        ("forced", None, None, "forced: until is missing: an override needs an end, at most 12 h ahead"),
        ("exceptional", None, None, "exceptional: until is missing: an override needs an end"),
        ("forced", WALL + MAX_FORCED_US + US, None, "forced: until is 12.0 h ahead, at most 12 h"),
        ("forced", WALL + 30 * HOUR_US, None, "forced: until is 30.0 h ahead, at most 12 h"),
        ("supplementary", WALL + MAX_LEVEL_US + HOUR_US, None, "at most 8784 h"),
        ("forced", WALL, None, "forced: until is in the past"),
        ("forced", None, MAX_FORCED_US + 1, "at most 12 h"),
    ]:
        with pytest.raises(CommandRefused) as error:
            levels.make(name, 0, WALL, until, profile="frost", for_us=for_us)
        assert line in str(error.value)
    with pytest.raises(CommandRefused, match="does not know the time yet"):
        levels.make("forced", 0, None, WALL + HOUR_US, setpoint_c=21.0)
    assert levels.make("forced", 5, WALL, WALL + MAX_FORCED_US, setpoint_c=21.0).ends_us == 5 + MAX_FORCED_US


def test_it_ends_at_its_minute() -> None:
    levels = levels_with("forced", 100 * US, WALL, until=WALL + 2 * HOUR_US)
    assert levels.tick(100 * US + 2 * HOUR_US - 1, WALL + 2 * HOUR_US - 1) == []
    assert levels.tick(100 * US + 2 * HOUR_US, WALL + 2 * HOUR_US) == ["forced"]
    assert levels.get("forced") is None


@pytest.mark.parametrize("back_us", [HOUR_US, 14 * DAY_US])
def test_b27_a_clock_set_back_lengthens_nothing(back_us: int) -> None:
    levels = levels_with("forced", 0, WALL, until=WALL + MAX_FORCED_US)
    assert levels.tick(HOUR_US, WALL + HOUR_US - back_us) == []
    assert levels.end_us("forced", HOUR_US, WALL + HOUR_US - back_us) == WALL + MAX_FORCED_US - back_us
    assert levels.tick(MAX_FORCED_US - 1, WALL - back_us) == []
    assert levels.tick(MAX_FORCED_US, WALL - back_us) == ["forced"]


def test_b27_a_clock_set_forward_ends_it_early() -> None:
    levels = levels_with("exceptional", 0, WALL, until=WALL + 3 * DAY_US)
    assert levels.tick(US, WALL + 14 * DAY_US) == ["exceptional"]


def test_an_end_comes_without_any_wall_clock() -> None:
    levels = levels_with("forced", 0, None, for_us=2 * HOUR_US)
    assert levels.end_us("forced", HOUR_US, None) is None
    assert levels.tick(2 * HOUR_US - 1, None) == []
    assert levels.tick(2 * HOUR_US, None) == ["forced"]


def test_once_the_time_is_known_it_also_ends_while_the_machine_is_off() -> None:
    levels = levels_with("forced", 0, None, for_us=4 * HOUR_US)
    levels.tick(HOUR_US, WALL)
    assert levels.end_us("forced", HOUR_US, WALL) == WALL + 3 * HOUR_US
    after = restarted(levels)
    assert after.tick(30 * US, WALL + 3 * HOUR_US) == ["forced"]


def test_a_restart_of_the_process_changes_no_end() -> None:
    levels = levels_with("forced", 1000 * US, WALL, until=WALL + 2 * HOUR_US)
    levels.tick(1000 * US + HOUR_US, WALL + HOUR_US)
    after = restarted(levels)
    assert after.base == "work_week"
    assert after.to_kept() == levels.to_kept()
    assert after.tick(1000 * US + HOUR_US + 5 * US, None) == []
    assert after.get("forced") == levels.get("forced")
    assert after.tick(1000 * US + 2 * HOUR_US, None) == ["forced"]


def test_after_a_reboot_with_an_unknown_clock_what_was_left_runs_out() -> None:
    levels = levels_with("exceptional", 90 * DAY_US, WALL, until=WALL + 3 * HOUR_US)
    levels.tick(90 * DAY_US + HOUR_US, WALL + HOUR_US)
    after = restarted(levels)
    assert after.tick(600 * US, None) == []
    assert after.get("exceptional") is not None
    assert after.tick(2 * HOUR_US - 1, None) == [], "the 10 minutes since boot are counted"
    assert after.tick(2 * HOUR_US, None) == ["exceptional"]


def test_after_a_reboot_the_wall_clock_knows_of_the_time_that_was_off() -> None:
    after = restarted(levels_with("forced", HOUR_US, WALL, until=WALL + HOUR_US))
    assert after.tick(20 * US, None) == []
    assert after.tick(21 * US, WALL + 2 * HOUR_US) == ["forced"]


def test_what_is_kept_changes_once_a_minute_and_not_at_all_without_an_override() -> None:
    levels = levels_with("forced", 0, WALL, until=WALL + HOUR_US)
    seen = {json.dumps(levels.to_kept()) for second in range(300) if levels.tick(second * US, WALL + second * US) == []}
    assert len(seen) == 300 * US // KEPT_EVERY_US
    levels.put("forced", None)
    quiet = json.dumps(levels.to_kept())
    levels.tick(DAY_US, WALL)
    assert json.dumps(levels.to_kept()) == quiet == '{"base": "work_week"}'


@pytest.mark.parametrize("kept", [
    None, 7, "x", [], {}, {"base": 3}, {"base": "frost", "forced": {"setpoint_c": "hot", "left_us": 5}},
    {"base": "frost", "boot_us": "1"}, {"base": "frost", "supplementary": {"profile": "frost"}},
])
def test_garbage_in_kept_is_one_line(kept: Any) -> None:
    levels = Levels("work_week")
    note = levels.from_kept(kept, {"work_week", "frost"})
    assert note and "\n" not in note and note.startswith("the kept levels cannot be read and are forgotten")
    assert levels.tick(0, WALL) == [] and levels.base == "work_week"


@pytest.mark.parametrize("override", [
    {"setpoint_c": 21.0, "left_us": MAX_FORCED_US + 1},
    {"setpoint_c": 31.0, "left_us": US},
    {"setpoint_c": 21.0, "profile": "frost", "left_us": US},
    {"left_us": US},
    {"profile": "gone", "left_us": US},
    {"setpoint_c": 21.0, "left_us": -1},
])
def test_a_kept_override_that_cannot_be_is_dropped(override: dict[str, Any]) -> None:
    levels = Levels("work_week")
    note = levels.from_kept({"base": "gone", "forced": override}, {"work_week", "frost"})
    assert note == "forgotten of the kept levels, no such profile or no end: base 'gone', forced"
    levels.tick(0, WALL)
    assert levels.get("forced") is None and levels.base == "work_week"


@pytest.mark.parametrize("text", ["2026-11-26T22:00:00+01:00", "2026-11-26T21:00:00Z", "2026-11-26 21:00:00+00:00",
                                  "2026-11-26T21:00Z", "2026-11-26T21:00:00.000Z"])
def test_rfc_3339(text: str) -> None:
    at = parse_until(text, "until")
    assert at is not None and rfc3339(at) == "2026-11-26T21:00:00Z"


@pytest.mark.parametrize("none", [None, "None", "null", "", " none "])
def test_none_takes_away(none: object) -> None:
    assert parse_until(none, "until") is None


@given(st.one_of(st.text(max_size=30), st.integers(), st.floats(), st.booleans(), st.lists(st.text()),
                 st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:+Z.-]{0,16}", fullmatch=True)))
def test_no_text_breaks_it(value: object) -> None:
    try:
        at = parse_until(value, "until")
    except CommandRefused as error:
        assert "\n" not in str(error)
    else:
        assert at is None or isinstance(at, int)


class NoOverrideWithoutEnd(RuleBasedStateMachine):
    """Commands, time, clocks that jump, restarts and reboots in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.levels = Levels("work_week")
        self.boot = 0
        self.offset: int | None = WALL
        self.lived: dict[str, tuple[int, int, int]] = {}
        """Name -> its length, how long it was seen in force, restarts meanwhile."""
        self.levels.tick(self.boot, self.wall)

    @property
    def wall(self) -> int | None:
        return None if self.offset is None else self.boot + self.offset

    def look(self, gone: int) -> None:
        before = set(self.lived)
        ended = self.levels.tick(self.boot, self.wall)
        for name in before:
            length, seen, restarts = self.lived[name]
            if self.levels.get(name) is None:
                del self.lived[name]
            else:
                assert name not in ended
                self.lived[name] = length, seen + gone, restarts

    @rule(name=st.sampled_from(NAMES), length=st.one_of(st.integers(-HOUR_US, MAX_FORCED_US + HOUR_US),
                                                        st.integers(1, 3 * MAX_LEVEL_US // 2)), by_wall=st.booleans())
    def put(self, name: str, length: int, by_wall: bool) -> None:
        most = MAX_FORCED_US if name == "forced" else MAX_LEVEL_US
        profile, setpoint = (None, 21.0) if name == "forced" else ("frost", None)
        try:
            one = self.levels.make(name, self.boot, self.wall, profile=profile, setpoint_c=setpoint,
                                   until_us=(self.wall or 0) + length if by_wall else None,
                                   for_us=None if by_wall else length)
        except CommandRefused:
            assert not 0 < length <= most or (by_wall and self.wall is None)
        else:
            assert 0 < length <= most
            self.levels.put(name, one)
            self.lived[name] = length, 0, 0

    @rule(gone=st.one_of(st.integers(1, 120 * US), st.integers(1, 20 * HOUR_US), st.integers(1, 40 * DAY_US)))
    def pass_time(self, gone: int) -> None:
        self.boot += gone
        self.look(gone)

    @rule(jump=st.one_of(st.none(), st.integers(-20 * DAY_US, 20 * DAY_US)))
    def set_clock(self, jump: int | None) -> None:
        self.offset = None if jump is None else (WALL if self.offset is None else self.offset) + jump
        self.look(0)

    @rule(up=st.integers(0, 10 * 60 * US), reboot=st.booleans(), known=st.booleans(), off=st.integers(0, 2 * DAY_US))
    def restart(self, up: int, reboot: bool, known: bool, off: int) -> None:
        now = self.wall
        if reboot:
            self.boot = up
            self.offset = now + off - up if known and now is not None else None
        kept = json.loads(json.dumps(self.levels.to_kept()))
        self.levels = Levels("frost")
        assert self.levels.from_kept(kept, {"work_week", "frost"}) is None
        for name, (length, seen, restarts) in self.lived.items():
            self.lived[name] = length, seen, restarts + 1
        self.look(0)

    @invariant()
    def all_end(self) -> None:
        for name in NAMES:
            one = self.levels.get(name)
            assert (one is not None) == (name in self.lived)
            if one is None:
                continue
            most = MAX_FORCED_US if name == "forced" else MAX_LEVEL_US
            assert self.boot < one.ends_us <= self.boot + most
            length, seen, restarts = self.lived[name]
            assert seen < length + restarts * KEPT_EVERY_US
            end = self.levels.end_us(name, self.boot, self.wall)
            assert self.wall is None or (end is not None and self.wall < end <= self.wall + most)


def test_no_override_is_ever_without_an_end() -> None:
    run_state_machine_as_test(NoOverrideWithoutEnd,
                              settings=settings(max_examples=40, stateful_step_count=40, deadline=None))
