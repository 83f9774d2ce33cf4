"""``python -m tests.safety [--scenarios N] [--steps N] [--seed S] [--jobs N]``: the long form, and its table."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from typing import TypeVar

from . import traces
from .checker import Checker
from .compare import compared, differences
from .machine import walk
from .mutants import MUTANTS, caught
from .scenarios import Day
from .stateful import longest
from .verdict import LIMITS, Verdict, summary

WALK = 20_000
EVERY_S = 5.0
FALSE_A_YEAR = 1.0
"""B42: so many false alarms of a frozen sensor in a sensor-year are allowed."""
In = TypeVar("In")
Out = TypeVar("Out")


def judged(seed: int) -> Verdict:
    gc.disable()  # a day is thrown away as a whole
    verdict = Checker(Day(seed).run()).judge()
    gc.collect()
    return verdict


def walked(seed: int) -> tuple[int, str]:
    try:
        return walk(seed, WALK), ""
    except AssertionError as error:
        return 0, str(error)


def caught_by_number(number: int) -> bool:
    return caught(MUTANTS[number])


def shown(pool: ProcessPoolExecutor, what: str, work: Callable[[In], Out], over: Iterable[In], chunk: int = 1
          ) -> Iterator[Out]:
    """The results in order, with a line every few seconds that says how far it is."""
    items = list(over)
    began = told = time.monotonic()
    for done, one in enumerate(pool.map(work, items, chunksize=chunk), 1):
        yield one
        now = time.monotonic()
        if now - told >= EVERY_S and done < len(items):
            told = now
            left_s = (now - began) / done * (len(items) - done)
            print(f"{what}: {done} of {len(items)}, {done / (now - began):.1f} a second, {left_s:.0f} s left",
                  file=sys.stderr, flush=True)


def table(verdicts: list[Verdict]) -> list[str]:
    """Print it; the violations."""
    worst, occasions, violations, sensor_days = summary(verdicts)
    print(f"{'limit':68} | {'allowed':>10} | {'worst seen':>10} | occasions in {len(verdicts)} scenarios")
    for name, (what, limit, unit) in LIMITS.items():
        seen = f"{worst[name]:.1f}" if occasions[name] else "-"
        print(f"{what:68} | {limit:>7g} {unit:2} | {seen:>7} {unit:2} | {occasions[name]}")
    false = [text for text in violations if text.startswith("false_frozen:")]
    a_year = len(false) / max(1.0, sensor_days / 365)
    print(f"false alarms of a frozen sensor: {len(false)} in {sensor_days / 365:.1f} sensor-years "
          f"({FALSE_A_YEAR:g} a sensor-year is allowed)")
    return violations if a_year > FALSE_A_YEAR else [text for text in violations if text not in false]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.safety", description=__doc__)
    parser.add_argument("--scenarios", type=int, default=10_000, help="random days of 24 h")
    parser.add_argument("--steps", type=int, default=1_000_000, help="steps of the random walk, and of Hypothesis")
    parser.add_argument("--compare", type=int, default=20, help="days that are ticked as well as skipped")
    parser.add_argument("--seed", type=int, default=0, help="of the first day")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    first, began = args.seed, time.monotonic()
    with ProcessPoolExecutor(args.jobs) as pool:
        verdicts = list(shown(pool, "days", judged, range(first, first + args.scenarios), 10))
        days_s = time.monotonic() - began
        violations = table(verdicts)
        pairs = list(shown(pool, "compared", partial(compared, step_s=5.0), range(first, first + args.compare)))
        walks = list(shown(pool, "walks", walked, range(first, first + -(-args.steps // WALK))))
        share = -(-args.steps // args.jobs)
        driven = list(shown(pool, "Hypothesis", partial(longest, share),
                            range(first, first + args.jobs * 1_000_000, 1_000_000)))
        mutants = list(shown(pool, "mutants", caught_by_number, range(len(MUTANTS))))
    broken = [text for _, text in walks if text]
    failed = [text for *_, text in driven if text]
    print(f"random machine: {sum(steps for steps, _ in walks)} steps, {len(broken)} walks with a violation")
    print(f"Hypothesis machine: {sum(steps for steps, *_ in driven)} steps, {len(failed)} violations, "
          f"{sum(steps / max(1e-9, s) for steps, s, _ in driven):.0f} steps a second")
    apart = differences(pairs)
    print(f"skipped against ticked: {len(pairs)} days, ON {sum(one.hours[0] for one in pairs):.1f} h and "
          f"{sum(one.hours[1] for one in pairs):.1f} h, starts {sum(one.starts[0] for one in pairs)} and "
          f"{sum(one.starts[1] for one in pairs)}; a day at most "
          f"{max((one.apart_h for one in pairs), default=0):.1f} h apart")
    missed = [mutant.name for mutant, seen in zip(MUTANTS, mutants, strict=True) if not seen]
    print(f"rules taken away: {len(MUTANTS)}, seen by the checker: {len(MUTANTS) - len(missed)}"
          + "".join(f"; not seen: {one}" for one in missed))
    print(f"violations: {len(violations)} in {args.scenarios} scenarios ({days_s:.0f} s, {args.jobs} processes)\n")
    traces.main()
    for text in [*violations[:40], *broken[:10], *failed, *apart]:
        print(f"  {text}")
    return 1 if violations or broken or failed or apart or missed else 0


if __name__ == "__main__":
    sys.exit(main())
