"""Local minutes on a moved clock, words, rules, calendars through the real library, and the plugin on its thread."""

from __future__ import annotations

import json
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import bus
from agent.api import ConfigError
from agent.replay.engine import Replay
from agent.runner.worker import boottime_us
from agent.testing import at_work
from plugins.schedule import calendars, phrases
from plugins.schedule.plan import Phrases, Plan
from plugins.schedule.plugin import Schedule
from plugins.schedule.settings import FixedRule, Reminder, ScheduleConfig, TimeRule
from plugins.schedule.walk import Walker, label_of, moment
from plugins.schedule.words import time_in_words, when_in_words
from tests.plugins.schedule.figures import US, ZONES, Night, count, missing_labels, nights

PARIS = ZoneInfo("Europe/Paris")


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * US)


def label(text: str) -> int:
    return (datetime.fromisoformat(text) - datetime(1970, 1, 1)) // timedelta(minutes=1)


# --- each local minute once ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("night", nights(), ids=lambda n: f"{n.zone}-{n.kind}")
def test_B29_each_local_job_exactly_once_over_the_night_the_clocks_change(night: Night) -> None:
    ran, wrong = count(night, 50.0, restarts=3)
    assert set(ran.values()) == {1}
    assert missing_labels(night, ran) == [], "also the minutes that the clocks leave out"
    assert wrong == 0, "within the minute; what the clocks leave out comes at the change"
    assert len(ran) > 1730


def test_B29_the_six_zones_have_two_nights_each() -> None:
    assert Counter(night.zone for night in nights()) == dict.fromkeys(ZONES, 2)


def walk(walker: Walker, begin_us: int, minutes: float, zone: Any = PARIS, step_s: float = 15.0) -> Counter[int]:
    ran: Counter[int] = Counter()
    for n in range(round(minutes * 60 / step_s)):
        for a, b in walker.step(begin_us + round(n * step_s * US), zone):
            ran.update(range(a, b))
    return ran


@pytest.mark.parametrize("back", [timedelta(hours=1), timedelta(days=14)])
def test_B27_a_clock_that_is_set_back_runs_nothing_twice(back: timedelta) -> None:
    walker, begin = Walker(), us("2026-11-01T00:00:00+00:00")
    day = 20 * 1440
    before = walk(walker, begin, day, step_s=60)
    assert set(before.values()) == {1} and len(before) > day - 5
    wrong = begin + day * 60 * US - round(back.total_seconds() * US)
    assert walk(walker, wrong, 59) == {}, "extra actions 0"
    after = walk(walker, begin + (day + 5) * 60 * US, 30)
    assert set(after.values()) == {1} and min(after) >= max(before), "set right again, it goes on"


def test_B27_a_clock_that_was_ahead_and_is_set_right_does_not_silence_the_house_for_two_weeks() -> None:
    walker = Walker()
    walk(walker, us("2026-11-20T12:00:00+00:00"), 10)
    assert len(walk(walker, us("2026-11-06T12:00:00+00:00"), 10)) >= 9


def test_what_was_missed_while_the_device_was_off_is_not_said_late() -> None:
    walker = Walker(late_s=60)
    walk(walker, us("2026-11-20T12:00:00+00:00"), 5)
    again = Walker(late_s=60)
    again.restore(json.loads(json.dumps(walker.kept())))
    ran = walk(again, us("2026-11-20T14:00:30+00:00"), 1)
    assert sorted(f"{moment(n):%H:%M}" for n in ran) == ["15:00", "15:01"]


def test_a_restart_within_the_minute_says_nothing_twice() -> None:
    walker = Walker()
    walk(walker, us("2026-11-20T11:59:00+00:00"), 1.3)
    again = Walker()
    again.restore(walker.kept())
    assert again.step(us("2026-11-20T12:00:40+00:00"), PARIS) == []


def test_B29_the_device_moves_to_another_zone() -> None:
    walker, begin = Walker(), us("2026-11-20T12:00:30+00:00")
    ran = walk(walker, begin, 60)
    east, west = ZoneInfo("Asia/Kolkata"), ZoneInfo("America/New_York")
    ran += walk(walker, begin + 3600 * US, 60, east)
    ran += walk(walker, begin + 7200 * US, 12 * 60, west, step_s=60)
    assert set(ran.values()) == {1}
    first_look = label_of(begin, PARIS)  # that minute had begun without us
    assert sorted([*ran, first_look]) == list(range(min(ran), max(ran) + 1)), "also the hours that were jumped over"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-30 * 86_400, 30 * 86_400), min_size=1, max_size=80))
def test_B27_whatever_the_clock_does_no_minute_comes_twice(jumps: list[int]) -> None:
    walker, now, ran = Walker(), us("2026-03-20T00:00:00+00:00"), Counter[int]()
    for number, jump in enumerate(jumps):
        now = max(0, now + jump * US) if number % 7 == 3 else now + abs(jump) % 90 * US
        for a, b in walker.step(now, PARIS):
            ran.update(range(a, b))
        walker.restore(json.loads(json.dumps(walker.kept())))
    assert set(ran.values()) <= {1}


def test_kept_state_that_is_none_of_ours_is_as_none() -> None:
    for kept in (None, 5, {}, {"been": "x", "last_us": 1, "last": 2}, {"been": [[1]], "last_us": None, "last": 0}):
        walker = Walker()
        walker.restore(kept)
        assert walker.step(us("2026-11-20T12:00:00+00:00"), PARIS) == []


# --- rules --------------------------------------------------------------------------------------------------------


def at(plan: Plan, text: str, holiday: bool = False) -> list[str]:
    return [job.kind for job in plan.jobs(label(text), holiday)]


def test_quarters_on_weekdays_from_six_and_at_weekends_from_nine() -> None:
    plan = Plan(ScheduleConfig())
    assert at(plan, "2026-11-20T06:00") == ["time"] and at(plan, "2026-11-20T21:00") == ["time"]
    assert at(plan, "2026-11-20T05:45") == at(plan, "2026-11-20T21:15") == at(plan, "2026-11-20T12:01") == []
    assert at(plan, "2026-11-21T08:45") == [] and at(plan, "2026-11-21T09:00") == ["time"]
    assert at(plan, "2026-11-20T06:15", holiday=True) == [] and at(plan, "2026-11-20T09:15", holiday=True) == ["time"]


def test_a_rule_that_names_no_holiday_counts_as_a_sunday_there() -> None:
    plan = Plan(ScheduleConfig(time=(TimeRule(days=("sun",), slices=("22:00-02:00",), marks_min=(30,)),)))
    assert at(plan, "2026-11-20T23:30", holiday=True) == ["time"]
    assert at(plan, "2026-11-22T00:30") == ["time"] and at(plan, "2026-11-20T23:30") == []


def test_the_same_job_has_the_same_words_after_a_restart_and_never_twice_in_a_row() -> None:
    lists = phrases.of_language("en")
    plan = Plan(ScheduleConfig())
    jobs = [job for n in range(0, 1440, 15) for job in plan.jobs(label("2026-11-20T00:00") + n, False)]
    said = [Phrases(lists, "en", "s").text(job, job.label) for job in jobs]
    again = [Phrases(lists, "en", "s").text(job, job.label) for job in jobs]
    assert said == again
    one = Phrases(lists, "en", "s")
    picked = [one.pick("time", job.key) for job in jobs]
    assert len(set(picked)) == len(lists["time"]) and all(a != b for a, b in pairwise(picked))


@pytest.mark.parametrize("language", ["en", "fr"])
def test_every_phrase_of_ours_has_its_places(language: str) -> None:
    assert set(phrases.of_language(language)) == set(phrases.KINDS)


def test_phrases_of_a_file_with_a_mistake_are_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('time = ["It is late."]\nhello = ["Hi"]\nreminder = ["{event}"]\n')
    with pytest.raises(ConfigError, match=r"mine.toml: time: 'It is late.' has no \{time\} in it"):
        Schedule(ScheduleConfig(phrases=str(file)))
    with pytest.raises(ConfigError, match="No such file"):
        Schedule(ScheduleConfig(phrases=str(tmp_path / "none.toml")))


# --- words --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("hour", "minute", "en", "fr"), [
    (7, 15, "a quarter past seven", "sept heures et quart"), (7, 30, "half past seven", "sept heures et demie"),
    (7, 45, "a quarter to eight", "huit heures moins le quart"), (0, 0, "midnight", "minuit"),
    (12, 0, "noon", "midi"), (12, 30, "half past noon", "midi et demi"), (1, 0, "one o'clock", "une heure"),
    (0, 45, "a quarter to one", "une heure moins le quart"), (11, 45, "a quarter to noon", "midi moins le quart"),
    (23, 59, "one minute to midnight", "vingt-trois heures cinquante-neuf"),
    (21, 21, "twenty-one minutes past nine", "vingt et une heures vingt et une"),
    (9, 35, "twenty-five to ten", "dix heures moins vingt-cinq"), (15, 15, "a quarter past three",
                                                                     "quinze heures quinze"),
])
def test_the_time_in_words(hour: int, minute: int, en: str, fr: str) -> None:
    assert (time_in_words(hour, minute, "en"), time_in_words(hour, minute, "fr")) == (en, fr)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_no_two_minutes_of_half_a_day_sound_alike(language: str) -> None:
    said = [time_in_words(n // 60, n % 60, language) for n in range(720)]
    assert len(set(said)) == 720 and all(text.strip() == text and "  " not in text for text in said)


def test_how_far_away_in_words() -> None:
    assert [when_in_words(n, None, "en") for n in (0, 1, 15, 60, 1440, 2880)] == [
        "now", "in 1 minute", "in 15 minutes", "in 1 hour", "in 24 hours", "in 2 days"]
    assert [when_in_words(n, None, "fr") for n in (0, 15, 60)] == [
        "maintenant", "dans quinze minutes", "dans une heure"]
    assert when_in_words(0, 1, "fr") == "demain"


# --- calendars ----------------------------------------------------------------------------------------------------

BINS = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//test//EN\r
BEGIN:VEVENT\r
UID:bins\r
DTSTAMP:20260101T000000Z\r
SUMMARY:Recycling bins\r
DTSTART;VALUE=DATE:20260107\r
RRULE:FREQ=WEEKLY;BYDAY=WE\r
EXDATE;VALUE=DATE:20261028\r
END:VEVENT\r
BEGIN:VEVENT\r
UID:tooth\r
DTSTAMP:20260101T000000Z\r
SUMMARY:Dentist\r
DTSTART;TZID=Europe/Paris:20261027T083000\r
END:VEVENT\r
BEGIN:VEVENT\r
UID:off\r
DTSTAMP:20260101T000000Z\r
SUMMARY:Called off\r
STATUS:CANCELLED\r
DTSTART:20261027T083000Z\r
END:VEVENT\r
END:VCALENDAR\r
"""
RULES = (Reminder(match=("BIN",), day_before=("19:00",), on_day=("07:15",)), Reminder(lead_min=(60, 10)))


def test_the_bins_the_evening_before_and_the_dentist_an_hour_before() -> None:
    events = calendars.occurrences(calendars.parse(BINS.encode()), datetime(2026, 10, 19, 12, tzinfo=PARIS), 20)
    jobs = calendars.reminders(events, RULES, PARIS, "en")
    found = {f"{moment(n):%m-%d %H:%M}": (job.event, job.when) for n, some in jobs.items() for job in some}
    assert found == {
        "10-20 19:00": ("Recycling bins", "tomorrow"), "10-21 07:15": ("Recycling bins", "today"),
        "10-27 07:30": ("Dentist", "in 1 hour"), "10-27 08:20": ("Dentist", "in 10 minutes"),
        "11-03 19:00": ("Recycling bins", "tomorrow"), "11-04 07:15": ("Recycling bins", "today"),
    }, "the 28th is excepted, what is called off is not told"


@pytest.mark.parametrize(("data", "why"), [
    (b"<html>login</html>", "no calendar"), (b"", "no calendar"), (b"\xff\xfe\0\0" * 50, "no calendar"),
    (b"x" * ((1 << 20) + 1), "1024 KiB, at most 1024"),
    (BINS.replace("FREQ=WEEKLY;BYDAY=WE", "FREQ=SECONDLY").encode(), "'Recycling bins' comes every hour or more"),
])
def test_B42_a_file_that_is_no_calendar_is_one_line(data: bytes, why: str) -> None:
    with pytest.raises(calendars.BadCalendar, match=why):
        calendars.parse(data)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_B53_a_damaged_calendar_is_read_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(BINS.encode())
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=6))
    try:
        events = calendars.occurrences(calendars.parse(bytes(damaged)), datetime(2026, 10, 19, tzinfo=PARIS))
        calendars.reminders(events, RULES, PARIS, "en")
    except calendars.BadCalendar as error:
        assert "\n" not in str(error)


def test_one_bad_file_of_a_folder_does_not_silence_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.ics").write_text(BINS)
    (tmp_path / "b.ics").write_text("nonsense")
    shelf = calendars.Shelf(tmp_path)
    assert shelf.look() and not shelf.look(), "read again only when something has changed"
    assert list(shelf.problems) == [str(tmp_path / "b.ics")] and list(shelf.calendars) == [str(tmp_path / "a.ics")]
    assert len(shelf.occurrences(datetime(2026, 10, 19, tzinfo=PARIS))) == 2
    (tmp_path / "b.ics").unlink()
    assert shelf.look() and shelf.problems == {}
    (tmp_path / "a.ics").write_text("torn")
    shelf.look()
    assert shelf.calendars, "the last good one counts while a file is being written anew"


# --- the plugin ---------------------------------------------------------------------------------------------------


def replayed(config: ScheduleConfig, *lines: tuple[float, dict[str, Any]]) -> list[dict[str, Any]]:
    wire = "# made\n" + "".join(f"< {t} {json.dumps(line) if line else ''}\n" for t, line in lines)
    return list(Replay(Schedule, config, wire.encode(), instance="schedule").records())


def said(records: list[dict[str, Any]]) -> list[str]:
    return [one["value"]["id"] for one in records if one.get("property") == "announcement"]


def test_nobody_home_is_silent_and_unknown_is_as_configured() -> None:
    heard = {"bus": "people", "property": "anyone_home"}
    lines = [(0.0, {"now": "2026-11-20T11:59:30Z"}), (1.0, heard | {"value": "away"}),
             (800.0, heard | {"value": "home"}), (1700.0, heard | {"value": "unknown"}), (2760.0, {})]
    config = ScheduleConfig(timezone="UTC", hello=False, presence="people")
    assert said(replayed(config, *lines)) == ["time-2026-11-20T12:15"]
    loud = ScheduleConfig(timezone="UTC", hello=False, presence="people", presence_unknown="speak")
    assert said(replayed(loud, *lines)) == ["time-2026-11-20T12:15", "time-2026-11-20T12:30", "time-2026-11-20T12:45"]
    nobody = ScheduleConfig(timezone="UTC", hello=False, presence="people", presence_max_age_s=100)
    assert said(replayed(nobody, *lines)) == [], "a word of 130 s ago is none"


def test_holidays_follow_the_heaters_profile() -> None:
    heard = {"bus": "heater", "property": "profile"}
    lines = [(0.0, {"now": "2026-11-20T06:59:30Z"}), (60.0, heard | {"value": "away_week"}),
             (1800.0, heard | {"value": "comfort"}), (2800.0, {})]
    config = ScheduleConfig(timezone="UTC", hello=False, heater="heater", holiday_profiles=("away_week",))
    records = replayed(config, *lines)
    assert said(records) == ["time-2026-11-20T07:00", "time-2026-11-20T07:30", "time-2026-11-20T07:45"]
    assert [one["value"] for one in records if one.get("property") == "holiday"][:2] == [False, True]


def test_the_hour_that_spring_leaves_out_is_one_announcement_of_the_true_time() -> None:
    config = ScheduleConfig(timezone="Europe/Paris", hello=False, time=(TimeRule(slices=("00:00-24:00",)),))
    records = replayed(config, (0.0, {"now": "2026-03-29T00:44:50Z"}), (1500.0, {}))
    words = [one["value"]["text"] for one in records if one.get("property") == "announcement"]
    assert len(words) == 2 and "quarter to two" in words[0].lower() and "three o'clock" in words[1].lower()


def test_without_the_time_nothing_is_announced_and_it_is_said() -> None:
    records = replayed(ScheduleConfig(hello=False), (0.0, {"bus": "x"}), (2000.0, {}))
    assert said(records) == []
    assert any("the time is not known" in one.get("message", "") for one in records)


def test_hello_once_in_ten_minutes_and_not_to_an_empty_house() -> None:
    assert said(replayed(ScheduleConfig(timezone="UTC"), (0.0, {"bus": "x"}), (60.0, {})))[0].startswith("hello-")
    away = [(0.0, {"bus": "people", "property": "anyone_home", "value": "away"}), (60.0, {})]
    assert said(replayed(ScheduleConfig(presence="people"), *away)) == []
    kept: dict[str, Any] = {}
    with at_work(Schedule, ScheduleConfig(time=(), hello_after_s=0)) as plugin:
        plugin.wait(lambda: plugin.values("announcement"))
        plugin.wait(lambda: "hello_us" in plugin.committed)
        kept = plugin.committed
    with at_work(Schedule, ScheduleConfig(time=(), hello_after_s=0), kept=kept) as plugin:
        plugin.wait(lambda: plugin.value("next_announcement") is None and plugin.value("presence"))
        assert plugin.values("announcement") == []


def test_switched_off_and_still_off_after_a_restart() -> None:
    with at_work(Schedule, ScheduleConfig(hello=False)) as plugin:
        assert plugin.order("enabled", False).value is False
        plugin.wait(lambda: plugin.committed.get("enabled") is False)
        assert not plugin.order("enabled", "perhaps").ok
        kept = plugin.committed
    with at_work(Schedule, ScheduleConfig(hello_after_s=0), kept=kept) as plugin:
        plugin.wait(lambda: plugin.value("enabled") is False)
        plugin.wait(lambda: plugin.value("kept_silent") == 1)
        assert plugin.values("announcement") == []


def test_a_calendar_and_the_real_clock_and_the_presence_of_the_real_bus(tmp_path: Path) -> None:
    """The fan of the bus is a real ZeroMQ socket; the wall clock is set so that a minute begins at once."""
    (tmp_path / "cal").mkdir()
    (tmp_path / "cal/a.ics").write_text(BINS)
    wall0 = us("2026-10-27T06:29:59.300000+00:00")
    begun = boottime_us()
    config = ScheduleConfig(timezone="Europe/Paris", hello=False, time=(), presence="people", reminders=RULES,
                            calendar="/cal")
    context: zmq.Context[Any] = zmq.Context.instance()
    lane, fan = bus.bind(context, tmp_path)
    try:
        with at_work(Schedule, config, root=tmp_path, wall_offset_us=lambda: wall0 - begun,
                     run_dir=tmp_path) as plugin:

            def home() -> Any:
                now = bus.Now("people", [("people", "anyone_home", "home", boottime_us(), None)])
                fan.send_multipart([b"now/people", bus.encode(now)])
                time.sleep(0.02)
                return plugin.values("announcement")

            [event] = plugin.until("the reminder", home)
            assert event["text"] in ("A reminder: Dentist, in 1 hour.", "Do not forget: Dentist, in 1 hour.",
                                     "Dentist, in 1 hour.")
            assert plugin.value("next_reminder") == {"event": "Dentist", "when": "in 10 minutes",
                                                     "at": "2026-10-27T07:20:00Z"}
            assert plugin.value("calendar_events") == 2
    finally:
        lane.close(0)
        fan.close(0)


def test_a_presence_that_was_under_way_for_an_hour_says_nothing_of_now(tmp_path: Path) -> None:
    """Uplink was away, and then gives what it was given long ago."""
    context: zmq.Context[Any] = zmq.Context.instance()
    lane, fan = bus.bind(context, tmp_path)
    try:
        with at_work(Schedule, ScheduleConfig(hello=False, time=(), presence="people"), run_dir=tmp_path) as plugin:

            def told(word: str, age_s: float) -> list[Any]:
                now = bus.Now("people", [("people", "anyone_home", word, boottime_us() - round(age_s * 1e6), None)])
                fan.send_multipart([b"now/people", bus.encode(now)])
                time.sleep(0.02)
                return plugin.values("presence")

            plugin.until("the bus", lambda: told("away", 0.0)[-1:] == ["away"])
            plugin.until("an old word", lambda: told("home", 3600.0)[-1:] == ["unknown"])
            plugin.until("a new one", lambda: told("home", 1.0)[-1:] == ["home"])
    finally:
        lane.close(0)
        fan.close(0)
    assert plugin.values("presence")[-3:] == ["away", "unknown", "home"]


def test_that_a_minute_has_come_is_kept_before_or_with_what_is_said_in_it() -> None:
    """A power cut in between says it once less, never once more."""
    wall0, begun = us("2026-11-20T12:14:59.500000+00:00"), boottime_us()
    config = ScheduleConfig(timezone="UTC", hello=False)
    with at_work(Schedule, config, wall_offset_us=lambda: wall0 - begun) as plugin:
        plugin.until("a quarter past twelve", lambda: plugin.values("announcement"))
    said = next(n for n, item in enumerate(plugin.items) if getattr(getattr(item, "what", None), "property", "") ==
                "announcement")
    kept = [item.kept for item in plugin.items[: said + 1] if getattr(item, "kept", None)]
    after = Walker()
    after.restore(json.loads(kept[-1])["walk"])
    assert after.been(label("2026-11-20T12:15"))


def test_a_calendar_file_can_be_replayed() -> None:
    config = ScheduleConfig(timezone="Europe/Paris", hello=False, time=(), reminders=RULES, interval_s=86_400)
    records = list(Replay(Schedule, config, BINS.encode(), instance="schedule").records())
    days = [(round(one["t"] / 3600, 2), one["value"]["text"]) for one in records
            if one.get("property") == "announcement"]
    assert [hours for hours, _ in days] == [6.0, 18.25, 174.0, 186.25], "the evening before at 19:00, then at 07:15"
    assert all("Recycling bins" in text for _, text in days)


def test_fixed_words_at_a_fixed_time() -> None:
    rules = (FixedRule(time="20:00", say="Time for the pills.", days=("weekdays",), priority="high"),)
    records = replayed(ScheduleConfig(timezone="UTC", hello=False, time=(), at=rules),
                       (0.0, {"now": "2026-11-20T19:59:30Z"}), (90.0, {}))
    [event] = [one["value"] for one in records if one.get("property") == "announcement"]
    assert event == {"id": "at0-2026-11-20T20:00", "text": "Time for the pills.", "kind": "at", "priority": "high",
                     "good_s": 300.0}


def test_first_day_of_a_calendar_of_times() -> None:
    assert calendars.first_day(calendars.parse(BINS.encode())) == date(2026, 1, 7)
    assert label_of(us("2026-11-20T12:00:59+00:00"), UTC) == label("2026-11-20T12:00")
