from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.relay_heater.calendar import DAYS, Calendar, inside, inside_at, next_change, parse

US = 1_000_000
MINUTE = 60 * US
NONE: list[list[str]] = [[] for _ in DAYS]


def daily(*slices: str) -> list[list[str]]:
    return [list(slices) for _ in DAYS]


def utc(*moment: int) -> int:
    return round(datetime(*moment, tzinfo=UTC).timestamp()) * US  # type: ignore[misc]


@pytest.mark.parametrize("text", ["06:00-08:00", "06h00-08h00", "6:00 - 08h00"])
def test_both_ways_to_write_a_slice(text: str) -> None:
    calendar = parse([[text], *NONE[1:]])
    monday = datetime(2026, 11, 23)
    assert calendar.days[0] == ("06:00-08:00",)
    shown = [minute for minute in range(7 * 1440) if inside(calendar, monday + timedelta(minutes=minute))]
    assert shown == list(range(6 * 60, 8 * 60))


@pytest.mark.parametrize(("days", "line"), [
    ([["06:00-08:00"]], "a calendar is 7 lists of slices, Monday first, not 1 lists"),
    ("06:00", "a calendar is 7 lists of slices, Monday first, not str"),
    ([[], ["06:00-25:00"], *NONE[2:]], "Tuesday: '06:00-25:00': a slice begins from 00:00 to 23:59 and ends at 24:00"),
    ([*NONE[:6], ["24:00-06:00"]], "Sunday: '24:00-06:00': a slice begins"),
    (daily("06:60-08:00"), "Monday: '06:60-08:00': minutes go from 00 to 59"),
    (daily("8-9"), "Monday: '8-9' is no slice; write it as 06:00-08:00"),
    (daily("__import__('os')"), "is no slice"),
    (daily("٠٦:٠٠-٠٨:٠٠"), "is no slice"),
    (daily("06:00-06:00"), "'06:00-06:00' is empty; the whole day is 00:00-24:00"),
    ([["06:00-08:00"], 3, *NONE[2:]], "Tuesday: a list of slices is needed"),
    ([[7.5], *NONE[1:]], "Monday: 7.5 is no slice"),
    ([["06:00-08:00"] * 49, *NONE[1:]], "Monday: 49 slices, at most 48"),
    ({"mon-frei": []}, "'mon-frei' is no day"),
    ({"mon": "06:00-08:00"}, "mon: a list of slices is needed"),
])
def test_a_mistake_is_named_with_its_day_and_slice(days: object, line: str) -> None:
    with pytest.raises(ValueError) as error:
        parse(days)  # type: ignore[arg-type]
    assert line in str(error.value) and "\n" not in str(error.value)


def test_days_by_name() -> None:
    named = parse({"mon-fri": ["06:00-08:00"], "sat-sun": ["08:00-23:00"], "fri": ["17:00-22:00"],
                   "Sun-Mon": ["12h00-13h00"]})
    lists = [["06:00-08:00"] for _ in range(5)] + [["08:00-23:00"] for _ in range(2)]
    lists[4].append("17:00-22:00")
    lists[6].append("12:00-13:00")
    lists[0].append("12:00-13:00")
    assert named == parse(lists)
    assert parse({"all": ["06:00-08:00"]}) == parse(daily("06:00-08:00"))


def test_the_last_minute_of_the_day_and_midnight() -> None:
    """The older system left 23:59 in eco and could not cross midnight."""
    whole = parse(daily("00:00-24:00"))
    assert whole.edges == () and whole.first
    assert next_change(whole, utc(2026, 11, 26), ZoneInfo("UTC")) is None
    night = parse([*NONE[:6], ["22:00-06:00"]])
    sunday = datetime(2026, 11, 29, 23, 59)
    assert inside(night, sunday) and inside(night, sunday + timedelta(hours=6))
    assert not inside(night, sunday + timedelta(hours=6, minutes=1)) and not inside(night, sunday - timedelta(hours=2))


SLICE = st.tuples(st.integers(0, 1439), st.integers(0, 1440)).filter(lambda ends: ends[0] != ends[1])
WEEK = st.lists(st.lists(SLICE, max_size=4), min_size=7, max_size=7)


def written(week: list[list[tuple[int, int]]]) -> list[list[str]]:
    return [[f"{a // 60:02}:{a % 60:02}-{b // 60:02}h{b % 60:02}" for a, b in day] for day in week]


def by_hand(week: list[list[tuple[int, int]]], day: int, minute: int) -> bool:
    """As one would say it: today's slices, and those of yesterday that cross midnight."""
    today = any(a <= minute < b if a < b else a <= minute for a, b in week[day])
    return today or any(b <= a and minute < b for a, b in week[day - 1])


@settings(max_examples=20, deadline=None)
@given(WEEK)
def test_every_minute_of_a_week_is_as_said_by_hand(week: list[list[tuple[int, int]]]) -> None:
    calendar = parse(written(week))
    monday = datetime(2026, 11, 23)
    for minute in range(7 * 1440):
        assert inside(calendar, monday + timedelta(minutes=minute)) == by_hand(week, *divmod(minute, 1440))


@settings(max_examples=40, deadline=None)
@given(WEEK, st.integers(0, 7 * 86_400 - 1))
def test_the_next_change_is_the_first_minute_that_differs(week: list[list[tuple[int, int]]], second: int) -> None:
    calendar, zone = parse(written(week)), ZoneInfo("UTC")
    now = utc(2026, 11, 23) + second * US
    state = inside_at(calendar, now, zone)
    minute = now - now % MINUTE + MINUTE
    expected = next((at for at in range(minute, minute + 7 * 1440 * MINUTE, MINUTE)
                     if inside_at(calendar, at, zone) != state), None)
    assert next_change(calendar, now, zone) == expected


# --- B29: the nights in which the clock is set --------------------------------------------------------------

NIGHTS = [
    ("Europe/Paris", (2026, 3, 29, 1, 0), (2026, 10, 25, 1, 0)),
    ("Europe/London", (2026, 3, 29, 1, 0), (2026, 10, 25, 1, 0)),
    ("America/New_York", (2026, 3, 8, 7, 0), (2026, 11, 1, 6, 0)),
    ("Australia/Lord_Howe", (2026, 10, 3, 15, 30), (2026, 4, 4, 15, 0)),
    ("America/Santiago", (2026, 9, 6, 4, 0), (2026, 4, 5, 3, 0)),
    ("Africa/Cairo", (2026, 4, 23, 22, 0), (2026, 10, 29, 21, 0)),
]
"""Zone, and the moments in UTC: forward and back; half an hour only, at midnight, and south of the equator too."""
WEEKS = [
    [[(90, 150), (135, 165), (360, 480)]] * 7,
    [[(0, 60), (61, 62), (119, 121), (179, 181), (1380, 30)]] * 7,
    [[(125, 130), (140, 145), (1435, 5), (10, 20), (1410, 1440)]] * 7,
]


def changes_of(calendar: Calendar, zone: ZoneInfo, begin: int, end: int) -> Iterator[int]:
    at = begin
    while (change := next_change(calendar, at, zone)) is not None and change <= end:
        yield change
        at = change


@pytest.mark.parametrize("zone_name, forward, back", NIGHTS, ids=[night[0] for night in NIGHTS])
def test_b29_every_minute_of_both_nights(zone_name: str, forward: tuple[int, ...], back: tuple[int, ...]) -> None:
    """B29: run count 1 per job: the oracle walks on minute by minute and never lets the shown time run back."""
    zone = ZoneInfo(zone_name)
    for week in WEEKS:
        calendar = parse(written(week))
        for moment in (utc(*forward), utc(*back)):
            before, after = (datetime.fromtimestamp((moment + d) // US, zone).utcoffset() for d in (-1, 0))
            assert before != after, "the zone data has another night"
            highest = datetime.min
            states = []
            begin = moment - 8 * 60 * MINUTE
            for at in range(begin, moment + 8 * 60 * MINUTE, MINUTE):
                shown = datetime.fromtimestamp(at // US, zone).replace(tzinfo=None, fold=0)
                highest = max(highest, shown)
                states.append((at, by_hand(week, highest.weekday(), highest.hour * 60 + highest.minute)))
            changes = [at for (_, was), (at, now) in pairwise(states) if was != now]
            assert [at for at, state in states if inside_at(calendar, at + 30 * US, zone) != state] == []
            assert 2 <= len(changes) == len(set(changes))
            assert list(changes_of(calendar, zone, begin, changes[-1])) == changes
            for at in range(begin, changes[-1], 11 * MINUTE):
                assert next_change(calendar, at + 7, zone) == next(change for change in changes if change > at + 7)


@pytest.mark.parametrize("text, ordinary, shorter, longer", [
    ("01:00-02:30", ["00:00", "01:30"], ["00:00", "01:00"], ["23:00", "00:30"]),
    ("02:15-02:45", ["01:15", "01:45"], [], ["00:15", "00:45"]),
    ("02:30-04:00", ["01:30", "03:00"], ["01:00", "02:00"], ["00:30", "03:00"]),
])
def test_b29_an_hour_less_and_an_hour_more(text: str, ordinary: list[str], shorter: list[str], longer: list[str]
                                           ) -> None:
    """Paris; changes in UTC. 2026-03-29: what falls into the skipped hour changes at 03:00 (01:00 UTC) or not at all;
    2026-10-25: 02:00 to 03:00 comes again at 01:00 UTC, and nothing happens in it a second time."""
    calendar, zone = parse(daily(text)), ZoneInfo("Europe/Paris")
    for midnight, expected in ((utc(2026, 3, 27, 23), ordinary), (utc(2026, 3, 28, 23), shorter),
                               (utc(2026, 10, 24, 22), longer)):
        found = changes_of(calendar, zone, midnight, midnight + 12 * 60 * MINUTE)
        assert [datetime.fromtimestamp(at // US, UTC).strftime("%H:%M") for at in found] == expected


def test_a_day_that_never_was() -> None:
    """Samoa went over the date line: after Thursday, 2011-12-29 came Saturday."""
    zone = ZoneInfo("Pacific/Apia")
    friday = parse([*NONE[:4], ["06:00-08:00"], *NONE[5:]])
    assert next_change(friday, utc(2011, 12, 29), zone) == utc(2012, 1, 5, 16)
    into_saturday = parse([*NONE[:4], ["22:00-06:00"], *NONE[5:]])
    assert next_change(into_saturday, utc(2011, 12, 29), zone) == utc(2011, 12, 30, 10)
    assert next_change(into_saturday, utc(2011, 12, 30, 10), zone) == utc(2011, 12, 30, 16)


def test_b29_this_machine_s_zone_and_its_change(monkeypatch: pytest.MonkeyPatch) -> None:
    calendar = parse(daily("06:00-08:00"))
    now = utc(2026, 11, 26, 5, 30)
    try:
        for name in ("Europe/Paris", "Asia/Tokyo", "UTC"):
            monkeypatch.setenv("TZ", name)
            time.tzset()
            assert inside_at(calendar, now, None) == inside_at(calendar, now, ZoneInfo(name))
            assert inside_at(calendar, now, None) == (name == "Europe/Paris")
            assert next_change(calendar, now, None) == next_change(calendar, now, ZoneInfo(name))
    finally:
        monkeypatch.undo()
        time.tzset()
