"""A plugin with every bad habit, chosen by its settings; installed for child processes as a third party's would be."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Literal

from msgspec import Struct

from agent.api import Io, Plugin, Property, Reading


class StandInConfig(Struct, frozen=True, forbid_unknown_fields=True):
    habit: Literal["good", "crash", "hang", "leak", "flood"] = "good"
    diary: str = ""
    """A line per start: pid, monotonic seconds and the word of ``note``."""
    note: str = ""
    after_s: float = 0.0


class StandIn(Plugin, name="stand_in"):
    """Counts seconds, then follows its habit."""

    Config = StandInConfig
    interval_s = 1.0
    properties = (Property(name="count", datatype="integer"),)

    def __init__(self, config: StandInConfig) -> None:
        super().__init__(config)
        if config.diary:
            with open(config.diary, "a") as diary:
                diary.write(f"{os.getpid()} {time.monotonic():.3f} {config.note}\n")

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
                    case "leak":
                        hoard.append(bytearray(16 << 20))
                    case "flood":
                        for _ in range(100_000):
                            with contextlib.suppress(BlockingIOError):  # C does not look at what write(2) says
                                os.write(2, b"a line of a C library that says the same thing for ever\n")
            if not io.clock.sleep(0.05 if self.config.habit == "leak" else 0.5):
                return
