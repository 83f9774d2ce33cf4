"""A valve behind a simulated relay: it travels, and its end switch is a simulated input where one is set."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from agent.api import SimPins, SimRelay

END = "end"
STEP_S = 0.1


class SimValve:
    """A motor valve: ``share`` is how far it is closed, 0 to 1. ``seized``: it does not move."""

    def __init__(self, relay: SimRelay, normally: str, travel_s: float) -> None:
        self._relay = relay
        self._closed_when = normally == "open"
        self._travel_s = travel_s
        self.seized = False
        self.share = 1.0 if relay.contact == self._closed_when else 0.0

    def step(self, seconds: float) -> bool:
        """True: fully closed."""
        if not self.seized:
            step = 1.0 if self._travel_s <= 0 else seconds / self._travel_s
            self.share += step if self._relay.contact == self._closed_when else -step
            self.share = min(1.0, max(0.0, self.share))
        return self.share >= 1.0


@contextmanager
def simulated(config: Any, seed: int = 0) -> Iterator[Any]:
    """The config with an end switch of its own where it has one."""
    with SimRelay(config.relay) as relay:
        if config.end_line is None:
            yield config
            return
        with SimPins(END, level=1) as pins:
            valve = SimValve(relay, config.normally, config.travel_s)
            stop = threading.Event()

            def work() -> None:
                level = None
                while not stop.is_set():
                    closed = valve.step(STEP_S)
                    if closed != level:
                        level = closed
                        pins.set(END, int(closed != config.end_active_low))
                    stop.wait(STEP_S)

            thread = threading.Thread(target=work, name="simulated-valve", daemon=True)
            thread.start()
            try:
                yield msgspec.structs.replace(config, end_line=pins.line(END))
            finally:
                stop.set()
                thread.join(5)
