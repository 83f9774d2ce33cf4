"""How the room answers to heat, learned from what has been: when to begin so that it is warm in time. Pure.

One linear model for each horizon (0.5 to 24 h ahead) says how much the temperature will have changed, from: the room's
own means of the last two hours and the last day (air, walls), the difference to outdoors now, the hour of the day
(people, sun), the heat of the last hour, and the heat that will be given until then. No forecast of the weather. Beside
it stands the rise curve of :mod:`.warm_up`: pre-heating asks that one.

Neither trusts itself unheard: every row is first predicted with weights that were solved before the prediction's
beginning, compared with "it stays as it is", and only then learned. Pre-heating waits until the curve has been better
than that in enough beginnings of heating (:meth:`RoomModel.doubt`).
"""

from __future__ import annotations

import math
from array import array
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from .ridge import Ridge, dot
from .room_state import DAY, EIGHT_HOURS, FOUR_HOURS, HOUR, INPUTS, TWO_HOURS, Row, State, inputs
from .warm_up import INPUTS as CURVE_INPUTS
from .warm_up import JUDGED, TIMES, Score, WarmUp

US = 1_000_000
ROW_S = 900
HORIZONS = (2, 4, 8, 16, 32, 96)
"""In rows of 15 minutes."""
PENALTY = 10.0
"""The best of 1, 3, 10 ... 1000 when 45 % of a recorded winter predicted the next 15 %."""
KEEP = 0.9998
"""A row of 36 days ago weighs half."""
SOLVE_EVERY = 4
"""Rows between two solutions."""
MIN_BEGINNINGS = 10
BETTER = 0.8
"""The curve's error as a share of persistence's, at most."""
MAX_LEAD_S = 3 * 3600


class Preheat(NamedTuple):
    start_us: int | None
    """Wall clock; it moves as the room cools: heat once it is past."""
    why: str


class RoomModel:
    """Feed it with :meth:`learn` (:class:`~.room_rows.Rows` makes the rows)."""

    def __init__(self, *, learning: bool = True) -> None:
        self.learning = learning
        self.scores = {horizon: Score() for horizon in HORIZONS}
        self.warm_up = WarmUp()
        self._fits = {horizon: Ridge(INPUTS, PENALTY, KEEP) for horizon in HORIZONS}
        self._weights: tuple[Sequence[float], ...] = tuple([0.0] * INPUTS for _ in HORIZONS)
        self._states: deque[State] = deque(maxlen=DAY + 1)
        self._means: tuple[float, float] | None = None
        """Of two hours and of a day, as of the last row."""
        self._unsolved = 0

    # --- learning -------------------------------------------------------------------------------------------

    def gap(self) -> None:
        """Rows are missing, or were no truth about heating (a window was open): nothing is learned across it, and the
        means go on from where they were."""
        self._states.clear()

    def learn(self, row: Row) -> None:
        states = self._states
        states.append(self._state(row))
        duties = [state.row.duty for state in states]
        for number, horizon in enumerate(HORIZONS):
            if len(states) > horizon:
                origin = states[-1 - horizon]
                x, change = inputs(origin, duties[-horizon:]), row.room_c - origin.row.room_c
                if any(origin.weights[number]):
                    self.scores[horizon].add(dot(origin.weights[number], x) - change, change)
                if self.learning:
                    self._fits[horizon].learn(x, change)
        for rows in TIMES:
            if len(states) > rows + 3:
                origin, ahead = states[-1 - rows], duties[-rows:]
                if origin.start().begins(ahead):
                    self.warm_up.learn(rows, origin.start(), ahead, row.room_c - origin.row.room_c, origin.curve,
                                       learning=self.learning)
        self._unsolved += 1
        if self.learning and self._unsolved >= SOLVE_EVERY:
            self.solve()

    def solve(self) -> None:
        """Put what was learned to use; by itself once an hour."""
        self._weights = tuple(fit.weights() for fit in self._fits.values())
        self.warm_up.solve()
        self._unsolved = 0

    def _state(self, row: Row) -> State:
        fast_c, slow_c = self._means or (row.room_c, row.room_c)
        self._means = (fast_c + (row.room_c - fast_c) * -math.expm1(-1 / TWO_HOURS),
                       slow_c + (row.room_c - slow_c) * -math.expm1(-1 / DAY))
        duties = [state.row.duty for state in list(self._states)[-3:]]
        return State(row, *self._means, sum(duties) / len(duties) if duties else row.duty, self._weights,
                      self.warm_up.curve)

    # --- what it knows --------------------------------------------------------------------------------------

    def predict(self, duty: float) -> list[float]:
        """Room temperatures at the horizons if so much is heated from now on; empty before the first row."""
        if not self._states:
            return []
        state = self._states[-1]
        return [state.row.room_c + dot(weights, inputs(state, [duty] * horizon))
                for horizon, weights in zip(HORIZONS, self._weights, strict=True)]

    def time_to_reach(self, room_c: float, aim_c: float, outdoor_c: float | None,
                      duties: Sequence[float] | None = None) -> float | None:
        """Seconds of heating until ``aim_c``; None: not within 3 hours, or nothing is known yet. ``duties``: of the
        12 rows from now on; left out: full heat."""
        if room_c >= aim_c:
            return 0.0
        if not self._states:
            return None
        return self.warm_up.seconds(self._states[-1].start(room_c, outdoor_c), aim_c - room_c, duties)

    def time_constant_h(self) -> float | None:
        """In which the difference to outdoors falls to 1/e with the heating off, as the 8 h model has it."""
        weights = self._weights[HORIZONS.index(EIGHT_HOURS)]
        left = 1.0 + weights[1] / 4 - weights[4] / 10
        return -8.0 / math.log(left) if 0.0 < left < 1.0 else None

    def doubt(self) -> str | None:
        """Why it is not to be trusted with pre-heating; None: it is."""
        if not self._states:
            return "no quarter of an hour has been seen since the start"
        return self.warm_up.doubt(MIN_BEGINNINGS, BETTER, self._states[-1].start())

    def preheat_start(self, aim: Any, room_c: float, outdoor_c: float | None, max_lead_s: float = MAX_LEAD_S
                      ) -> Preheat:
        """When to begin for ``aim.next_setpoint_c`` at ``aim.next_us`` (:class:`~.programme.Aim`)."""
        if aim.next_us is None or aim.next_setpoint_c is None or aim.next_setpoint_c <= aim.setpoint_c:
            return Preheat(None, "nothing warmer comes next")
        doubt = self.doubt()
        if doubt:
            return Preheat(None, f"no pre-heat: {doubt}")
        needed_s = self.time_to_reach(room_c, aim.next_setpoint_c, outdoor_c)
        if needed_s is None or needed_s > max_lead_s:
            return Preheat(aim.next_us - round(max_lead_s * US), f"{aim.next_setpoint_c:.1f} °C takes more than "
                                                                 f"{max_lead_s / 3600:g} h")
        return Preheat(aim.next_us - round(needed_s * US),
                       f"{aim.next_setpoint_c:.1f} °C takes about {needed_s / 60:.0f} min")

    def summary(self) -> dict[str, Any]:
        """The property ``room_model``: errors are RMSE in °C, of predictions made before the fact."""
        constant = self.time_constant_h()
        rise = self.warm_up.rise_c(self._states[-1].start(), HOUR) if self._states else None
        return {
            "time_constant_h": None if constant is None else round(constant, 1),
            "gain_c_per_h": None if rise is None else round(rise, 2),
            "rows": round(self._fits[HOUR].rows),
            "errors": [_errors(horizon, self.scores[horizon]) for horizon in (HOUR, FOUR_HOURS, DAY)],
            "beginnings": [_errors(rows, self.warm_up.scores[rows]) for rows in JUDGED],
            "doubt": self.doubt(),
        }

    # --- kept -----------------------------------------------------------------------------------------------

    def to_kept(self) -> dict[str, Any]:
        """About 4 kB, changing with every row; the rows of the last day are not in it."""
        numbers = array("f", self._means or (0.0, 0.0))
        for fit in self._all_fits(self._fits, self.warm_up):
            numbers.extend(fit.numbers())
        for score in [*self.scores.values(), *self.warm_up.scores.values()]:
            numbers.extend((score.count, score.model, score.persistence))
        return {"v": 1, "f32": b64encode(numbers.tobytes()).decode()}

    def from_kept(self, kept: Any) -> str | None:
        """One line where it could not be used."""
        if not kept:
            return None
        fits, warm_up = {horizon: Ridge(INPUTS, PENALTY, KEEP) for horizon in HORIZONS}, WarmUp()
        scores = {horizon: Score() for horizon in HORIZONS}
        try:
            if kept["v"] != 1:
                raise ValueError(f"version {kept['v']!r:.20}")
            numbers = array("f", b64decode(kept["f32"], validate=True)).tolist()
            if len(numbers) != KEPT_NUMBERS or not all(map(math.isfinite, numbers)):
                raise ValueError(f"{len(numbers)} numbers, {KEPT_NUMBERS} are needed, all finite")
            means, at = (numbers[0], numbers[1]), 2
            for fit in self._all_fits(fits, warm_up):
                size = len(fit.numbers())
                fit.take(numbers[at : at + size])
                at += size
            for score in [*scores.values(), *warm_up.scores.values()]:
                if min(numbers[at : at + 3]) < 0:
                    raise ValueError("a score below 0")
                score.count, score.model, score.persistence = round(numbers[at]), numbers[at + 1], numbers[at + 2]
                at += 3
        except (ValueError, TypeError, KeyError) as error:
            return f"the kept room model cannot be read, it is learned anew: {error}"
        self._fits, self.warm_up, self.scores, self._means = fits, warm_up, scores, means if any(means) else None
        self.solve()
        return None

    @staticmethod
    def _all_fits(fits: dict[int, Ridge], warm_up: WarmUp) -> list[Ridge]:
        return [*fits.values(), *warm_up.fits.values()]


def _size(count: int) -> int:
    """Of ``Ridge.numbers`` and one score."""
    return 1 + count * (count + 1) // 2 + count + 3


KEPT_NUMBERS = 2 + len(HORIZONS) * _size(INPUTS) + len(TIMES) * _size(CURVE_INPUTS)


def _errors(rows: int, score: Score) -> dict[str, Any]:
    model, persistence = score.rmse_c
    return {"h": rows / 4, "model_c": round(model, 2), "persistence_c": round(persistence, 2), "count": score.count}
