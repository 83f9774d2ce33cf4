"""The real guard and plugin processes: ``python -m tests.plugins.water_valve.figures [KILLS]``.

How long from the meter's word to the closed contact, and whether kills at random moments ever move the valve."""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.plugins.actuator_bench import Bench


def closings(bench: Bench, count: int) -> list[float]:
    """Seconds from the word "burst" on the bus to the closed contact, opened again by a person each time."""
    found = []
    for _ in range(count):
        bench.until("open", lambda: (bench.tell("water", "leak", "none"), not bench.contact.contact)[1]
                    or (bench.order("valve", True), False)[1], timeout_s=60)
        time.sleep(random.random())
        bench.tell("water", "leak", "burst")
        began = time.monotonic()
        while not bench.contact.contact:
            time.sleep(0.001)
        found.append(time.monotonic() - began)
    return found


def kills(bench: Bench, count: int, seed: int) -> tuple[int, int]:
    """Plugin, guard or both killed at random moments of their lives; returns (kills, times the valve moved)."""
    chance, moves = random.Random(seed), bench.contact.moves
    for _ in range(count):
        victims = chance.choice((("plugin",), ("guard",), ("plugin", "guard")))
        bench.kill(*victims)
        time.sleep(chance.uniform(0, 0.3))
        bench.start(*victims)
        time.sleep(chance.uniform(0, 4))
    bench.said.clear()
    bench.until("it speaks again", lambda: "position" in bench.said)
    return count, bench.contact.moves - moves


def main(count: int) -> None:
    more = "travel_s = 0\ninterval_s = 1\n"
    with tempfile.TemporaryDirectory() as folder, Bench(Path(folder), "water_valve", more) as bench:
        bench.start("guard", "plugin")
        bench.until("it speaks", lambda: bench.said.get("valve") is True)
        seconds = closings(bench, max(5, count // 3))
        print(f"word to contact: median {statistics.median(seconds) * 1000:.0f} ms, worst "
              f"{max(seconds) * 1000:.0f} ms, {len(seconds)} bursts")
        bench.until("kept", lambda: bench.kept_has("valve", closed=True, by="burst"))
        closed = kills(bench, count // 2, 1)
        bench.until("open", lambda: (bench.tell("water", "leak", "none"), not bench.contact.contact)[1]
                    or (bench.order("valve", True), False)[1], timeout_s=60)
        time.sleep(3)
        opened = kills(bench, count - count // 2, 2)
        print(f"closed: {closed[0]} kills, moved {closed[1]} times; open: {opened[0]} kills, moved {opened[1]} times; "
              f"longest pulse {bench.contact.longest_us / 1000:.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
