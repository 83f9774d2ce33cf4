"""When the next canary flies: soon after the first connection, then once an hour. Pure.

It is an ordinary sample (``sys/canary``) and goes the whole way: spool, records, the hub's commit, its notifier.
Devices that were started together must not all sing at once, so each hour is a little longer or shorter.
"""

from __future__ import annotations

import random

HOUR_S = 3600.0
JITTER_S = 300.0
FIRST_S = 60.0


class Canary:
    def __init__(self, random_s: random.Random | None = None) -> None:
        self.sent = 0
        """How many were sent since this process started; the value of the last."""
        self._random = random_s or random.Random()
        self._due_s: float | None = None

    def now(self) -> None:
        """Somebody asks for one: with the next tick."""
        self._due_s = float("-inf")

    def due(self, now_s: float, connected: bool) -> bool:
        """True when one is to be sent now; it counts as sent."""
        if self._due_s is None:
            if connected:
                self._due_s = now_s + self._random.uniform(0.5, 1.0) * FIRST_S
            return False
        if now_s < self._due_s:
            return False
        self.sent += 1
        self._due_s = now_s + HOUR_S + self._random.uniform(-JITTER_S, JITTER_S)
        return True
