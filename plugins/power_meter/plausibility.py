"""What to believe when the checksum is right but weak: Téléinfo's six bits, DSMR 2 and 3 without any.

The rules follow from the line itself. Of its last ``window`` frames (groups or telegrams), ``bad`` were damaged:

* clean (none): a value is taken as it comes;
* fair (at most ``fair``), and always where there is no checksum at all (``strict``): a counter must lie in the window
  that its last believed value and the connection's greatest power allow; a quantity must be near its last believed
  value or near its last reading; a word or setting must be what it was, or be read twice;
* noisy: a value is believed once it was *seen again*. A counter needs three equal readings, and what is booked is the
  one in the middle, at its own time: a counter never falls, so between two right readings of 123 456 it was 123 456.
  A word needs three within twice ``repeat_s`` (it has time), a quantity two within ``repeat_s``.

Why this is enough: a wrong value with a right checksum takes two flips in one group (p^2), a damaged group only one of
150 (150 p). So a line that makes wrong values shows hundreds of bad groups first. Figures: README, "On a bad line".
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
    believed: tuple[Scalar, float] | None = None
    """(value, time) of the last value that was let through."""
    seen: deque[tuple[Scalar, float]] = field(default_factory=lambda: deque(maxlen=8))


class Plausibility:
    """``counter``, ``quantity`` and ``word`` give the time at which the meter showed a value, or None while it is not
    believed. No clock: times come in, in seconds, and never go back by more than the frame that is being read."""

    def __init__(
        self, outcomes: Outcomes, *, fair: int, strict: bool = False, repeat_s: float = 20.0, hold_s: float = 900.0
    ) -> None:
        self._outcomes = outcomes
        self._fair = fair
        self._strict = strict
        self._repeat_s = repeat_s
        self._hold_s = hold_s
        self._series: dict[str, _Series] = {}

    def forget(self) -> None:
        """Another meter: nothing that was known of the old one holds."""
        self._series.clear()

    def counter(self, key: str, value: float, t_s: float, *, rate_per_s: float, slack: float) -> float | None:
        """A register that only grows: at most by ``rate_per_s``, and by ``slack`` (its resolution) at once."""
        series = self._see(key, value, t_s)

        def fits(before: tuple[Scalar, float] | None, now: Scalar, t_now: float) -> bool:
            if before is None:
                return not self._outcomes.bad
            grown = float(now) - float(before[0])
            return 0 <= grown <= rate_per_s * max(0.0, t_now - before[1]) + slack

        if self._free:
            return self._believe(series, value, t_s)
        if self._outcomes.bad <= self._fair:
            last = list(series.seen)[-3:]
            # Three that agree with one another: a swapped meter, a reset, the first readings of all.
            settled = len(last) == 3 and all(fits(one, *two) for one, two in pairwise(last))
            if fits(series.believed, value, t_s) or settled:
                return self._believe(series, value, t_s)
        equal = [t for v, t in series.seen if v == value]
        return self._believe(series, value, equal[-2]) if len(equal) >= 3 else None

    def quantity(self, key: str, value: float, t_s: float, *, small: float) -> float | None:
        """A number that moves. Near is a fifth of the larger one, or ``small``."""
        series = self._see(key, value, t_s)
        earlier = list(series.seen)[:-1]

        def near(other: Scalar) -> bool:
            return abs(value - float(other)) <= max(small, 0.2 * max(abs(value), abs(float(other))))

        if self._free:
            return self._believe(series, value, t_s)
        if self._outcomes.bad <= self._fair:
            known = series.believed
            if (known is None and not self._outcomes.bad) or (known is not None and near(known[0])) or (
                earlier and near(earlier[-1][0])
            ):
                return self._believe(series, value, t_s)
            return None
        again = self._again(earlier, value, t_s, self._repeat_s, 1)
        return self._believe(series, value, t_s) if again else None

    def word(self, key: str, value: Scalar, t_s: float) -> float | None:
        """A text, a setting, a count: what stays as it is for long."""
        series = self._see(key, value, t_s)
        earlier = list(series.seen)[:-1]
        known = series.believed
        if self._free or (self._outcomes.bad <= self._fair and (
            (known is None and not self._outcomes.bad) or (known is not None and known[0] == value)
        )):
            return self._believe(series, value, t_s)
        times = 1 if self._outcomes.bad <= self._fair else 2
        again = self._again(earlier, value, t_s, times * self._repeat_s, times)
        return self._believe(series, value, t_s) if again else None

    @property
    def _free(self) -> bool:
        return not self._outcomes.bad and not self._strict

    @staticmethod
    def _again(earlier: list[tuple[Scalar, float]], value: Scalar, t_s: float, within_s: float, times: int) -> bool:
        return sum(v == value and t_s - t <= within_s for v, t in earlier) >= times

    def _see(self, key: str, value: Scalar, t_s: float) -> _Series:
        series = self._series.setdefault(key, _Series())
        while series.seen and t_s - series.seen[0][1] > self._hold_s:
            series.seen.popleft()
        series.seen.append((value, t_s))
        return series

    @staticmethod
    def _believe(series: _Series, value: Scalar, t_s: float) -> float | None:
        """Let it through, unless something later already was."""
        if series.believed is not None and t_s < series.believed[1]:
            return None
        series.believed = (value, t_s)
        return t_s
