"""Plugins for whole-house tests: a numbered stream with a journal, a time stamp to measure the way, and a quiet one."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from msgspec import Struct

from agent.api import Io, Plugin, Property, Reading


class CounterConfig(Struct, frozen=True, forbid_unknown_fields=True):
    journal: str
    """Every number is written here before it is handed to the agent: what was ever produced."""
    rate_hz: float = 1000.0
    until: int = 0
    """Stop producing at this number (0: never)."""


class Counter(Plugin, name="house_counter"):
    """Whole numbers, each once over all restarts: the journal's length says where to go on."""

    Config = CounterConfig
    properties = (
        Property(name="number", datatype="integer"),
        Property(name="twin", datatype="integer"),
    )

    def run(self, io: Io) -> Iterator[Reading]:
        config: CounterConfig = self.config
        journal = os.open(config.journal, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        number = os.fstat(journal).st_size // 9  # eight digits and a newline: a line is whole or it is not there
        began, first = io.clock.monotonic_s(), number
        while not io.stopping:
            due = first + int((io.clock.monotonic_s() - began) * config.rate_hz)
            if config.until:
                due = min(due, config.until)
            while number < due and not io.stopping:
                number += 1
                os.write(journal, b"%08d\n" % number)
                yield Reading("number" if number % 2 else "twin", number)
            io.clock.sleep(0.02)


class PulseConfig(Struct, frozen=True, forbid_unknown_fields=True):
    rate_hz: float = 2.0


class Pulse(Plugin, name="house_pulse"):
    """CLOCK_MONOTONIC in nanoseconds, the same clock in every process of a machine: the way can be measured."""

    Config = PulseConfig
    properties = (Property(name="sent_ns", datatype="integer"),)

    def run(self, io: Io) -> Iterator[Reading]:
        while not io.stopping:
            yield Reading("sent_ns", time.monotonic_ns())
            io.clock.sleep(1 / self.config.rate_hz)


class QuietConfig(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Quiet(Plugin, name="house_quiet"):
    """One reading a minute: what a plugin costs that has nothing to say."""

    Config = QuietConfig
    interval_s = 60.0
    properties = (Property(name="level", datatype="float"),)

    def poll(self, io: Io) -> list[Reading]:
        return [Reading("level", 1.0)]


class Crasher(Plugin, name="house_crasher"):
    """Ends its process each time, as a C library with a bad pointer does."""

    Config = QuietConfig
    properties = (Property(name="level", datatype="float"),)

    def run(self, io: Io) -> Iterator[Reading]:
        yield Reading("level", 1.0)
        os._exit(7)


class RaiserConfig(Struct, frozen=True, forbid_unknown_fields=True):
    flag: str
    """From when this file is there on."""


class Raiser(Plugin, name="house_raiser"):
    """A fault that its writer has not thought of, at every look."""

    Config = RaiserConfig
    interval_s = 1.0
    properties = (Property(name="level", datatype="float"),)

    def poll(self, io: Io) -> list[Reading]:
        if os.path.exists(self.config.flag):
            raise LookupError("the sluice has no level")
        return [Reading("level", 1.0)]
