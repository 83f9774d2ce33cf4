"""Somebody walks through the house: detectors on simulated pins, or a board that prints their words on a pty."""

from __future__ import annotations

import os
import random
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from agent.api import SimPins

ACTIVE_S = (2.0, 5.0)
"""An HC-SR501 at its shortest setting holds its output so long."""
PAUSE_S = (1.0, 25.0)
BOUNCE = 3


class Walker(threading.Thread):
    """Goes from place to place; ``say(place, level)`` is what a detector does then."""

    def __init__(self, places: list[str], say: Callable[[str, int], None], seed: int) -> None:
        super().__init__(name="simulated-walker", daemon=True)
        self._places, self._say = places, say
        self._random = random.Random(seed)
        self._ending = threading.Event()

    def stop(self) -> None:
        self._ending.set()
        self.join(5)

    def run(self) -> None:
        while True:
            place = self._random.choice(self._places)
            for level in (1, 0) * self._random.randrange(BOUNCE):  # glitches of a millisecond
                self._say(place, level)
                if self._ending.wait(0.001):
                    return
            self._say(place, 1)
            stopped = self._ending.wait(self._random.uniform(*ACTIVE_S))
            self._say(place, 0)
            if stopped or self._ending.wait(self._random.uniform(*PAUSE_S)):
                return


@contextmanager
def simulated(config: Any, seed: int = 0) -> Iterator[Any]:
    """The config with its lines on simulated pins; with a ``port``, on a pty."""
    sensors: dict[str, str] = config.sensors or {"hall": "PIR1", "stairs": "PIR2"}
    if config.port is None:
        with SimPins(*sensors) as pins:
            active = 0 if config.active_low else 1
            for place in sensors:
                pins.set(place, 1 - active)
            walker = Walker(list(sensors), lambda place, level: pins.set(place, level if active else 1 - level), seed)
            walker.start()
            try:
                yield msgspec.structs.replace(config, sensors={place: pins.line(place) for place in sensors})
            finally:
                walker.stop()
        return
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        os.set_blocking(master, False)

        def print_word(place: str, level: int) -> None:
            with suppress(BlockingIOError):  # what nobody reads is lost, as on a line
                if level:
                    os.write(master, f"{sensors[place]}\r\n".encode())

        walker = Walker(list(sensors), print_word, seed)
        walker.start()
        try:
            yield msgspec.structs.replace(config, sensors=sensors, port=os.ttyname(slave))
        finally:
            walker.stop()
    finally:
        os.close(master)
        os.close(slave)
