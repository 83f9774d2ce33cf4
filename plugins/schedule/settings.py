"""``[plugins.<id>]`` of agent.toml."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from agent.api import zone_of

from .slices import parse_days, parse_slice, parse_time

NodeId = Annotated[str, Meta(pattern="^[a-z0-9-]*$")]
Text = Annotated[str, Meta(min_length=1, max_length=300)]
Priority = Literal["low", "normal", "high", "alarm"]


class TimeRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[[plugins.<id>.time]]``: on these days, in these slices, at these minutes of each hour, the time is told."""

    days: tuple[str, ...] = ("everyday",)
    """``mon`` ... ``sun``, ``weekdays``, ``weekend``, ``holiday``, ``everyday``."""
    slices: tuple[str, ...] = ("06:00-21:00",)
    """Both ends included."""
    marks_min: tuple[Annotated[int, Meta(ge=0, le=59)], ...] = (0, 15, 30, 45)

    def __post_init__(self) -> None:
        parse_days(self.days)
        for one in self.slices:
            parse_slice(one)


class FixedRule(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[[plugins.<id>.at]]``: these words at this time."""

    time: str
    say: Text
    days: tuple[str, ...] = ("everyday",)
    priority: Priority = "normal"

    def __post_init__(self) -> None:
        parse_time(self.time, "time")
        parse_days(self.days)


class Reminder(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[[plugins.<id>.reminders]]``: which events of the calendar are told, and how long before."""

    match: tuple[Text, ...] = ()
    """Words of which the title has one, in whatever case; left out: every event. The first rule that fits counts."""
    lead_min: tuple[Annotated[int, Meta(ge=0, le=7 * 1440)], ...] = (15,)
    """Minutes before an event that has a time."""
    day_before: tuple[str, ...] = ("19:00",)
    """Times of the evening before an event of whole days (the bins)."""
    on_day: tuple[str, ...] = ()
    """Times of its first day."""
    priority: Priority = "normal"
    phrases: tuple[Text, ...] = ()
    """In place of the language's own: ``{event}``, ``{when}``."""

    def __post_init__(self) -> None:
        for one in self.day_before:
            parse_time(one, "day_before")
        for one in self.on_day:
            parse_time(one, "on_day")


class ScheduleConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is said when, and who has to be there."""

    language: Literal["en", "fr"] = "en"
    phrases: Annotated[str, Meta(max_length=300)] = ""
    """A file in place of the language's own phrases; the time in words stays in the language."""
    timezone: str = ""
    """``Europe/Paris``; left out: this machine's."""
    time: tuple[TimeRule, ...] = (
        TimeRule(days=("weekdays",), slices=("06:00-21:00",)),
        TimeRule(days=("weekend", "holiday"), slices=("09:00-21:00",)),
    )
    at: tuple[FixedRule, ...] = ()
    hello: bool = True
    """Say so at start, at most once in ten minutes."""
    hello_after_s: Annotated[float, Meta(ge=0, le=600)] = 10.0
    """By then whoever speaks has begun to listen."""
    heater: NodeId = ""
    """The instance of the heater on this device, whose profile says that it is a holiday."""
    holiday_profiles: tuple[str, ...] = ()
    presence: NodeId = ""
    """The instance of the presence plugin on this device; left out: everything is said."""
    presence_property: str = "anyone_home"
    presence_unknown: Literal["speak", "silent"] = "silent"
    presence_max_age_s: Annotated[float, Meta(gt=0, le=86_400)] = 900.0
    """A word older than this is none."""
    calendar: str = ""
    """An ``.ics`` file, or a folder of them; needs ``hutkeeper[calendar]``."""
    calendar_every_s: Annotated[float, Meta(ge=1, le=86_400)] = 300.0
    reminders: tuple[Reminder, ...] = (Reminder(),)
    late_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """What is found later than this (the device was off) is not said any more."""
    interval_s: Annotated[float, Meta(gt=0, le=86_400)] = 60.0
    """How often values are told that do not change."""

    def __post_init__(self) -> None:
        zone_of(self.timezone)
        if self.holiday_profiles and not self.heater:
            raise ValueError("holiday_profiles: needs heater, the instance whose profile is meant")
