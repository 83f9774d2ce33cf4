"""What to believe when the checksum is right but weak: Téléinfo's six bits, DSMR 2 and 3 without any CRC.

The rule follows from the line itself. Of the last ``window`` frames (groups or telegrams) ``bad`` were damaged:

* clean (none bad): a value is taken as it comes; where there is no checksum at all (``strict``), counters must still
  fit their window;
* fair (at most ``fair``): as before, but a counter must lie in the window that its last booked value and the
  connection's greatest power allow; outside of it, three readings in a row must agree with one another;
* noisy: a value is believed once it was *seen again*. A counter needs three equal readings, and what is booked is the
  one in the middle, at its own time: a counter never falls, so between two right readings of 123 456 it was 123 456.
  Anything else needs two equal readings within ``repeat_s``.

Why this is enough: a damaged group with a right checksum needs two flips (p^2), a damaged one needs only one (p x 150
bits), so a line that produces wrong values shows hundreds of bad groups first. Figures: README, "On a bad line".
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise

Scalar = float | int | str | bool


class Outcomes:
    """The last ``window`` outcomes of a line, good or bad: link quality and trust."""

    def __init__(self, window: int) -> None:
        self._last: deque[bool] = deque(maxlen=window)
        self.bad = 0
        self.good_total = 0
        self.bad_total = 0

    def record(self, good: bool) -> None:
        if len(self._last) == self._last.maxlen and not self._last[0]:
            self.bad -= 1
        self._last.append(good)
        if good:
            self.good_total += 1
        else:
            self.bad += 1
            self.bad_total += 1

    @property
    def quality_pct(self) -> float:
        """Share of good frames among the last ones, in percent; 0 before the first."""
        return round(100.0 * (len(self._last) - self.bad) / len(self._last), 1) if self._last else 0.0


@dataclass(slots=True)
class _Series:
    booked: tuple[float, float] | None = None
    """(value, time) of the last counter value that was let through."""
    seen: deque[tuple[Scalar, float]] = field(default_factory=lambda: deque(maxlen=8))
    told_s: float = float("-inf")
    """Time of the last value that was let through: none earlier follows it."""


class Plausibility:
    """``accept`` says whether to believe a value, and which time it belongs to. No clock: times come in, in seconds."""

    def __init__(
        self, outcomes: Outcomes, *, fair: int, rate_per_s: float, slack: float = 1.0, strict: bool = False,
        repeat_s: float = 20.0, hold_s: float = 900.0,
    ) -> None:
        self._outcomes = outcomes
        self._fair = fair
        self._rate_per_s = rate_per_s
        self._slack = slack
        self._strict = strict
        self._repeat_s = repeat_s
        self._hold_s = hold_s
        self._series: dict[str, _Series] = {}

    def forget(self) -> None:
        """Another meter: nothing that was known of the old one holds."""
        self._series.clear()

    def accept(
        self, key: str, value: Scalar, t_s: float, *, counter: bool, slack: float | None = None
    ) -> float | None:
        """The time at which the meter showed ``value``, or None while it is not believed.

        ``key`` names the register; a counter's ``value`` is in the unit that ``rate_per_s`` has per second, and
        ``slack`` is what it may grow by at once (its resolution; a gas meter tells an hour in one step)."""
        series = self._series.setdefault(key, _Series())
        while series.seen and t_s - series.seen[0][1] > self._hold_s:
            series.seen.popleft()
        series.seen.append((value, t_s))
        bad = self._outcomes.bad
        if counter and not isinstance(value, str):
            believed = self._counter(series, float(value), t_s, bad, self._slack if slack is None else slack)
        elif bad <= self._fair or any(v == value and t_s - t <= self._repeat_s for v, t in list(series.seen)[:-1]):
            believed = t_s
        else:
            believed = None
        if believed is None or believed < series.told_s:
            return None
        series.told_s = believed
        return believed

    def _counter(self, series: _Series, value: float, t_s: float, bad: int, slack: float) -> float | None:
        if bad <= self._fair and (
            (bad == 0 and not self._strict) or self._fits(series.booked, value, t_s, slack)
            or self._settled(series, slack)
        ):
            series.booked = (value, t_s)
            return t_s
        equal = [t for v, t in series.seen if v == value]
        if len(equal) < 3:
            return None
        middle = equal[-2]
        if series.booked is None or middle >= series.booked[1]:
            series.booked = (value, middle)
        return middle

    def _fits(self, booked: tuple[float, float] | None, value: float, t_s: float, slack: float) -> bool:
        """Not below the last booked value, nor above what full power could have added."""
        if booked is None:
            return not self._outcomes.bad
        return booked[0] <= value <= booked[0] + self._rate_per_s * max(0.0, t_s - booked[1]) + slack

    def _settled(self, series: _Series, slack: float) -> bool:
        """Three last readings that agree with one another: a swapped meter, a reset, a first reading."""
        last = list(series.seen)[-3:]
        if len(last) < 3:
            return False
        return all(
            self._fits((float(v0), t0), float(v1), t1, slack) for (v0, t0), (v1, t1) in pairwise(last)
        )
