"""How often a login may be tried: five a minute for an account and for an address, with a growing delay, no lock.

A refused try costs nothing and does not lengthen the wait, so whoever waits it out gets in: at most a minute. A browser
that has logged in to the account before (it holds a cookie of ours) has a lane of its own, so somebody who tries
an account from elsewhere cannot keep its owner out.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

WINDOW_S = 60.0
PER_WINDOW = 5
FREE = 3
"""Wrong tries before the delay begins."""
MAX_DELAY_S = 60.0
FORGET_S = 900.0
ATTACK = 20
"""Wrong or refused tries within FORGET_S that are told as an attack."""
MAX_LANES = 10_000


class _Lane:
    def __init__(self) -> None:
        self.tries: deque[float] = deque(maxlen=PER_WINDOW)
        self.failed = 0
        self.refused = 0
        self.last_s = 0.0


class LoginLimits:
    """Keys are any text: ``account admin``, ``address 10.0.0.7``. ``clock_s`` is monotonic."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock_s
        self._lock = threading.Lock()
        self._lanes: OrderedDict[str, _Lane] = OrderedDict()

    def wait_s(self, *keys: str) -> float:
        """0: the try may be made, and counts. Else how long to wait; then nothing was counted but the refusal."""
        with self._lock:
            now = self._clock()
            lanes = [self._lane(key, now) for key in keys]
            wait = max(self._wait(lane, now) for lane in lanes)
            for lane in lanes:
                if wait > 0:
                    lane.refused += 1
                else:
                    lane.tries.append(now)
                    lane.last_s = now
            return wait

    def failed(self, *keys: str) -> None:
        """The password was wrong."""
        with self._lock:
            now = self._clock()
            for key in keys:
                self._lane(key, now).failed += 1

    def attacked(self, *keys: str) -> list[str]:
        """Those of the keys that see an attack."""
        with self._lock:
            lanes = {key: self._lanes.get(key) for key in keys}
            return [key for key, lane in lanes.items() if lane is not None and lane.failed + lane.refused >= ATTACK]

    def succeeded(self, *keys: str) -> None:
        with self._lock:
            for key in keys:
                self._lanes.pop(key, None)

    def _lane(self, key: str, now: float) -> _Lane:
        lane = self._lanes.get(key)
        if lane is None or now - lane.last_s > FORGET_S:
            lane = self._lanes[key] = _Lane()
            lane.last_s = now
        self._lanes.move_to_end(key)
        while len(self._lanes) > MAX_LANES:
            self._lanes.popitem(last=False)
        return lane

    @staticmethod
    def _wait(lane: _Lane, now: float) -> float:
        wait = 0.0
        if len(lane.tries) == PER_WINDOW:
            wait = lane.tries[0] + WINDOW_S - now
        if lane.failed > FREE:
            wait = max(wait, lane.last_s + min(MAX_DELAY_S, 2.0 ** (lane.failed - FREE)) - now)
        return max(0.0, wait)
