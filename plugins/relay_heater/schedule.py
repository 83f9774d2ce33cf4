"""Profiles, holidays and which sensor counts when: as agent.toml has them, as a command changes them. Pure."""

from __future__ import annotations

import re
from datetime import date, tzinfo
from typing import Annotated, Any
from zlib import crc32
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta, Struct, field

from .calendar import Calendar, inside_at, moment_us, next_change, parse, shown_us

US = 1_000_000
DAY_US = 86_400 * US
MAX_HOLIDAYS = 100
Celsius = Annotated[float, Meta(ge=5, le=30)]
Delta = Annotated[float, Meta(ge=0, le=3)]
Week = list[list[str]] | dict[str, list[str]]
"""7 lists of slices, Monday first, or ``{"mon-fri": [...], "sat-sun": [...]}``."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_EPOCH = date(1970, 1, 1)


class ProfileConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>.profiles.<name>]``: comfort within the slices of the calendar, eco outside."""

    comfort_c: Celsius
    eco_c: Celsius
    delta_plus_c: Delta = 0.10
    """Off at what is aimed at plus this."""
    delta_minus_c: Delta = 0.25
    """On at what is aimed at minus this."""
    calendar: Week = field(default_factory=lambda: {})


class Holiday(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """From the first day to the last, both included, in local time."""

    first: date = field(name="from")
    last: date = field(name="to")
    profile: str


def shipped() -> dict[str, ProfileConfig]:
    """The profiles that the older system of this house had: semaine_boulot, semaine_vacances, hors_gel."""
    return {
        "work_week": ProfileConfig(comfort_c=20.5, eco_c=18.5, calendar={
            "mon-fri": ["06:00-08:00", "17:00-22:30"], "sat-sun": ["08:00-23:00"]}),
        "holiday_week": ProfileConfig(comfort_c=20.0, eco_c=18.0, calendar={"all": ["08:00-23:00"]}),
        "frost": ProfileConfig(comfort_c=16.0, eco_c=16.0, delta_plus_c=0.5, delta_minus_c=0.5),
    }


ALIASES = {"semaine_boulot": "work_week", "semaine_vacances": "holiday_week", "hors_gel": "frost"}
"""What the older system called them: taken by commands, where no profile of agent.toml has that name."""


class ProgrammeConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is aimed at, and when."""

    profiles: dict[str, ProfileConfig] = field(default_factory=shipped)
    base: str = ""
    """The profile that holds where nothing else is said; left out: the first one."""
    holidays: tuple[Holiday, ...] = ()
    """``holidays = [{ from = "2026-12-24", to = "2027-01-03", profile = "holiday_week" }]``; the first that fits."""
    frost_floor_c: Annotated[float, Meta(ge=5, le=12)] = 7.0
    """Nothing aims below it, ``off`` neither."""
    timezone: str | None = None
    """As ``Europe/Paris``; left out: this machine's."""
    main_sensor: str = "main"
    """The sensor that counts outside ``main_sensor_calendar``; where none is called ``main``, the first."""
    main_sensor_calendar: dict[str, Week] = field(default_factory=dict)
    """Sensor -> when it counts; of two at once the first in the file."""
    away_profile: str = ""
    """Holds while nobody is at home; left out: eco of what holds. It never makes it warmer."""
    away_after_s: Annotated[float, Meta(ge=0, le=86400)] = 1800.0
    """Nobody at home counts after so long."""
    forced_default_h: Annotated[float, Meta(gt=0, le=12)] = 2.0
    """How long ``mode = forced`` lasts, and a forced temperature while the time is not known."""
    night: str = "23:00-05:00"
    """An override that holds comfort in these hours is told, as probably forgotten; empty: never."""

    def __post_init__(self) -> None:
        if not self.profiles:
            raise ValueError("profiles: at least one is needed; leave the whole table out for the shipped ones")
        for name in self.profiles:
            if not _NAME.fullmatch(name):
                raise ValueError(f"profiles.{name:.40}: a name is made of a-z 0-9 _ -, at most 32 of them")
        for key in ("base", "away_profile"):
            name = getattr(self, key)
            if name and name not in self.profiles:
                raise ValueError(f"{key}: there is no profile {name!r:.40}; there are {', '.join(self.profiles)}")
        if self.timezone is not None:
            try:
                ZoneInfo(self.timezone)
            except (ValueError, OSError, KeyError):
                raise ValueError(f"timezone: {self.timezone!r:.60}: no such zone; write it as Europe/Paris") from None
        if self.night:
            try:
                parse([[self.night]] * 7)
            except ValueError as error:
                raise ValueError(f"night: {str(error).partition(': ')[2]}") from None
        Schedule(self.profiles, self.holidays, self.main_sensor_calendar)

    def zone(self) -> tzinfo | None:
        return ZoneInfo(self.timezone) if self.timezone else None


class Schedule:
    """Profiles, holidays and sensor calendars, checked. Raises ValueError: one line with the path of what is wrong."""

    def __init__(self, profiles: dict[str, ProfileConfig], holidays: tuple[Holiday, ...],
                 main_sensor_calendar: dict[str, Week]) -> None:
        self.profiles = profiles
        self.holidays = holidays
        self.calendars: dict[str, Calendar] = {}
        self.sensors: dict[str, Calendar] = {}
        for name, profile in profiles.items():
            if profile.eco_c > profile.comfort_c:
                raise ValueError(f"profiles.{name}.eco_c: {profile.eco_c:g} is above comfort_c {profile.comfort_c:g}")
            if profile.delta_plus_c + profile.delta_minus_c < 0.05:
                raise ValueError(f"profiles.{name}: delta_plus_c and delta_minus_c together: at least 0.05, or the "
                                 "relay would chatter")
            self.calendars[name] = _parsed(f"profiles.{name}.calendar", profile.calendar)
        if len(holidays) > MAX_HOLIDAYS:
            raise ValueError(f"holidays: {len(holidays)} of them, at most {MAX_HOLIDAYS}")
        for number, holiday in enumerate(holidays, 1):
            if holiday.last < holiday.first:
                raise ValueError(f"holidays, number {number}: to {holiday.last} is before from {holiday.first}")
            if holiday.profile not in profiles:
                raise ValueError(f"holidays, number {number}: there is no profile {holiday.profile!r:.40}; "
                                 f"there are {', '.join(profiles)}")
        for name, week in main_sensor_calendar.items():
            self.sensors[name] = _parsed(f"main_sensor_calendar.{name:.40}", week)

    def holiday_at(self, wall_us: int, zone: tzinfo | None) -> Holiday | None:
        if not self.holidays:
            return None
        day = shown_us(wall_us, zone) // DAY_US
        return next((one for one in self.holidays if _day(one.first) <= day <= _day(one.last)), None)

    def holiday_edges(self, wall_us: int, zone: tzinfo | None) -> list[int]:
        """The next moment at which a holiday begins or ends; none or one."""
        edges = {_day(one.first) for one in self.holidays} | {_day(one.last) + 1 for one in self.holidays}
        today = shown_us(wall_us, zone) // DAY_US
        later = sorted(day for day in edges if day > today)[:1]
        return [moment_us(day * DAY_US, zone) for day in later]

    def comfort_at(self, profile: str, wall_us: int, zone: tzinfo | None) -> bool:
        return inside_at(self.calendars[profile], wall_us, zone)

    def change_after(self, profile: str, wall_us: int, zone: tzinfo | None) -> int | None:
        return next_change(self.calendars[profile], wall_us, zone)

    def sensor_at(self, wall_us: int, zone: tzinfo | None) -> str | None:
        for name, calendar in self.sensors.items():
            if inside_at(calendar, wall_us, zone):
                return name
        return None

    def as_json(self) -> dict[str, Any]:
        """The value of the property ``schedule``; :func:`changed` takes it back."""
        return {
            "profiles": {
                name: {"comfort_c": profile.comfort_c, "eco_c": profile.eco_c, "delta_plus_c": profile.delta_plus_c,
                       "delta_minus_c": profile.delta_minus_c, "calendar": _lists(self.calendars[name])}
                for name, profile in self.profiles.items()
            },
            "holidays": [{"from": str(one.first), "to": str(one.last), "profile": one.profile}
                         for one in self.holidays],
            "main_sensor_calendar": {name: _lists(calendar) for name, calendar in self.sensors.items()},
        }


def changed(now: Schedule, value: Any, sensors: set[str]) -> Schedule:
    """``now`` with the parts that ``value`` has. Profiles may be altered, not added or taken away: their names are
    the words of an enum that others know by now. ``sensors``: the names that there are; empty: any.

    Raises ValueError: one line."""
    parts = {"profiles", "holidays", "main_sensor_calendar"}
    if not isinstance(value, dict) or not value or not parts >= value.keys():
        raise ValueError(f"an object with one or more of {', '.join(sorted(parts))} is needed")
    profiles, holidays = dict(now.profiles), now.holidays
    week: dict[str, Week] = {name: _lists(calendar) for name, calendar in now.sensors.items()}
    asked = _convert("profiles", value.get("profiles", {}), dict[str, Any])
    for name, one in asked.items():
        if name not in profiles:
            raise ValueError(f"profiles: there is no profile {name!r:.40}; new ones are made in agent.toml")
        profiles[name] = _convert(f"profiles.{name}", one, ProfileConfig)
    if "holidays" in value:
        holidays = _convert("holidays", value["holidays"], tuple[Holiday, ...])
    if "main_sensor_calendar" in value:
        week = _convert("main_sensor_calendar", value["main_sensor_calendar"], dict[str, Week])
        for name in week:
            if sensors and name not in sensors:
                raise ValueError(f"main_sensor_calendar: there is no sensor {name!r:.40}; "
                                 f"there are {', '.join(sorted(sensors))}")
    return Schedule(profiles, holidays, week)


def fingerprint(config: ProgrammeConfig) -> str:
    """Changes when the part of agent.toml that a command can change has been edited."""
    return f"{crc32(msgspec.json.encode([config.profiles, config.holidays, config.main_sensor_calendar])):08x}"


def _convert(path: str, value: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        text, _, where = str(error).partition(" - at `$")
        raise ValueError(f"{path}{where.rstrip('`')}: {text[:1].lower()}{text[1:]}") from None


def _parsed(path: str, week: Week) -> Calendar:
    try:
        return parse(week)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _lists(calendar: Calendar) -> list[list[str]]:
    return [list(day) for day in calendar.days]


def _day(day: date) -> int:
    return (day - _EPOCH).days


def end_of(holiday: Holiday, zone: tzinfo | None) -> int:
    """Local midnight after its last day."""
    return moment_us((_day(holiday.last) + 1) * DAY_US, zone)
