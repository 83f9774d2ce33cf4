"""When to connect again: full jitter, so that a fleet that lost its broker does not come back as one. Pure."""

from __future__ import annotations

import os
import random

CAP_S = 300.0
STABLE_S = 30.0
FIRST_S = 1.0


class Backoff:
    """Waits of 0..min(300, 2^n) s, the first one too; only a connection of 30 s makes n small again (B06, B08)."""

    def __init__(self, rng: random.Random | None = None) -> None:
        self._rng = rng or random.SystemRandom()
        self.failures = 0
        # Flapping and twins are tested with the real process, and a test cannot wait for minutes of back-off.
        self._cap_s = 0.2 if os.environ.get("HUTKEEPER_TEST_BACKOFF") else CAP_S

    def wait_s(self) -> float:
        """How long to wait before the next try; each call counts as a try."""
        ceiling = min(self._cap_s, FIRST_S * 2.0 ** min(self.failures, 16))
        self.failures += 1
        return self._rng.uniform(0.0, ceiling)

    def connected_for(self, seconds: float) -> None:
        """A connection has lasted this long."""
        if seconds >= STABLE_S:
            self.failures = 0
