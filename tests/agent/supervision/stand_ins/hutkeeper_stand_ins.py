"""A plugin with every bad habit, chosen by its settings; installed for child processes as a third party's would be."""

from __future__ import annotations

import contextlib
import os
import pathlib
import threading
import time
from collections.abc import Iterator
from typing import Literal

import msgspec
from msgspec import Struct

from agent.api import AnyRelay, Duty, Io, Plugin, Property, Reading, RelayIo, Value


class StandInConfig(Struct, frozen=True, forbid_unknown_fields=True):
    habit: Literal["good", "crash", "hang", "leak", "flood", "raise", "thread"] = "good"
    diary: str = ""
    """A line per start: pid, monotonic seconds and the word of ``note``."""
    note: str = ""
    after_s: float = 0.0


class StandIn(Plugin, name="stand_in"):
    """Counts seconds, then follows its habit."""

    Config = StandInConfig
    interval_s = 1.0
    properties = (Property(name="count", datatype="integer"),
                  Property(name="lamp", datatype="boolean", settable=True))

    def __init__(self, config: StandInConfig) -> None:
        super().__init__(config)
        if config.diary:
            with open(config.diary, "a") as diary:
                diary.write(f"{os.getpid()} {time.monotonic():.3f} {config.note}\n")

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        with open(self.config.diary, "a") as diary:
            diary.write(f"{os.getpid()} {time.monotonic():.3f} {property_name}={value}\n")
        return value

    def run(self, io: Io) -> Iterator[Reading]:
        began = io.clock.monotonic_s()
        hoard = []
        for count in range(1_000_000):
            yield Reading("count", count)
            if io.clock.monotonic_s() - began >= self.config.after_s:
                match self.config.habit:
                    case "crash":
                        os._exit(3)
                    case "hang":
                        time.sleep(3600)
                    case "raise":
                        raise ValueError(f"reading {count} of password=hunter22")
                    case "thread":
                        threading.Thread(target=lambda: [][0], name="reader").start()
                        self.config = msgspec.structs.replace(self.config, habit="good")
                    case "leak":
                        hoard.append(bytearray(16 << 20))
                    case "flood":
                        for _ in range(100_000):
                            with contextlib.suppress(BlockingIOError):  # C does not look at what write(2) says
                                os.write(2, b"a line of a C library that says the same thing for ever\n")
            if not io.clock.sleep(0.05 if self.config.habit == "leak" else 0.5):
                return


class StandInHeaterConfig(Struct, frozen=True, forbid_unknown_fields=True):
    relay: AnyRelay
    kind: Literal["heat", "hold"] = "heat"
    wish: str = ""
    """A file: while it says ``on``, ON is wanted. Left out: always."""


class StandInHeater(Plugin, name="stand_in_heater"):
    """Wants ON for as long as it lives, each time with a sample of this moment: only its guard can hold it back."""

    Config = StandInHeaterConfig
    actuator = True
    interval_s = 1.0
    properties = (Property(name="relay", datatype="boolean"), Property(name="why", datatype="string"))

    @classmethod
    def duty(cls, config: StandInHeaterConfig) -> Duty:
        return Duty(kind=config.kind)

    def run(self, io: RelayIo) -> Iterator[Reading]:
        relay = io.relay()
        while not io.stopping:
            wish = not self.config.wish or pathlib.Path(self.config.wish).read_text().strip() == "on"
            state = relay.ask(wish, sample_us=io.clock.boottime_us(), sample_max_age_s=60, why="wanted")
            if state.on is not None:
                yield Reading("relay", state.on)
                yield Reading("why", state.why)
            io.clock.sleep(0.5)
