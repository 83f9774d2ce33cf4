"""From "on" and "off" to pulses and levels, and what the probe says of it.

A coil of a latching relay gets one pulse of 20 to 200 ms and is never held: both lines are low at every other moment,
also after an error in the middle of a pulse.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from agent.api import AnyRelay, LatchingRelay
from agent.guard.pins import PinError, Pins

SETTLE_S = 0.05
"""A contact bounces for some milliseconds."""


class Driver:
    """``put`` moves the relay; ``contact`` is the probe's word."""

    def __init__(self, relay: AnyRelay, pins: Pins, sleep: Callable[[float], object] = time.sleep) -> None:
        self._relay = relay
        self._pins = pins
        self._sleep = sleep
        self.has_probe = bool(relay.probe_line)

    def put(self, on: bool) -> None:
        """Raises PinError; then nobody knows what the relay does."""
        if not isinstance(self._relay, LatchingRelay):
            self._pins.write("line", on)
            return
        field, other = ("set_line", "reset_line") if on else ("reset_line", "set_line")
        self._pins.write(other, False)
        try:
            self._pins.write(field, True)
            self._sleep(self._relay.pulse_ms / 1000)
        finally:
            self._pins.write(field, False)
        if self.has_probe:
            self._sleep(SETTLE_S)

    def contact(self) -> bool | None:
        """True: closed. None: there is no probe. Raises PinError."""
        return self._pins.read("probe_line") if self.has_probe else None

    def close(self) -> None:
        self._pins.close()


__all__ = ["Driver", "PinError"]
