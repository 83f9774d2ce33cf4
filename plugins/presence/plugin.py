"""Sources to answers: opens what the signs need, gives every event to the matcher, says who is there. Thin."""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from agent.api import Io, MessageStream, Node, Plugin, Property, Reading, RetryLater, Subscription, Yielded

from .decide import anyone
from .events import Event, decode, recorded
from .match import Matcher, Unreadable
from .probes import ProbeSource
from .settings import PersonConfig, PresenceConfig, WifiFileSign

TICK_S = 0.5
FILES_S = 5.0
MOST_AT_ONCE = 2000
TAIL_BYTES = 262_144
"""Of a log only its end is read."""
ANSWERS = ("home", "away", "unknown")


def person_properties(max_age_s: float) -> tuple[Property, ...]:
    return (
        Property(name="presence", datatype="enum", options=ANSWERS, title="Presence", max_age_s=max_age_s),
        Property(name="present", datatype="boolean", options=("away", "home"), title="Present",
                 device_class="presence", max_age_s=max_age_s, comes_and_goes=True),  # no value while unknown
        Property(name="evidence", datatype="json", title="What each sign says", diagnostic=True, max_age_s=max_age_s),
        Property(name="since", datatype="datetime", title="Since", device_class="timestamp", optional=True,
                 diagnostic=True, max_age_s=max_age_s, comes_and_goes=True),
    )


class Presence(Plugin, name="presence"):
    """One answer per person or thing, from several signs, with the evidence."""

    title = "Presence"
    Config = PresenceConfig
    properties = (
        Property(name="anyone_home", datatype="enum", options=ANSWERS, title="Anyone at home"),
        Property(name="persons_home", datatype="integer", title="Persons at home", minimum=0,
                 state_class="measurement"),
        Property(name="blind_signs", datatype="integer", title="Signs that nobody can see now", minimum=0,
                 diagnostic=True, state_class="measurement"),
        Property(name="bad_events", datatype="integer", title="Unreadable events since start", diagnostic=True,
                 state_class="measurement"),  # no total: the ledger would tell of a reset at every restart
    )

    def __init__(self, config: PresenceConfig) -> None:
        super().__init__(config)
        self._matcher = Matcher(config)
        self._bad = 0
        self._since: dict[str, str | None] = {}
        self._replaying = True
        self._marks: dict[str, tuple[int, int, int, str]] = {}
        self._aging = {sign.path for person in config.persons.values() for sign in person.signs
                       if isinstance(sign, WifiFileSign) and sign.format == "stations"}

    def run(self, io: Io) -> Iterator[Yielded]:
        config: PresenceConfig = self.config
        self._restore(io)
        for person, settings in config.persons.items():
            yield Node(id=person, title=settings.title or person.replace("-", " ").capitalize(),
                       properties=person_properties(3 * config.interval_s))
        with contextlib.ExitStack() as stack:
            read = self._open(io, stack)
            told_s, files_s = float("-inf"), float("-inf")
            while not io.stopping:
                read()
                now = _now_s(io)
                if now - files_s >= FILES_S:
                    files_s = now
                    self._read_files(io)
                changed = [name for name, person in self._matcher.persons.items() if person.decide(now)]
                for name in changed:
                    self._since[name] = _wall(io)
                    io.log.info("%s: %s", name, self._matcher.persons[name].presence)
                if changed:
                    self._keep(io)
                every = now - told_s >= config.interval_s
                for name in self._matcher.persons if every else changed:
                    yield from self._answer(name, now)
                if every or changed:
                    told_s = now if every else told_s
                    yield from self._summary(now)

    # --- sources --------------------------------------------------------------------------------------------------

    def _open(self, io: Io, stack: contextlib.ExitStack) -> Callable[[], object]:
        """Open what the signs need; returns what reads them all once, waiting at most :data:`TICK_S`."""
        matcher = self._matcher

        def probes() -> ProbeSource:
            self._replaying = False
            return ProbeSource(matcher.probes(), self.config.canary)

        stream = io.messages(probes)
        stack.callback(stream.close)
        if self._replaying and _is_folder(io):  # a capture of files, and of nothing else
            return lambda: io.clock.sleep(TICK_S)
        mqtt: MessageStream | None = None
        bus: Subscription | None = None
        if not self._replaying and (topics := matcher.mqtt_topics()):
            mqtt = io.mqtt(*topics)  # type: ignore[attr-defined]
            stack.callback(mqtt.close)
        if not self._replaying and (topics := matcher.bus_topics()):
            bus = io.subscribe(*topics)  # type: ignore[attr-defined]
            stack.callback(bus.close)

        def read() -> None:
            message = stream.read(TICK_S)
            while message is not None:
                if message.data.strip():
                    self._event(io, message.data, (message.t_us or 0) / 1e6)
                message = stream.read(0) if not self._replaying else None
            for _ in range(MOST_AT_ONCE):
                if mqtt is None:
                    break
                told = mqtt.read(0)
                if told is None:
                    break
                self._take(io, Event(mqtt=told.topic, payload=told.data.decode("utf-8", "replace"),
                                     retained=told.retained), (told.t_us or 0) / 1e6)
            for _ in range(MOST_AT_ONCE):
                if bus is None:
                    break
                heard = bus.get(0)
                if heard is None:
                    break
                self._take(io, Event(bus=heard.node, property=heard.property, value=heard.value, quality=heard.quality,
                                     device=heard.device), heard.t_us / 1e6)

        return read

    def _event(self, io: Io, line: bytes, t_s: float) -> None:
        try:
            event = decode(line)
        except ValueError as error:
            self._wrong(io, str(error))
            return
        self._take(io, event, t_s)

    def _take(self, io: Io, event: Event, t_s: float) -> None:
        try:
            self._matcher.take(event, t_s)
        except Unreadable as error:
            self._wrong(io, str(error))

    def _wrong(self, io: Io, text: str) -> None:
        self._bad += 1
        io.log.warning("left out: %s", text[:300])

    def _read_files(self, io: Io) -> None:
        if self._replaying and not _is_folder(io):
            return
        for path in self._matcher.files():
            self._take(io, self._file(io, path), _now_s(io))

    def _file(self, io: Io, path: str) -> Event:
        """What is in a file now; no text of one that did not change and whose age says nothing."""
        file = io.root / path.lstrip("/")
        try:
            with file.open("rb") as opened:
                stat = os.fstat(opened.fileno())
                mark = stat.st_ino, stat.st_mtime_ns, stat.st_size, str(file)
                if self._marks.get(path) == mark and path not in self._aging:
                    return Event(file=path)
                opened.seek(max(0, stat.st_size - TAIL_BYTES))
                text = opened.read(TAIL_BYTES).decode("utf-8", "replace")
        except OSError as error:
            self._marks.pop(path, None)
            return Event(file=path, down=f"{path}: {error.strerror}")
        self._marks[path] = mark
        # In a replay a folder's files have the age of their checkout.
        return Event(file=path, text=text, age_s=0.0 if self._replaying else max(0.0, time.time() - stat.st_mtime))

    # --- answers --------------------------------------------------------------------------------------------------

    def _answer(self, name: str, now: float) -> Iterator[Reading]:
        person = self._matcher.persons[name]
        t_us = round(now * 1e6)
        unknown = person.presence == "unknown"
        yield Reading("presence", person.presence, t_us, name)
        yield Reading("present", None if unknown else person.presence == "home", t_us, name,
                      "sensor_error" if unknown else None)
        yield Reading("evidence", {"signs": person.evidence(now), "held_by": sorted(person.held_by)}, t_us, name)
        since = self._since.get(name)
        if since is not None:
            yield Reading("since", since, t_us, name)

    def _summary(self, now: float) -> Iterator[Reading]:
        settings: dict[str, PersonConfig] = self.config.persons
        answers = [person.presence for name, person in self._matcher.persons.items() if not settings[name].thing]
        t_us = round(now * 1e6)
        yield Reading("anyone_home", anyone(answers), t_us)
        yield Reading("persons_home", answers.count("home"), t_us)
        yield Reading("blind_signs", sum(1 for _ in self._matcher.sources_down(now)), t_us)
        yield Reading("bad_events", self._bad, t_us)

    # --- over a restart -------------------------------------------------------------------------------------------

    def _keep(self, io: Io) -> None:
        io.kept["persons"] = {name: [person.presence, sorted(person.held_by), self._since.get(name)]
                              for name, person in self._matcher.persons.items()}

    def _restore(self, io: Io) -> None:
        kept = io.kept.get("persons")
        for name, person in self._matcher.persons.items():
            match kept.get(name) if isinstance(kept, dict) else None:
                case [("home" | "away") as presence, list() as held_by, since] if person.presence == "unknown":
                    person.restore(presence, {str(sign) for sign in held_by})
                    self._since[name] = since if isinstance(since, str) else None

    # --- recordings and the simulated house -----------------------------------------------------------------------

    @classmethod
    def captured(cls, config: Any, data: bytes) -> list[tuple[float, bytes]] | None:
        return recorded(data)

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)


def _now_s(io: Io) -> float:
    return io.clock.boottime_us() / 1e6


def _wall(io: Io) -> str | None:
    wall_us = io.clock.wall_us()
    if wall_us is None:
        return None
    return datetime.datetime.fromtimestamp(wall_us // 1_000_000, datetime.UTC).isoformat().replace("+00:00", "Z")


def _is_folder(io: Io) -> bool:
    """Whether a replay's capture stands for ``/`` (it has files) and not for a stream."""
    try:
        return io.root.is_dir()
    except RetryLater:
        return False
