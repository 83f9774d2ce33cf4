"""Simulated meters on a bad line: how many values pass, how many of them are wrong. Used by tests and figures.py."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from plugins.power_meter import sim_wire
from plugins.power_meter.dsmr import DsmrCodec, Telegram
from plugins.power_meter.dsmr_values import content
from plugins.power_meter.frames import Measured
from plugins.power_meter.meters import Believed, DsmrMeter, Meter, PzemMeter, SmlMeter, TeleinfoMeter
from plugins.power_meter.properties import COUNTERS
from plugins.power_meter.sim_house import House
from plugins.power_meter.teleinfo import Frame, TeleinfoCodec
from plugins.power_meter.teleinfo_values import measure

#: A morning, so that loads rise and fall; the tariff changes on the way in long runs.
START_S = 1_700_000_000.0

MAKERS = {
    # name: (phases, seconds between telegrams, telegram of state and number)
    "teleinfo historic": (1, 1.6, lambda state, n: sim_wire.teleinfo_historic(state)),
    "teleinfo historic 3p": (3, 2.0, lambda state, n: sim_wire.teleinfo_historic(state, "BASE")),
    "teleinfo standard": (1, 1.0, lambda state, n: sim_wire.teleinfo_standard(state)),
    "dsmr 2.2": (3, 10.0, lambda state, n: sim_wire.dsmr(state, 22)),
    "dsmr 3": (3, 10.0, lambda state, n: sim_wire.dsmr(state, 30)),
    "dsmr 4": (3, 10.0, lambda state, n: sim_wire.dsmr(state, 42)),
    "dsmr 5": (3, 1.0, lambda state, n: sim_wire.dsmr(state, 50)),
    "sml": (3, 1.0, lambda state, n: sim_wire.sml(state, n)),
    "pzem": (1, 1.0, lambda state, n: sim_wire.pzem(state)),
}


def meter_for(name: str) -> Meter:
    if name.startswith("teleinfo"):
        return TeleinfoMeter()
    if name.startswith("dsmr"):
        return DsmrMeter()
    return SmlMeter() if name == "sml" else PzemMeter()


def telegrams(name: str, count: int, seed: int = 1) -> Iterator[tuple[float, bytes]]:
    """(seconds since start, bytes) of a simulated meter whose values move."""
    phases, period_s, make = MAKERS[name]
    house = House(seed, phases)
    for number in range(count):
        t_s = number * period_s
        yield t_s, make(house.at(START_S + t_s), number)


def flip(data: bytes, rate: float, rng: random.Random) -> bytes:
    """Every bit of every byte turned over with probability ``rate``: gaps between flips are geometric."""
    if rate <= 0:
        return data
    out = bytearray(data)
    bits, step = len(data) * 8, math.log1p(-rate)
    at = int(math.log(1.0 - rng.random()) / step)
    while at < bits:
        out[at >> 3] ^= 1 << (at & 7)
        at += 1 + int(math.log(1.0 - rng.random()) / step)
    return bytes(out)


def with_parity(data: bytes) -> bytes:
    """As a 7E1 line looks when it is read as 8N1."""
    return bytes(byte | (bin(byte).count("1") & 1) << 7 for byte in data)


@dataclass
class Tally:
    """What came of a run. ``offered``: values that the meter sent; ``alone_*``: with the checksum only."""

    telegrams: int = 0
    offered: int = 0
    accepted: int = 0
    offered_counters: int = 0
    accepted_counters: int = 0
    wrong_counters: int = 0
    wrong_instant: int = 0
    alone_counters: int = 0
    alone_instant: int = 0
    examples: list[str] = field(default_factory=list)


def _key(measured: Measured) -> tuple[str | None, str]:
    return measured.node, measured.property


def run(name: str, count: int, rate: float, seed: int = 1, *, parity: bool = False, alone: bool = True) -> Tally:
    """Damage ``count`` telegrams with ``rate`` and compare every believed value with what the meter said then.

    A value is right if the undamaged telegram of the time that it is stamped with carries exactly that value."""
    rng = random.Random(seed * 7919 + int(rate * 1e7))
    meter, reference = meter_for(name), meter_for(name)
    codec = TeleinfoCodec() if name.startswith("teleinfo") else DsmrCodec() if name.startswith("dsmr") else None
    truth: dict[float, dict[tuple[str | None, str], object]] = {}
    tally = Tally()
    for t_s, clean in telegrams(name, count, seed):
        tally.telegrams += 1
        said = {_key(f.measured): f.measured.value for f in reference.feed(clean, t_s) if isinstance(f, Believed)}
        for node, value_name in said:
            tally.offered += 1
            tally.offered_counters += value_name in COUNTERS or node is not None
        # M-Bus values are told when they change: what was said before is still true.
        held = truth[next(reversed(truth))] if truth else {}
        truth[t_s] = {**{k: v for k, v in held.items() if k[0] is not None}, **said}
        if len(truth) > 1000:
            del truth[next(iter(truth))]
        data = flip(with_parity(clean) if parity else clean, rate, rng)
        if alone and codec is not None:
            _alone(codec, data, t_s, truth, tally)
        for found in meter.feed(data, t_s):
            if isinstance(found, Believed):
                _judge(found, truth, tally)
    return tally


def _judge(found: Believed, truth: dict[float, dict[tuple[str | None, str], object]], tally: Tally) -> None:
    key, value = _key(found.measured), found.measured.value
    counter = key[1] in COUNTERS or key[0] is not None
    tally.accepted += 1
    tally.accepted_counters += counter
    right = truth[found.t_s].get(key)
    if right != value:
        if counter:
            tally.wrong_counters += 1
        else:
            tally.wrong_instant += 1
        if len(tally.examples) < 10:
            tally.examples.append(f"t={found.t_s} {key} {value!r} instead of {right!r}")


def _alone(
    codec: TeleinfoCodec | DsmrCodec, data: bytes, t_s: float,
    truth: dict[float, dict[tuple[str | None, str], object]], tally: Tally,
) -> None:
    """What a reader lets through that looks at checksums and formats only."""
    for stamp, value in _unquestioned(codec, data, t_s):
        if truth[stamp].get((None, value.property)) == value.value:
            continue
        if value.property in COUNTERS:
            tally.alone_counters += 1
        else:
            tally.alone_instant += 1


def _unquestioned(codec: TeleinfoCodec | DsmrCodec, data: bytes, t_s: float) -> Iterator[tuple[float, Measured]]:
    if isinstance(codec, DsmrCodec):
        for telegram in codec.feed(data):
            if isinstance(telegram, Telegram):
                yield from ((t_s, value) for value in content(telegram).values)
        return
    for frame in codec.feed(data, t_s):
        for group in frame.groups if isinstance(frame, Frame) else ():
            value = measure(group)
            if value is not None:
                yield group.at, value
