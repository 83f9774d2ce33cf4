"""B42 on recorded rooms: a winter's room temperature, frozen at random moments. ``python -m tests.safety.traces``.

The recording has means of a quarter of an hour. Between them the room goes in a straight line here, read each minute by
thermometers of three makes (last digit and noise); the heat is the recording's own. So what is real is how a lived-in
room moves, and what is assumed is the thermometer.
"""

from __future__ import annotations

import copy
import csv
import random
import statistics
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from msgspec import Struct

from plugins.relay_heater.sensors import MINUTE_US, Sensor
from plugins.relay_heater.settings import SensorConfig
from tests.plugins.relay_heater import winter

RECORDED = winter.RECORDED
MAKES = {"0.0625 °C (DS18B20), noise 0.03 °C": (0.0625, 0.03), "0.1 °C, noise 0.03 °C": (0.1, 0.03),
         "0.01 °C, noise 0.02 °C": (0.01, 0.02)}
ROW_MIN = 15
LEARN_MIN = 8 * 24 * 60
"""It must have lived for a week first."""
LONGEST_MIN = 12 * 60


class Outcome(Struct):
    make: str
    days: float
    false: int
    """Alarms of a thermometer that lives."""
    found_min: list[float]
    limit_min: list[float]
    """What this thermometer is allowed at that moment: 30 min, or three times its longest standstill."""

    @property
    def false_per_year(self) -> float:
        return self.false / self.days * 365

    @property
    def in_time(self) -> float:
        return sum(found <= 30 for found in self.found_min) / len(self.found_min)


def minutes(path: Path = RECORDED, most_days: float = 1e9) -> list[tuple[float, bool]]:
    """Room temperature and whether it is heated, each minute; gaps are left out."""
    with path.open(encoding="utf-8") as file:
        rows = [(float(row["yTi"]), float(row["Thm"]) > 0) for row in csv.DictReader(file, delimiter=";")
                if row["yTi"] and row["Thm"]]
    rows = rows[:round(most_days * 24 * 60 / ROW_MIN) + 1]
    return [(before + (after - before) * number / ROW_MIN, heat)
            for (before, heat), (after, _) in pairwise(rows) for number in range(ROW_MIN)]


def lived(room: list[tuple[float, bool]], digit: float, noise: float, seed: int
          ) -> Iterator[tuple[int, Sensor, int | None]]:
    """The minute, the sensor after it, and since when it heats."""
    rng = random.Random(seed)
    sensor, since_us = Sensor("main", SensorConfig(source="a/b"), 0), None
    for number, (air_c, heat) in enumerate(room):
        t_us = (number + 1) * MINUTE_US
        since_us = (since_us or t_us) if heat else None
        sensor.feed(t_us, round((air_c + rng.gauss(0, noise)) / digit) * digit, None, t_us)
        sensor.look(t_us, since_us, [])
        yield number, sensor, since_us


def freeze(sensor: Sensor, since_us: int | None, t_us: int) -> float:
    """Minutes until it is found. It goes on to be heated, if it was."""
    frozen, value = copy.deepcopy(sensor), sensor._same
    for number in range(1, LONGEST_MIN + 1):
        now_us = t_us + number * MINUTE_US
        frozen.feed(now_us, value, None, now_us)
        frozen.look(now_us, since_us, [])
        if frozen.frozen:
            return float(number)
    return float(LONGEST_MIN)


def examine(make: str, freezes: int, seed: int, room: list[tuple[float, bool]]) -> Outcome:
    digit, noise = MAKES[make]
    rng = random.Random(seed)
    moments = set(rng.sample(range(min(LEARN_MIN, len(room) // 2), len(room)), freezes))
    outcome = Outcome(make, len(room) / 1440, 0, [], [])
    was = False
    for number, sensor, since_us in lived(room, digit, noise, seed):
        outcome.false += bool(sensor.frozen) and not was
        was = bool(sensor.frozen)
        if number in moments and not was:
            outcome.limit_min.append(max(30.0, sensor._learned.limit_us() / MINUTE_US))
            outcome.found_min.append(freeze(sensor, since_us, (number + 1) * MINUTE_US))
    return outcome


def main(freezes: int = 500, seed: int = 100_000) -> None:
    if not RECORDED.exists():
        print(f"no recording at {RECORDED}")
        return
    room = minutes()
    print(f"A recorded room, {len(room) / 1440:.0f} days, frozen at {freezes} random moments each\n")
    print("| thermometer | found within 30 min | median | worst | false alarms | in a sensor-year |")
    print("|---|---|---|---|---|---|")
    for make in MAKES:
        one = examine(make, freezes, seed, room)
        print(f"| {make} | {100 * one.in_time:.1f} % | {statistics.median(one.found_min):.0f} min "
              f"| {max(one.found_min):.0f} min | {one.false} in {one.days:.0f} days | {one.false_per_year:.1f} |")


if __name__ == "__main__":
    main()
