"""The week, the levels and the picture of a heater: pure."""

from __future__ import annotations

import random
import re
from zoneinfo import ZoneInfo

import pytest

from hub.command.values import BadValue
from hub.heating.chart import Day, on_times, picture
from hub.heating.levels import check_levels, moment_us, rfc3339
from hub.heating.week import Bar, bars, calendar_of, check, clock, copied, minute, of_calendar, of_form
from plugins.relay_heater.calendar import parse

WORDS = {"time": "time", "same": "same", "many": "more than {n}"}
NOW_US = 1_795_000_000_000_000
MIN_US = 60_000_000


@pytest.mark.parametrize(("text", "at"), [
    ("06:00", 360), ("6h05", 365), ("24:00", 1440), ("00:00", 0), (" 7:00 ", 420), ("24:01", None), ("12:60", None),
    ("noon", None), ("", None), ("-1:00", None)])
def test_a_time_of_day(text: str, at: int | None) -> None:
    assert minute(text) == at


def test_a_slice_to_midnight_and_one_across_it() -> None:
    week = of_calendar([["08:00-24:00"], [], [], [], [], [], ["22:00-06:00"]])
    assert check(week, WORDS)
    drawn = bars(week)
    assert drawn[0] == [Bar(0, 360, True), Bar(480, 1440, False)]  # Sunday night goes on into Monday
    assert drawn[6] == [Bar(1320, 1440, False)] and drawn[1] == []
    assert calendar_of(week)[0] == ["08:00-24:00"] and calendar_of(week)[6] == ["22:00-06:00"]


def test_what_is_wrong_is_said_at_its_slice() -> None:
    form = {"s-0-0": "06:00", "e-0-0": "08:00", "s-0-1": "07:30", "e-0-1": "09:00", "s-1-0": "25:00", "e-1-0": "26:00",
            "s-2-0": "10:00", "e-2-0": "10:00", "s-3-0": "10:00", "s-4-0": "22:00", "e-4-0": "03:00", "s-5-0": "02:00",
            "e-5-0": "04:00", "s-6-0": "24:00", "e-6-0": "01:00"}
    week = of_form(form)
    assert not check(week, WORDS)
    assert [[row.error for row in rows] for rows in week] == [
        ["", ""], ["time"], ["same"], ["time"], [""], [""], ["time"]]
    assert week[1][0].start == "25:00"  # what was typed stays, to be mended
    bars(week)


def test_slices_may_overlap_as_the_heater_takes_them() -> None:
    week = of_form({"s-0-0": "06:00", "e-0-0": "08:00", "s-0-1": "07:30", "e-0-1": "09:00", "s-4-0": "22:00",
                    "e-4-0": "03:00", "s-5-0": "02:00", "e-5-0": "04:00"})
    assert check(week, WORDS)
    made = calendar_of(week)
    assert made[0] == ["06:00-08:00", "07:30-09:00"] and made[4:6] == [["22:00-03:00"], ["02:00-04:00"]]
    assert [list(day) for day in parse(made).days] == made  # the heater's own parser


def test_an_emptied_slice_is_no_slice_and_the_rest_is_put_in_order() -> None:
    week = of_form({"s-0-0": "", "e-0-0": "", "s-0-1": "17:00", "e-0-1": "22:00", "s-0-2": "06:00", "e-0-2": "08:00"})
    assert check(week, WORDS) and calendar_of(week)[0] == ["06:00-08:00", "17:00-22:00"]


def test_a_day_is_copied() -> None:
    week = copied(of_calendar([["06:00-08:00"]]), 0, [1, 2])
    assert [len(rows) for rows in week] == [1, 1, 1, 0, 0, 0, 0] and week[1][0] is not week[0][0]


def test_any_calendar_that_can_be_read_comes_back_as_it_was() -> None:
    rng = random.Random(7)
    for _ in range(300):
        calendar = []
        for _ in range(7):
            edges = sorted(rng.sample(range(0, 1441, 5), 2 * rng.randrange(4)))
            calendar.append([f"{clock(a)}-{clock(b)}" for a, b in zip(edges[::2], edges[1::2], strict=True)])
        week = of_calendar(calendar)
        assert check(week, WORDS) and calendar_of(week) == calendar
        assert sum(bar.end - bar.start for day in bars(week) for bar in day) == sum(
            (minute(text[6:]) or 0) - (minute(text[:5]) or 0) for day in calendar for text in day)


@pytest.mark.parametrize("odd", [None, "x", [], [1, None, {}], [["06:00"], "x", [5], [None], [["a"]]], {"mon": []}])
def test_an_odd_calendar_breaks_nothing(odd: object) -> None:
    week = of_calendar(odd)
    check(week, WORDS)
    assert len(bars(week)) == 7


def test_every_level_above_the_base_has_an_end() -> None:
    soon = rfc3339(NOW_US + 3600_000_000)
    check_levels({"base": {"profile": "frost"}, "supplementary": None,
                  "forced": {"setpoint_c": 21, "until": soon}}, NOW_US)
    check_levels({"exceptional": {"profile": "frost", "until": rfc3339(NOW_US + 30 * 86400_000_000)}}, NOW_US)
    for bad in ({}, [], None, {"base": None}, {"forced": {"setpoint_c": 21}}, {"forced": {"until": ""}},
                {"forced": {"until": 5}}, {"exceptional": {"until": "2026-11-26"}},
                {"supplementary": {"until": rfc3339(NOW_US - 1_000_000)}},
                {"forced": {"until": rfc3339(NOW_US + 13 * 3600_000_000)}}, {"extra": None}, {"forced": "high"}):
        with pytest.raises(BadValue):
            check_levels(bad, NOW_US)
    assert moment_us(soon) == (NOW_US + 3600_000_000) // 1_000_000 * 1_000_000


def test_on_times_hold_to_the_next_sample_but_not_over_a_silence() -> None:
    samples = [(0, 1.0), (10 * MIN_US, 1.0), (20 * MIN_US, 0.0), (30 * MIN_US, 1.0)]
    spans = on_times(samples, 300 * MIN_US)
    assert spans == [(0, 20 * MIN_US), (30 * MIN_US, 75 * MIN_US)]
    assert on_times([], 5) == []


def test_the_picture_needs_no_style_and_is_empty_without_values() -> None:
    zone = ZoneInfo("Europe/Paris")
    day = Day(NOW_US, NOW_US + 1440 * MIN_US, [(NOW_US + n * 10 * MIN_US, 19 + n / 100) for n in range(100)],
              [(NOW_US, 20.0), (NOW_US + 300 * MIN_US, 18.0)], [(NOW_US + 5 * MIN_US, NOW_US + 65 * MIN_US)])
    svg = str(picture(day, zone, "a <b> & c"))
    assert 'class="room"' in svg and 'class="aim"' in svg and 'class="on"' in svg and "style" not in svg
    assert "&lt;b&gt;" in svg and day.on_s == 3600
    for minutes, step in ((20, 5), (60, 15), (240, 60), (1440, 240)):  # a young series has times to read, too
        svg = str(picture(Day(NOW_US, NOW_US + minutes * MIN_US, [(NOW_US, 19.0)], [], []), zone, ""))
        times = [int(text[:2]) * 60 + int(text[3:]) for text in re.findall(r">(\d\d:\d\d)<", svg)]
        assert 3 <= len(times) <= 7 and all(at % step == 0 for at in times), minutes
    assert str(picture(Day(0, 1, [], [], []), zone, "")) == ""
    # the day on which the clock is set back has 25 hours
    autumn = 1_792_879_200_000_000
    assert str(picture(Day(autumn, autumn + 1440 * MIN_US, [(autumn, 19.0)], [], []), zone, "")).count("<text") > 5
