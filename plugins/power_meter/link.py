"""The state of the line: its quality as readings, and at most one line of log a minute."""

from __future__ import annotations

from agent.api import Io

from .plausibility import Outcomes

LOG_S = 60.0
REPORT_S = 30.0
BAD_PCT, GOOD_PCT = 90.0, 97.0
#: Before that many frames a percentage says nothing.
ENOUGH = 20


class LinkWatch:
    """Compares the outcomes with what was said last. ``due`` tells when the readings are to be repeated."""

    def __init__(self, port: str) -> None:
        self._port = port
        self._logged_s = float("-inf")
        self._reported_s = float("-inf")
        self._bad = False

    def due(self, t_s: float) -> bool:
        if t_s - self._reported_s < REPORT_S:
            return False
        self._reported_s = t_s
        return True

    def look(self, io: Io, outcomes: Outcomes, t_s: float) -> None:
        """Health and log: a change of state at once, a state that lasts once a minute."""
        quality = outcomes.quality_pct
        if outcomes.good_total + outcomes.bad_total < ENOUGH:
            return
        if self._bad and quality >= GOOD_PCT:
            self._bad = False
            io.degraded(None)
            io.log.info("%s: link quality %.0f %% again", self._port, quality)
        elif quality < BAD_PCT and (not self._bad or t_s - self._logged_s >= LOG_S):
            self._bad = True
            self._logged_s = t_s
            text = (f"{self._port}: link quality {quality:.0f} % ({outcomes.bad_total} bad frames so far): "
                    "check wiring, ground and the reader's supply")
            io.degraded(text)
            io.log.warning("%s", text)
