"""Nights with a lamp on its own sensor: ``python -m tests.plugins.night_light.figures [NIGHTS]``.

The light is made, not recorded: a day's curve with clouds and noise, a lamp of 0 to 300 lx at the sensor, a sensor that
tells every 10 s to 5 min, now and then a reading late, and on one evening in five somebody's other lamp."""

from __future__ import annotations

import math
import random
import sys
from typing import NamedTuple

from plugins.night_light.judge import Judge

DAY_S = 86_400


class Night(NamedTuple):
    switches: int
    """Of the lamp in 24 h; 2 is right."""
    on_late_min: float
    """How long after the light fell below the threshold for good it went on."""
    off_wrong_min: float
    """Darkness in which it was off, after it had first gone on, and before dawn."""
    on_by_day_min: float
    """Light above the upper threshold in which it was on, after dawn."""
    other: bool
    """Somebody's other lamp was on: then it goes off and on once more, as it should."""


def nights(seed: int, count: int) -> list[Night]:
    """``count`` nights of one house: noon to noon, 10 and 20 lx, the judge's defaults."""
    chance = random.Random(seed)
    own = chance.choice((0.0, 2.0, 15.0, 80.0, 300.0))
    every_s = chance.choice((10, 30, 60, 300))
    judge = Judge(10, 20, 60, 300)
    lamp, found = False, []
    for night in range(count):
        cloud, other = 0.3, (0.0, 0.0, 0.0)
        if chance.random() < 0.2:
            begins = 6 * 3600 + chance.uniform(-3600, 3600)
            other = (begins, begins + chance.uniform(600, 3 * 3600), chance.uniform(5, 200))
        switches, off_dark_s, bright_on_s, late_s = 0, 0.0, 0.0, 0.0
        dark_s = first_on = None
        for t in range(0, DAY_S, every_s):
            cloud = min(1.0, max(0.0, cloud + chance.gauss(0, 0.02)))
            height = math.cos(2 * math.pi * t / DAY_S)
            sky = 900 * max(0.0, height) ** 1.5 * (1 - 0.8 * cloud) * (1 + chance.gauss(0, 0.02))
            room = sky + (other[2] if other[0] <= t < other[1] else 0.0)
            now = night * DAY_S + t
            judge.lamp(lamp, now - 2.0)
            dark = judge.feed(now, max(0.0, room + (own if lamp else 0.0)))
            if sky < 10 and dark_s is None and height < 0.3:
                dark_s = t
            if dark is not None and dark != lamp:
                switches += night > 0 or t > 3600
                lamp = dark
                if lamp and first_on is None:
                    first_on, late_s = t, t - (t if dark_s is None else dark_s)
            if height < 0 and first_on is not None and room < 10 and not lamp:
                off_dark_s += every_s
            if t > DAY_S / 2 and room > 20 and lamp and height > 0:
                bright_on_s += every_s
        found.append(Night(switches, late_s / 60, off_dark_s / 60, bright_on_s / 60, other[2] > 0))
    return found


def main(count: int) -> None:
    every = [night for seed in range(max(1, count // 10)) for night in nights(seed, 10)]
    for name, other in (("alone", False), ("with somebody's other lamp", True)):
        of = [night for night in every if night.other is other]
        worst = [max(night[n] for night in of) for n in range(4)]
        print(f"| {name} | {len(of)} | {sum(night.switches > 2 for night in of)}, at most {worst[0]} | "
              f"{worst[2]:.0f} min | {worst[3]:.0f} min | {worst[1]:.0f} min |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
