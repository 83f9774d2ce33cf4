"""A rule over what the store has: when it would have fired. Long kinds from the hourly roll-ups, much data by the
minute, the rest from every sample; and it says so."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import tzinfo

from msgspec.structs import replace

from agent.rules.declared import Declared
from agent.rules.dryrun import DryRun, dry_run
from agent.rules.engine import Sample
from agent.rules.model import Leaf, Rule, Threshold, matches
from agent.settings import SettingsError
from hub.rules.catalog import of_row
from hub.store.reader import Reader, SeriesRow

US = 1_000_000
DAY_US = 86400 * US
EVERY = 200_000
"""Up to so many samples are looked at one by one."""
MAX_SERIES = 200
CHUNK = 10_000


class TooMuch(SettingsError):
    pass


def run(reader: Reader, rule: Rule, declared: Iterable[Declared], rows: Iterable[SeriesRow], zone: tzinfo, *,
        now_us: int, days: float = 30.0, seconds: float = 20.0) -> DryRun:
    """At most ``seconds`` of work: then it says how far it got. Raises StoreError, TooMuch."""
    start_us = now_us - round(days * DAY_US)
    known = {one.key: one for one in declared}
    chosen: list[tuple[SeriesRow, list[Leaf]]] = []
    for row in rows:
        leaves = [leaf for leaf in rule.leaves if matches(leaf.of, row.device, row.node, row.property)]
        if leaves:
            chosen.append((row, leaves))
    if len(chosen) > MAX_SERIES:
        raise TooMuch(f"it looks at {len(chosen)} series, a dry run at {MAX_SERIES} at most: narrow its of for the run")
    total = sum(reader.count(row.id, start_us, now_us) or row.samples for row, _ in chosen)
    notes: set[str] = set()
    streams, matched, primes = [], [], []
    for row, leaves in chosen:
        stream, apart_s = _stream(reader, row, leaves, start_us, now_us, total > EVERY, notes)
        streams.append(stream)
        one = known.get((row.device, row.node, row.property.replace("-", "_"))) or of_row(row)
        first = reader.before(row.id, start_us)
        if first is not None:
            primes.append(Sample(row.device, row.node, one.property, first.t_us, first.value, first.quality))
        elif row.t_us:
            one = replace(one, expected=False)  # it was not there yet: its silence begins with its first sample
        if one.max_age_s is not None and apart_s:
            one = replace(one, max_age_s=one.max_age_s + 2 * apart_s)  # what came all the time stands in one value
        matched.append(one)
    ends = time.monotonic() + seconds
    return dry_run(rule, matched, heapq.merge(*streams, key=lambda one: one.t_us),
                   zone, start_us=start_us, end_us=now_us, before=primes, note="; ".join(sorted(notes)),
                   go_on=lambda: time.monotonic() < ends)


def _stream(reader: Reader, row: SeriesRow, leaves: list[Leaf], start_us: int, end_us: int, much: bool,
            notes: set[str]) -> tuple[Iterator[Sample], float]:
    """Its samples or what stands for them, and how far apart that is (s; 0: as they came)."""
    kinds = {str(leaf.__struct_config__.tag) for leaf in leaves}
    numbers = row.datatype in ("float", "integer") or row.datatype is None
    if numbers and kinds <= {"never_zero"} and row.is_counter():
        notes.add("from the hourly roll-ups")
        return _spans(reader, row, start_us, end_us, False, lambda span: [(span.first_us, span.first),
                                                                          (span.last_us, span.last)]), 3600.0
    if numbers and kinds <= {"never_zero"}:
        notes.add("from the hourly roll-ups")
        return _spans(reader, row, start_us, end_us, False, lambda span: [(span.last_us, span.max)]), 3600.0
    if numbers and kinds <= {"forecast"}:
        notes.add("from hourly means")
        return _spans(reader, row, start_us, end_us, False, lambda span: [(span.last_us, span.mean)]), 3600.0
    if numbers and much and kinds <= {"threshold", "rate"}:
        high = all(isinstance(leaf, Threshold) and leaf.above is not None for leaf in leaves)
        low = all(isinstance(leaf, Threshold) and leaf.below is not None for leaf in leaves)
        notes.add("by the highest value of each minute" if high else "by the lowest value of each minute" if low
                  else "by the last value of each minute")
        return _spans(reader, row, start_us, end_us, True, lambda span: [
            (span.last_us, span.max if high else span.min if low else span.last)]), 60.0
    return _samples(reader, row, start_us, end_us), 0.0


def _samples(reader: Reader, row: SeriesRow, start_us: int, end_us: int) -> Iterator[Sample]:
    name = row.property.replace("-", "_")
    while True:
        part = reader.samples(row.id, start_us, end_us, CHUNK)
        for t_us, value, quality in ((one.t_us, one.value, one.quality) for one in part):
            yield Sample(row.device, row.node, name, t_us, value, quality)
        if len(part) < CHUNK:
            return
        start_us = part[-1].t_us + 1


def _spans(reader: Reader, row: SeriesRow, start_us: int, end_us: int, minutes: bool,
           points: Callable[..., list[tuple[int, float]]]) -> Iterator[Sample]:
    name, last_us = row.property.replace("-", "_"), 0
    for span in reader.spans(row.id, start_us, end_us, minutes=minutes):
        for t_us, value in points(span):
            if t_us > last_us:
                last_us = t_us
                yield Sample(row.device, row.node, name, t_us, value, None)
