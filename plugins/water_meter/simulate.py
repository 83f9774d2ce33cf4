"""A water meter's contact on a simulated pin: a household at the speed of the clock, each edge with its bounce."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from agent.api import SimPins

from .sim_house import DAY_S, Use, day_uses, pulses

QUARTER_S = 0.06
"""The wheel's magnet passes the contacts in four such steps, however slow the water."""
BOUNCES = 3


class SimulatedMeter(threading.Thread):
    """Turns its wheel until stopped. ``closed`` is the level of a closed contact."""

    def __init__(self, pins: SimPins, contacts: int, closed: int, litres: float, seed: int) -> None:
        super().__init__(name="simulated-water", daemon=True)
        self._pins = pins
        self._contacts = contacts
        self._closed = closed
        self._litres = litres
        self._rng = random.Random(seed)
        self._seed = seed
        self._ending = threading.Event()

    def stop(self) -> None:
        self._ending.set()
        self.join()

    def run(self) -> None:
        begin = time.time() - time.timezone
        day = int(begin // DAY_S)
        while not self._ending.is_set():
            rng = random.Random(self._seed * 100_003 + day)
            now = time.time() - time.timezone
            # whoever looks sees something: hands are washed right at the start, and every few minutes of the day
            uses = [use for use in day_uses(rng, day) if use.begin_s > now]
            uses += [Use(now + 0.2, 25.0, 600.0 * max(1.0, self._litres))]
            uses += [Use(now + 120 + 600 * n + rng.uniform(0, 300), 20.0, 480.0) for n in range(150)]
            for at in pulses(sorted(uses), self._litres, first_l=0.9 * self._litres):
                if at >= (day + 1) * DAY_S or self._ending.wait(max(0.0, at - (time.time() - time.timezone))):
                    break
                self._turn()
            day += 1
            self._ending.wait(max(0.0, day * DAY_S - (time.time() - time.timezone)))

    def _turn(self) -> None:
        """One turn of the wheel: the contact closes and opens; the second one a quarter behind."""
        for contact, level in ((0, 1), (1, 1), (0, 0), (1, 0))[:: 1 if self._contacts == 2 else 2]:
            self._edge("ab"[contact], level == self._closed)
            if self._ending.wait(QUARTER_S):
                return

    def _edge(self, pin: str, high: bool) -> None:
        for _ in range(self._rng.randint(0, BOUNCES)):
            self._pins.set(pin, int(high))
            time.sleep(self._rng.uniform(0.0002, 0.001))
            self._pins.set(pin, int(not high))
            time.sleep(self._rng.uniform(0.0002, 0.001))
        self._pins.set(pin, int(high))


@contextlib.contextmanager
def simulated(config: Any, seed: int = 0) -> Iterator[Any]:
    """The config with simulated pins in place of its lines."""
    names = ("a", "b") if config.second_line is not None else ("a",)
    open_level = 1 if config.active_low else 0
    with SimPins(*names, level=open_level) as pins:
        meter = SimulatedMeter(pins, len(names), 1 - open_level, config.litres_per_pulse, seed)
        meter.start()
        try:
            yield replace(config, line=pins.line("a"), second_line=pins.line("b") if len(names) == 2 else None)
        finally:
            meter.stop()
