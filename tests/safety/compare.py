"""What allows the short cut: the same days of faults, skipped from event to event and ticked all the time."""

from __future__ import annotations

from msgspec import Struct

from .checker import Checker
from .scenarios import Day

HOUR_US = 3_600_000_000


class Pair(Struct):
    seed: int
    hours: tuple[float, float]
    starts: tuple[int, int]
    violations: list[str]

    @property
    def apart_h(self) -> float:
        return abs(self.hours[0] - self.hours[1])


def compared(seed: int, step_s: float) -> Pair:
    """Faults, room and thermometers are the same; noise and jitter fall otherwise, so edges are at other seconds."""
    skipped, ticked = (Checker(Day(seed, step_s=step).run()) for step in (None, step_s))
    found = [*skipped.judge().violations, *ticked.judge().violations]
    hours = [sum(end - begin for begin, end in one.on) / HOUR_US for one in (skipped, ticked)]
    return Pair(seed, (hours[0], hours[1]), (len(skipped.on), len(ticked.on)), found)


def differences(pairs: list[Pair]) -> list[str]:
    """Where they are not the same within what noise makes of them, for one day and for all of them."""
    found = [text for pair in pairs for text in pair.violations]
    found += [f"compare: seed {one.seed}: ON for {one.hours[0]:.1f} h skipped, {one.hours[1]:.1f} h ticked"
              for one in pairs if one.apart_h > 1.0 + 0.1 * max(one.hours)]
    for name, sums in (("hours of ON", [sum(one.hours[i] for one in pairs) for i in (0, 1)]),
                       ("starts", [float(sum(one.starts[i] for one in pairs)) for i in (0, 1)])):
        if abs(sums[0] - sums[1]) > 2.0 + (0.05 if len(pairs) > 5 else 0.15) * max(sums):
            found.append(f"compare: {name}: {sums[0]:.0f} skipped, {sums[1]:.0f} ticked")
    return found
