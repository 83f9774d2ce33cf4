"""A MUTA serial line with bits flipped: how many wrong values pass the format alone, and how many the plugin."""

from __future__ import annotations

import bisect
import random
from typing import Any, NamedTuple

from agent.api import Reading, RetryLater
from agent.testing import Lines, io_over
from firmware_bridges.muta import BadFrame, Kind, Unit, Update, ValueField, parse_frame, to_host
from plugins.radio_units.plugin import RadioUnits
from plugins.radio_units.settings import RadioUnitsConfig, UnitConfig

PERIOD_S = 3.0
"""Each unit reports far more often than a real one: the plugin's looks at the clock cost more than the frames."""
UNITS = {b"\x01\x20": "salon", b"\x02\x20": "hall", b"\x03\x20": "attic"}


class Damage(NamedTuple):
    frames: int
    damaged: int
    passed_by_format: int
    """Damaged frames that are still whole, with a wrong value or a wrong address."""
    believed: int
    """Values that the plugin told as good."""
    wrong: int
    """Of those, values that are not what the unit has said last."""


def config() -> RadioUnitsConfig:
    return RadioUnitsConfig(units={
        name: UnitConfig(uid=f"0000000{number}", address=address[::-1].hex())
        for number, (address, name) in enumerate(UNITS.items(), 1)})


def traffic(
    count: int, flips: float, seed: int
) -> tuple[bytes, list[tuple[float, bytes]], list[dict[tuple[str, str], Any]]]:
    """Frames of three units whose rooms drift slowly; ``flips``: the probability of each bit."""
    rng = random.Random(seed)
    temperature = dict.fromkeys(UNITS.values(), 20.0)
    clean, wire, truth = b"", [], []
    said: dict[tuple[str, str], Any] = {}
    for n in range(count):
        t_s = n * PERIOD_S / len(UNITS)
        address = list(UNITS)[n % len(UNITS)]
        name = UNITS[address]
        if rng.random() < 0.3:  # most reports of a room are like the one before
            temperature[name] = round(min(24.0, max(16.0, temperature[name] + rng.choice((-0.06, 0.06)))), 2)
        light = n // 2000 % 100
        frame = to_host(address, Update((
            ValueField("Tmp", temperature[name], Kind.FIXED16, Unit.CELSIUS, signed=True),
            ValueField("Lit", light, Kind.UINT8, Unit.PERCENT), ValueField("Vb1", 3.01, Kind.FIXED16, Unit.VOLT))))
        for prop, value in (("temperature_c", temperature[name]), ("luminosity_pct", light), ("battery_v", 3.01)):
            said[name, prop] = value
        truth.append(dict(said))
        clean += frame
        wire.append((t_s, flipped(frame, flips, rng)))
    return clean, wire, truth


def flipped(frame: bytes, flips: float, rng: random.Random) -> bytes:
    """Each bit of the frame turned over with this probability."""
    bits = len(frame) * 8
    number = int.from_bytes(frame, "big")
    at = -1
    while flips > 0:
        at += 1 + int(rng.expovariate(flips))
        if at >= bits:
            break
        number ^= 1 << at
    return number.to_bytes(len(frame), "big")


def measure(count: int, flips: float, seed: int = 1) -> Damage:
    clean, wire, truth = traffic(count, flips, seed)
    damaged = passed = 0
    for n, (_, frame) in enumerate(wire):
        good = clean[64 * n : 64 * n + 64]
        if frame == good:
            continue
        damaged += 1
        try:
            parse_frame(frame)
            passed += 1
        except BadFrame:
            continue
    believed = wrong = 0
    stamps = [t_s for t_s, _ in wire]
    for reading in replayed(wire):
        if reading.node is None or reading.quality is not None or reading.property in ("heard", "battery_low"):
            continue
        believed += 1
        now = truth[max(0, bisect.bisect_right(stamps, (reading.t_us or 0) / 1e6 + 0.01) - 1)]
        wrong += now.get((reading.node, reading.property)) != reading.value
    return Damage(count, damaged, passed, believed, wrong)


def replayed(wire: list[tuple[float, bytes]]) -> list[Reading]:
    """What the plugin makes of frames with stamps."""
    text = "".join(f"< {t_s:.3f} hex:{frame.hex()}\n" for t_s, frame in wire)
    plugin = RadioUnits(config())
    with io_over(text.encode(), Lines()) as io:
        io.kept["network"] = {"key": "1234"}
        found: list[Reading] = []
        while not io.stopping:
            try:
                found += (item for item in plugin.run(io) if isinstance(item, Reading))
            except RetryLater:
                continue  # nothing right for a quarter of an hour: the runner would open the port anew
        return found
