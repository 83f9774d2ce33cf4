"""Sunrise and sunset against published values, in both hemispheres and where there are none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins.night_light.sun import DAY_US, HORIZON_DEG, elevation_deg, is_up, next_turn

MINUTE_US = 60_000_000
TROMSOE, WELLINGTON = (69.1044, 18.0594), (-41.288889, 174.777222)
CET, NZDT = 1, 13

# Place, hours east of UTC, local day, sunrise, sunset: Accurate Times (Tromsoe's county, 2010), SAMPA of NREL
# (Wellington, 2022); NOAA's and USNO's horizon of -50'
PUBLISHED = [
    (TROMSOE, CET, "2010-01-11", None, None),
    (TROMSOE, CET, "2010-01-12", "11:31:56", "12:20:46"),
    (TROMSOE, CET, "2010-02-15", "08:14:45", "15:50:26"),
    (TROMSOE, CET, "2010-03-20", "05:48:14", "18:04:26"),
    (TROMSOE, CET, "2010-05-10", "01:42:05", "21:51:30"),
    (TROMSOE, CET, "2010-05-20", "00:14:14", None),
    (TROMSOE, CET, "2010-05-21", None, None),
    (TROMSOE, CET, "2010-06-21", None, None),
    (TROMSOE, CET, "2010-07-24", "00:21:23", "23:11:29"),
    (TROMSOE, CET, "2010-09-23", "05:31:12", "17:47:04"),
    (TROMSOE, CET, "2010-11-01", "08:07:58", "14:53:27"),
    (WELLINGTON, NZDT, "2022-01-01", "05:51:06", "20:57:05"),
    (WELLINGTON, NZDT, "2022-02-15", "06:44:08", "20:25:07"),
    (WELLINGTON, NZDT, "2022-03-20", "07:22:55", "19:33:23"),
    (WELLINGTON, NZDT, "2022-04-01", "07:35:53", "19:13:16"),
]


def us(at: datetime) -> int:
    return round(at.timestamp() * 1e6)


@pytest.mark.parametrize(("where", "zone_h", "day", "rise", "set_"), PUBLISHED)
def test_published_values_to_a_minute(where, zone_h, day, rise, set_):
    midnight = datetime.fromisoformat(day).replace(tzinfo=timezone(timedelta(hours=zone_h)))
    found: dict[bool, list[int]] = {True: [], False: []}
    t_us, end_us = us(midnight), us(midnight) + DAY_US
    while (turn := next_turn(t_us, *where, end_us - t_us)) is not None:
        found[turn.rise].append(turn.t_us)
        t_us = turn.t_us
    for clock, got in ((rise, found[True]), (set_, found[False])):
        wanted = [] if clock is None else [us(datetime.fromisoformat(f"{day} {clock}{midnight:%z}"))]
        assert len(got) == len(wanted)
        assert all(abs(a - b) < MINUTE_US for a, b in zip(got, wanted, strict=True))


def test_noaa_solstice_and_equinox_elevations():
    """At the pole the sun is as high as its declination; at the equator at noon of an equinox it is overhead."""
    assert elevation_deg(us(datetime(2026, 6, 21, 8, 24, tzinfo=UTC)), 90, 0) == pytest.approx(23.436, abs=0.01)
    assert elevation_deg(us(datetime(2026, 12, 21, 20, 50, tzinfo=UTC)), -90, 0) == pytest.approx(23.436, abs=0.01)
    # 2026-03-20 14:46 UTC is the equinox: the sun is on the equator, and 7.5 min behind the mean sun
    noon = us(datetime(2026, 3, 20, 14, 46, tzinfo=UTC))
    assert elevation_deg(noon, 0, -(14 + 46 / 60 - 12) * 15 + 7.4 / 4) == pytest.approx(90, abs=0.1)


@pytest.mark.parametrize(("latitude", "month", "up"), [
    (78, 6, True), (78, 12, False), (-78, 6, False), (-78, 12, True)])
def test_polar_day_and_night_have_no_turn(latitude, month, up):
    t_us = us(datetime(2026, month, 15, tzinfo=UTC))
    assert next_turn(t_us, latitude, 15) is None
    assert all(is_up(t_us + hour * 3_600_000_000, latitude, 15) is up for hour in range(24))


@given(st.floats(-65, 65), st.floats(-180, 180), st.integers(0, 2**20 * 3600))
def test_between_the_polar_circles_it_rises_and_sets_once_a_day(latitude, longitude, seconds):
    t_us = seconds * 1_000_000
    first = next_turn(t_us, latitude, longitude)
    assert first is not None
    assert first.rise is not is_up(t_us, latitude, longitude)
    assert abs(elevation_deg(first.t_us, latitude, longitude) - HORIZON_DEG) < 0.01
    second = next_turn(first.t_us, latitude, longitude)
    assert second is not None and second.rise is not first.rise


@given(st.floats(-90, 90), st.floats(-180, 180), st.integers(-(10**17), 10**17))
def test_any_place_and_time_has_an_elevation(latitude, longitude, t_us):
    assert -90 <= elevation_deg(t_us, latitude, longitude) <= 90
