"""Does water go on flowing, or the end switch say no? Pure; times are CLOCK_BOOTTIME in microseconds."""

from __future__ import annotations

US = 1_000_000
METER_US = 60 * US
"""A meter may be so far behind: what it counts for so long after the valve has closed flowed before."""
END_US = 10 * US
FLOW_US = 600 * US
"""A meter that tells only a flow says "still flowing" for a while by itself: its last pulse has to grow old."""


class Stuck:
    """:meth:`told` begins anew with every movement; ``reason`` is None while nothing is wrong."""

    def __init__(self, travel_s: float, stuck_l: float) -> None:
        self._travel_us = round(travel_s * US)
        self._stuck_l = stuck_l
        self._closed: bool | None = None
        self._since_us = 0
        self._base_l: float | None = None
        self._last_l: float | None = None
        self._grew = 0
        self._flow_since_us: int | None = None
        self._through: str | None = None
        self._end: bool | None = None
        self._end_wrong: str | None = None

    @property
    def reason(self) -> str | None:
        return self._through or self._end_wrong

    def told(self, closed: bool, now_us: int) -> None:
        """Where it is to be, told again and again."""
        if closed == self._closed:
            return
        # the first word of a run is no movement: it is there already
        self._since_us = now_us if self._closed is not None else now_us - self._travel_us
        self._closed = closed
        self._base_l = self._last_l = self._flow_since_us = self._through = self._end_wrong = None
        self._grew = 0

    def travelling(self, now_us: int) -> bool:
        if self._closed and self._end is not None:
            return not self._end and now_us - self._since_us < self._travel_us + END_US
        return self._closed is not None and now_us - self._since_us < self._travel_us

    def _settled(self, t_us: int) -> bool:
        return bool(self._closed) and t_us - self._since_us >= self._travel_us + METER_US

    def index(self, litres: float, t_us: int) -> None:
        """The meter's index. One late pulse proves nothing, however many litres it stands for."""
        if not self._settled(t_us):
            return
        if self._base_l is None or self._last_l is None or litres < self._last_l:
            self._base_l = self._last_l = litres
            self._grew = 0
        elif litres > self._last_l:
            self._last_l = litres
            self._grew += 1
            if self._grew >= 2 and litres - self._base_l >= self._stuck_l:
                self._through = f"{litres - self._base_l:.3g} L have flowed since"

    def flow(self, litres_h: float, t_us: int) -> None:
        """The meter's flow; counts where no index comes."""
        if not self._settled(t_us) or self._base_l is not None:
            return
        if litres_h <= 0:
            self._flow_since_us = None
        elif self._flow_since_us is None:
            self._flow_since_us = t_us
        elif t_us - self._flow_since_us >= FLOW_US:
            self._through = f"{litres_h:.3g} L/h flow on"

    def end(self, active: bool) -> None:
        """The end switch: active while fully closed."""
        self._end = active

    def look(self, now_us: int) -> str | None:
        """What is wrong, if anything."""
        if self._end is not None and self._closed is not None and now_us - self._since_us >= self._travel_us + END_US:
            self._end_wrong = None
            if self._end != self._closed:
                self._end_wrong = "its end switch is still open" if self._closed else "its end switch is still closed"
        return self.reason
