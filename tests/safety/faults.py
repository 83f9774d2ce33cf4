"""What befalls a house within a day: a schedule of faults, drawn from a seed."""

from __future__ import annotations

import random

from msgspec import Struct

US = 1_000_000
DAY_US = 86_400 * US
LIES = ("85", "-127", "0", "spikes", "nan", "says_bad")
SENSOR = ("absent", "frozen", "fallen", *LIES)
PROCESS = ("control_kill", "control_stop", "guard_kill", "guard_stop", "both_kill", "both_stop", "reboot")
KINDS: dict[str, tuple[float, float, float]] = {
    # kind: weight, shortest and longest in seconds
    "absent": (4, 60, 14_400), "absent_both": (2, 300, 14_400), "silence": (2, 60, 7200), "frozen": (3, 600, 14_400),
    "fallen": (2, 1800, 10_800), "85": (1, 1, 7200), "-127": (1, 1, 7200), "0": (2, 1, 7200),
    "spikes": (2, 600, 21_600), "nan": (1, 1, 3600), "says_bad": (1, 1, 3600),
    "control_kill": (4, 1, 900), "control_stop": (4, 1, 1800), "guard_kill": (4, 1, 8), "guard_stop": (3, 1, 3),
    "both_kill": (2, 2, 60), "both_stop": (2, 2, 60), "reboot": (3, 20, 300),
    "clock": (3, 1, 1), "weld": (2, 1800, 28_800), "dead": (2, 1800, 28_800), "window": (4, 120, 7200),
    "contact_sticks": (1, 3600, 28_800),
}


class Fault(Struct, frozen=True):
    kind: str
    begin_us: int
    end_us: int


def draw(rng: random.Random, cold: bool = False) -> list[Fault]:
    """In order of their begin; of one kind no two at once."""
    kinds = list(KINDS)
    weights = [KINDS[kind][0] for kind in kinds]
    found = []
    if cold:
        begin = round(rng.uniform(0.05, 0.3) * DAY_US)
        found.append(Fault(rng.choice(("absent", "frozen", "85", "-127")), begin, DAY_US))
    for kind in rng.choices(kinds, weights, k=rng.choice((1, 2, 3, 4, 5, 6, 8))):
        if cold and (kind in SENSOR or kind in ("absent_both", "silence", "dead", "weld", "window")):
            continue
        _, shortest, longest = KINDS[kind]
        begin = round(rng.uniform(0.02, 0.97) * DAY_US)
        length = round(shortest * (longest / shortest) ** rng.random() * US)
        found.append(Fault(kind, begin, min(DAY_US, begin + length)))
        if kind in ("control_kill", "guard_kill", "reboot") and rng.random() < 0.3:  # it comes again and again
            at = begin
            for _ in range(rng.randint(1, 12)):
                at += length + round(rng.uniform(5, 600) * US)
                found.append(Fault(kind, min(DAY_US, at), min(DAY_US, at + length)))
    found.sort(key=lambda fault: fault.begin_us)
    ends: dict[str, int] = {}
    apart = []
    for fault in found:
        group = "sensor" if fault.kind in SENSOR else "process" if fault.kind in PROCESS else fault.kind
        if fault.begin_us > ends.get(group, -1) and fault.begin_us < fault.end_us:
            apart.append(fault)
            ends[group] = fault.end_us + (20 * US if group == "process" else 0)
    return apart


def draw_welds(rng: random.Random) -> list[Fault]:
    """A contact that welds again and again, and what may befall it meanwhile."""
    found = [fault for fault in draw(rng) if fault.kind in ("clock", "guard_kill", "control_kill", "85", "spikes")]
    at_s = 5400.0
    while at_s < 80_000:
        length_s = rng.uniform(1800, 7200)
        found.append(Fault("weld", round(at_s * US), round((at_s + length_s) * US)))
        at_s += length_s + rng.uniform(3600, 14_400)
    return sorted(found, key=lambda fault: fault.begin_us)
