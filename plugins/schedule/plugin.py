"""The minutes that come to the jobs that they have, and these to what is to be announced. Thin."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.api import (
    CommandRefused,
    ConfigError,
    Inbox,
    Io,
    Plugin,
    Reading,
    RetryLater,
    Subscription,
    Value,
    Yielded,
    zone_of,
)

from . import calendars, events, phrases
from .house import House
from .plan import GOOD_S, TIME_GOOD_S, Job, Phrases, Plan
from .properties import PROPERTIES
from .settings import ScheduleConfig
from .walk import Walker, label_of, moment

TICK_S = 15.0
KEEP_S = 600.0
ZONE_S = 60.0
HELLO_S = 600.0
NO_TIME_S = 300.0
UNFOLD_S = 6 * 3600.0
US = 1_000_000


class Silence(Inbox):
    """The stream of a live plugin, whose news come over the bus: nothing ever comes."""

    def send(self, data: bytes) -> None:
        raise RetryLater("a schedule takes no bytes")


class Schedule(Plugin, name="schedule"):
    """Says what is to be announced; an announcer that listens to it speaks."""

    title = "Schedule of announcements"
    Config = ScheduleConfig
    properties = PROPERTIES

    def __init__(self, config: ScheduleConfig) -> None:
        super().__init__(config)
        if config.calendar:
            calendars.need_library()
        own = Path(config.phrases)
        self._lists = phrases.load(own) if config.phrases else phrases.of_language(config.language)
        self._plan = Plan(config)
        self._walker = Walker(config.late_s)
        self._enabled = True
        self._live = False
        self._wall: tuple[float, int] | None = None
        """A replay's own time: seconds since boot, and the wall time then."""
        self._zone = zone_of(config.timezone)
        self._house = House(config)
        self._bad = self._announced = self._silent = 0
        self._shelf: calendars.Shelf | None = None
        self._events: list[calendars.Occurrence] = []
        self._told: dict[str, Any] = {}

    # --- life -----------------------------------------------------------------------------------------------------

    def run(self, io: Io) -> Iterator[Yielded]:
        config: ScheduleConfig = self.config
        self._phrases = Phrases(self._lists, config.language, io.instance)
        self._told = {}
        self._restore(io)
        with contextlib.ExitStack() as stack:
            stream = io.messages(self._open)
            stack.callback(stream.close)
            bus: Subscription | None = None
            topics = self.hears(config)
            if self._live and topics:
                bus = io.subscribe(*topics)  # type: ignore[attr-defined]
                stack.callback(bus.close)
            due = {"zone": float("-inf"), "calendar": float("-inf"), "unfold": float("-inf"),
                   "retell": float("-inf"), "keep": float("-inf")}
            began_s = self._now_s(io)
            if config.calendar and self._live:
                self._shelf = calendars.Shelf(io.root / config.calendar.lstrip("/"))
            greeted = not config.hello or not self._may_greet(io)
            while not io.stopping:
                now_s, wall_us = self._now_s(io), self._wall_us(io)
                if self._live and not config.timezone and now_s >= due["zone"]:
                    due["zone"], self._zone = now_s + ZONE_S, zone_of("", io.root)
                self._calendar(io, now_s, wall_us, due)
                if now_s >= due["retell"]:
                    due["retell"], self._told = now_s + config.interval_s, {}
                if not greeted and self._settled(now_s, began_s):
                    greeted = True
                    yield from self._hello(io, now_s)
                if wall_us is not None:
                    yield from self._minutes(io, now_s, wall_us, due)
                lost = wall_us is None and now_s >= began_s + NO_TIME_S
                io.degraded("the time is not known: nothing is announced" if lost else None)
                yield from self._tell(now_s, wall_us)
                self._wait(io, stream, bus, wall_us, 1.0 if not greeted else TICK_S)
            self._keep(io)

    def _open(self) -> Silence:
        self._live = True
        return Silence()

    def _wait(self, io: Io, stream: Any, bus: Subscription | None, wall_us: int | None, most_s: float) -> None:
        """Until something is heard, or a minute begins."""
        wait_s = most_s if wall_us is None else (60 * US - wall_us % (60 * US)) / US + 0.001
        if self._live or most_s < TICK_S:  # a real clock may jump meanwhile
            wait_s = min(most_s, wait_s)
        if not self._live:
            message = stream.read(wait_s)
            if message is not None and message.data.strip():
                self._event(io, message.data)
        elif bus is None:
            io.clock.sleep(wait_s)
        else:
            heard = bus.get(wait_s)
            while heard is not None:
                if heard.device is None and heard.quality is None:
                    self._house.hear(heard.node, heard.property, heard.value, heard.t_us / 1e6)
                heard = bus.get(0)

    def _now_s(self, io: Io) -> float:
        return io.clock.boottime_us() / 1e6

    def _wall_us(self, io: Io) -> int | None:
        wall_us = io.clock.wall_us()
        if wall_us is None and self._wall is not None:
            wall_us = self._wall[1] + round((self._now_s(io) - self._wall[0]) * US)
        return wall_us

    # --- what comes -----------------------------------------------------------------------------------------------

    def _event(self, io: Io, line: bytes) -> None:
        try:
            event = events.decode(line)
            if event.now is not None:
                label_of(told_us := events.wall_us(event.now), self._zone)
                self._wall = (self._now_s(io), told_us)
            if event.ics is not None:
                calendar = calendars.parse(event.ics.encode())
                wall_us = self._wall_us(io)
                if wall_us is not None:
                    self._take(calendars.occurrences(calendar, self._local(wall_us), 30))
        except (ValueError, OverflowError, OSError, ImportError) as error:
            self._bad += 1
            io.log.warning("left out: %s", str(error)[:300])
            return
        if event.bus is not None:
            self._house.hear(event.bus, event.property, event.value, self._now_s(io))
        if event.set is not None:
            try:
                self.command(io, event.set, event.value)
            except CommandRefused as error:
                io.log.warning(f"{event.set}: refused: {error}")

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        if property_name != "enabled" or not isinstance(value, bool):
            raise CommandRefused(f"{property_name} = {str(value)[:40]}: not to be set to this")
        self._enabled = self._told["enabled"] = io.kept["enabled"] = value
        return value

    # --- calendars ------------------------------------------------------------------------------------------------

    def _calendar(self, io: Io, now_s: float, wall_us: int | None, due: dict[str, float]) -> None:
        shelf = self._shelf
        if shelf is None or wall_us is None or not self._live or now_s < due["calendar"]:
            return
        due["calendar"] = now_s + self.config.calendar_every_s
        before = dict(shelf.problems)
        if shelf.look() or now_s >= due["unfold"]:
            due["unfold"] = now_s + UNFOLD_S
            self._take(shelf.occurrences(self._local(wall_us)))
        for name, text in shelf.problems.items():
            if before.get(name) != text:
                io.log.warning("calendar %s: %s: mend it or take it away; what else is in calendar goes on", name, text)

    def _take(self, found: list[calendars.Occurrence]) -> None:
        config: ScheduleConfig = self.config
        self._events = found
        self._plan.reminders = calendars.reminders(found, config.reminders, self._zone, config.language)

    def _local(self, wall_us: int) -> datetime:
        return datetime.fromtimestamp(wall_us / 1e6, self._zone)

    # --- what is due ----------------------------------------------------------------------------------------------

    def _minutes(self, io: Io, now_s: float, wall_us: int, due: dict[str, float]) -> Iterator[Reading]:
        jobs = self._plan.due(self._walker.step(wall_us, self._zone), self._house.holiday)
        if jobs or now_s >= due["keep"]:
            due["keep"] = now_s + KEEP_S
            self._keep(io)  # before they are told: what a power cut takes is said once less, not once more
        times = [job for job in jobs if job.kind == "time"]
        here = label_of(wall_us, self._zone)
        for job in jobs:
            if job.kind == "time" and job is not times[-1]:
                continue  # the hour that the clocks leave out in spring: the time is told once, as it is now
            yield from self._say(job, here, now_s)

    def _say(self, job: Job, here: int, now_s: float) -> Iterator[Reading]:
        if not (self._enabled and self._house.hears(now_s)):
            self._silent += 1
            return
        self._announced += 1
        good_s = TIME_GOOD_S if job.kind == "time" else GOOD_S
        yield Reading("announcement", {"id": job.key, "text": self._phrases.text(job, here), "kind": job.kind,
                                       "priority": job.priority, "good_s": good_s})

    def _may_greet(self, io: Io) -> bool:
        """A plugin that starts again and again says hello once."""
        last = io.kept.get("hello_us")
        now_us = io.clock.boottime_us()
        return not (isinstance(last, int) and 0 <= now_us - last < HELLO_S * US)

    def _settled(self, now_s: float, began_s: float) -> bool:
        """The others have had their time to start, and presence its time to say something."""
        known = self._house.presence(now_s) != "unknown" or now_s >= began_s + 2 * TICK_S
        return known and now_s >= began_s + float(self.config.hello_after_s)

    def _hello(self, io: Io, now_s: float) -> Iterator[Reading]:
        if not (self._enabled and self._house.hears(now_s)):
            self._silent += 1
            return
        io.kept["hello_us"] = io.clock.boottime_us()
        self._announced += 1
        key = f"hello-{io.clock.boottime_us()}"
        yield Reading("announcement", {"id": key, "text": self._phrases.pick("hello", key), "kind": "hello",
                                       "priority": "low", "good_s": TIME_GOOD_S})

    # --- what goes out --------------------------------------------------------------------------------------------

    def _tell(self, now_s: float, wall_us: int | None) -> Iterator[Reading]:
        now: dict[str, Any] = {
            "enabled": self._enabled, "presence": self._house.presence(now_s), "holiday": self._house.holiday,
            "announced": self._announced, "kept_silent": self._silent, "bad_events": self._bad,
            "bad_files": 0 if self._shelf is None else len(self._shelf.problems)}
        if self._shelf is not None or self._events:
            now["calendar_events"] = len(self._events)
        if wall_us is not None:
            here = label_of(wall_us, self._zone)
            if (job := self._plan.next(here, self._house.holiday, self._walker.been)) is not None:
                now["next_announcement"] = self._utc(job.label)
            ahead = [label for label in self._plan.reminders if label > here]
            if ahead:
                first = self._plan.reminders[min(ahead)][0]
                now["next_reminder"] = {"event": first.event, "when": first.when, "at": self._utc(first.label)}
        for name, value in now.items():
            if name not in self._told or self._told[name] != value:
                self._told[name] = value
                yield Reading(name, value)

    def _utc(self, label: int) -> str:
        utc = moment(label).replace(tzinfo=self._zone).astimezone(UTC)
        return utc.isoformat().replace("+00:00", "Z")

    # --- over a restart -------------------------------------------------------------------------------------------

    def _keep(self, io: Io) -> None:
        io.kept["walk"] = self._walker.kept()
        if self._house.profile is not None:
            io.kept["profile"] = self._house.profile

    def _restore(self, io: Io) -> None:
        self._walker.restore(io.kept.get("walk"))
        if isinstance(io.kept.get("enabled"), bool):
            self._enabled = io.kept["enabled"]
        if isinstance(io.kept.get("profile"), str) and self._house.profile is None:
            self._house.profile = io.kept["profile"]

    # --- the rest -------------------------------------------------------------------------------------------------

    @classmethod
    def captured(cls, config: Any, data: bytes) -> list[tuple[float, bytes]] | None:
        return events.recorded(data)

    @classmethod
    def hears(cls, config: Any) -> list[str]:
        return [f"now/{node}" for node in (config.heater, config.presence) if node]

    @classmethod
    def look(cls, config: Any, root: Path) -> Iterable[str]:
        if config.phrases:
            try:
                phrases.load(Path(config.phrases))
            except ConfigError as error:
                yield str(error)
        if config.calendar and not (root / config.calendar.lstrip("/")).exists():
            yield f"calendar: {config.calendar} is not there: put an .ics file there, or leave calendar out"

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config)
