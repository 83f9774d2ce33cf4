"""Limits, what was seen of them, and spans of time (begin, end) in microseconds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from msgspec import Struct

from .scenarios import Log

US = 1_000_000
MINUTE_US = 60 * US
HOUR_US = 3600 * US
LIMITS: dict[str, tuple[str, float, str]] = {
    # name: what, limit, unit
    "after_sample": ("ON after the last valid sample's max age ran out", 120, "s"),
    "after_death": ("ON after control was killed or stopped", 30, "s"),
    "unbroken": ("unbroken ON", 14_400, "s"),
    "frost": ("ON with no valid sample in any hour (declared frost duty)", 600, "s"),
    "frost_declared": ("the same, above what was declared", 0, "s"),
    "bogus": ("decisions for ON that rest on a bogus sample", 0, ""),
    "unfresh": ("ON without a fresh sample after a restart", 0, ""),
    "starts": ("starts in any hour", 6, ""),
    "min_off": ("OFF shorter than 180 s", 0, ""),
    "min_on": ("ON shorter than 180 s, not by safety", 0, ""),
    "too_hot": ("ON in a room above its limit, relay not welded", 0, "°C"),
    "frozen_room": ("warmth missing to 5 °C, second sensor, -10 °C outdoors", 0, "°C"),
    "no_rise": ("ON while the thermometer shows no rise", 1860, "s"),
    "absent_alarm": ("alarm of a sensor that is absent, after its max age", 905, "s"),
    "frozen_alarm": ("alarm of a frozen sensor (one that never stood still for 9 min)", 1800, "s"),
    "frozen_slow": ("the same of others, above three times as long as it ever stood still", 0, "s"),
    "false_frozen": ("false alarms of a frozen sensor", 0, ""),
    "stuck_fast": ("alarm of a welded contact by probe or power", 300, "s"),
    "stuck_slow": ("alarm of a welded contact by temperature", 1200, "s"),
    "false_stuck": ("false alarms of a welded contact", 0, ""),
    "wolf": ("alarms of a whole but weak heater in a day (a 2nd only after 3 vain tries)", 2, ""),
    "alarm_no_rise": ("OFF and alarm of a heater that is dead", 1860, "s"),
}


class Verdict(Struct, kw_only=True):
    worst: dict[str, float] = {}
    occasions: dict[str, int] = {}
    violations: list[str] = []
    sensor_days: float = 0.0


def summary(verdicts: list[Verdict]) -> tuple[dict[str, float], Counter[str], list[str], float]:
    worst: dict[str, float] = defaultdict(float)
    seen: Counter[str] = Counter()
    for one in verdicts:
        for name, figure in one.worst.items():
            worst[name] = max(worst[name], figure)
            seen[name] += one.occasions[name]
    return worst, seen, [text for one in verdicts for text in one.violations], sum(one.sensor_days for one in verdicts)


def clock(log: Log, t_us: int) -> str:
    s = (t_us - log.begin_us) // US
    return f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}"


def spans(edges: list[tuple[int, bool]], end_us: int) -> Iterator[tuple[int, int]]:
    since = None
    for t, on in edges:
        if on and since is None:
            since = t
        elif not on and since is not None:
            yield since, t
            since = None
    if since is not None:
        yield since, end_us


def union(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def minus(spans: list[tuple[int, int]], holes: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What of ``spans`` lies in none of ``holes``; both sorted."""
    first = 0
    for begin, end in spans:
        at = begin
        while first < len(holes) and holes[first][1] <= at:
            first += 1
        i = first
        while at < end:
            if i >= len(holes) or holes[i][0] >= end:
                yield at, end
                break
            if holes[i][0] > at:
                yield at, holes[i][0]
            at = max(at, holes[i][1])
            i += 1
