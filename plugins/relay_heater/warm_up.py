"""How fast the room warms once heating begins: a rise curve, learned from the beginnings that there were. Pure.

For each of seven times from a quarter of an hour to three hours: the rise is linear in the share of the time that was
heated, the outdoor temperature and how warm the walls are (the room's mean of the last day). The latter two are held
back by a penalty, so that after few beginnings it is hardly more than the mean of them.

Only beginnings count: the last quarter and the last hour were hardly heated, then it heats on. A thermostat that holds
a temperature heats in short bursts from which nothing rises; those would teach that heat does not warm.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from .ridge import Ridge, dot

TIMES = (1, 2, 3, 4, 6, 8, 12)
"""Rows of 15 minutes after the beginning."""
JUDGED = (2, 4)
"""Those by which it is judged: half an hour; and an hour, where heating ever lasts so long."""
INPUTS = 4
PENALTY = 1.0
KEEP = 0.985
"""A beginning weighs half after 46 more: about three weeks."""
IDLE = 0.5
"""Duty up to which a quarter, or an hour, counts as hardly heated: to hold eco takes a third in a cold week."""
BEGINS = 0.2
"""So much more than in the hour before is a beginning."""
SUSTAINED = 0.5
"""Mean duty from the beginning on, at least."""


class Score:
    """Squared errors of predictions that were made before their rows were learned."""

    def __init__(self) -> None:
        self.count = 0
        self.model = 0.0
        self.persistence = 0.0

    def add(self, error_c: float, persistence_c: float) -> None:
        self.count += 1
        self.model += error_c**2
        self.persistence += persistence_c**2

    @property
    def rmse_c(self) -> tuple[float, float]:
        """The model's, and that of "it stays as it is"."""
        count = max(1, self.count)
        return math.sqrt(self.model / count), math.sqrt(self.persistence / count)


class Start(NamedTuple):
    """The room when heating begins."""

    room_c: float
    walls_c: float
    outdoor_c: float | None
    duty: float
    """Of the last quarter."""
    duty_hour: float

    def inputs(self, duty: float) -> tuple[float, ...]:
        outdoor = 0.0 if self.outdoor_c is None else (self.outdoor_c - self.room_c + 12.0) / 100
        return 1.0, duty, outdoor, (self.walls_c - self.room_c) / 10

    def begins(self, ahead: Sequence[float]) -> bool:
        """Whether heating began here; ``ahead``: duties of the rows from then on."""
        return (self.duty <= IDLE and self.duty_hour <= IDLE and ahead[0] > self.duty_hour + BEGINS
                and sum(ahead) / len(ahead) >= SUSTAINED)


Curve = tuple[Sequence[float], ...]
"""Weights for each of ``TIMES``."""


class WarmUp:
    def __init__(self) -> None:
        self.fits = {rows: Ridge(INPUTS, PENALTY, KEEP) for rows in TIMES}
        self.scores = {rows: Score() for rows in TIMES}
        self.curve: Curve = tuple([0.0] * INPUTS for _ in TIMES)

    def learn(self, rows: int, start: Start, ahead: Sequence[float], rise_c: float, then: Curve, *, learning: bool
              ) -> None:
        """A beginning, ``rows`` later. ``then``: the curve as it was when it began, by which it is judged."""
        x = start.inputs(sum(ahead) / len(ahead))
        weights = then[TIMES.index(rows)]
        if any(weights):
            self.scores[rows].add(dot(weights, x) - rise_c, rise_c)
        if learning:
            self.fits[rows].learn(x, rise_c)

    def solve(self) -> None:
        self.curve = tuple(fit.weights() for fit in self.fits.values())

    def rise_c(self, start: Start, rows: int, duty: float = 1.0) -> float:
        """By how much it is warmer so many rows (of ``TIMES``) after the beginning."""
        return dot(self.curve[TIMES.index(rows)], start.inputs(duty))

    def seconds(self, start: Start, rise_c: float, duties: Sequence[float] | None = None) -> float | None:
        """Until it is so much warmer; None: not within three hours. ``duties``: of the rows; left out: full heat."""
        before_s, before_c = 0.0, 0.0
        for rows in TIMES:
            duty = 1.0 if duties is None else sum(duties[:rows]) / rows
            then_s, then_c = rows * 900.0, max(before_c, self.rise_c(start, rows, duty))
            if then_c >= rise_c:
                return before_s + (then_s - before_s) * (rise_c - before_c) / (then_c - before_c)
            before_s, before_c = then_s, then_c
        return None

    def doubt(self, least: int, better: float, start: Start) -> str | None:
        """Why it is not to be trusted; None: it is."""
        for rows, needed in zip(JUDGED, (least, 0), strict=True):
            seen = self.scores[rows]
            if seen.count < needed:
                return f"{seen.count} of {needed} beginnings of heating seen"
            model, persistence = seen.rmse_c
            if model > better * persistence:
                return (f"its error {rows / 4:g} h after heating began is {model:.2f} °C, "
                        f"that of 'it stays as it is' {persistence:.2f} °C")
        rise = self.rise_c(start, JUDGED[-1])
        return f"an hour of heat warms by {rise:.2f} °C, that is nothing" if rise < 0.2 else None
