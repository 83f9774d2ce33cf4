"""Conditions over hours and days: never zero, rate, forecast. Their memory is a few dozen numbers a series."""

from __future__ import annotations

from statistics import median
from typing import Any

from agent.rules.cells import Cell, numeric
from agent.rules.declared import Declared
from agent.rules.hold import FAR_US
from agent.rules.model import Forecast, NeverZero, Rate
from agent.rules.words import days, duration, number

HOUR_US = 3600 * 1_000_000
DAY_US = 24 * HOUR_US
RATE_POINTS = 60
TREND_POINTS = 56
"""Of a week: one for each three hours."""
LEAST_POINTS = 8


class NeverZeroCell(Cell):
    """Use by whole hours (UTC; local ones are the same except in zones of half an hour)."""

    memory = True
    __slots__ = ("count", "counter", "hour", "hours", "missing", "used", "zero")

    def __init__(self, when: NeverZero, declared: Declared) -> None:
        super().__init__(declared)
        self.count, self.zero = when.hours, when.zero
        self.missing = when.hours // 8 if when.missing is None else when.missing
        self.counter = declared.counter if when.reads == "auto" else when.reads == "counter"
        self.used: dict[int, float | None] = {}
        """Hour since 1970 -> use; None: not seen whole, and no use seen in it."""
        self.hour: int | None = None
        """The newest hour that has begun."""

    @property
    def next_us(self) -> int:
        return FAR_US if self.hour is None else (self.hour + 1) * HOUR_US

    def begin(self, t_us: int) -> None:
        if self.hour is None:
            self._enter(t_us // HOUR_US)

    def feed(self, t_us: int, value: Any) -> None:
        got = numeric(value)
        if got is None:
            return
        hour = t_us // HOUR_US
        if self.counter:
            self._count(hour, got)
        else:
            self.used[hour] = max(self.used.get(hour) or 0.0, got)
        self.last_us, self.value = t_us, got
        if self.hour is None or hour > self.hour:
            self._enter(hour)
        elif hour < self.hour:
            self._judge()  # it came late

    def _count(self, hour: int, got: float) -> None:
        if self.last_us is None:
            self.used[hour] = None
            return
        grown = max(0.0, got - self.value)  # a counter that fell is another counter
        before = self.last_us // HOUR_US
        if hour - before > 1:
            if grown > self.zero:  # nobody knows in which of them
                self.used[hour] = None
                return
            for one in range(max(before + 1, hour - self.count), hour):
                self.used[one] = 0.0
        had = self.used.get(hour, 0.0)
        if had is not None:
            self.used[hour] = had + grown
        elif grown > self.zero:
            self.used[hour] = grown

    def advance(self, t_us: int) -> None:
        if self.hour is not None and t_us >= self.next_us:
            self._enter(t_us // HOUR_US)

    def _enter(self, hour: int) -> None:
        self.hour = hour
        for old in [one for one in self.used if one < hour - self.count]:
            del self.used[old]
        self._judge()

    def _judge(self) -> None:
        now = self.hour or 0
        uses = [self.used.get(one) for one in range(now - self.count, now)]
        if any(use is not None and use <= self.zero for use in uses):
            self.truth = False
        else:
            self.truth = None if sum(use is None for use in uses) > self.missing else True

    def text(self, unit: str) -> str:
        now = self.hour or 0
        uses = [use for one in range(now - self.count, now) if (use := self.used.get(one)) is not None]
        if self.truth is None:
            return f"was seen in {len(uses)} of the last {self.count} h only"
        if self.truth:
            return (f"was not zero in any of the last {self.count} h (smallest use in an hour: "
                    f"{number(min(uses), unit)})")
        zeros = sum(use <= self.zero for use in uses)
        return f"was zero in {zeros} of the last {self.count} h"

    def kept(self) -> list[Any]:
        return [*super().kept(), self.hour, list(self.used.items())]

    def restore(self, kept: list[Any]) -> None:
        super().restore(kept)
        self.hour, self.used = kept[3], {hour: use for hour, use in kept[4]}


class RateCell(Cell):
    """From the oldest of a few dozen points of the window to now."""

    memory = True
    __slots__ = ("high", "leave", "limit", "points", "rate", "window_us")

    def __init__(self, when: Rate, declared: Declared) -> None:
        super().__init__(declared)
        self.high = when.above is not None
        self.limit: float = when.above if when.above is not None else when.below or 0.0
        self.leave = self.limit - when.hysteresis if self.high else self.limit + when.hysteresis
        self.window_us = round(when.window_s * 1e6)
        self.points: list[tuple[int, float]] = []
        self.rate: float | None = None

    def judge(self, t_us: int, value: Any) -> bool | None:
        got = numeric(value)
        if got is None:
            return None
        while self.points and self.points[0][0] < t_us - self.window_us:
            self.points.pop(0)
        if not self.points or t_us - self.points[-1][0] >= self.window_us // RATE_POINTS:
            self.points.append((t_us, got))
        span = t_us - self.points[0][0]
        if span < self.window_us // 2:
            self.rate = None
            return None
        self.rate = (got - self.points[0][1]) * HOUR_US / span
        limit = self.leave if self.truth else self.limit
        return self.rate > limit if self.high else self.rate < limit

    def text(self, unit: str) -> str:
        if self.rate is None:
            return f"has not been seen for {duration(self.window_us / 2e6)} yet"
        per = f"{unit}/h" if unit else "per h"
        side = ("" if self.truth else "not ") + ("above" if self.high else "below")
        return f"changes by {number(self.rate, per)}, {side} {number(self.limit, per)}"

    def kept(self) -> list[Any]:
        return [*super().kept(), self.points, self.rate]

    def restore(self, kept: list[Any]) -> None:
        super().restore(kept)
        self.points, self.rate = [(t_us, value) for t_us, value in kept[3]], kept[4]


class ForecastCell(Cell):
    """Theil-Sen over the means of a few dozen spans; both halves have to go the same way, so a step is no trend."""

    memory = True
    __slots__ = ("days_left", "high", "limit", "means", "now_n", "now_span", "now_sum", "span_us", "within_us")

    def __init__(self, when: Forecast, declared: Declared) -> None:
        super().__init__(declared)
        self.high = when.above is not None
        self.limit: float = when.above if when.above is not None else when.below or 0.0
        self.within_us = when.within_days * DAY_US
        self.span_us = max(1, round(when.window_days * DAY_US / TREND_POINTS))
        self.means: list[tuple[int, float]] = []
        """(number of the span since 1970, mean)"""
        self.now_span, self.now_sum, self.now_n = 0, 0.0, 0
        self.days_left: float | None = None

    def judge(self, t_us: int, value: Any) -> bool | None:
        got = numeric(value)
        if got is None:
            return None
        span = t_us // self.span_us
        if span != self.now_span:
            if self.now_n:
                self.means.append((self.now_span, self.now_sum / self.now_n))
                self.means = [one for one in self.means[-TREND_POINTS:] if one[0] >= span - TREND_POINTS]
            self.now_span, self.now_sum, self.now_n = span, 0.0, 0
            self.days_left = self._days_left()
        self.now_sum += got
        self.now_n += 1
        if got > self.limit if self.high else got < self.limit:
            return True
        if len(self.means) < LEAST_POINTS:
            return None
        return self.days_left is not None and self.days_left * DAY_US <= self.within_us

    def _days_left(self) -> float | None:
        if len(self.means) < LEAST_POINTS:
            return None
        half = len(self.means) // 2
        slope = theil_sen(self.means)
        sign = 1.0 if self.high else -1.0
        if slope * sign <= 0 or any(theil_sen(part) * sign < 0.25 * slope * sign
                                    for part in (self.means[:half], self.means[half:])):
            return None
        level = median(mean for _, mean in self.means[-3:])
        return max(0.0, (self.limit - level) / slope * self.span_us / DAY_US)

    def text(self, unit: str) -> str:
        side, limit = "above" if self.high else "below", number(self.limit, unit)
        got = numeric(self.value)
        if got is not None and (got > self.limit if self.high else got < self.limit):
            return f"is {number(got, unit)}, {side} {limit} already"
        if self.truth is None:
            return "has not been seen for long enough for a trend"
        if self.days_left is None:
            return f"has no steady trend to {limit}"
        return f"is {number(self.value, unit)} and will be {side} {limit} in {days(self.days_left)}"

    def kept(self) -> list[Any]:
        return [*super().kept(), self.means, self.now_span, self.now_sum, self.now_n, self.days_left]

    def restore(self, kept: list[Any]) -> None:
        super().restore(kept)
        self.means = [(span, mean) for span, mean in kept[3]]
        self.now_span, self.now_sum, self.now_n, self.days_left = kept[4:8]


def theil_sen(points: list[tuple[int, float]]) -> float:
    """The median of the slopes between all pairs; 0 for fewer than two points."""
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for n, a in enumerate(points) for b in points[n + 1 :] if b[0] != a[0]]
    return median(slopes) if slopes else 0.0


__all__ = ["ForecastCell", "NeverZeroCell", "RateCell", "theil_sen"]
