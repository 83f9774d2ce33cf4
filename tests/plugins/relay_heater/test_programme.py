from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from agent.api import CommandRefused
from plugins.relay_heater.programme import Aim, Programme, ProgrammeConfig

US = 1_000_000
HOUR = 3600 * US
PARIS = ZoneInfo("Europe/Paris")
BOOT = 1_000 * US
SOON, TOMORROW = "2026-11-26T15:00:00Z", "2026-11-27T12:00:00Z"


def at(text: str) -> int:
    """Local time of Paris; 2026-11-26 is a Thursday."""
    return round(datetime.fromisoformat(text).replace(tzinfo=PARIS).timestamp()) * US


MORNING, NOON, EVENING = at("2026-11-26 07:00"), at("2026-11-26 12:00"), at("2026-11-26 18:00")


def config(**more: Any) -> ProgrammeConfig:
    return msgspec.convert({"timezone": "Europe/Paris", **more}, ProgrammeConfig)


def programme(**more: Any) -> Programme:
    return Programme(config(**more), {})


def aim_at(one: Programme, wall: int | None, *, boot: int = BOOT, home: bool | None = None) -> Aim:
    return one.aim(boot, wall, home)


def refused(one: Programme, name: str, value: Any, wall: int | None = NOON, boot: int = BOOT) -> str:
    one.aim(boot, wall, None)
    before = json.dumps([one.to_kept(), one.levels(boot, wall), one.schedule(), one.mode])
    with pytest.raises(CommandRefused) as error:
        one.command(name, value, boot, wall)
    assert json.dumps([one.to_kept(), one.levels(boot, wall), one.schedule(), one.mode]) == before
    assert "\n" not in str(error.value)
    return str(error.value)


# --- base, holidays, sensors --------------------------------------------------------------------------------


def test_the_shipped_profiles() -> None:
    one = programme()
    aim = aim_at(one, NOON)
    assert (aim.setpoint_c, aim.profile, aim.level, aim.comfort) == (18.5, "work_week", "base", False)
    assert (aim.delta_plus_c, aim.delta_minus_c, aim.until_us) == (0.10, 0.25, None)
    assert (aim.next_us, aim.next_setpoint_c) == (at("2026-11-26 17:00"), 20.5)
    assert aim.why == "eco of work_week until 17:00"
    aim = aim_at(one, EVENING)
    assert (aim.setpoint_c, aim.comfort, aim.next_setpoint_c, aim.why) == (20.5, True, 18.5,
                                                                           "comfort of work_week until 22:30")
    friday_night = aim_at(one, at("2026-11-27 23:00"))
    assert friday_night.next_us == at("2026-11-28 08:00")
    frost = aim_at(programme(base="frost"), NOON)
    assert (frost.setpoint_c, frost.delta_plus_c, frost.delta_minus_c, frost.next_us) == (16.0, 0.5, 0.5, None)
    assert frost.why == "eco of frost"


def test_a_change_of_slice_that_changes_no_temperature_is_no_change() -> None:
    one = programme(profiles={"flat": {"comfort_c": 19, "eco_c": 19, "calendar": {"all": ["06:00-08:00"]}}})
    assert aim_at(one, NOON).next_us is None


def test_holidays_by_local_days() -> None:
    one = programme(holidays=[{"from": "2026-12-24", "to": "2027-01-03", "profile": "frost"}])
    assert aim_at(one, at("2026-12-23 23:30")).next_setpoint_c == 16.0
    assert aim_at(one, at("2026-12-23 23:30")).next_us == at("2026-12-24 00:00")
    first = aim_at(one, at("2026-12-24 00:00"))
    assert (first.level, first.profile, first.setpoint_c, first.until_us) == ("holiday", "frost", 16.0, None)
    assert first.why == "eco of frost, holiday until 2027-01-04 00:00"
    assert (first.next_us, first.next_setpoint_c) == (at("2027-01-04 00:00"), 18.5)
    assert aim_at(one, at("2027-01-03 23:59")).level == "holiday"
    assert aim_at(one, at("2027-01-04 00:00")).level == "base"


def test_the_sensor_that_counts_by_time_of_day() -> None:
    one = programme(main_sensor="bedroom", main_sensor_calendar={"living_room": {"all": ["08h00-22h00"]}})
    assert [aim_at(one, at(f"2026-11-26 {clock}")).sensor for clock in ("07:59", "08:00", "21:59", "22:00")] == [
        "bedroom", "living_room", "living_room", "bedroom"]
    assert aim_at(one, None).sensor == "bedroom"


def test_nothing_goes_below_the_frost_floor() -> None:
    one = programme(frost_floor_c=12, profiles={"cold": {"comfort_c": 15, "eco_c": 6}})
    assert aim_at(one, NOON).setpoint_c == 12.0
    assert one.command("setpoint_c", 5, BOOT, NOON) == 12.0
    assert aim_at(one, None).setpoint_c == 12.0
    assert one.command("mode", "off", BOOT, NOON) == "off"
    off = aim_at(one, NOON)
    assert (off.setpoint_c, off.level, off.comfort, off.next_us) == (12.0, "off", False, None)
    assert off.why == "switched off: only the frost floor of 12.0 °C"


# --- levels -------------------------------------------------------------------------------------------------


def test_forced_beats_exceptional_beats_supplementary_beats_holiday_beats_base() -> None:
    one = programme(holidays=[{"from": "2026-11-26", "to": "2026-11-26", "profile": "holiday_week"}])
    seen = [aim_at(one, NOON)]
    for level in ({"supplementary": {"profile": "frost", "until": "2026-11-28T12:00:00+01:00"}},
                  {"exceptional": {"profile": "work_week", "until": "2026-11-27T12:00:00+01:00"}},
                  {"forced": {"setpoint_c": 22, "until": "2026-11-26T15:30:00+01:00"}}):
        one.command("levels", level, BOOT, NOON)
        seen.append(aim_at(one, NOON))
    assert [(aim.level, aim.profile, aim.setpoint_c) for aim in seen] == [
        ("holiday", "holiday_week", 20.0), ("supplementary", "frost", 16.0), ("exceptional", "work_week", 18.5),
        ("forced", "work_week", 22.0)]
    assert [aim.why for aim in seen[1:]] == [
        "eco of frost, supplementary until 2026-11-28 12:00", "eco of work_week, exceptional until 2026-11-27 12:00",
        "forced to 22.0 °C until 15:30"]
    assert seen[3].until_us == seen[3].next_us == at("2026-11-26 15:30") and seen[3].next_setpoint_c == 18.5
    assert one.levels(BOOT, NOON) == {
        "base": {"profile": "work_week"},
        "supplementary": {"profile": "frost", "until": "2026-11-28T11:00:00Z"},
        "exceptional": {"profile": "work_week", "until": "2026-11-27T11:00:00Z"},
        "forced": {"setpoint_c": 22.0, "until": "2026-11-26T14:30:00Z"}}
    after = aim_at(one, NOON + 4 * HOUR, boot=BOOT + 4 * HOUR)
    assert (after.level, after.next_us) == ("exceptional", at("2026-11-26 17:00"))
    assert aim_at(one, NOON + 24 * HOUR, boot=BOOT + 24 * HOUR).level == "supplementary"
    assert aim_at(one, NOON + 48 * HOUR, boot=BOOT + 48 * HOUR).level == "base"


def test_a_partial_object_sets_only_what_it_names_and_null_ends_one() -> None:
    one = programme()
    until = TOMORROW
    one.command("levels", {"base": "holiday_week", "exceptional": {"profile": "frost", "until": until}}, BOOT, NOON)
    one.command("levels", {"supplementary": {"profile": "semaine_boulot", "until": until}}, BOOT, NOON)
    now = one.command("levels", {"exceptional": None}, BOOT, NOON)
    assert now == {"base": {"profile": "holiday_week"}, "supplementary": {"profile": "work_week", "until": until},
                   "exceptional": None, "forced": None}
    assert one.command("levels", {"supplementary": {"profile": "None"}}, BOOT, NOON)["supplementary"] is None  # type: ignore[index,call-overload]


@pytest.mark.parametrize(("value", "line"), [
    ({"forced": {"setpoint_c": 21}}, "forced: until is missing: an override needs an end, at most 12 h ahead"),
    ({"forced": {"setpoint_c": 21, "until": None}}, "forced: until is missing"),
    ({"forced": {"setpoint_c": 21, "until": "2026-11-27T00:30:00+01:00"}}, "until is 12.5 h ahead, at most 12 h"),
    ({"forced": {"setpoint_c": 21, "until": "2026-11-26T11:00:00+01:00"}}, "forced: until is in the past"),
    ({"forced": {"setpoint_c": 21, "until": "tomorrow"}}, "levels.forced.until: 'tomorrow' is no time with its zone"),
    ({"forced": {"setpoint_c": 21, "until": "2026-11-26T15:00:00"}}, "is no time with its zone; write it as 2026-"),
    ({"forced": {"setpoint_c": 40, "until": SOON}}, "levels.forced.setpoint_c: 40 °C: 5 to 30"),
    ({"forced": {"setpoint_c": True, "until": SOON}}, "True is no temperature"),
    ({"forced": {"until": SOON}}, "levels.forced: either profile or setpoint_c is needed"),
    ({"forced": {"profile": "frost", "setpoint_c": 20, "until": SOON}}, "either profile or setpoint_c"),
    ({"exceptional": {"profile": "frost"}}, "exceptional: until is missing"),
    ({"exceptional": {"setpoint_c": 20, "until": SOON}}, "an object with profile, until is needed"),
    ({"exceptional": {"profile": "spa", "until": SOON}}, "there is no profile 'spa'; there are work_week"),
    ({"exceptional": "frost"}, "levels.exceptional: an object with profile, until is needed, not 'frost'"),
    ({"base": None}, "levels.base: an object with profile is needed, not None"),
    ({"base": {}}, "levels.base: an object with profile is needed"),
    ({"base": {"profile": "force_confort"}}, "force_confort is a forced override and needs an end"),
    ({"base": "frost", "exceptional": {"profile": "frost"}}, "exceptional: until is missing"),
    ({"top": None}, "levels: an object with one or more of base, supplementary, exceptional, forced is needed"),
    ({}, "levels: an object with one or more"),
    ([], "levels: an object with one or more"),
])
def test_b51_what_is_wrong_with_levels_is_said_and_nothing_is_set(value: Any, line: str) -> None:
    assert line in refused(programme(), "levels", value)


# --- the other commands -------------------------------------------------------------------------------------


def test_a_set_temperature_lasts_to_the_next_change_of_the_schedule() -> None:
    one = programme()
    assert one.command("setpoint_c", 21.04, BOOT, NOON) == 21.0
    aim = aim_at(one, NOON)
    assert (aim.setpoint_c, aim.level, aim.comfort, aim.until_us) == (21.0, "forced", True, at("2026-11-26 17:00"))
    assert (aim.next_us, aim.next_setpoint_c, one.mode) == (at("2026-11-26 17:00"), 20.5, "forced")
    assert aim_at(one, at("2026-11-26 17:00"), boot=BOOT + 5 * HOUR).level == "base"


def test_b51_a_set_temperature_lasts_12_hours_at_most() -> None:
    one = programme(base="frost")
    one.command("setpoint_c", 21, BOOT, NOON)
    assert aim_at(one, NOON).until_us == NOON + 12 * HOUR
    assert aim_at(one, NOON - 24 * HOUR, boot=BOOT + 12 * HOUR - 1).level == "forced", "B27: the clock was set back"
    assert aim_at(one, NOON - 24 * HOUR, boot=BOOT + 12 * HOUR).level == "base"


def test_setting_it_again_does_not_look_at_the_override_that_runs() -> None:
    one = programme()
    one.command("setpoint_c", 21, BOOT, NOON)
    one.command("until", "2026-11-26T13:00:00+01:00", BOOT, NOON)
    one.command("setpoint_c", 22, BOOT, NOON)
    assert aim_at(one, NOON).until_us == at("2026-11-26 17:00")


@pytest.mark.parametrize("value", [4.9, 30.1, float("nan"), float("inf"), "21", True, None, [21], {}])
def test_what_is_no_temperature(value: Any) -> None:
    assert refused(programme(), "setpoint_c", value).startswith("setpoint_c: ")


def test_mode() -> None:
    one = programme()
    assert one.command("mode", "forced", BOOT, NOON) == "forced"
    aim = aim_at(one, NOON)
    assert (aim.setpoint_c, aim.until_us) == (20.5, NOON + 2 * HOUR)
    assert one.command("mode", "forced", BOOT, NOON + HOUR) == "forced"
    assert aim_at(one, NOON + HOUR, boot=BOOT + HOUR).until_us == NOON + 2 * HOUR, "said twice, it lasts no longer"
    assert one.command("mode", "auto", BOOT, NOON) == "auto"
    assert aim_at(one, NOON).level == "base"
    one.command("setpoint_c", 21, BOOT, NOON)
    assert one.command("mode", "off", BOOT, NOON) == "off"
    assert one.levels(BOOT, NOON)["forced"] is None
    assert "the heating is off; set mode to auto first" in refused(one, "setpoint_c", 21)
    assert "the heating is off" in refused(one, "levels", {"forced": {"setpoint_c": 21, "until": SOON}})
    assert "the heating is off" in refused(one, "profile", "force_confort")
    assert one.command("mode", "forced", BOOT, NOON) == "forced"
    assert refused(one, "mode", "on") == "mode: 'on': off, auto or forced"


def test_profile_sets_the_base_under_both_names() -> None:
    one = programme()
    assert one.command("profile", "hors_gel", BOOT, NOON) == "frost"
    assert one.command("profile", "holiday_week", BOOT, NOON) == "holiday_week"
    assert refused(one, "profile", "spa") == (
        "profile: there is no profile 'spa'; there are work_week, holiday_week, frost")
    one.command("levels", {"exceptional": {"profile": "frost", "until": TOMORROW}}, BOOT, NOON)
    assert one.command("profile", "work_week", BOOT, NOON) == "frost", "what is in force, as the property says it"
    assert one.levels(BOOT, NOON)["base"] == {"profile": "work_week"}


def test_b51_force_confort_has_an_end_here() -> None:
    one = programme()
    one.command("profile", "force_confort", BOOT, NOON)
    aim = aim_at(one, NOON)
    assert (aim.setpoint_c, aim.level, aim.until_us) == (20.5, "forced", NOON + 2 * HOUR)
    one.command("profile", "force_eco", BOOT, EVENING)
    assert aim_at(one, EVENING).setpoint_c == 18.5
    own = programme(profiles={"x": {"comfort_c": 20, "eco_c": 18}, "force_eco": {"comfort_c": 18, "eco_c": 18}})
    assert own.command("profile", "force_eco", BOOT, NOON) == "force_eco", "a profile of that name is a profile"


def test_until_moves_the_end_of_what_is_in_force() -> None:
    one = programme()
    assert "nothing that has an end is in force" in refused(one, "until", SOON)
    one.command("levels", {"exceptional": {"profile": "frost", "until": TOMORROW}}, BOOT, NOON)
    assert one.command("until", "2026-12-27T13:00:00+01:00", BOOT, NOON) == "2026-12-27T12:00:00Z"
    assert aim_at(one, NOON).until_us == at("2026-12-27 13:00")
    one.command("setpoint_c", 21, BOOT, NOON)
    assert "until is 24.0 h ahead, at most 12 h" in refused(one, "until", "2026-11-27T12:00:00+01:00")
    assert one.command("until", "2026-11-26T23:00:00+01:00", BOOT, NOON) == "2026-11-26T22:00:00Z"
    assert (aim_at(one, NOON).setpoint_c, aim_at(one, NOON).until_us) == (21.0, at("2026-11-26 23:00"))
    assert one.command("until", "None", BOOT, NOON) is None
    assert aim_at(one, NOON).level == "exceptional"


def test_a_property_that_takes_nothing() -> None:
    assert refused(programme(), "relay", True) == (
        "relay takes no commands; setpoint_c, mode, profile, until, levels, schedule do")


# --- the clock is not known ---------------------------------------------------------------------------------


def test_without_the_time_it_is_eco_of_the_coldest_that_may_hold() -> None:
    one = programme()
    aim = aim_at(one, None)
    assert (aim.setpoint_c, aim.level, aim.comfort, aim.next_us, aim.until_us) == (18.5, "base", False, None, None)
    assert aim.why == "the time is not known yet: eco of work_week"
    one.command("levels", {"exceptional": {"profile": "frost", "until": TOMORROW}}, BOOT, NOON)
    cold = aim_at(one, None)
    assert (cold.setpoint_c, cold.level, cold.profile, cold.comfort) == (16.0, "exceptional", "frost", False)
    assert aim_at(one, None, boot=BOOT + 30 * HOUR).level == "base", "what was left of it has run out"


def test_without_the_time_forced_works_by_the_boot_clock() -> None:
    one = programme(forced_default_h=3)
    assert one.command("setpoint_c", 21, BOOT, None) == 21.0
    aim = aim_at(one, None)
    assert (aim.setpoint_c, aim.level, aim.until_us) == (21.0, "forced", None)
    assert aim.why == "the time is not known yet: forced to 21.0 °C, ends by itself"
    assert "does not know the time yet" in refused(one, "until", SOON, wall=None)
    assert one.levels(BOOT, None)["forced"] == {"setpoint_c": 21.0, "until": None}
    assert aim_at(one, NOON, boot=BOOT + HOUR).until_us == NOON + 2 * HOUR
    assert aim_at(one, None, boot=BOOT + 3 * HOUR).level == "base"
    one.command("mode", "off", BOOT + 3 * HOUR, None)
    assert aim_at(one, None, boot=BOOT + 3 * HOUR).why == "switched off: only the frost floor of 7.0 °C"


# --- presence -----------------------------------------------------------------------------------------------


def test_nobody_at_home_lowers_after_a_while_and_somebody_ends_it_at_once() -> None:
    one = programme(away_after_s=1800)
    assert aim_at(one, EVENING, home=False).level == "base"
    almost = aim_at(one, EVENING + 1799 * US, boot=BOOT + 1799 * US, home=False)
    assert almost.level == "base"
    away = aim_at(one, EVENING + 1800 * US, boot=BOOT + 1800 * US, home=False)
    assert (away.level, away.setpoint_c, away.comfort, away.next_us) == ("away", 18.5, False, None)
    assert away.why == "nobody at home since 18:00: eco of work_week"
    assert aim_at(one, EVENING + 1801 * US, boot=BOOT + 1801 * US, home=True).level == "base"
    assert aim_at(one, EVENING + 1802 * US, boot=BOOT + 1802 * US, home=False).level == "base", "the wait begins anew"


def test_unknown_presence_changes_nothing_and_is_forgotten_after_an_hour() -> None:
    one = programme(away_after_s=0)
    assert aim_at(one, EVENING, home=None).level == "base"
    assert aim_at(one, EVENING, home=False).level == "away"
    assert aim_at(one, EVENING, boot=BOOT + HOUR - 1, home=None).level == "away"
    assert aim_at(one, EVENING, boot=BOOT + HOUR, home=None).level == "base"


def test_away_never_makes_it_warmer_and_leaves_overrides_alone() -> None:
    one = programme(away_after_s=0, away_profile="frost")
    assert aim_at(one, NOON, home=False).setpoint_c == 16.0
    assert aim_at(one, NOON, home=False).profile == "frost"
    warm = programme(away_after_s=0, away_profile="holiday_week", base="frost")
    assert (aim_at(warm, NOON, home=False).level, aim_at(warm, NOON, home=False).setpoint_c) == ("base", 16.0)
    one.command("levels", {"exceptional": {"profile": "work_week", "until": TOMORROW}}, BOOT, NOON)
    assert aim_at(one, EVENING, home=False).setpoint_c == 20.5
    one.command("setpoint_c", 23, BOOT, EVENING)
    assert aim_at(one, EVENING, home=False).setpoint_c == 23.0


# --- a forgotten override -----------------------------------------------------------------------------------


def test_comfort_by_an_override_in_the_night_is_told() -> None:
    one = programme()
    night = at("2026-11-26 23:30")
    assert one.forgotten(aim_at(one, night), night) is None
    one.command("setpoint_c", 21, BOOT, night)
    aim = aim_at(one, night)
    assert one.forgotten(aim, night) == (
        "21.0 °C in the night, forced until 06:00: if that is forgotten, set mode to auto")
    assert one.forgotten(aim, at("2026-11-27 05:00")) is None and one.forgotten(aim, None) is None
    one.command("setpoint_c", 17, BOOT, night)
    assert one.forgotten(aim_at(one, night), night) is None
    silent = programme(night="")
    silent.command("setpoint_c", 21, BOOT, night)
    assert silent.forgotten(aim_at(silent, night), night) is None


# --- the schedule -------------------------------------------------------------------------------------------


def week(*slices: str) -> list[list[str]]:
    return [list(slices) for _ in range(7)]


def test_a_schedule_is_changed_in_part_and_given_back_whole() -> None:
    one = programme(holidays=[{"from": "2026-12-24", "to": "2026-12-26", "profile": "frost"}])
    now = one.command("schedule", {"profiles": {"work_week": {"comfort_c": 21, "eco_c": 17,
                                                              "calendar": week("11h00-24h00")}}}, BOOT, NOON)
    assert now == one.schedule() and isinstance(now, dict)
    assert now["profiles"]["work_week"]["calendar"] == week("11:00-24:00")
    assert now["profiles"]["frost"]["comfort_c"] == 16.0 and len(now["holidays"]) == 1
    assert (aim_at(one, NOON).setpoint_c, aim_at(one, NOON).next_us) == (21.0, at("2026-11-27 00:00"))
    assert one.command("schedule", now, BOOT, NOON) == now, "what is read can be written"
    one.command("schedule", {"holidays": []}, BOOT, NOON)
    assert one.schedule()["holidays"] == []


@pytest.mark.parametrize(("value", "line"), [
    (None, "schedule: an object with one or more of holidays, main_sensor_calendar, profiles is needed"),
    ({"profile": {}}, "schedule: an object with one or more"),
    ({"profiles": {"spa": {"comfort_c": 21, "eco_c": 17}}},
     "schedule: profiles: there is no profile 'spa'; new ones are made in agent.toml"),
    ({"profiles": {"frost": {"comfort_c": 21}}}, "profiles.frost: object missing required field `eco_c`"),
    ({"profiles": {"frost": {"comfort_c": 35, "eco_c": 7}}}, "profiles.frost.comfort_c: expected `float` <= 30"),
    ({"profiles": {"frost": {"comfort_c": 16, "eco_c": 17}}}, "profiles.frost.eco_c: 17 is above comfort_c 16"),
    ({"profiles": {"frost": {"comfort_c": 16, "eco_c": 16, "delta_plus_c": 0, "delta_minus_c": 0.04}}},
     "profiles.frost: delta_plus_c and delta_minus_c together: at least 0.05"),
    ({"profiles": {"frost": {"comfort_c": 16, "eco_c": 16, "calendar": week("6-8")}}},
     "profiles.frost.calendar: Monday: '6-8' is no slice; write it as 06:00-08:00"),
    ({"profiles": {"frost": {"comfort_c": 16, "eco_c": 16, "calender": []}}},
     "profiles.frost: object contains unknown field `calender`"),
    ({"holidays": [{"from": "2026-12-24", "to": "2026-12-20", "profile": "frost"}]},
     "holidays, number 1: to 2026-12-20 is before from 2026-12-24"),
    ({"holidays": [{"from": "2026-12-24", "to": "2026-12-26", "profile": "spa"}]}, "there is no profile 'spa'"),
    ({"holidays": [{"from": "24.12.", "to": "2026-12-26", "profile": "frost"}]}, "holidays[0].from: invalid"),
    ({"holidays": [{"from": "2026-12-24", "to": "2026-12-26", "profile": "frost"}] * 101}, "101 of them, at most 100"),
    ({"main_sensor_calendar": {"attic": week("06:00-08:00")}}, "there is no sensor 'attic'; there are main, second"),
    ({"main_sensor_calendar": {"second": [[]]}}, "main_sensor_calendar.second: a calendar is 7 lists of slices"),
])
def test_a_schedule_is_looked_at_whole(value: Any, line: str) -> None:
    one = Programme(config(), {}, sensors={"main", "second"})
    assert line in refused(one, "schedule", value)


@pytest.mark.parametrize(("more", "line"), [
    ({"base": "spa"}, "base: there is no profile 'spa'; there are work_week, holiday_week, frost"),
    ({"away_profile": "spa"}, "away_profile: there is no profile 'spa'"),
    ({"profiles": {}}, "profiles: at least one is needed"),
    ({"profiles": {"A b": {"comfort_c": 20, "eco_c": 18}}}, "profiles.A b: a name is made of a-z 0-9 _ -"),
    ({"profiles": {"x": {"comfort_c": 20, "eco_c": 18, "calendar": {"mon": ["6-8"]}}}},
     "profiles.x.calendar: Monday: '6-8' is no slice"),
    ({"timezone": "Europe/Atlantis"}, "timezone: 'Europe/Atlantis': no such zone; write it as Europe/Paris"),
    ({"timezone": "../etc/passwd"}, "no such zone"),
    ({"night": "23-05"}, "night: '23-05' is no slice"),
    ({"frost_floor_c": 13}, "Expected `float` <= 12"),
    ({"forced_default_h": 13}, "Expected `float` <= 12"),
    ({"holidays": [{"from": "2026-12-24", "to": "2026-12-26", "profile": "spa"}]}, "holidays, number 1: there is no"),
    ({"main_sensor_calendar": {"attic": {"day": []}}}, "main_sensor_calendar.attic: 'day' is no day"),
    ({"comfort": 20}, "unknown field `comfort`"),
])
def test_a_mistake_in_agent_toml_is_named(more: dict[str, Any], line: str) -> None:
    with pytest.raises(msgspec.ValidationError) as error:
        config(**more)
    assert line in str(error.value)


# --- kept ---------------------------------------------------------------------------------------------------


def restarted(one: Programme, **more: Any) -> Programme:
    return Programme(config(**more), json.loads(json.dumps(one.to_kept())))


def test_levels_mode_schedule_and_away_are_kept() -> None:
    one = programme(away_after_s=0)
    one.command("profile", "holiday_week", BOOT, NOON)
    one.command("levels", {"supplementary": {"profile": "frost", "until": "2026-11-28T12:00:00Z"}}, BOOT, NOON)
    one.command("schedule", {"profiles": {"frost": {"comfort_c": 14, "eco_c": 14}}}, BOOT, NOON)
    aim_at(one, NOON, home=False)
    again = restarted(one, away_after_s=0)
    assert again.notes == []
    assert aim_at(again, NOON, home=None) == aim_at(one, NOON, home=None)
    assert again.schedule() == one.schedule() and again.levels(BOOT, NOON) == one.levels(BOOT, NOON)
    assert again.to_kept() == one.to_kept()
    one.command("levels", {"supplementary": None}, BOOT, NOON)
    assert aim_at(restarted(one, away_after_s=600), EVENING).why == "nobody at home: eco of holiday_week"
    one.command("mode", "off", BOOT, NOON)
    assert restarted(one).mode == "off"


def test_an_edited_agent_toml_beats_what_a_command_changed() -> None:
    one = programme()
    one.command("schedule", {"profiles": {"frost": {"comfort_c": 14, "eco_c": 14}}}, BOOT, NOON)
    again = restarted(one, holidays=[{"from": "2026-12-24", "to": "2026-12-26", "profile": "frost"}])
    assert again.notes == ["agent.toml's schedule was edited since a command changed it: agent.toml holds"]
    assert again.schedule()["profiles"]["frost"]["comfort_c"] == 16.0


@pytest.mark.parametrize("kept", [7, "x", [1], {"v": 2}, {"v": 1, "levels": 3}, {"x": None}])
def test_garbage_in_kept_is_one_line_and_the_defaults(kept: Any) -> None:
    one = Programme(config(), kept)
    assert len(one.notes) == 1 and "\n" not in one.notes[0]
    assert aim_at(one, NOON).setpoint_c == 18.5


def test_a_kept_schedule_that_fits_no_more_is_told() -> None:
    one = programme()
    one.command("schedule", {"holidays": []}, BOOT, NOON)
    kept = one.to_kept()
    kept["schedule"] = {"profiles": {"frost": {}}}
    again = Programme(config(), kept)
    assert again.notes[0].startswith("the kept schedule cannot be read, agent.toml's holds: profiles.frost: object")


def test_a_new_config_without_a_kept_profile() -> None:
    one = programme()
    one.command("levels", {"base": "frost", "forced": {"profile": "frost", "until": SOON}}, BOOT, NOON)
    again = restarted(one, profiles={"only": {"comfort_c": 20, "eco_c": 18}})
    assert again.notes == ["forgotten of the kept levels, no such profile or no end: base 'frost', forced"]
    assert aim_at(again, NOON).profile == "only"


def test_what_is_kept_may_come_late_and_is_not_overwritten_before() -> None:
    one, late = programme(), Programme(config(), None)
    one.command("mode", "off", BOOT, NOON)
    kept: dict[str, Any] = {}
    late.keep(kept)
    assert kept == {} and aim_at(late, NOON).level == "base"
    kept["programme"] = json.loads(json.dumps(one.to_kept()))
    late.keep(kept)
    assert aim_at(late, NOON).level == "off"
    late.command("mode", "auto", BOOT, NOON)
    late.keep(kept)
    assert kept["programme"]["off"] is False
    kept["programme"] = one.to_kept()
    late.keep(kept)
    assert aim_at(late, NOON).level == "base", "once it has its state, it is the one that writes"
