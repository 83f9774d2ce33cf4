"""Calendars (RFC 5545) to reminders by local minute: icalendar reads, recurring-ical-events repeats."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.api import ConfigError

from .plan import Job
from .settings import Reminder
from .slices import parse_time
from .walk import EPOCH
from .words import when_in_words

if TYPE_CHECKING:
    from icalendar import Calendar

MAX_BYTES = 1 << 20
MAX_FILES = 50
AHEAD_DAYS = 9
MAX_OCCURRENCES = 2000
TOO_OFTEN = ("SECONDLY", "MINUTELY", "HOURLY")
"""Rules that would hold up everything while they are unfolded; nobody wants to be told of them."""


class BadCalendar(ValueError):
    """What is wrong with a file, in one line."""


class Occurrence(NamedTuple):
    uid: str
    title: str
    start: datetime | date
    """A date: an event of whole days."""


def need_library() -> None:
    """Raises ConfigError where it is not installed."""
    try:
        import icalendar  # noqa: F401
        import recurring_ical_events  # noqa: F401
    except ImportError:
        raise ConfigError("calendar: needs icalendar: pip install 'hutkeeper[calendar]'") from None


def parse(data: bytes) -> Calendar:
    """Raises BadCalendar."""
    from icalendar import Calendar

    if len(data) > MAX_BYTES:
        raise BadCalendar(f"{len(data) >> 10} KiB, at most {MAX_BYTES >> 10} are read")
    try:
        found = Calendar.from_ical(data)
        if not isinstance(found, Calendar):
            raise BadCalendar("no VCALENDAR in it")
        for event in found.walk("VEVENT"):
            rules = event.get("RRULE")
            for rule in rules if isinstance(rules, list) else [rules] if rules else []:
                if str((rule.get("FREQ") or [""])[0]).upper() in TOO_OFTEN:
                    raise BadCalendar(f"{str(event.get('SUMMARY'))[:40]!r} comes every hour or more often")
    except BadCalendar:
        raise
    except Exception as error:  # a library over bytes of strangers
        raise BadCalendar(f"no calendar: {str(error)[:120] or type(error).__name__}") from None
    return found


def occurrences(calendar: Calendar, begin: datetime, days: int = AHEAD_DAYS) -> list[Occurrence]:
    """What happens in these days. Raises BadCalendar."""
    import recurring_ical_events

    found: list[Occurrence] = []
    try:
        for event in recurring_ical_events.of(calendar, skip_bad_series=True).between(begin, timedelta(days=days)):
            title = " ".join("".join(c if c.isprintable() else " " for c in str(event.get("SUMMARY") or "")).split())
            if title and str(event.get("STATUS")).upper() != "CANCELLED":
                found.append(Occurrence(str(event.get("UID") or title), title[:120], event["DTSTART"].dt))
            if len(found) >= MAX_OCCURRENCES:
                break
    except Exception as error:
        raise BadCalendar(f"cannot be unfolded: {str(error)[:120] or type(error).__name__}") from None
    return found


def reminders(events: Iterable[Occurrence], rules: Iterable[Reminder], zone: tzinfo, language: str
              ) -> dict[int, list[Job]]:
    """Jobs by their local minute."""
    rules = tuple(rules)
    found: dict[int, dict[str, Job]] = {}
    for event in events:
        lowered = event.title.casefold()
        rule = next((one for one in rules if not one.match or any(word.casefold() in lowered for word in one.match)),
                    None)
        if rule is None:
            continue
        for label, when in _times(event, rule, zone, language):
            key = f"cal-{_hash(event.uid)}-{event.start.isoformat()[:16]}-{label}"
            found.setdefault(label, {})[key] = Job(key, "reminder", label, event.title, when, rule.priority,
                                                   rule.phrases)
    return {label: list(jobs.values()) for label, jobs in found.items()}


def _times(event: Occurrence, rule: Reminder, zone: tzinfo, language: str) -> Iterable[tuple[int, str]]:
    if isinstance(event.start, datetime):
        start = event.start
        local = start.replace(tzinfo=None) if start.tzinfo is None else start.astimezone(zone).replace(tzinfo=None)
        for lead in rule.lead_min:
            yield _label(local) - lead, when_in_words(lead, None, language)
        return
    midnight = _label(datetime(event.start.year, event.start.month, event.start.day))
    for one in rule.day_before:
        yield midnight - 1440 + parse_time(one, "day_before"), when_in_words(0, 1, language)
    for one in rule.on_day:
        yield midnight + parse_time(one, "on_day"), when_in_words(0, 0, language)


def _label(local: datetime) -> int:
    return (local - EPOCH) // timedelta(minutes=1)


def _hash(uid: str) -> str:
    import hashlib

    return hashlib.sha256(uid.encode()).hexdigest()[:10]


class Shelf:
    """The files of a folder, read again when one of them has changed. ``problems``: path -> what is wrong with it."""

    def __init__(self, path: Path) -> None:
        self.problems: dict[str, str] = {}
        self.calendars: dict[str, Calendar] = {}
        self._path = path
        self._marks: dict[str, tuple[int, int]] = {}

    def look(self) -> bool:
        """True when something has changed."""
        try:
            files = sorted(self._path.glob("*.ics"))[:MAX_FILES] if self._path.is_dir() else [self._path]
        except OSError:
            files = [self._path]
        before = dict(self._marks), dict(self.problems)
        self._marks = {name: mark for name, mark in self._marks.items() if name in map(str, files)}
        self.calendars = {name: one for name, one in self.calendars.items() if name in self._marks}
        self.problems = {name: text for name, text in self.problems.items() if name in map(str, files)}
        for file in files:
            self._read(file)
        return (self._marks, self.problems) != before

    def _read(self, file: Path) -> None:
        name = str(file)
        try:
            stat = file.stat()
            mark = stat.st_mtime_ns, stat.st_size
            if self._marks.get(name) == mark:
                return
            self._marks[name] = mark
            with file.open("rb") as opened:
                self.calendars[name] = parse(opened.read(MAX_BYTES + 1))
            self.problems.pop(name, None)
        except (OSError, BadCalendar) as error:  # the last good one goes on counting while it is being written anew
            self.problems[name] = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            if isinstance(error, OSError):
                self._marks.pop(name, None)
                self.calendars.pop(name, None)

    def occurrences(self, begin: datetime) -> list[Occurrence]:
        found: list[Occurrence] = []
        for name, calendar in self.calendars.items():
            try:
                found += occurrences(calendar, begin)
            except BadCalendar as error:
                self.problems[name] = str(error)
        return found


def first_day(calendar: Any) -> date:
    """The day of the first event in it; for a replay, which has no clock."""
    starts = [event["DTSTART"].dt for event in calendar.walk("VEVENT") if "DTSTART" in event]
    days = [start.date() if isinstance(start, datetime) else start for start in starts]
    return min(days, default=date(2000, 1, 1))
