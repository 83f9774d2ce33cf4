"""What to do about a radio that hears nothing: restart the scan, switch the adapter off and on, say so. Pure.

BlueZ and its client libraries fall silent without an error when bluetoothd restarts, the adapter is switched off or
its firmware hangs; only the missing advertisements tell.
"""

from __future__ import annotations

from typing import Literal

State = Literal["up", "stalled", "down"]
Step = Literal["restart", "power"]

STEP_S = 10.0
"""How long a step may take to help."""
SOON_S = 2.0
"""After an error (adapter gone, bluetoothd restarted): no need to wait for silence."""
FAILED_RETRY_S = 5.0
"""While the scan cannot be started at all: a plugged adapter is found within ten seconds."""
SILENT_RETRY_S = 60.0
"""While it runs and hears nothing."""
POWER_EVERY = 5
"""In that state every fifth try switches the adapter off and on."""


class Ladder:
    """One receiver. Feed :meth:`heard` and :meth:`failed`, ask :meth:`look` about once a second."""

    def __init__(self, quiet_s: float, power: bool, now_s: float) -> None:
        self.state: State = "up"
        self.reason = ""
        """Why it is not up."""
        self.since_s = now_s
        """When it last worked."""
        self._quiet_s = quiet_s
        self._power = power
        self._rung = 0
        self._due_s = now_s + quiet_s
        self._failed = False

    def heard(self, t_s: float) -> bool:
        """An advertisement came. True when that ends a fault."""
        self.since_s = t_s
        self._due_s = t_s + self._quiet_s
        if not self._rung and self.state == "up":
            return False
        self._rung, self._failed, self.state, self.reason = 0, False, "up", ""
        return True

    def scanning(self, now_s: float) -> None:
        """The scan was started. Whether it hears something is yet to be seen."""
        if self._failed:
            self._failed = False
            self._due_s = now_s + (STEP_S if self._rung <= 2 else SILENT_RETRY_S)

    def failed(self, reason: str, now_s: float) -> None:
        """The scan could not be started, or is over."""
        self.reason = reason
        if not self._failed:
            self._failed = True
            self._due_s = min(self._due_s, now_s + (SOON_S if self._rung == 0 else FAILED_RETRY_S))
        if self.state == "up":
            self.state = "stalled"

    def look(self, now_s: float) -> Step | None:
        """The step that is due now. ``state`` and ``reason`` are right afterwards."""
        if now_s < self._due_s:
            return None
        self._rung += 1
        if not self._failed:
            self.reason = f"no advertisement for {now_s - self.since_s:.0f} s"
        if self._rung <= 2:
            self.state = "stalled"
            self._due_s = now_s + STEP_S
        else:
            self.state = "down"
            self._due_s = now_s + (FAILED_RETRY_S if self._failed else SILENT_RETRY_S)
        power = self._rung == 2 or (self._rung > 2 and (self._rung - 2) % POWER_EVERY == 0)
        self._failed = False  # the step's own failure is told anew
        return "power" if power and self._power else "restart"


class Budget:
    """At most ``lines`` in any hour: a radio that comes and goes must not fill the log."""

    def __init__(self, lines: int) -> None:
        self._lines = lines
        self._told_s: list[float] = []

    def take(self, now_s: float) -> bool:
        self._told_s = [t_s for t_s in self._told_s if now_s - t_s < 3600.0]
        if len(self._told_s) >= self._lines:
            return False
        self._told_s.append(now_s)
        return True
