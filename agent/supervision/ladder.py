"""When a restart of a plugin did not help: ``uplink`` is restarted, and in the end the machine. Pure, on a given clock.

Judged is local health alone: what stands still on this device although it was killed and started again. What the hub
or the broker says or does not say is not looked at (B61). A plugin that ends by itself is no machine's fault, however
often (agent.supervision.rearm deals with it). While the mains is away nothing is done (B63): half of what a plugin
talks to is dark; afterwards every time begins anew, with a jitter, so that a house does not restart as one.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

UPLINK = "uplink"
UPLINK_AFTER_S = 600.0
MACHINE_AFTER_S = 1200.0
TRIES = 3
"""So often a plugin was killed for standing still before anything else is restarted for it."""
STEADY_S = 300.0
"""Having moved this long, it is well again."""
JITTER_S = 120.0


class Step(NamedTuple):
    """``verb``: ``uplink`` or ``machine`` is to be restarted, because of ``who``."""

    verb: str
    who: str
    why: str


class _Sick:
    def __init__(self, since_s: float) -> None:
        self.since_s = since_s
        self.tries = 0
        self.moved_s: float | None = None
        self.why = ""
        self.uplink_done = False
        self.told_s: float | None = None


class Ladder:
    """:meth:`stood_still` and :meth:`moved` as it happens, :meth:`tick` every few seconds."""

    def __init__(self, monotonic_s: Callable[[], float], jitter_s: Callable[[], float] | None = None) -> None:
        self._now = monotonic_s
        self._jitter_s = jitter_s or (lambda: random.uniform(0.0, JITTER_S))
        self._sick: dict[str, _Sick] = {}
        self._held = False
        self._resume_s = float("-inf")

    @property
    def sick(self) -> dict[str, str]:
        """Who is not well, and why."""
        return {who: one.why for who, one in self._sick.items()}

    def stood_still(self, who: str, why: str) -> None:
        """It was killed for it (or cannot be); said again at each time."""
        one = self._sick.setdefault(who, _Sick(self._now()))
        one.tries, one.why, one.moved_s = one.tries + 1, why, None

    def moved(self, who: str) -> None:
        if who in self._sick and self._sick[who].moved_s is None:
            self._sick[who].moved_s = self._now()

    def forget(self, keep: set[str]) -> None:
        """Only these are there now."""
        self._sick = {who: one for who, one in self._sick.items() if who in keep}

    def hold(self, held: bool) -> None:
        """Restarts are held back: the mains is away, or has just come back."""
        if self._held and not held:
            self._resume_s = self._now() + self._jitter_s()
            for one in self._sick.values():
                one.since_s, one.tries, one.uplink_done = self._resume_s, 0, False
        self._held = held

    def tick(self) -> list[Step]:
        """What is to be restarted now; a machine is asked for again every ``MACHINE_AFTER_S`` while it is not well."""
        now = self._now()
        for who in [who for who, one in self._sick.items()
                    if one.moved_s is not None and now - one.moved_s >= STEADY_S]:
            del self._sick[who]
        if self._held or now < self._resume_s:
            return []
        steps = []
        for who, one in self._sick.items():
            if one.moved_s is not None or one.tries < TRIES:
                continue
            if who != UPLINK and not one.uplink_done and now - one.since_s >= UPLINK_AFTER_S:
                one.uplink_done = True
                steps.append(Step("uplink", who, one.why))
            elif now - one.since_s >= MACHINE_AFTER_S and (
                    one.told_s is None or now - one.told_s >= MACHINE_AFTER_S):
                one.told_s = now
                steps.append(Step("machine", who, one.why))
        return steps[:1]  # one thing at a time
