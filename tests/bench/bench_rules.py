"""A second of a large house through the rules, against a bare loop over the same samples.

1,000 devices of 20 series, each with the default rules (silence of all, a threshold and a forecast of some)."""

from __future__ import annotations

import time
from datetime import UTC

from agent.rules.declared import Declared
from agent.rules.defaults import defaults
from agent.rules.engine import Engine
from agent.rules.model import parse
from tests.bench.figures import Figure, against_limit

DEVICES = 1000
SERIES = 20
ROUNDS = 7
S = 1_000_000
T0 = 1_790_000_000 * S


def house(devices: int) -> list[Declared]:
    names = ("soc_temperature_c", "memory_used_percent", "used_percent", "under_voltage", "index_l")
    return [Declared(f"pi-{n}", "host", names[m] if m < len(names) else f"value_{m}", unit="%",
                     datatype="boolean" if m == 3 else "float", device_class={3: "problem", 4: "water"}.get(m, ""),
                     counter=m == 4, max_age_s=30.0, expected=True) for n in range(devices) for m in range(SERIES)]


def bare(samples: list[tuple[int, int, float]]) -> float:
    """What nobody can do without: look at each."""
    last = dict.fromkeys(range(DEVICES * SERIES), 0)
    began = time.process_time()
    for series, t_us, _value in samples:
        if t_us > last[series]:
            last[series] = t_us
    return time.process_time() - began


def measure(devices: int = DEVICES, rounds: int = ROUNDS) -> list[Figure]:
    declared = house(devices)
    engine = Engine([parse(text) for text in defaults(declared).values()], declared, UTC)
    lines = [engine.line(one) for one in declared]
    engine.tick(T0)
    now, ours, peer, ticks = T0, [], [], []
    for n in range(rounds):
        now += 10 * S
        samples = [(series, now, 20.0 + (series + n) % 7) for series in range(len(declared))]
        began = time.process_time()
        for series, t_us, value in samples:
            lines[series].feed(t_us, value)
        ours.append((time.process_time() - began) / len(samples) * 1e5)
        peer.append(bare(samples) / len(samples) * 1e5)
        began = time.process_time()
        for second in range(10):
            engine.tick(now + second * S)
        ticks[-1:] = [(ticks[-1] if ticks else 0.0) + time.process_time() - began]
    ticks = [ticks[0] / (10 * rounds)]
    assert not engine.firing
    return [Figure("rules: 10^5 samples, 1.3 rules a series", ours, peer, "s CPU", 25.0),
            against_limit("rules: one second's tick of 20,000 series", ticks, 0.05, "s CPU")]
