"""A household's water as flow over time: every use of a year from a seed, and the pulses of its meter. Pure.

Sizes and frequencies are round numbers of a European house (a toilet 6 l, a shower 8 min at 8 l/min, a washing machine
four fills). Leaks are added to it for tests, and the demo plays it at the speed of the clock.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterable, Iterator
from typing import NamedTuple

DAY_S = 86400.0


class Use(NamedTuple):
    """Water flows from ``begin_s`` for ``length_s`` seconds at ``flow_l_h``."""

    begin_s: float
    length_s: float
    flow_l_h: float


def day_uses(rng: random.Random, day: int, people: int = 4, *, away: bool = False, garden: bool = True) -> list[Use]:
    """The uses of one day, unordered; ``day`` 0 is the first of January."""
    if away:
        return []
    begin = day * DAY_S
    weekend = day % 7 in (5, 6)
    guests = rng.random() < (0.15 if weekend else 0.01)
    heads = people + (rng.randint(2, 6) if guests else 0)
    uses: list[Use] = []

    def at(*hours: tuple[float, float]) -> float:
        """A time of day around one of the hours, each with its spread."""
        middle, spread = rng.choice(hours)
        return begin + max(0.0, min(23.99, rng.gauss(middle, spread))) * 3600

    def use(t: float, litres: float, l_min: float) -> None:
        uses.append(Use(t, max(2.0, litres / l_min * 60), l_min * 60))

    late = 23.5 if guests else 21.5
    for _ in range(heads):
        for _ in range(rng.randint(3, 6)):
            use(at((7.5 + weekend, 0.7), (13, 2), (19, 2), (late, 1)), 6 if rng.random() < 0.5 else 3, 6)
        if rng.random() < 0.35:  # somebody gets up at night
            use(begin + rng.uniform(0.5, 6) * 3600, 6, 6)
        for _ in range(rng.randint(6, 12)):
            use(at((7.5 + weekend, 0.8), (12.5, 1), (18.5, 2), (late, 1)), rng.uniform(0.2, 4), rng.uniform(2, 7))
    for _ in range(people):
        if rng.random() < 0.75:
            minutes = min(25.0, rng.lognormvariate(2.05, 0.4))
            use(at((7 + 1.5 * weekend, 0.7), (7 + 1.5 * weekend, 0.7), (20, 1.5)), minutes * 8, 8)
    if rng.random() < 0.12:
        use(at((19.5, 1)), 150, 15)  # a bath
    machines = (("clothes", 0.2 * people, 4, 12, 1000), ("dishes", 0.8, 3, 4, 1500))
    for machine, chance, fills, litres, apart_s in machines:
        if rng.random() < chance:
            start = at((10, 2), (20, 1)) if machine == "clothes" else at((14, 1), (20.5, 1))
            for fill in range(fills):
                use(start + fill * apart_s, litres, 8)
    if garden and 120 <= day % 365 <= 270 and rng.random() < 0.35:
        use(at((8, 1), (20, 1)), rng.uniform(8, 35) * 14, 14)
    if rng.random() < 0.03:  # the car
        start = at((11, 2))
        for part in range(4):
            use(start + part * 400, rng.uniform(10, 40), 12)
    return uses


def year(seed: int, people: int = 4, *, days: int = 365, garden: bool = True) -> Iterator[Use]:
    """All uses of a year in order, with three weeks away."""
    rng = random.Random(seed)
    holidays = {*range(50, 57), *range(215, 229)}
    for day in range(days):
        yield from sorted(day_uses(rng, day, people, away=day in holidays, garden=garden))


def pulses(uses: Iterable[Use], litres: float = 1.0, first_l: float = 0.0) -> Iterator[float]:
    """When the meter pulses: each time that ``litres`` more have flowed. Uses are in order and may overlap;
    ``first_l`` of the first pulse's volume have flowed before."""
    ends: list[tuple[float, float]] = []
    now, flow, left = 0.0, 0.0, litres - first_l

    def until(then: float) -> Iterator[float]:
        nonlocal now, left
        while flow > 1e-9 and (then - now) * flow / 3600 >= left:
            now += left * 3600 / flow
            left = litres
            yield now
        left -= max(0.0, then - now) * flow / 3600
        now = max(now, then)

    for use in uses:
        while ends and ends[0][0] <= use.begin_s:
            end, ended = heapq.heappop(ends)
            yield from until(end)
            flow -= ended
        yield from until(use.begin_s)
        flow += use.flow_l_h
        heapq.heappush(ends, (use.begin_s + use.length_s, use.flow_l_h))
    while ends:
        end, ended = heapq.heappop(ends)
        yield from until(end)
        flow -= ended
