"""``python -m tests.safety [--scenarios N] [--steps N] [--seed S] [--jobs N]``: the long form, and its table."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from .checker import Checker
from .machine import walk
from .mutants import MUTANTS, caught
from .scenarios import Day
from .verdict import LIMITS, Verdict, summary

WALK = 20_000


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


def table(verdicts: list[Verdict]) -> list[str]:
    """Print it; the violations."""
    worst, occasions, violations, sensor_days = summary(verdicts)
    print(f"{'limit':62} | {'allowed':>10} | {'worst seen':>10} | occasions in {len(verdicts)} scenarios")
    for name, (what, limit, unit) in LIMITS.items():
        seen = f"{worst[name]:.1f}" if occasions[name] else "-"
        print(f"{what:62} | {limit:>7g} {unit:2} | {seen:>7} {unit:2} | {occasions[name]}")
    false = sum(one.worst.get("false_frozen", 0) > 0 for one in verdicts)
    print(f"days with a false alarm of a frozen sensor: {false} in {sensor_days / 365:.1f} sensor-years")
    return violations


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.safety", description=__doc__)
    parser.add_argument("--scenarios", type=int, default=10_000, help="random days of 24 h")
    parser.add_argument("--steps", type=int, default=1_000_000, help="steps of the random machine")
    parser.add_argument("--seed", type=int, default=0, help="of the first day")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()
    began = time.monotonic()
    with ProcessPoolExecutor(args.jobs) as pool:
        verdicts = list(pool.map(judged, range(args.seed, args.seed + args.scenarios), chunksize=10))
        days_s = time.monotonic() - began
        violations = table(verdicts)
        walks = list(pool.map(walked, range(args.seed, args.seed + -(-args.steps // WALK))))
        mutants = list(pool.map(caught_by_number, range(len(MUTANTS))))
    broken = [text for _, text in walks if text]
    print(f"random machine: {sum(steps for steps, _ in walks)} steps, {len(broken)} walks with a violation")
    missed = [mutant.name for mutant, seen in zip(MUTANTS, mutants, strict=True) if not seen]
    print(f"rules taken away: {len(MUTANTS)}, seen by the checker: {len(MUTANTS) - len(missed)}"
          + "".join(f"; not seen: {one}" for one in missed))
    print(f"violations: {len(violations)} in {args.scenarios} scenarios ({days_s:.0f} s, {args.jobs} processes)")
    for text in [*violations[:40], *broken[:10]]:
        print(f"  {text}")
    return 1 if violations or broken or missed else 0


if __name__ == "__main__":
    sys.exit(main())
