"""How the room answers to heat, learned from what has been: when to begin so that it is warm in time. Pure.

One linear model for each horizon (0.5 to 24 h ahead) says how much the temperature will have changed, from: the room's
own means of the last two hours and the last day (air, walls), the difference to outdoors now, the hour of the day
(people, sun), the heat of the last hour, and the heat that will be given until then. No forecast of the weather.

It never trusts itself unheard: every row is first predicted with weights that were solved before the prediction's
beginning, compared with "it stays as it is", and only then learned. Pre-heating waits until the model has been better
than that in enough beginnings of heating (:meth:`RoomModel.doubt`).
"""

from __future__ import annotations

import math
from array import array
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from .ridge import Ridge

US = 1_000_000
ROW_S = 900
HORIZONS = (2, 4, 8, 16, 32, 96)
"""In rows of 15 minutes."""
HOUR, TWO_HOURS, DAY = 4, 8, 96
INPUTS = 12
PENALTY = 10.0
"""The best of 1, 3, 10 ... 1000 when 45 % of a recorded winter predicted the next 15 %."""
KEEP = 0.9998
"""A row of 36 days ago weighs half."""
SOLVE_EVERY = 4
"""Rows between two solutions."""
MIN_EPISODES = 10
BETTER = 0.8
"""The model's error as a share of persistence's, at most."""
MIN_GAIN_C = 0.2
"""What an hour of full heat must change at the least; less is noise."""
MAX_LEAD_S = 3 * 3600
COLD, HOT = 0.02, 0.2
"""Duty below which the heater is taken for off, and above which for heating."""


class Row(NamedTuple):
    """The end of a quarter of an hour."""

    room_c: float
    outdoor_c: float | None
    duty: float
    """0 to 1: the share of the quarter in which it heated."""
    hour: float
    """Of the day, UTC: 0 to 24."""


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
        """The model's, persistence's."""
        count = max(1, self.count)
        return math.sqrt(self.model / count), math.sqrt(self.persistence / count)


class _State(NamedTuple):
    """What is known at the end of a row, and the weights as they were then."""

    row: Row
    fast_c: float
    slow_c: float
    duty_hour: float
    """Mean of the three rows before."""
    begins: bool
    """Nothing was heated in the hour up to here."""
    weights: tuple[Sequence[float], ...]


class Preheat(NamedTuple):
    start_us: int | None
    """Wall clock; it moves as the room cools: heat once it is past."""
    why: str


class RoomModel:
    """Feed it with :meth:`learn` (:class:`~.room_rows.Rows` makes the rows)."""

    def __init__(self, *, learning: bool = True) -> None:
        self.learning = learning
        self.scores = {horizon: Score() for horizon in HORIZONS}
        self.episodes = {horizon: Score() for horizon in HORIZONS}
        """The same where a heating began after an hour without."""
        self._fits = {horizon: Ridge(INPUTS, PENALTY, KEEP) for horizon in HORIZONS}
        self._weights: tuple[Sequence[float], ...] = tuple([0.0] * INPUTS for _ in HORIZONS)
        self._states: deque[_State] = deque(maxlen=DAY + 1)
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
        for horizon in HORIZONS:
            if len(states) <= horizon:
                break
            origin = states[-1 - horizon]
            ahead = [states[at].row.duty for at in range(len(states) - horizon, len(states))]
            x = _inputs(origin, ahead)
            change = row.room_c - origin.row.room_c
            if any(origin.weights[0]):
                error = _dot(origin.weights[HORIZONS.index(horizon)], x) - change
                self.scores[horizon].add(error, change)
                if origin.begins and ahead[0] > HOT:
                    self.episodes[horizon].add(error, change)
            if self.learning:
                self._fits[horizon].learn(x, change)
        self._unsolved += 1
        if self.learning and self._unsolved >= SOLVE_EVERY:
            self.solve()

    def solve(self) -> None:
        """Put what was learned to use; by itself once an hour."""
        self._weights = tuple(fit.weights() for fit in self._fits.values())
        self._unsolved = 0

    def _state(self, row: Row) -> _State:
        fast_c, slow_c = self._means or (row.room_c, row.room_c)
        self._means = (fast_c + (row.room_c - fast_c) * -math.expm1(-1 / TWO_HOURS),
                       slow_c + (row.room_c - slow_c) * -math.expm1(-1 / DAY))
        duties = [state.row.duty for state in list(self._states)[-3:]]
        return _State(
            row,
            *self._means,
            sum(duties) / len(duties) if duties else row.duty,
            len(duties) == 3 and max(*duties, row.duty) < COLD,
            self._weights,
        )

    # --- what it knows --------------------------------------------------------------------------------------

    def predict(self, duty: float, room_c: float | None = None, outdoor_c: float | None = None) -> list[float]:
        """Room temperatures at the horizons if so much is heated from now on; from the last row, or from ``room_c``
        and ``outdoor_c`` now. Empty before the first row."""
        if not self._states:
            return []
        state = self._states[-1]
        row = state.row._replace(room_c=state.row.room_c if room_c is None else room_c,
                                 outdoor_c=state.row.outdoor_c if outdoor_c is None else outdoor_c)
        state = state._replace(row=row)
        return [row.room_c + _dot(weights, _inputs(state, [duty] * horizon))
                for horizon, weights in zip(HORIZONS, self._weights, strict=True)]

    def time_to_reach(self, room_c: float, aim_c: float, outdoor_c: float | None, duty: float = 1.0) -> float | None:
        """Seconds of heating until ``aim_c``; None: not within 8 hours, or nothing is known yet."""
        if room_c >= aim_c:
            return 0.0
        before_s, before_c = 0.0, room_c
        for horizon, then_c in zip(HORIZONS[:-1], self.predict(duty, room_c, outdoor_c), strict=False):
            then_s = float(horizon * ROW_S)
            if then_c >= aim_c:
                return before_s + (then_s - before_s) * (aim_c - before_c) / (then_c - before_c)
            before_s, before_c = then_s, max(then_c, before_c)
        return None

    def gain_c(self) -> float | None:
        """By how much an hour of full heat makes the room warmer than none does."""
        if not self._states:
            return None
        at = HORIZONS.index(HOUR)
        return self.predict(1.0)[at] - self.predict(0.0)[at]

    def time_constant_h(self) -> float | None:
        """In which the difference to outdoors falls to 1/e with the heating off, as the 8 h model has it."""
        weights = self._weights[HORIZONS.index(32)]
        left = 1.0 + weights[1] / 4 - weights[4] / 10
        return -8.0 / math.log(left) if 0.0 < left < 1.0 else None

    def doubt(self) -> str | None:
        """Why it is not to be trusted with pre-heating; None: it is."""
        for horizon in (HOUR, TWO_HOURS):
            seen = self.episodes[horizon]
            if seen.count < MIN_EPISODES:
                return f"{seen.count} of {MIN_EPISODES} beginnings of heating seen"
            model, persistence = seen.rmse_c
            if model > BETTER * persistence:
                return (f"its error {horizon // 4} h after heating began is {model:.2f} °C, "
                        f"that of 'it stays as it is' {persistence:.2f} °C")
        gain = self.gain_c()
        if gain is None or gain < MIN_GAIN_C:
            return "no warming by the heater is seen" if gain is not None else "no row since the start"
        return None

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
        gain, constant = self.gain_c(), self.time_constant_h()
        return {
            "time_constant_h": None if constant is None else round(constant, 1),
            "gain_c_per_h": None if gain is None else round(gain, 2),
            "rows": round(self._fits[HOUR].rows),
            "errors": [_errors(horizon, self.scores[horizon]) for horizon in (HOUR, 16, DAY)],
            "beginnings": [_errors(horizon, self.episodes[horizon]) for horizon in (HOUR, TWO_HOURS)],
            "doubt": self.doubt(),
        }

    # --- kept -----------------------------------------------------------------------------------------------

    def to_kept(self) -> dict[str, Any]:
        """About 3 kB; rows of the last day are not in it."""
        numbers = array("f")
        for fit in self._fits.values():
            numbers.extend(fit.numbers())
        for scores in (self.scores, self.episodes):
            for score in scores.values():
                numbers.extend((score.count, score.model, score.persistence))
        numbers.extend(self._means or (0.0, 0.0))
        return {"v": 1, "f32": b64encode(numbers.tobytes()).decode()}

    def from_kept(self, kept: Any) -> str | None:
        """One line where it could not be used."""
        if not kept:
            return None
        size = 1 + INPUTS * (INPUTS + 1) // 2 + INPUTS
        try:
            if kept["v"] != 1:
                raise ValueError(f"version {kept['v']!r:.20}")
            numbers = array("f", b64decode(kept["f32"], validate=True)).tolist()
            if len(numbers) != len(HORIZONS) * (size + 6) + 2:
                raise ValueError(f"{len(numbers)} numbers")
            fits = {horizon: Ridge(INPUTS, PENALTY, KEEP) for horizon in HORIZONS}
            for at, fit in enumerate(fits.values()):
                fit.take(numbers[at * size : (at + 1) * size])
            rest, means = numbers[len(HORIZONS) * size : -2], (numbers[-2], numbers[-1])
            if not all(number >= 0 and math.isfinite(number) for number in rest):
                raise ValueError("a score below 0")
            if not all(-50.0 < mean < 80.0 for mean in means):
                raise ValueError("no temperature")
        except (ValueError, TypeError, KeyError) as error:
            return f"the kept room model cannot be read, it is learned anew: {error}"
        self._fits, self._means = fits, means if any(means) else None
        for at, score in enumerate([*self.scores.values(), *self.episodes.values()]):
            score.count, score.model, score.persistence = round(rest[3 * at]), rest[3 * at + 1], rest[3 * at + 2]
        self.solve()
        return None


def _inputs(origin: _State, ahead: Sequence[float]) -> tuple[float, ...]:
    """All of the order of 1, so that one penalty fits all."""
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


def _dot(weights: Sequence[float], x: Sequence[float]) -> float:
    return math.fsum(weight * value for weight, value in zip(weights, x, strict=True))


def _errors(horizon: int, score: Score) -> dict[str, Any]:
    model, persistence = score.rmse_c
    return {"h": horizon / 4, "model_c": round(model, 2), "persistence_c": round(persistence, 2), "count": score.count}
