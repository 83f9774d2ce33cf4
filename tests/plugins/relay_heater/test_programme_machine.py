"""Random commands, presence, clocks that jump, restarts and reboots: what must hold after each."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from agent.api import CommandRefused
from plugins.relay_heater.levels import HOUR_US, KEPT_EVERY_US, MAX_FORCED_US, rfc3339
from plugins.relay_heater.programme import Aim, Programme, ProgrammeConfig

US = 1_000_000
DAY_US = 24 * HOUR_US
WALL = round(datetime(2026, 10, 23, 12, tzinfo=UTC).timestamp()) * US
"""Two days before a night with an hour more."""
CONFIG = msgspec.convert({
    "timezone": "Europe/Paris", "away_after_s": 600, "frost_floor_c": 8,
    "holidays": [{"from": "2026-10-26", "to": "2026-10-28", "profile": "holiday_week"}],
    "main_sensor_calendar": {"living_room": {"all": ["08:00-22:00"]}},
}, ProgrammeConfig)
NAMES = st.sampled_from(["work_week", "holiday_week", "frost", "hors_gel", "force_confort", "spa", "None"])
NUMBERS = st.one_of(st.floats(4, 31), st.integers(-5, 40), st.floats())
JUNK = st.recursive(st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=8), NAMES),
                    lambda inner: st.one_of(st.lists(inner, max_size=3),
                                            st.dictionaries(st.text(max_size=8), inner, max_size=3)), max_leaves=5)
SLICES = st.lists(st.sampled_from(["06:00-08:00", "22h00-06h00", "02:10-02:50", "00:00-24:00", "6-8"]), max_size=3)


class Commands(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.boot = 5 * DAY_US
        self.offset: int | None = WALL - self.boot
        self.home: bool | None = None
        self.programme = Programme(CONFIG, {})
        self.forced_us = 0
        """How long forced was seen in force since the last command that could set it."""
        self.restarts = 0
        self.aim = self.look()

    @property
    def wall(self) -> int | None:
        return None if self.offset is None else self.boot + self.offset

    def look(self) -> Aim:
        self.aim = self.programme.aim(self.boot, self.wall, self.home)
        return self.aim

    def send(self, name: str, value: Any) -> None:
        before = self.seen()
        try:
            now = self.programme.command(name, value, self.boot, self.wall)
        except CommandRefused as error:
            assert "\n" not in str(error) and len(str(error)) < 400
            assert self.seen() == before
        else:
            json.dumps(now)
            self.forced_us = self.restarts = 0
        self.look()

    def seen(self) -> str:
        one = self.programme
        return json.dumps([one.to_kept(), one.levels(self.boot, self.wall), one.schedule(), one.mode])

    @rule(value=st.one_of(st.floats(5, 30), NUMBERS, JUNK))
    def set_temperature(self, value: Any) -> None:
        self.send("setpoint_c", value)

    @rule(value=st.sampled_from(["off", "auto", "auto", "forced", "on", None]))
    def set_mode(self, value: Any) -> None:
        self.send("mode", value)

    @rule(value=st.one_of(NAMES, JUNK))
    def set_profile(self, value: Any) -> None:
        self.send("profile", value)

    @rule(ahead=st.integers(-HOUR_US, 14 * HOUR_US))
    def set_until(self, ahead: int) -> None:
        self.send("until", rfc3339((self.wall or WALL) + ahead))

    @rule(name=st.sampled_from(["base", "supplementary", "exceptional", "forced"]), profile=NAMES, setpoint=NUMBERS,
          ahead=st.one_of(st.none(), st.integers(-HOUR_US, 14 * HOUR_US), st.integers(0, 60 * DAY_US)),
          keys=st.sets(st.sampled_from(["profile", "setpoint_c", "until"]), min_size=1), junk=JUNK, whole=st.booleans())
    def set_levels(self, name: str, profile: str, setpoint: float, ahead: int | None, keys: set[str], junk: Any,
                   whole: bool) -> None:
        until = None if ahead is None else rfc3339((self.wall or WALL) + ahead)
        fields = {"profile": profile, "setpoint_c": setpoint, "until": until}
        self.send("levels", {name: {key: fields[key] for key in sorted(keys)} if whole else junk})

    @rule(name=NAMES, comfort=NUMBERS, eco=st.floats(5, 30), slices=SLICES)
    def set_schedule(self, name: str, comfort: float, eco: float, slices: list[str]) -> None:
        self.send("schedule", {"profiles": {name: {"comfort_c": comfort, "eco_c": eco, "calendar": {"all": slices}}}})

    @rule(name=st.sampled_from(["schedule", "levels", "until", "relay"]), value=JUNK)
    def send_junk(self, name: str, value: Any) -> None:
        self.send(name, value)

    @rule(gone=st.one_of(st.integers(1, 120 * US), st.integers(1, 13 * HOUR_US), st.integers(1, 5 * DAY_US)))
    def pass_time(self, gone: int) -> None:
        was = self.programme.mode == "forced"
        self.boot += gone
        self.look()
        if was and self.programme.mode == "forced":
            self.forced_us += gone

    @rule()
    def go_to_the_next_change(self) -> None:
        self.home = True
        aim, wall = self.look(), self.wall
        if aim.next_us is None or wall is None:
            return
        self.pass_time(aim.next_us - wall - 1)
        assert (self.aim.setpoint_c, self.aim.next_us) == (aim.setpoint_c, aim.next_us)
        self.pass_time(1)
        assert self.aim.setpoint_c == aim.next_setpoint_c

    @rule(jump=st.one_of(st.none(), st.integers(-20 * DAY_US, 20 * DAY_US)))
    def set_clock(self, jump: int | None) -> None:
        base = WALL - self.boot if self.offset is None else self.offset
        self.offset = None if jump is None else min(base + jump, WALL + 400 * DAY_US - self.boot)
        self.look()

    @rule(home=st.sampled_from([True, False, None]))
    def somebody_comes_or_goes(self, home: bool | None) -> None:
        self.home = home
        self.look()

    @rule(reboot=st.booleans(), up=st.integers(0, 300 * US))
    def restart(self, reboot: bool, up: int) -> None:
        before = self.aim
        if reboot:
            self.offset = None
            self.boot = up
        self.programme = Programme(CONFIG, json.loads(json.dumps(self.programme.to_kept())))
        assert self.programme.notes == []
        self.restarts += 1
        self.look()
        if not reboot and "away" not in (before.level, self.aim.level) and before.level in ("base", "holiday", "off"):
            assert (self.aim.setpoint_c, self.aim.level, self.aim.profile) == (before.setpoint_c, before.level,
                                                                               before.profile)

    @invariant()
    def holds(self) -> None:
        aim, wall = self.aim, self.wall
        assert 8.0 <= aim.setpoint_c <= 30.0
        assert aim.why and "\n" not in aim.why and len(aim.why) < 120
        assert aim.profile in CONFIG.profiles and aim.sensor in ("main", "living_room")
        levels = self.programme.levels(self.boot, wall)
        for name in ("supplementary", "exceptional", "forced"):
            assert levels[name] is None or wall is None or levels[name]["until"] is not None
        if aim.level == "forced":
            assert self.programme.mode == "forced"
            assert self.forced_us <= MAX_FORCED_US + self.restarts * KEPT_EVERY_US
            assert wall is None or (aim.until_us is not None and wall < aim.until_us <= wall + MAX_FORCED_US)
        if wall is None:
            assert aim.next_us is None and (not aim.comfort or aim.level == "forced")
        elif aim.next_us is not None:
            assert aim.next_us > wall and aim.next_setpoint_c not in (None, aim.setpoint_c)


def test_random_commands_and_clocks() -> None:
    run_state_machine_as_test(Commands, settings=settings(max_examples=30, stateful_step_count=40, deadline=None))
