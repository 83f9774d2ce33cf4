"""Charts as SVG: sparklines, and the series page where the chart library is missing. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

from markupsafe import Markup, escape

from hub.store.reader import Chart
from hub.web.pages import plain

Point = tuple[int, float, float, float]
"""t_us, mean, min, max"""
GAP = 3.5
"""A distance this many times the usual one is a gap and no line."""


def sparkline(chart: Chart, width: int = 84, height: int = 28) -> Markup:
    """A line without axes; empty when there are fewer than two numbers."""
    points = _points(chart)
    if len(points) < 2:
        return Markup("")
    frame = _Frame(points, width, height, 2, 2, 2, 2)
    svg = Markup('<svg class="spark" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}</svg>')
    return svg.format(width, height, _drawn(points, frame, chart))


def chart_svg(chart: Chart, title: str, width: int = 1000, height: int = 320) -> Markup:
    """A line over its band of minimum and maximum, with axes (UTC)."""
    points = _points(chart)
    if not points:
        return Markup("")
    frame = _Frame(points, width, height, 64, 12, 10, 28)
    parts = [Markup("")]
    for value in ticks(frame.low, frame.high):
        y = frame.y(value)
        line = Markup('<path class="grid" d="M64 {0:.1f}H{1}"/><text x="56" y="{2:.1f}" text-anchor="end">{3}</text>')
        parts.append(line.format(y, width - 12, y + 4, plain(value)))
    for at in range(5):
        t_us = frame.start + (frame.end - frame.start) * at // 4
        anchor = ("start", "middle", "middle", "middle", "end")[at]
        parts.append(Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
            frame.x(t_us), height - 8, anchor, _clock(t_us, frame.end - frame.start)))
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
        width, height, escape(title), Markup("").join(parts), _drawn(points, frame, chart))


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) within the range."""
    if not low < high:
        return [low]
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(step * n, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


class _Frame:
    """From time and value to picture."""

    def __init__(
        self, points: Sequence[Point], width: int, height: int, left: int, right: int, top: int, bottom: int,
    ) -> None:
        self.start, self.end = points[0][0], max(points[-1][0], points[0][0] + 1)
        self.low, self.high = min(point[2] for point in points), max(point[3] for point in points)
        if self.low == self.high:
            room = abs(self.low) * 0.05 or 1.0
            self.low, self.high = self.low - room, self.high + room
        self._left, self._wide = left, width - left - right
        self._bottom, self._tall = height - bottom, height - top - bottom

    def x(self, t_us: int) -> float:
        return self._left + self._wide * (t_us - self.start) / (self.end - self.start)

    def y(self, value: float) -> float:
        return self._bottom - self._tall * (value - self.low) / (self.high - self.low)


def _points(chart: Chart) -> list[Point]:
    return [
        (t, float(mean), float(low), float(high))
        for t, mean, low, high in zip(chart.t_us, chart.mean, chart.min, chart.max, strict=True)
        if mean is not None and low is not None and high is not None
    ]


def _drawn(points: Sequence[Point], frame: _Frame, chart: Chart) -> Markup:
    band, line = [], []
    for run in _runs(points):
        line.append("M" + "L".join(f"{frame.x(t):.1f} {frame.y(mean):.1f}" for t, mean, _, _ in run))
        if chart.width_us and len(run) > 1:
            upper = [f"{frame.x(t):.1f} {frame.y(high):.1f}" for t, _, _, high in run]
            lower = [f"{frame.x(t):.1f} {frame.y(low):.1f}" for t, _, low, _ in reversed(run)]
            band.append("M" + "L".join(upper + lower) + "Z")
    return Markup('<path class="band" d="{}"/><path class="line" d="{}"/>').format("".join(band), "".join(line))


def _runs(points: Sequence[Point]) -> list[Sequence[Point]]:
    """Cut where something is missing: a line across a gap would invent values."""
    steps = sorted(b[0] - a[0] for a, b in pairwise(points))
    usual = steps[len(steps) // 2] if steps else 0
    runs, first = [], 0
    for at in range(1, len(points)):
        if points[at][0] - points[at - 1][0] > GAP * usual:
            runs.append(points[first:at])
            first = at
    return [*runs, points[first:]]


def _clock(t_us: int, span_us: int) -> str:
    at = datetime.fromtimestamp(t_us / 1e6, UTC)
    if span_us > 200 * 86_400_000_000:
        return f"{at:%Y-%m}"
    return f"{at:%m-%d %H:%M}" if span_us > 86_400_000_000 else f"{at:%H:%M} UTC"
