"""Where the sun stands, and when it rises and sets: pure, to a minute, from 1950 to 2100 and from pole to pole.

The position is the low-accuracy one of Meeus, Astronomical Algorithms (2nd ed.), chapters 22, 25 and 28 (0.01 degrees),
as NOAA's solar calculator uses it. Rise and set are found on the curve of the elevation itself, so a polar day or night
needs no case of its own: nothing is found. The horizon is at -0.833 degrees: 34' of refraction and the sun's 16' radius
(NOAA; USNO). Mountains and weather are not known here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

HORIZON_DEG = -0.833
MINUTE_US = 60_000_000
DAY_US = 1440 * MINUTE_US
STEP_US = 10 * MINUTE_US
J2000_US = 946_728_000_000_000
"""2000-01-01 12:00 UTC; that it ought to be Terrestrial Time (69 s) moves the sun by 0.001 degrees."""


class Turn(NamedTuple):
    """A sunrise or a sunset."""

    t_us: int
    """Microseconds since 1970 UTC."""
    rise: bool


def elevation_deg(t_us: int, latitude: float, longitude: float) -> float:
    """Height of the sun's centre above the level horizon, without refraction. East and north are positive."""
    days = (t_us - J2000_US) / DAY_US
    century = days / 36525
    mean_longitude = 280.46646 + century * (36000.76983 + century * 0.0003032)
    anomaly = math.radians(357.52911 + century * (35999.05029 - century * 0.0001537))
    centre = (math.sin(anomaly) * (1.914602 - century * (0.004817 + century * 0.000014))
              + math.sin(2 * anomaly) * (0.019993 - century * 0.000101) + math.sin(3 * anomaly) * 0.000289)
    node = math.radians(125.04 - 1934.136 * century)
    apparent = math.radians(mean_longitude + centre - 0.00569 - 0.00478 * math.sin(node))
    tilt = math.radians(23.4392911 - century * 0.0130042 + 0.00256 * math.cos(node))
    declination = math.asin(math.sin(tilt) * math.sin(apparent))
    right_ascension = math.atan2(math.cos(tilt) * math.sin(apparent), math.cos(apparent))
    sidereal_deg = 280.46061837 + 360.98564736629 * days + longitude  # Meeus (12.4)
    hour_angle = math.radians(sidereal_deg) - right_ascension
    phi = math.radians(latitude)
    height = (math.sin(phi) * math.sin(declination)
              + math.cos(phi) * math.cos(declination) * math.cos(hour_angle))
    return math.degrees(math.asin(max(-1.0, min(1.0, height))))


def is_up(t_us: int, latitude: float, longitude: float) -> bool:
    """Whether any of the sun is above the level horizon."""
    return elevation_deg(t_us, latitude, longitude) > HORIZON_DEG


def next_turn(t_us: int, latitude: float, longitude: float, within_us: int = DAY_US) -> Turn | None:
    """The first sunrise or sunset after ``t_us``, to a second; None: none in that time (polar day or night).

    A day or a night of less than ten minutes is passed over."""
    before_us, up = t_us, is_up(t_us, latitude, longitude)
    while before_us < t_us + within_us:
        after_us = min(before_us + STEP_US, t_us + within_us)
        if is_up(after_us, latitude, longitude) != up:
            while after_us - before_us > 1_000_000:
                middle_us = (before_us + after_us) // 2
                if is_up(middle_us, latitude, longitude) == up:
                    before_us = middle_us
                else:
                    after_us = middle_us
            return Turn(after_us, not up)
        before_us = after_us
    return None
