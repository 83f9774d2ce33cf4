"""B29 and B27 in numbers: every minute of the nights in which clocks change is one job, counted.

``python -m tests.plugins.schedule.figures`` prints the table; the tests run the same with a coarser step.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from plugins.schedule.plan import Plan
from plugins.schedule.settings import FixedRule, ScheduleConfig
from plugins.schedule.walk import Walker, moment

US = 1_000_000
ZONES = ("Europe/Paris", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo", "America/Havana",
         "Pacific/Auckland")
"""Gaps at 02:00, at midnight, and of half an hour."""


class Night(NamedTuple):
    zone: str
    at: datetime
    """The moment of the change, UTC."""
    kind: str


def nights(year: int = 2026) -> list[Night]:
    """Both changes of each zone, from the zone data."""
    found = []
    for name in ZONES:
        zone = ZoneInfo(name)
        at, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
        while at < end:
            later = at + timedelta(minutes=30)
            before, after = at.astimezone(zone).utcoffset(), later.astimezone(zone).utcoffset()
            assert before is not None and after is not None
            if before != after:
                found.append(Night(name, later, "forward" if after > before else "back"))
            at = later
    return found


def count(night: Night, step_s: float, restarts: int = 0, seed: int = 0) -> tuple[Counter[str], int]:
    """Runs of each minute's job from 15 h before the change to 15 h after it, and how many of them came at the wrong
    time. The steps are uneven, and the process is started anew ``restarts`` times."""
    zone = ZoneInfo(night.zone)
    rng = random.Random(seed)
    every_minute = tuple(FixedRule(time=f"{n // 60:02d}:{n % 60:02d}", say="x") for n in range(1440))
    plan = Plan(ScheduleConfig(time=(), at=every_minute))
    now_us = round((night.at - timedelta(hours=15)).timestamp() * US)
    end_us = round((night.at + timedelta(hours=15)).timestamp() * US)
    again = sorted(rng.uniform(now_us, end_us) for _ in range(restarts))
    walker, ran, wrong = Walker(), Counter[str](), 0
    while now_us <= end_us:
        for job in plan.due(walker.step(now_us, zone), False):
            ran[job.key.split("-", 1)[1]] += 1
            wrong += not -60 * US < now_us - due_us(job.label, zone) < 60 * US
        if again and now_us > again[0]:
            again.pop(0)
            kept, walker = walker.kept(), Walker()
            walker.restore(kept)
        now_us += round(rng.uniform(0.2, 1.0) * step_s * US)
    return ran, wrong


def due_us(label: int, zone: ZoneInfo) -> int:
    """When a label's job is due by an independent reckoning: the first moment at which the local clock shows it, and
    for one that it never shows the moment of the change."""
    naive = moment(label).replace(tzinfo=zone)
    if (naive.astimezone(UTC).astimezone(zone).replace(tzinfo=None)) == moment(label):
        return round(naive.timestamp() * US)
    return round(_change(naive).timestamp() * US)


def _change(naive: datetime) -> datetime:
    """The moment of the change in whose gap a local time lies."""
    low = naive.replace(fold=1).astimezone(UTC) - timedelta(hours=2)
    high = low + timedelta(hours=4)
    offset = low.astimezone(naive.tzinfo).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        low, high = (middle, high) if middle.astimezone(naive.tzinfo).utcoffset() == offset else (low, middle)
    return high


def missing_labels(night: Night, ran: Iterable[str]) -> list[str]:
    """Local minutes between the first and the last that ran, and did not."""
    keys = sorted(ran)
    at, last = datetime.fromisoformat(keys[0]), datetime.fromisoformat(keys[-1])
    have, missing = set(keys), []
    while at <= last:
        if f"{at:%Y-%m-%dT%H:%M}" not in have:
            missing.append(f"{at:%Y-%m-%dT%H:%M}")
        at += timedelta(minutes=1)
    return missing


def main() -> None:
    print("zone | change (UTC) | jobs | run once | more than once | never | not within the minute")
    for night in nights():
        ran, wrong = count(night, 20.0, restarts=5)
        jobs = len(ran)
        more = sum(number != 1 for number in ran.values())
        missing = len(missing_labels(night, ran))
        print(f"{night.zone} | {night.at:%Y-%m-%d %H:%M} {night.kind} | {jobs} | {jobs - more} | {more} | {missing} | "
              f"{wrong}")


if __name__ == "__main__":
    main()
