"""Room, aim and the relay's on-times of the last day as one picture: SVG without a style of its own, so that any page's
policy lets it be drawn. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape
from msgspec import Struct

from hub.web.svg import ticks
from hub.web.zones import local

WIDTH, HEIGHT = 720, 240
LEFT, RIGHT, TOP, BOTTOM = 40, 8, 10, 44
STRIP = 10
"""Height of the relay's bars, below the curves."""
GAP_US = 45 * 60 * 1_000_000
"""A longer silence is a gap: a line across it would invent a temperature."""
LEAST_SPAN_C = 2.0
Points = Sequence[tuple[int, float]]
"""(t_us, value)"""


class Day(Struct, frozen=True):
    start_us: int
    end_us: int
    room: Points
    aim: Points
    """Each value holds until the next."""
    on: Sequence[tuple[int, int]]
    """When the relay was on."""

    @property
    def on_s(self) -> float:
        return sum(end - start for start, end in self.on) / 1e6


def on_times(samples: Points, end_us: int, max_hold_us: int = GAP_US) -> list[tuple[int, int]]:
    """From samples of a boolean: it holds until the next one, but never for longer than ``max_hold_us`` unheard."""
    spans: list[tuple[int, int]] = []
    for (t, value), (after, _) in pairwise([*samples, (end_us, 0.0)]):
        if value >= 0.5:
            end = min(after, t + max_hold_us)
            if spans and spans[-1][1] >= t:
                spans[-1] = (spans[-1][0], end)
            else:
                spans.append((t, end))
    return spans


def picture(day: Day, zone: ZoneInfo, title: str) -> Markup:
    """Empty when there is nothing to draw."""
    values = [value for _, value in (*day.room, *day.aim)]
    if not values:
        return Markup("")
    low, high = min(values), max(values)
    if high - low < LEAST_SPAN_C:
        low, high = (low + high - LEAST_SPAN_C) / 2, (low + high + LEAST_SPAN_C) / 2
    room = (high - low) * 0.06
    frame = _Frame(day.start_us, day.end_us, low - room, high + room)
    parts = [_grid(frame, zone), _bars(frame, day.on), _step(frame, day.aim), _curve(frame, day.room)]
    svg = Markup('<svg class="heat-day" viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>')
    return svg.format(WIDTH, HEIGHT, escape(title), Markup("").join(parts))


class _Frame:
    def __init__(self, start_us: int, end_us: int, low: float, high: float) -> None:
        self.start_us, self.end_us, self.low, self.high = start_us, end_us, low, high

    def x(self, t_us: int) -> float:
        part = (t_us - self.start_us) / max(1, self.end_us - self.start_us)
        return LEFT + (WIDTH - LEFT - RIGHT) * min(1.0, max(0.0, part))

    def y(self, value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.high - value) / (self.high - self.low)


def _grid(frame: _Frame, zone: ZoneInfo) -> Markup:
    parts = []
    for value in ticks(frame.low, frame.high, 4):
        y = frame.y(value)
        parts.append(Markup('<path class="grid" d="M{0} {1:.1f}H{2}"/><text x="{3}" y="{4:.1f}" text-anchor="end">{5:g}'
                            '</text>').format(LEFT, y, WIDTH - RIGHT, LEFT - 6, y + 4, value))
    span_h = (frame.end_us - frame.start_us) / 3600e6
    for at, words in _marks(frame, zone, 240 if span_h > 8 else 60 if span_h > 1.5 else 15 if span_h > 0.5 else 5):
        x = frame.x(at)
        parts.append(Markup('<path class="grid" d="M{0:.1f} {1}V{2}"/>'
                            '<text x="{0:.1f}" y="{3}" text-anchor="middle">{4}</text>').format(
                                x, TOP, HEIGHT - BOTTOM + 4 + STRIP, HEIGHT - 8, words))
    return Markup("").join(parts)


def _marks(frame: _Frame, zone: ZoneInfo, every_min: int) -> list[tuple[int, str]]:
    """Round times of the clock on the wall."""
    at: datetime = local(frame.start_us, zone).replace(minute=0, second=0, microsecond=0)
    found = []
    while (t_us := round(at.timestamp() * 1e6)) < frame.end_us:
        shown = local(t_us, zone)
        round_time = (60 * shown.hour + shown.minute) % every_min == 0
        if t_us > frame.start_us and round_time and LEFT + 14 < frame.x(t_us) < WIDTH - 20:
            found.append((t_us, f"{shown:%H:%M}"))
        at = (at.astimezone(ZoneInfo("UTC")) + timedelta(minutes=min(60, every_min))).astimezone(zone)
    return found


def _bars(frame: _Frame, on: Sequence[tuple[int, int]]) -> Markup:
    y = HEIGHT - BOTTOM + 4
    base = Markup('<rect class="off" x="{}" y="{}" width="{}" height="{}"/>').format(
        LEFT, y, WIDTH - LEFT - RIGHT, STRIP)
    return base + Markup("").join(
        Markup('<rect class="on" x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>').format(
            frame.x(start), y, max(0.8, frame.x(end) - frame.x(start)), STRIP)
        for start, end in on)


def _step(frame: _Frame, points: Points) -> Markup:
    if not points:
        return Markup("")
    parts = [f"M{frame.x(points[0][0]):.1f} {frame.y(points[0][1]):.1f}"]
    parts += [f"H{frame.x(t):.1f}V{frame.y(value):.1f}" for t, value in points[1:]]
    return Markup('<path class="aim" d="{}H{:.1f}"/>').format("".join(parts), frame.x(frame.end_us))


def _curve(frame: _Frame, points: Points) -> Markup:
    made, last = [], None
    for t, value in points:
        made.append(f"{'M' if last is None or t - last > GAP_US else 'L'}{frame.x(t):.1f} {frame.y(value):.1f}")
        last = t
    return Markup('<path class="room" d="{}"/>').format("".join(made))
