"""What the room model sees in a moment, as numbers of the order of 1. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .warm_up import Curve, Start

HOUR, TWO_HOURS, FOUR_HOURS, EIGHT_HOURS, DAY = 4, 8, 16, 32, 96
"""In rows of 15 minutes."""
INPUTS = 12


class Row(NamedTuple):
    """The end of a quarter of an hour."""

    room_c: float
    outdoor_c: float | None
    duty: float
    """0 to 1: the share of the quarter in which it heated."""
    hour: float
    """Of the day, UTC: 0 to 24."""


class State(NamedTuple):
    """What is known at the end of a row, and the weights as they were then."""

    row: Row
    fast_c: float
    slow_c: float
    duty_hour: float
    """Mean of the three rows before."""
    weights: tuple[Sequence[float], ...]
    curve: Curve

    def start(self, room_c: float | None = None, outdoor_c: float | None = None) -> Start:
        row = self.row
        return Start(row.room_c if room_c is None else room_c, self.slow_c,
                     row.outdoor_c if outdoor_c is None else outdoor_c, row.duty, self.duty_hour)


def inputs(origin: State, ahead: Sequence[float]) -> tuple[float, ...]:
    """All of the order of 1, so that one penalty fits all. ``ahead``: duties of the rows from here to the horizon."""
    row, horizon = origin.row, len(ahead)
    hour = min(HOUR, horizon)
    angle = row.hour * math.pi / 12
    return (
        1.0,
        (row.room_c - 20.0) / 4,
        origin.fast_c - row.room_c,
        origin.slow_c - row.room_c,
        0.0 if row.outdoor_c is None else (row.outdoor_c - row.room_c) / 10,
        ahead[-1],
        sum(ahead[-hour:-1]) / (hour - 1),
        sum(ahead[:-hour]) / (horizon - hour) if horizon > hour else 0.0,
        row.duty,
        origin.duty_hour,
        math.sin(angle),
        math.cos(angle),
    )
