"""How many commands a caller may send: a bucket that fills slowly, one for each user and token."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

BURST = 20
PER_S = 0.5
MAX_CALLERS = 1_000


class Rate:
    """``BURST`` at once, then ``PER_S``. ``clock_s`` is monotonic."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic, *, burst: int = BURST,
                 per_s: float = PER_S) -> None:
        self._clock = clock_s
        self._burst = burst
        self._per_s = per_s
        self._lock = threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, caller: str) -> float:
        """0: it may be sent, and counts. Else how long to wait."""
        with self._lock:
            now = self._clock()
            left, at = self._left.get(caller, (float(self._burst), now))
            left = min(float(self._burst), left + (now - at) * self._per_s)
            wait = 0.0 if left >= 1.0 else (1.0 - left) / self._per_s
            self._left[caller] = (left - 1.0 if wait == 0.0 else left, now)
            self._left.move_to_end(caller)
            while len(self._left) > MAX_CALLERS:
                self._left.popitem(last=False)
            return wait
