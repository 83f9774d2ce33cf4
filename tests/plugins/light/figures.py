"""What the checks find and what they call wrong, over years and many lines: ``python -m tests.plugins.light.figures``.

The light is made, not recorded: days with clouds, nights at 0, and a steady LED lamp in the evening.
"""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Iterator
from functools import reduce
from operator import xor

from firmware_bridges.printed_lines import Splitter
from plugins.light.judge import Frozen
from plugins.light.lines import Doubt, parse
from plugins.light.simulate import SCALE, Sky

STEP_S = 60.0
BRIGHT_LX = 500.0


def light(seed: int, days: int) -> Iterator[tuple[float, float]]:
    """What a BH1750 near a window says every minute: seconds, lx in whole counts."""
    sky, chance = Sky(seed, 86400.0), random.Random(seed)
    lamp = 0.0
    for n in range(int(days * 86400 / STEP_S)):
        hour = n * STEP_S / 3600 % 24  # the sky's day is from 0 h to 12 h
        if hour == 11.5:
            lamp = chance.choice((0.0, 80.0, 150.0, 300.0))
        elif hour == 17:
            lamp = 0.0
        lit = lamp * (1 + chance.gauss(0, 0.001))
        yield n * STEP_S, round((sky.lux(n * STEP_S) + lit) / SCALE) * SCALE


def false_alarms(seed: int, days: int) -> int:
    """How often a live sensor is called frozen."""
    frozen, alarms = Frozen(1800, 36 * 3600), 0
    for t_s, lux in light(seed, days):
        before = frozen.frozen
        alarms += frozen.feed(t_s, lux, SCALE) and not before
    return alarms


def found_after_s(seed: int) -> float | None:
    """The sensor sticks at a bright moment of the second day: how long until it is called frozen."""
    frozen = Frozen(1800, 36 * 3600)
    stuck: tuple[float, float] | None = None
    for t_s, lux in light(seed, 10):
        if stuck is None and t_s > 86400 and lux > BRIGHT_LX:
            stuck = t_s, lux
        if frozen.feed(t_s, lux if stuck is None else stuck[1], SCALE):
            return None if stuck is None else t_s - stuck[0]
    return None


def damaged(count: int, seed: int, checksum: bool) -> tuple[int, int]:
    """Lines of a slow day with one in five damaged (a flipped bit, a lost byte): how many believed values are further
    from the truth than half of it and 10; how many were believed."""
    chance = random.Random(seed)
    doubt, splitter = Doubt(), Splitter()
    wrong = believed = 0
    for n in range(count):
        true = 400 + 380 * math.sin(n / 900)
        text = b"lux=%.1f" % true
        line = bytearray((b"$%s*%02X" % (text, reduce(xor, text)) if checksum else text) + b"\r\n")
        if chance.random() < 0.2:
            place = chance.randrange(len(line) - 2)
            if chance.random() < 0.5:
                line[place] ^= 1 << chance.randrange(8)
            else:
                del line[place]
        for whole in splitter.feed(bytes(line)):
            try:
                measured = parse(whole)
            except ValueError:
                continue
            if measured is not None and doubt.believe(measured):
                believed += 1
                wrong += abs(measured.value - true) > 10 + 0.5 * true
    return wrong, believed


def main() -> None:
    alarms = sum(false_alarms(seed, 365) for seed in range(10))
    print(f"false alarms in 10 sensor-years: {alarms}")
    times = [found_after_s(seed) for seed in range(10)]
    found = [t_s for t_s in times if t_s is not None]
    print(f"stuck by day, found: {len(found)} of {len(times)}, after {statistics.median(found) / 60:.0f} min")
    for checksum in (True, False):
        wrong, believed = damaged(300_000, 7, checksum)
        print(f"300 000 lines, one in five damaged, {'with' if checksum else 'without'} checksum: {believed} believed, "
              f"{wrong} far off")


if __name__ == "__main__":
    main()
