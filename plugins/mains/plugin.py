"""An input pin or upsd to one answer, its events, and what the watchdogs are to do meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, cast

from agent.api import GpioIo, Io, MessageStream, Outages, Plugin, Property, Reading, RetryLater, Yielded

from . import nut
from .config import UPSD, MainsConfig, address
from .presence import US, Change, Presence
from .properties import PROPERTIES, properties
from .upsd import UpsdSource, UpsdTrouble

READ_S = 0.5
MIN_WAIT_S = 0.01
ANSWER_S = 5.0
TELL_S = 60.0
LOST_AFTER_S = 0.5
RESTORE_S = 3.0
"""What was kept comes back when the local bus is up: before that a running outage could be taken for a new one."""


class Mains(Plugin, name="mains"):
    """Whether the mains is there, and the state of the UPS."""

    title = "Mains"
    Config = MainsConfig
    properties = PROPERTIES
    interval_s = 5.0

    def __init__(self, config: MainsConfig) -> None:
        super().__init__(config)
        lost_after_s = config.lost_after_s
        if lost_after_s is None:
            lost_after_s = 0.0 if config.line is None else LOST_AFTER_S
        self._presence = Presence(config.signal if config.line else "level", lost_after_s, config.returned_after_s)
        self._outages = Outages()
        self._began_us: int | None = None
        self._lost_us = 0
        self._returned_us: int | None = None
        self._told: dict[str, tuple[float, object]] = {}
        """Property -> when it was told, and what."""
        self._told_us = -1
        """The newest stamp under which ``mains_present`` was told."""
        self._alerted: str | None = ""
        self._low = False
        self._bad = 0
        self._ups = "" if config.ups == "auto" else config.ups

    def declare(self) -> tuple[Property, ...]:
        return PROPERTIES if self.config.line is not None else properties(self.config.interval_s)

    def run(self, io: Io) -> Iterator[Yielded]:
        if self._began_us is None:
            self._began_us = io.clock.boottime_us()
        line: str | None = self.config.line
        yield from self._watch_line(cast(GpioIo, io), line) if line is not None else self._watch_ups(io)

    # --- an input ---------------------------------------------------------------------------------------------

    def _watch_line(self, io: GpioIo, line: str) -> Iterator[Yielded]:
        config: MainsConfig = self.config
        stream = io.edges(line, pull=config.pull, active_low=config.active_low)
        first = True
        try:
            while not io.stopping:
                now_us = io.clock.boottime_us()
                due_us = self._presence.next_us()
                wait_s = READ_S if due_us is None else min(READ_S, max(MIN_WAIT_S, (due_us - now_us) / US))
                message = stream.read(wait_s)
                t_us = io.clock.boottime_us()
                changes: list[Change] = []
                if message is not None and (message.topic or message.data):
                    if message.topic != line or message.data.strip() not in (b"0", b"1"):
                        self._bad += 1
                        io.log.warning("%r is no level of %s", f"{message.topic} {message.data!r}"[:60], line)
                    else:
                        # Edges that waited in the kernel's queue: theirs is the time.
                        t_us = t_us if message.t_us is None else message.t_us
                        feed, first = (self._presence.first if first else self._presence.level), False
                        changes = feed(t_us, message.data.strip() == b"1")
                changes += self._presence.advance(t_us)
                yield from self._tell(io, t_us, changes)
                yield from self._say(io, "dips", self._presence.dips, rare=True)
                yield from self._say(io, "bad_lines", self._bad or None, rare=True)
        finally:
            stream.close()

    # --- a UPS ------------------------------------------------------------------------------------------------

    def _watch_ups(self, io: Io) -> Iterator[Yielded]:
        config: MainsConfig = self.config
        host, port = address(config.upsd or UPSD)
        where = f"{host}:{port}"
        stream = io.messages(lambda: UpsdSource(host, port))
        dialogue = nut.Dialogue()
        try:
            if config.username:
                stream.write(f"USERNAME {config.username}\nPASSWORD {config.password}\n".encode())
            while not io.stopping:
                began_s = io.clock.monotonic_s()
                command = f"LIST VAR {self._ups}" if self._ups else "LIST UPS"
                answer = self._ask(io, stream, dialogue, command, where)
                if not self._ups and answer is not None:
                    self._ups = self._only_ups(answer, where)
                    if isinstance(answer, nut.Listed) and not answer.ups:
                        continue  # its variables are asked for at once
                if answer is not None:
                    yield from self._answered(io, answer, where)
                yield from self._say(io, "bad_lines", self._bad or None, rare=True)
                io.clock.sleep(max(0.0, config.interval_s - (io.clock.monotonic_s() - began_s)))
        finally:
            stream.close()

    def _ask(self, io: Io, stream: MessageStream, dialogue: nut.Dialogue, command: str, where: str
             ) -> nut.Listed | nut.Refused | None:
        """One command and its answer; None where it was spoiled, or the plugin is to stop. Raises UpsdTrouble."""
        dialogue.reset()
        stream.write(f"{command}\n".encode())
        deadline_s = io.clock.monotonic_s() + ANSWER_S
        while not io.stopping:
            left_s = deadline_s - io.clock.monotonic_s()
            if left_s <= 0:
                raise UpsdTrouble(where, f"no answer within {ANSWER_S:.0f} s", "systemctl restart nut-server")
            message = stream.read(min(READ_S, left_s))
            for line in message.data.split(b"\n") if message is not None else ():
                if not line.strip():
                    continue
                try:
                    answer = dialogue.feed(line)
                except ValueError as error:
                    self._bad += 1
                    io.log.warning("upsd at %s: %r: %s; its list is left out", where, line[:60], error)
                    continue
                if isinstance(answer, nut.Spoiled):
                    return None
                if answer is not None:
                    return answer
        return None

    def _only_ups(self, answer: nut.Listed | nut.Refused, where: str) -> str:
        if isinstance(answer, nut.Refused):
            raise UpsdTrouble(where, answer.code, answer.text)
        if answer.ups:  # a capture that begins later
            return answer.ups
        if len(answer.values) != 1:
            names = ", ".join(answer.values)
            raise UpsdTrouble(where, f"it has {f'several UPS ({names})' if names else 'no UPS'}",
                              "set ups to one of them" if names else "see ups.conf")
        return next(iter(answer.values))

    def _answered(self, io: Io, answer: nut.Listed | nut.Refused, where: str) -> Iterator[Yielded]:
        now_us = io.clock.boottime_us()
        if isinstance(answer, nut.Refused):
            text = f"upsd at {where}: {answer.code}: {answer.text}"
            if answer.code not in nut.STALE:
                raise RetryLater(text)
            io.degraded(text)
            if "mains_present" in self._told:
                del self._told["mains_present"]
                yield Reading("mains_present", None, quality="sensor_error")
            return
        words = answer.values.get("ups.status", "")
        status = nut.status(words)
        io.degraded(None if words else f"upsd at {where}: {self._ups} has no ups.status: see its driver")
        self._low = status.battery_low
        changes = [] if status.mains is None else self._presence.level(now_us, status.mains)
        yield from self._tell(io, now_us, changes)
        if words:
            yield from self._say(io, "ups_status", words)
            yield from self._say(io, "battery_low", status.battery_low)
            yield from self._say(io, "battery_replace", status.battery_replace)
            yield from self._say(io, "overload", status.overload)
        values, bad = nut.numbers(answer.values)
        for name, value in values.items():
            # On mains a minute's pace is enough; on battery every change is told.
            yield from self._say(io, name, value, rare=self._presence.present is not False)
        if bad:
            io.log.warning("upsd at %s: %s: left out", where, "; ".join(bad))

    # --- both -------------------------------------------------------------------------------------------------

    def _say(self, io: Io, name: str, value: Any, rare: bool = False) -> Iterator[Yielded]:
        """At a change (``rare``: only with the minute), and every minute."""
        if value is None:
            return
        now_s = io.clock.monotonic_s()
        told_s, told = self._told.get(name, (float("-inf"), None))
        if now_s - told_s >= TELL_S or (value != told and not rare):
            self._told[name] = now_s, value
            yield Reading(name, value)

    def _tell(self, io: Io, now_us: int, changes: list[Change]) -> Iterator[Yielded]:
        for change in changes:
            if change.t_us > self._told_us:
                self._told["mains_present"] = io.clock.monotonic_s(), change.present
            # else it was told as unchanged meanwhile, and is told again below: the newest stamp is what counts as now
            yield Reading("mains_present", change.present, t_us=change.t_us)
            if not change.present:
                self._lost_us = change.t_us
        present = self._presence.present
        if present is None:
            return
        for reading in self._say(io, "mains_present", present):
            yield reading
            self._told_us = io.clock.boottime_us()  # the agent has stamped it
        assert self._began_us is not None
        if present:
            ended, seconds = self._outages.end(io, changes[-1].t_us if changes else now_us)
            if ended:
                self._returned_us = now_us
                yield Reading("mains_event", "returned")
                if seconds is not None:
                    yield Reading("outage_s", round(seconds, 1))
        elif now_us - self._began_us >= RESTORE_S * US and self._outages.begin(io, self._lost_us):
            yield Reading("mains_event", "lost")
        self._alert(io, present)
        yield from self._say(io, "restarts_held", self._held(now_us, present))

    def _held(self, now_us: int, present: bool) -> bool:
        """B63: while the mains is away, and while everything in the house starts anew."""
        resume_us = self.config.resume_after_s * US
        return (not present or now_us < resume_us
                or (self._returned_us is not None and now_us - self._returned_us < resume_us))

    def _alert(self, io: Io, present: bool) -> None:
        text = None if present else f"mains lost{', the battery is low' if self._low else ''}"
        if text != self._alerted:
            self._alerted = text
            io.alert(io.instance, text)  # its own: a second input that is well resolves nobody else's

    @classmethod
    def capture(cls, config: Any, data: bytes) -> bytes:
        return nut.from_upsc(data)

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)
