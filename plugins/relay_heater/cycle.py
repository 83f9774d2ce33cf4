"""How often a relay may move, and how much of the time it is on: hysteresis, TPI, minimum cycle, starts an hour (B48).

Everything here yields to a safety OFF. The books follow what ``guard`` did, not what was asked: an OFF that the guard
made counts, and so does one from before this process began. Pure; CLOCK_BOOTTIME in microseconds.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from agent.api import RelayState

from .settings import RelayHeaterConfig

US = 1_000_000
HOUR_US = 3600 * US
SPARE_US = 2 * US
"""Between what is asked and what the pin does lies a tick."""
WRITE_US = 2 * US
"""A start is written down so long before it is made, so that a process that dies at once has counted it."""
ANSWER_US = 5 * US
"""The guard has so long to do what it is asked, and to say a word."""


class Books:
    """What the relay did."""

    def __init__(self, config: RelayHeaterConfig, now_us: int) -> None:
        self.config = config
        self.wanted = False
        """What was asked last."""
        self.on_since_us: int | None = None
        self.off_since_us = now_us
        self.starts: deque[int] = deque()
        self.refused = ""
        """The guard's words when it took or refused ON."""
        self._asked_us = now_us
        self._noted_us: int | None = None
        """When the start that is about to be made was written down."""
        self._state_since_us: int | None = None

    def restore(self, kept: Any, now_us: int) -> None:
        """Stamps of an earlier boot only make the first hour more careful."""
        if isinstance(kept, list):
            old = [at for at in kept[-20:] if isinstance(at, int) and 0 <= at <= now_us]
            self.starts = deque(sorted({*old, *self.starts}))

    def follow(self, state: RelayState, now_us: int) -> None:
        """Before each decision: the guard's last word."""
        if state.on is None:
            return
        new = self._state_since_us is not None and state.since_us != self._state_since_us
        first = self._state_since_us is None
        self._state_since_us = state.since_us
        if state.on:
            if self.on_since_us is None or new:
                self.on_since_us = state.since_us
                if self.starts and 0 <= state.since_us - self.starts[-1] <= 2 * ANSWER_US:
                    self.starts[-1] = state.since_us  # written down before it was made
                elif not self.starts or self.starts[-1] < state.since_us:
                    self.starts.append(state.since_us)
            return
        if self.on_since_us is not None or new or first:
            self.off_since_us = max(self.off_since_us, state.since_us)
            if self.on_since_us is not None and self.wanted:
                self._taken(state.why)
            self.on_since_us = None
        if self.wanted and now_us - self._asked_us >= ANSWER_US:
            self.off_since_us = now_us
            self._taken(state.why)

    def _taken(self, why: str) -> None:
        self.wanted, self.refused = False, why

    def ask(self, on: bool, now_us: int) -> None:
        if on and self._noted_us is not None:
            self.starts[-1], self._noted_us = now_us, None
        elif self._noted_us is not None and self._noted_us < now_us - 30 * US:
            self.starts.remove(self._noted_us)  # it was not asked for after all
            self._noted_us = None
        if on and not self.wanted:
            self._asked_us, self.refused = now_us, ""
        self.wanted = on

    def may_start(self, now_us: int) -> str:
        """Why it may not go on now, or nothing; asked when it should."""
        wait = self._waits(now_us)
        if wait:
            return wait
        if self._noted_us is None:
            self._noted_us = now_us
            self.starts.append(now_us)
        elif now_us - self._noted_us > 2 * ANSWER_US:  # it stood still meanwhile: the stamp would be too old
            self.starts[-1] = self._noted_us = now_us
        if now_us - self._noted_us < WRITE_US:
            return "written down first"
        return ""

    def _waits(self, now_us: int) -> str:
        rest_us = self.off_since_us + round(self.config.min_off_s * US) + SPARE_US - now_us
        if rest_us > 0:
            return f"off for {self.config.min_off_s:g} s at least"
        while self.starts and self.starts[0] <= now_us - HOUR_US - SPARE_US and self.starts[0] != self._noted_us:
            self.starts.popleft()
        starts = len(self.starts) - (self._noted_us is not None)
        if starts >= self.config.max_starts_per_h:
            return f"{starts} starts in this hour"
        return ""

    def write_us(self) -> int | None:
        """When a start that is written down may be made."""
        return None if self._noted_us is None else self._noted_us + WRITE_US

    def may_stop(self, now_us: int) -> str:
        """The same for going off, where safety does not ask for it."""
        since = self.on_since_us if self.on_since_us is not None else self._asked_us
        if now_us - since < round(self.config.min_on_s * US) + SPARE_US:
            return f"on for {self.config.min_on_s:g} s at least"
        return ""

    def on_for_us(self, now_us: int) -> int:
        return now_us - self.on_since_us if self.on_since_us is not None else 0

    def to_kept(self) -> list[int]:
        return list(self.starts)


class Demand:
    """Hysteresis, or TPI: time proportional and integral, in cycles of ``tpi_cycle_s``."""

    def __init__(self, config: RelayHeaterConfig) -> None:
        self.config = config
        self.power_pct = 0.0
        self._integral = 0.0
        self._cycle_us: int | None = None
        self._setpoint_c: float | None = None
        self._looked_us: int | None = None

    def want(self, on: bool, t_c: float, setpoint_c: float, plus_c: float, minus_c: float, now_us: int) -> bool:
        if self.config.control == "tpi":
            return self._tpi(t_c, setpoint_c, max(plus_c, 0.3), now_us)
        if t_c >= setpoint_c + plus_c:
            on = False
        elif t_c <= setpoint_c - minus_c:
            on = True
        self.power_pct = 100.0 if on else 0.0
        return on

    def _tpi(self, t_c: float, setpoint_c: float, plus_c: float, now_us: int) -> bool:
        missing = setpoint_c - t_c
        if missing <= -plus_c:
            self.power_pct, self._cycle_us, self._integral = 0.0, None, max(0.0, self._integral - 0.05)
            return False
        cycle_us = round(self.config.tpi_cycle_s * US)
        if self._cycle_us is None or now_us - self._cycle_us >= cycle_us or setpoint_c != self._setpoint_c:
            if self._cycle_us is not None:
                hours = min(now_us - self._cycle_us, 2 * cycle_us) / HOUR_US
                if abs(missing) < 1.0:  # far away the proportional part is enough, and the integral would run away
                    self._integral = min(1.0, max(0.0, self._integral + self.config.tpi_per_c_h * missing * hours))
            self._cycle_us, self._setpoint_c = now_us, setpoint_c
            share = min(1.0, max(0.0, self.config.tpi_per_c * missing + self._integral))
            on_s, off_s = share * self.config.tpi_cycle_s, (1 - share) * self.config.tpi_cycle_s
            if on_s < self.config.min_on_s:
                share = 0.0
            elif off_s < self.config.min_off_s:
                share = 1.0
            self.power_pct = round(100 * share, 1)
        return now_us - self._cycle_us < self.power_pct / 100 * cycle_us

    def next_us(self) -> int | None:
        """When it may change by time alone."""
        if self.config.control != "tpi" or self._cycle_us is None:
            return None
        return self._cycle_us + round(self.power_pct / 100 * self.config.tpi_cycle_s * US)

    def cycle_end_us(self) -> int | None:
        return None if self._cycle_us is None else self._cycle_us + round(self.config.tpi_cycle_s * US)
