"""A room with a heater for ``simulate = true``: the relay's simulated pin heats it, DS18B20s in a folder measure it.

The pin is a file to which the guard writes each edge (``<CLOCK_MONOTONIC us> <0 or 1>``). The thermometers are files as
the kernel's w1_therm driver has them, CRC and all, written anew every second; sensors that are to come from the bus are
replaced by them. The room is fast, so that something is to be seen: minutes instead of hours.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from agent.api import AnyRelay, LatchingRelay

SIM = "sim:"
TICK_S = 1.0
LOOK_S = 0.2
"""A contact moves at once: the guard looks at its probe every second, and twice wrong is a dead relay."""
LIFT_C = 40.0
TAU_S = 7200.0
"""Full heat from cold: about 0.25 °C a minute; without it, no faster than a room with its windows shut."""
POLYNOMIAL = 0x8C
"""Dallas/Maxim CRC-8, x^8 + x^5 + x^4 + 1, reflected (application note 27)."""


def crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (POLYNOMIAL if crc & 1 else 0)
    return crc


def w1_slave(celsius: float) -> str:
    """The two lines of w1_therm for a DS18B20 at 12 bits (data sheet, figure 4: sixteenths of a degree)."""
    sixteenths = round(celsius * 16)
    scratchpad = (sixteenths & 0xFFFF).to_bytes(2, "little") + bytes.fromhex("4b467fff0c10")
    crc = crc8(scratchpad)
    words = " ".join(f"{byte:02x}" for byte in (*scratchpad, crc))
    return f"{words} : crc={crc:02x} YES\n{words} t={int(sixteenths * 1000 / 16)}\n"


class SimulatedRoom(threading.Thread):
    """Reads the pins, heats, writes the thermometers and the probe."""

    def __init__(self, relay: AnyRelay, root: Path, sensors: list[str], seed: int) -> None:
        super().__init__(name="simulated-room", daemon=True)
        self._relay = relay
        self._files = [root / "sys/bus/w1/devices" / sensor / "w1_slave" for sensor in sensors]
        self._random = random.Random(seed)
        self._ending = threading.Event()
        self._contact: bool | None = None
        self.outdoor_c = 8.0
        self.air_c = 17.5 + self._random.random()
        for file in self._files:
            file.parent.mkdir(parents=True, exist_ok=True)
        self._write()

    def stop(self) -> None:
        self._ending.set()
        self.join()

    def run(self) -> None:
        at_s = time.monotonic()
        while not self._ending.wait(LOOK_S):
            now_s = time.monotonic()
            if now_s - at_s >= TICK_S:
                self.step(now_s - at_s)
                at_s = now_s
            else:
                self.look()

    def look(self) -> bool:
        """Where the contact is now, and on its probe."""
        closed = self.closed()
        if closed != self._contact and self._relay.probe_line.startswith(SIM):
            _append(self._relay.probe_line, closed)
        self._contact = closed
        return closed

    def step(self, seconds: float) -> None:
        closed = self.look()
        rest_c = self.outdoor_c + LIFT_C * closed
        self.air_c = rest_c + (self.air_c - rest_c) * math.exp(-seconds / TAU_S)
        self._write()

    def closed(self) -> bool:
        """Where the contact is: a plain relay's follows its coil, a latching one's the last pulse."""
        if not isinstance(self._relay, LatchingRelay):
            return bool(_edges(self._relay.line)[-1:] == [1])
        lines = [(_stamp(line), name) for name in (self._relay.set_line, self._relay.reset_line)
                 for line in _lines(name) if line.endswith(" 1")]
        return bool(lines) and max(lines)[1] == self._relay.set_line

    def _write(self) -> None:
        for number, file in enumerate(self._files):
            text = w1_slave(self.air_c - number + self._random.gauss(0.0, 0.04))
            fresh = file.with_suffix(".new")
            fresh.write_text(text)
            os.replace(fresh, file)


def _lines(line: str) -> list[str]:
    try:
        return Path(line.removeprefix(SIM)).read_text("ascii").splitlines()
    except OSError:
        return []


def _edges(line: str) -> list[int]:
    return [int(text[-1]) for text in _lines(line) if text[-2:] in (" 0", " 1")]


def _stamp(line: str) -> int:
    first = line.split(" ")[0]
    return int(first) if first.isdigit() else 0


def _append(line: str, level: bool) -> None:
    path = Path(line.removeprefix(SIM))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(f"{time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000} {int(level)}\n")


@contextlib.contextmanager
def simulated(config: Any, seed: int = 0) -> Iterator[Any]:
    """The config with each sensor on 1-Wire below a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="hutkeeper-room-") as folder:
        ids = [f"28-{number + 1:012x}" for number in range(len(config.sensors))]
        sensors = {name: msgspec.structs.replace(one, source=f"w1:{sensor_id}", interval_s=min(10.0, one.interval_s),
                                                 max_age_s=None)
                   for sensor_id, (name, one) in zip(ids, config.sensors.items(), strict=True)}
        room = SimulatedRoom(config.relay, Path(folder), ids, seed)
        room.start()
        try:
            yield msgspec.structs.replace(config, sensors=sensors, root=folder)
        finally:
            room.stop()
