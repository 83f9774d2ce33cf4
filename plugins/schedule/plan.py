"""Which jobs a local minute has, and what they say. Pure."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from .settings import FixedRule, ScheduleConfig, TimeRule
from .slices import DAY_MIN, HOLIDAY, on_day, parse_days, parse_slice, parse_time
from .walk import Stretch, moment
from .words import time_in_words

TIME_GOOD_S = 45.0
"""A time of day that comes later is wrong."""
GOOD_S = 300.0
AHEAD_MIN = 2 * DAY_MIN


class Job(NamedTuple):
    """One thing to be said at one local minute. ``key`` names it for ever."""

    key: str
    kind: str
    """``time``, ``at``, ``reminder``."""
    label: int
    event: str = ""
    when: str = ""
    priority: str = "normal"
    phrases: tuple[str, ...] = ()


class Plan:
    """The rules, ready to be asked minute by minute."""

    def __init__(self, config: ScheduleConfig) -> None:
        self._times = [(parse_days(rule.days), [parse_slice(one) for one in rule.slices], frozenset(rule.marks_min))
                       for rule in config.time]
        self._fixed = [(parse_days(rule.days), parse_time(rule.time, "time"), rule) for rule in config.at]
        self._time_holidays = _any_for_holidays(config.time)
        self._fixed_holidays = _any_for_holidays(config.at)
        self.reminders: Mapping[int, list[Job]] = {}
        """By their minute; the calendar's."""
        self._next: tuple[int, int, tuple[bool, int], Job | None] = (0, 0, (False, 0), None)

    def jobs(self, label: int, holiday: bool) -> list[Job]:
        """What this local minute has, on a day that is a holiday or not."""
        minute, weekday = label % DAY_MIN, (label // DAY_MIN + 3) % 7  # 1970-01-01 was a Thursday
        found = []
        for number, (days, at, rule) in enumerate(self._fixed):
            if minute == at and on_day(days, weekday, holiday, self._fixed_holidays):
                found.append(Job(f"at{number}-{_stamp(label)}", "at", label, priority=rule.priority,
                                 phrases=(rule.say,)))
        if any(minute % 60 in marks and on_day(days, weekday, holiday, self._time_holidays)
               and any(one.has(minute) for one in slices) for days, slices, marks in self._times):
            found.append(Job(f"time-{_stamp(label)}", "time", label, priority="low"))
        return found + self.reminders.get(label, [])

    def due(self, stretches: Iterable[Stretch], holiday: bool) -> list[Job]:
        """Of all minutes that have come."""
        return [job for begin, end in stretches for label in range(begin, end) for job in self.jobs(label, holiday)]

    def next(self, label: int, holiday: bool, been: Callable[[int], bool]) -> Job | None:
        """The first job after this minute, of the next two days, whose minute has not been."""
        begun, until, under, found = self._next
        if not (begun <= label < until and under == (holiday, id(self.reminders))):
            ahead = (at for at in range(label + 1, label + AHEAD_MIN) if not been(at))
            found = next((job for at in ahead for job in self.jobs(at, holiday)), None)
            self._next = label, label + 60 if found is None else found.label, (holiday, id(self.reminders)), found
        return found


def _any_for_holidays(rules: Iterable[TimeRule | FixedRule]) -> bool:
    return any(HOLIDAY in parse_days(rule.days) for rule in rules)


def _stamp(label: int) -> str:
    return moment(label).strftime("%Y-%m-%dT%H:%M")


class Phrases:
    """One of a list at a time, never the same twice in a row; the same job says the same after a restart."""

    def __init__(self, lists: Mapping[str, tuple[str, ...]], language: str, salt: str) -> None:
        self._lists = lists
        self._language = language
        self._salt = salt
        self._last: dict[str, str] = {}

    def pick(self, kind: str, key: str, own: tuple[str, ...] = ()) -> str:
        among = own or self._lists[kind]
        fresh = [one for one in among if one != self._last.get(kind)] or list(among)
        self._last[kind] = random.Random(f"{self._salt} {key}").choice(fresh)
        return self._last[kind]

    def text(self, job: Job, now_label: int) -> str:
        """The words of a job. The time is the one that the clock shows now, not the one of the plan."""
        phrase = self.pick(job.kind, job.key, job.phrases) if job.kind != "at" else job.phrases[0]
        hour, minute = now_label % DAY_MIN // 60, now_label % 60
        words = {"{time}": time_in_words(hour, minute, self._language), "{event}": job.event, "{when}": job.when}
        for place, value in words.items():
            phrase = phrase.replace(place, value)
        return phrase[:1].upper() + phrase[1:]
