"""How well leaks are found: ``python -m tests.plugins.water_meter.figures [years of houses] [leaks of each size]``.

The recorded households are real (hourly readings, no labels: every episode counts, true or not). The houses by pulse
are synthetic, their leaks are added at random times.
"""

from __future__ import annotations

import random
import sys
from collections import Counter

from plugins.water_meter.rules import Rules, rules_for
from plugins.water_meter.sim_house import DAY_S, Use, pulses, year
from tests.plugins.water_meter.leaks import (
    HOUR_S,
    RECORDED,
    chances,
    covered_s,
    drips,
    episodes,
    households,
    until_day,
    with_leak,
)

HOURLY = Rules(drip_l_h=3.0)
YEAR_S = 365 * DAY_S
LEAKS: tuple[tuple[str, float, float], ...] = (
    ("drip", 1.0, 24 * HOUR_S), ("drip", 2.0, 24 * HOUR_S), ("drip", 10.0, 24 * HOUR_S),
    ("running", 66.0, 45 * 60.0), ("running", 200.0, 45 * 60.0), ("running", 900.0, 45 * 60.0),
    ("burst", 1900.0, 120.0), ("burst", 4000.0, 120.0),
)
"""Class, litres an hour, and the time in which it is to be found."""
COARSE = (("drip", 11.0, 24 * HOUR_S), ("running", 200.0, 45 * 60.0), ("running", 330.0, 45 * 60.0),
          ("running", 900.0, 45 * 60.0), ("burst", 1900.0, 120.0))
"""The same with 10 L a pulse; 200 L/h is less than such a meter tells from use."""


class Recorded:
    """Episodes a household-year on the recorded households, and an added drip's time to be found."""

    def __init__(self, leak_l_h: float = 3.0, every_s: float = 30 * DAY_S) -> None:
        self.years = 0.0
        self.episodes: dict[str, int] = {}
        self.delays_h: list[float] = []
        """Of drips that were added to a household where none was said at the time."""
        self.missed = 0
        for name, series in households().items():
            said = drips(series, HOURLY)
            self.episodes[name] = len(said)
            self.years += covered_s(series) / YEAR_S
            for number in chances(series, every_s):
                # half-way between two readings: the leak cares for no hour
                begin_s = series[number][0] + HOUR_S / 2
                part = series[max(0, number - 200) : number + 60]
                if any(drip.said_s <= begin_s <= drip.until_s + 2 * HOUR_S for drip in drips(part, HOURLY)):
                    continue  # it leaks already
                found = [one.said_s for one in drips(part, HOURLY, begin_s, leak_l_h) if one.said_s >= begin_s]
                delay_h = (found[0] - begin_s) / HOUR_S if found else float("inf")
                self.missed += delay_h > 24
                self.delays_h.append(delay_h)

    @property
    def a_year(self) -> float:
        return sum(self.episodes.values()) / self.years


def false_alarms(seed: int, people: int, litres: float = 1.0) -> Counter[str]:
    """Episodes of a synthetic year without any leak."""
    return Counter(one.kind for one in episodes(pulses(year(seed, people), litres), rules_for(litres), YEAR_S))


def delay_s(kind: str, flow_l_h: float, seed: int, people: int = 4, litres: float = 1.0) -> float:
    """From the beginning of an added leak to the first word of it (of its class or a graver one)."""
    rng = random.Random(seed)
    day = rng.randint(3, 359)
    begin_s = day * DAY_S + rng.uniform(0, DAY_S)
    lasts_s = {"drip": 30 * HOUR_S, "running": 3 * HOUR_S, "burst": HOUR_S}[kind]
    uses = with_leak(until_day(year(seed, people, days=day + 3), day - 2, day + 3), Use(begin_s, lasts_s, flow_l_h))
    at = pulses(uses, litres, first_l=rng.uniform(0, litres))
    graver = {"drip": ("drip", "running", "burst"), "running": ("running", "burst"), "burst": ("burst",)}[kind]
    for one in episodes(at, rules_for(litres), begin_s + lasts_s, (day - 2) * DAY_S):
        if one.kind in graver and one.at_s >= begin_s:
            return one.at_s - begin_s
    return float("inf")


def main() -> None:
    years, leaks = map(int, (sys.argv[1:] or ["3", "40"])[:2])
    if RECORDED.exists():
        for flow in (3.0, 5.0, 10.0):
            recorded = Recorded(flow, 10 * DAY_S)
            found = sorted(recorded.delays_h)
            print(f"recorded households: {sum(recorded.episodes.values())} episodes in {recorded.years:.1f} household-"
                  f"years = {recorded.a_year:.2f} a year; {flow:g} L/h added {len(found)} times: {recorded.missed} not "
                  f"found in 24 h, median {found[len(found) // 2]:.1f} h, worst {found[-1]:.1f} h")
        print("  by household: " + ", ".join(f"{name[:4]} {n}" for name, n in recorded.episodes.items()))
    for people, litres in ((1, 1.0), (2, 1.0), (4, 1.0), (6, 1.0), (4, 0.25), (4, 10.0)):
        total: Counter[str] = Counter()
        for seed in range(years):
            total += false_alarms(seed, people, litres)
        print(f"synthetic, {people} people, {litres:g} L a pulse, {years} years: {dict(total)} = "
              f"{sum(total.values()) / years / 12:.2f} false alarms a month")
    cases = [(*leak, 1.0) for leak in LEAKS] + [(*leak, 10.0) for leak in COARSE]
    for kind, flow, limit_s, litres in cases:
        delays = sorted(delay_s(kind, flow, seed, litres=litres) for seed in range(leaks))
        late = sum(one > limit_s for one in delays)
        print(f"{litres:g} L a pulse, {kind} of {flow:g} L/h, {leaks} times: {late} later than {limit_s / 60:.0f} min, "
              f"median {delays[len(delays) // 2] / 60:.1f} min, worst {delays[-1] / 60:.1f} min")


if __name__ == "__main__":
    main()
