"""Kill and stop of the real processes: control, guard, uplink, supervisord, each one and each pair, while it heats.

``python -m tests.safety.processes [--rounds N] [--only WORDS]`` prints how long the pin stayed ON after the fault. The
pin is a file that outlives every process, each edge with CLOCK_MONOTONIC. The control here wants ON for ever and always
has a fresh sample, so nothing but the guard's own rules and its keepers ends it. Faults come at random moments.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from agent.guard import pins
from tests.agent.supervision.device import Device
from tests.waiting import until

VICTIMS = ("control", "guard", "uplink", "supervisord")
SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
LIMIT_S = 30.0
"""DESIGN section 9 and G9: ON ends so long after the death or stop of the control process."""
PATIENCE_S = 60.0
AT_ONCE = 4
"""Devices at work at the same time: each waits most of its time."""
HEATER = """
[plugins.heater]
use = "stand_in_heater"
relay = {{ driver = "plain", line = "sim:{pin}" }}
"""


class Fault(NamedTuple):
    victim: str
    how: str

    def __str__(self) -> str:
        return f"{self.how} {self.victim}"


class Outcome(NamedTuple):
    faults: tuple[Fault, ...]
    off_after_s: float | None
    """None: it stayed ON, which is right where control and guard both live."""
    on_again: bool

    @property
    def must_end(self) -> bool:
        """Control or guard is hit, or dies with its supervisor."""
        return any(fault.victim in ("control", "guard") or fault == ("supervisord", "kill") for fault in self.faults)

    @property
    def broken(self) -> bool:
        return self.must_end and (self.off_after_s is None or self.off_after_s > LIMIT_S)


def combinations() -> Iterator[tuple[Fault, ...]]:
    """8 single faults and 24 pairs."""
    for victim in VICTIMS:
        for how in SIGNALS:
            yield (Fault(victim, how),)
    for one, other in itertools.combinations(VICTIMS, 2):
        for how_one, how_other in itertools.product(SIGNALS, repeat=2):
            yield Fault(one, how_one), Fault(other, how_other)


def pid_of(device: Device, victim: str) -> int:
    if victim == "supervisord":
        return device.supervisord()
    name = {"control": "plugin-heater", "guard": "guard-heater", "uplink": "uplink"}[victim]
    return device.states()[name][1]


def strike(faults: tuple[Fault, ...], seed: int) -> Outcome:
    """One device from its start to the end of its heat."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="hk-safe-") as name, Device(Path(name)) as device:
        pin = device.folder / "heater.pin"
        device.write(HEATER.format(pin=pin))
        device.start()
        until("heating", lambda: pins.last_level(pin), PATIENCE_S)
        time.sleep(4 + dice.random())  # supervisord has seen all of them run
        until("heating", lambda: pins.last_level(pin), PATIENCE_S)
        victims = [(pid_of(device, fault.victim), SIGNALS[fault.how]) for fault in faults]
        if dice.random() < 0.5:
            victims.reverse()
        edges = len(list(pins.edges(pin)))
        struck_us = time.monotonic_ns() // 1000
        for pid, signum in victims:
            os.kill(pid, signum)
        off = wait_for_off(pin, edges, PATIENCE_S if Outcome(faults, None, False).must_end else 15.0)
        for pid, signum in victims:
            if signum == signal.SIGSTOP:
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    pass  # somebody has dealt with it already
        again = comes_back(pin)
        return Outcome(faults, None if off is None else (off - struck_us) / 1e6, again)


def wait_for_off(pin: Path, edges: int, patience_s: float) -> int | None:
    """CLOCK_MONOTONIC of the first OFF after ``edges``."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        for at_us, level in list(pins.edges(pin))[edges:]:
            if not level:
                return at_us
        time.sleep(0.05)
    return None


def comes_back(pin: Path) -> bool:
    """With everything alive again it heats again."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if pins.last_level(pin):
            return True
        time.sleep(0.1)
    return False


def run(rounds: int, seed: int, only: str = "") -> list[Outcome]:
    wanted = [faults for faults in combinations() if only in " + ".join(map(str, faults))] * rounds
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = []
        for done in pool.map(strike, wanted, range(seed, seed + len(wanted))):
            outcomes.append(done)
            print(f"{len(outcomes):4}/{len(wanted)}  {' + '.join(map(str, done.faults)):40} "
                  f"{'stays ON' if done.off_after_s is None else f'OFF after {done.off_after_s:5.1f} s'}"
                  f"{'' if done.on_again else '  never ON again'}{'  VIOLATION' if done.broken else ''}", flush=True)
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--only", default="", help='for example "stop guard"')
    options = parser.parse_args()
    print(f"seed {options.seed}")
    outcomes = run(options.rounds, options.seed, options.only)
    ended = [one.off_after_s for one in outcomes if one.must_end and one.off_after_s is not None]
    broken = [one for one in outcomes if one.broken]
    lame = [one for one in outcomes if not one.on_again]
    print(f"limit {LIMIT_S:.0f} s | worst seen {max(ended, default=0.0):.1f} s | {len(outcomes)} scenarios, "
          f"{len(broken)} violations, {len(lame)} that did not heat again")
    return 1 if broken or lame else 0


if __name__ == "__main__":
    sys.exit(main())
