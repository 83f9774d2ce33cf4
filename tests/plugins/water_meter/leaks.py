"""What the tests and the figures share: a house's pulses through the leak watch, and the recorded households."""

from __future__ import annotations

import csv
import gzip
import heapq
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from plugins.water_meter.leak import LeakWatch
from plugins.water_meter.rules import Rules
from plugins.water_meter.sim_house import DAY_S, Use

RECORDED = Path(__file__).resolve().parents[4] / "shared" / "data" / "water_hourly" / "households_open.csv.gz"
LOOK_S = 60.0
HOUR_S = 3600.0
SPARSE_S = 3 * HOUR_S


class Episode(NamedTuple):
    kind: str
    at_s: float
    """When it was said."""
    since_s: float
    volume_l: float


def episodes(pulses: Iterable[float], rules: Rules, until_s: float, from_s: float = 0.0) -> list[Episode]:
    """Every change to a leak, with a look each minute as the plugin takes it."""
    watch, kind, look_s = LeakWatch(rules), "unknown", from_s
    found: list[Episode] = []

    def look(now_s: float) -> None:
        nonlocal kind
        verdict = watch.look(now_s)
        if verdict.kind != kind:
            kind = verdict.kind
            if kind not in ("unknown", "none"):
                found.append(Episode(kind, now_s, verdict.since_s or now_s, verdict.volume_l))

    for at in pulses:
        while look_s < at:
            look(look_s)
            look_s += LOOK_S
        watch.pulse(at)
        look(at)
    while look_s < until_s:
        look(look_s)
        look_s += LOOK_S
    return found


def with_leak(uses: Iterable[Use], leak: Use) -> Iterator[Use]:
    return heapq.merge(uses, [leak])


def until_day(uses: Iterable[Use], first: int, after: int) -> list[Use]:
    """The uses of days first to after - 1."""
    return [use for use in uses if first * DAY_S <= use.begin_s < after * DAY_S]


# --- recorded households ------------------------------------------------------------------------------------------

Series = list[tuple[float, float]]
"""(seconds, litres), in order."""


def households() -> dict[str, Series]:
    """The hourly readings of each household, sorted; doubled stamps once."""
    found: dict[str, dict[float, float]] = {}
    with gzip.open(RECORDED, "rt") as file:
        for row in csv.DictReader(file, delimiter=";"):
            at = datetime.strptime(row["datetime"], "%d/%m/%Y %H:%M:%S") - datetime(2016, 1, 1)
            found.setdefault(row["user.key"], {})[at.total_seconds()] = float(row["meter.reading"])
    return {name: sorted(series.items()) for name, series in found.items()}


def covered_s(series: Series) -> float:
    """Time that readings at most three hours apart cover."""
    return sum(b[0] - a[0] for a, b in pairwise(series) if b[0] - a[0] <= SPARSE_S)


class Drip(NamedTuple):
    said_s: float
    until_s: float


def drips(series: Series, rules: Rules, leak_from_s: float | None = None, leak_l_h: float = 0.0) -> list[Drip]:
    """From when until when a drip was said. A leak of ``leak_l_h`` is added to the readings from ``leak_from_s`` on."""
    watch, found, on = LeakWatch(rules), [], False
    for at, index in series:
        leaked = 0 if leak_from_s is None else max(0, int(leak_l_h * (at - leak_from_s) / HOUR_S))
        watch.index(at, index + leaked)
        drip = watch.look(at).kind == "drip"
        if drip and not on:
            found.append(Drip(at, at))
        elif drip:
            found[-1] = Drip(found[-1].said_s, at)
        on = drip
    return found


def chances(series: Series, every_s: float) -> Iterator[int]:
    """Readings after which three days of readings have no hole: a leak may begin there. By number, about every_s."""
    next_s = series[0][0] + 2 * DAY_S
    for number, (at, _) in enumerate(series):
        if at < next_s:
            continue
        span = [point for point in series[max(0, number - 48) : number + 30] if abs(point[0] - at) <= 25 * HOUR_S]
        whole = all(b[0] - a[0] <= SPARSE_S and b[1] >= a[1] for a, b in pairwise(span))
        if whole and span[-1][0] - at >= 24 * HOUR_S:
            yield number
            next_s = at + every_s
