"""What a person is told: the alert of a leak, and why the meter itself is doubted."""

from __future__ import annotations

from agent.api import Io

from .meter import Meter
from .rules import Verdict

NOISE_A_MINUTE = 600
"""More rejected edges than this are no contact's bounce."""
DO = {
    "drip": "close all taps and watch the meter; look at toilets, taps, the boiler's safety valve",
    "running": "look for an open tap or a running toilet, or set watering if it is meant",
    "burst": "close the main valve",
    "vacation": "water is used although nobody is at home: have somebody look",
}

CODES = {
    "drip": "W_WATER_DRIP", "running": "E_WATER_RUNNING", "burst": "E_WATER_BURST", "vacation": "E_WATER_VACATION",
}
"""As the hub knows them: it says how grave each is."""


def alert_text(verdict: Verdict, now_s: float, price_per_m3: float | None, currency: str) -> str | None:
    """One line; None when nothing leaks."""
    if verdict.kind not in DO:
        return None
    long_s = now_s - (now_s if verdict.since_s is None else verdict.since_s)
    cost = "" if price_per_m3 is None else f", {verdict.volume_l * price_per_m3 / 1000:.2f} {currency}"
    flow = f" of at most {verdict.base_flow_l_h:.3g} L/h" if verdict.kind == "drip" and verdict.base_flow_l_h else ""
    return (f"{CODES[verdict.kind]} water: {verdict.kind}{flow}, for {_length(long_s)} "
            f"({verdict.volume_l:.3g} L{cost} so far); do: {DO[verdict.kind]}")


def _length(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


class Health:
    """Says once when the meter itself is doubted, and once when it is well again."""

    def __init__(self, silent_h: float) -> None:
        self._silent_s = silent_h * 3600
        self._began_s = 0.0
        self._reason: str | None = None
        self._rejected = 0
        self._looked_s = 0.0

    def began(self, now_s: float) -> None:
        self._began_s = self._looked_s = now_s

    def look(self, io: Io, meter: Meter, now_s: float, vacation: bool) -> None:
        reason = self._doubt(meter, now_s, vacation)
        if reason != self._reason:
            self._reason = reason
            io.degraded(reason)

    def _doubt(self, meter: Meter, now_s: float, vacation: bool) -> str | None:
        noise = (meter.rejected - self._rejected) * 60 / max(60.0, now_s - self._looked_s)
        self._rejected, self._looked_s = meter.rejected, now_s
        if noise > NOISE_A_MINUTE:
            return "the contact flickers without end: shield its cable, add a pull resistor, or raise debounce_ms"
        if meter.stuck is not None:
            return f"{meter.stuck} does not change although the other contact does: its wire, or knocks in the pipe"
        last_s = self._began_s if meter.pulse_us is None else max(meter.pulse_us / 1e6, self._began_s)
        if self._silent_s and not vacation and now_s - last_s >= self._silent_s:
            return f"no pulse for {self._silent_s / 3600:.0f} h: nobody used water, or contact or wire is broken"
        return None
