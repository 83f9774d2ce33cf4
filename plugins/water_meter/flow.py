"""Flow from the time between pulses. Pure.

Between two pulses exactly one pulse's volume has flowed. While none comes, the flow can be no more than one pulse in
the time waited: that bound falls until it is nothing.
"""

from __future__ import annotations


class Flow:
    """Litres an hour; times in seconds."""

    def __init__(self, litres_per_pulse: float, zero_after_s: float) -> None:
        self._litres = litres_per_pulse
        self._zero_after_s = zero_after_s
        self._last_s: float | None = None
        self._flow = 0.0

    def pulse(self, t_s: float) -> None:
        if self._last_s is not None and t_s > self._last_s:
            waited_s = t_s - self._last_s
            self._flow = self._litres * 3600 / waited_s if waited_s < self._zero_after_s else 0.0
        self._last_s = t_s

    def forget(self) -> None:
        """Pulses may have been missed: the next one is the first."""
        self._last_s, self._flow = None, 0.0

    def at(self, now_s: float) -> float:
        """The flow, or the most that it can be by now."""
        if self._last_s is None or self._flow == 0.0:
            return 0.0
        waited_s = now_s - self._last_s
        if waited_s >= self._zero_after_s:
            self._flow = 0.0
            return 0.0
        return min(self._flow, self._litres * 3600 / waited_s) if waited_s > 0 else self._flow
