"""Counter ledger: a meter's raw index in, a total that only ever grows by true units out. Pure.

Rules, for every property that is ``total_increasing``:

* A reading is booked when the next one confirms it (follows it, grown no faster than ``max_rate_per_h`` allows), with
  its own time. An unchanged reading is booked at once. So a single zero, spike or flipped digit books nothing, however
  plausible it looks alone.
* Readings that contradict the line are held. Three in a row that fit each other are a new line: the meter was reset or
  swapped. The jump books nothing, growth since the first of the three is booked, and an event says so.
* A line that comes back after a standing 0 (a meter that boots for a minute) is taken up again: nothing is lost.
* A manual reading sets the total and is an event with the difference.

What is lost is the growth between the last confirmed reading before a reset or swap and the first after it: nobody can
know it.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from agent.api import Property

CONFIRM = 3
"""Readings in a row that make a new line."""
SLACK_S = 60.0
"""Growth at the full rate that is always allowed: stamps jitter, and a meter shows whole units."""
STANDING_S = 2 * 3600.0
"""How long the first reading of all may have stood already: gas over DSMR changes once an hour."""
UNKNOWN_S = 7 * 86400.0
"""Elapsed time assumed after a power cut while neither clock can tell."""
DECIMALS = 6
US = 1_000_000

DEFAULT_MAX_RATE_PER_H: dict[str, float] = {
    "kWh": 250.0, "Wh": 250_000.0, "MWh": 0.25, "kvarh": 250.0, "varh": 250_000.0, "kVAh": 250.0, "VAh": 250_000.0,
    "m³": 100.0, "L": 100_000.0, "GJ": 1.0, "h": 1.0, "s": 3600.0,
}
"""By unit, where the plugin names none: above any connection of a house (a 250 kW feeder, a DN 80 water pipe)."""


class Booked(NamedTuple):
    """A total and the time of the reading that it comes from."""

    t_us: int
    total: float


class CounterEvent(NamedTuple):
    """``reset``, ``swap`` (new line), ``returned`` (the line from before is back), ``retracted`` (what was booked last
    was wrong; the total stands still until the meter has caught up) or ``reconciled`` (manual reading)."""

    kind: str
    before: float
    """Raw index before; for ``reconciled`` the total before."""
    after: float
    total: float
    """The total at that moment."""

    def as_json(self) -> dict[str, Any]:
        difference = round(self.after - self.before, DECIMALS)
        return {"kind": self.kind, "before": self.before, "after": self.after, "difference": difference,
                "total": self.total}


class _Mark(NamedTuple):
    """A raw index and when it was first seen: boot time, else (another boot's) wall time, else unknown."""

    raw: float
    t_us: int | None
    wall_us: int | None = None


class Counter:
    """The ledger of one property. Feed it in order of time; ``t_us`` is CLOCK_BOOTTIME in microseconds."""

    def __init__(self, prop: Property) -> None:
        rate = prop.max_rate_per_h or DEFAULT_MAX_RATE_PER_H.get(prop.unit or "", math.inf)
        self._rate_per_us = rate / 3600 / US
        self._slack = max(self._rate_per_us * SLACK_S * US, prop.step or 0.0)
        self._base: _Mark | None = None
        """The last booked raw index, with the time it was first seen."""
        self._offset = 0.0
        self._high = 0.0
        """The total: never falls but by a manual reading."""
        self._before: _Mark | None = None
        self._former: tuple[_Mark, float] | None = None
        self._pending: _Mark | None = None
        self._chain: list[_Mark] = []
        self._start_at: float | None = None
        self.rejected = 0
        """Readings that no successor confirmed."""

    @property
    def anchored(self) -> bool:
        return self._base is not None or self._start_at is not None

    # --- readings ---------------------------------------------------------------------------------------------

    def feed(
        self, raw: float, t_us: int, clock_offset_us: int | None = None
    ) -> tuple[list[Booked], list[CounterEvent]]:
        """Book what ``raw`` confirms. ``clock_offset_us`` (wall minus boot time) is only asked for after a reboot."""
        mark = _Mark(raw, t_us)
        base = self._base
        if base is None:
            if self._pending is None or not self._fits(self._pending, mark, None):
                self.rejected += self._pending is not None
                self._pending = mark
                return [], []
            base = self._anchor(self._pending)
            booked = [Booked(int(self._pending.t_us or 0), self._high)]
            self._pending = None
            return booked + self._on_line(base, mark), []
        if self._fits(base, mark, clock_offset_us) and not self._returns(mark, clock_offset_us):
            self.rejected += len(self._chain)
            self._chain = []
            return self._on_line(base, mark), []
        self.rejected += self._pending is not None
        self._pending = None
        if self._chain and not self._fits(self._chain[-1], mark, None):
            self.rejected += len(self._chain)
            self._chain = []
        self._chain.append(mark)
        if len(self._chain) < CONFIRM:
            return [], []
        return self._new_line(base, clock_offset_us)

    def _fits(self, earlier: _Mark, later: _Mark, clock_offset_us: int | None) -> bool:
        """``later`` can follow ``earlier`` on one line: not lower, and not grown faster than possible."""
        growth = later.raw - earlier.raw
        if growth <= 0:
            return growth == 0
        return growth <= self._allowed(earlier, later, clock_offset_us)

    def _returns(self, mark: _Mark, clock_offset_us: int | None) -> bool:
        """``mark`` is where the abandoned line would be by now. Only from a standing 0: a line that counts is a meter,
        and another index near the old one is a third."""
        if self._former is None or self._base is None or self._base.raw != 0 or mark.raw == 0:
            return False
        return self._fits(self._former[0], mark, clock_offset_us)

    def _allowed(self, earlier: _Mark, later: _Mark, clock_offset_us: int | None) -> float:
        t_us = int(later.t_us or 0)
        if earlier.t_us is not None:
            elapsed_us = float(max(0, t_us - earlier.t_us))
        elif earlier.wall_us is not None and clock_offset_us is not None:
            elapsed_us = float(max(0, t_us + clock_offset_us - earlier.wall_us))
        else:
            elapsed_us = UNKNOWN_S * US
        return self._rate_per_us * elapsed_us + self._slack

    def _anchor(self, first: _Mark) -> _Mark:
        base = _Mark(first.raw, int(first.t_us or 0) - int(STANDING_S * US))
        if self._start_at is not None:
            self._offset = self._start_at - first.raw
            self._start_at = None
        self._base = base
        self._high = self._total(first.raw)
        return base

    def _total(self, raw: float) -> float:
        return round(raw + self._offset, DECIMALS) if self._offset else raw

    def _on_line(self, base: _Mark, mark: _Mark) -> list[Booked]:
        """``mark`` fits the line: it confirms the one that waits, or waits itself."""
        pending, self._pending = self._pending, None
        booked: list[Booked] = []
        if pending is not None:
            if self._fits(pending, mark, None):
                booked.append(self._book(pending))
                base = pending
            else:
                self.rejected += 1
        if mark.raw == base.raw:
            booked.append(Booked(int(mark.t_us or 0), self._high))  # no growth: nothing that could be wrong
        else:
            self._pending = mark
        return booked

    def _book(self, mark: _Mark) -> Booked:
        self._before, self._base = self._base, mark
        self._high = max(self._high, self._total(mark.raw))
        return Booked(int(mark.t_us or 0), self._high)

    def _new_line(self, base: _Mark, clock_offset_us: int | None) -> tuple[list[Booked], list[CounterEvent]]:
        """Three readings agree with each other and not with the line."""
        chain, self._chain = self._chain, []
        first = chain[0]
        before, former = self._before, self._former
        if before is not None and first.raw < base.raw and self._fits(before, first, clock_offset_us):
            kind = "retracted"
        elif former is not None and self._returns(first, clock_offset_us):
            kind = "returned"
            self._offset = former[1]
            self._former = None
        else:
            could_be_from_zero = first.raw < base.raw and first.raw <= self._allowed(base, first, clock_offset_us)
            kind = "reset" if could_be_from_zero else "swap"
            self._former = (base, self._offset)
            self._offset = round(self._high - first.raw, DECIMALS)
        booked = [self._book(mark) for mark in chain[:-1]]
        # an unchanged index keeps the time it was first seen, which bounds its next growth
        standing = next(mark for mark in chain if mark.raw == chain[-2].raw)
        self._base, self._before = standing, None
        event = CounterEvent(kind, base.raw, first.raw, booked[0].total)
        return booked + self._on_line(standing, chain[-1]), [event]

    # --- a manual reading -------------------------------------------------------------------------------------

    def reconcile(self, total: float, t_us: int) -> list[CounterEvent]:
        """From now on the total is ``total`` at the raw index of this moment; the event carries the difference."""
        if self._base is None:
            self._start_at = total
            return [CounterEvent("reconciled", total, total, total)]
        event = CounterEvent("reconciled", self._high, total, total)
        if self._pending is not None:  # the newest index; whoever read the meter saw it too
            self._base, self._pending = self._pending, None
        self._offset = round(total - self._base.raw, DECIMALS)
        self._high = total
        self._before = self._former = None
        self._chain = []
        return [event]

    # --- over restarts and power cuts -------------------------------------------------------------------------

    def state(self, clock_offset_us: int | None = None) -> dict[str, Any]:
        """JSON-able; what is not booked is not in it. Commit it together with what was booked."""
        state: dict[str, Any] = {"offset": self._offset, "high": self._high}
        if self._base is not None:
            state["base"] = _dump(self._base, clock_offset_us)
        if self._former is not None:
            state["former"] = [*_dump(self._former[0], clock_offset_us), self._former[1]]
        if self._start_at is not None:
            state["start_at"] = self._start_at
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a committed state (:func:`of_another_boot` first, if it is). Raises ValueError if damaged."""
        try:
            self._offset, self._high = float(state["offset"]), _number(state["high"])
            self._base = _load(state["base"]) if "base" in state else None
            former = state.get("former")
            self._former = (_load(former[:3]), float(former[3])) if former else None
            self._start_at = state.get("start_at")
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError(f"counter state {str(state)[:200]!r} is damaged: {error!r}") from None
        self._pending, self._before, self._chain = None, None, []

    @property
    def needs_wall(self) -> bool:
        """True while the last booking is of another boot: :meth:`feed` wants the clock's offset."""
        marks = [self._base, self._former[0] if self._former else None]
        return any(mark is not None and mark.t_us is None for mark in marks)


def _dump(mark: _Mark, clock_offset_us: int | None) -> list[Any]:
    wall_us = mark.wall_us
    if mark.t_us is not None:
        wall_us = None if clock_offset_us is None else mark.t_us + clock_offset_us
    return [mark.raw, mark.t_us, wall_us]


def _load(dumped: list[Any]) -> _Mark:
    raw, t_us, wall_us = dumped
    return _Mark(_number(raw), t_us, wall_us)


def of_another_boot(state: dict[str, Any]) -> dict[str, Any]:
    """The same state with its boot-relative times taken out: only wall times hold over a boot."""
    state = dict(state)
    for key in ("base", "former"):
        if isinstance(state.get(key), list) and len(state[key]) > 2:
            state[key] = [state[key][0], None, *state[key][2:]]
    return state


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value
