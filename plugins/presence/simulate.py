"""An access point's list of stations as a real file that changes: people come and go every half minute or so."""

from __future__ import annotations

import contextlib
import os
import random
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from .settings import WifiFileSign

WRITE_S = 1.0


class SimulatedAccessPoint(threading.Thread):
    """Writes ``iw dev wlan0 station dump`` as if it were called every second, with whoever is there."""

    def __init__(self, path: Path, macs: list[str], seed: int) -> None:
        super().__init__(name="simulated-access-point", daemon=True)
        self._path, self._macs = path, macs
        self._rng = random.Random(seed)
        self._ending = threading.Event()
        self._moves = {mac: 0.0 for mac in macs}
        self._there = dict.fromkeys(macs, False)

    def stop(self) -> None:
        self._ending.set()
        self.join()

    def run(self) -> None:
        while not self._ending.is_set():
            now = time.monotonic()
            for mac in self._macs:
                if now >= self._moves[mac]:
                    self._there[mac] = not self._there[mac]
                    self._moves[mac] = now + self._rng.uniform(20, 60)
            self.write()
            self._ending.wait(WRITE_S)

    def write(self) -> None:
        text = "".join(
            f"Station {mac} (on wlan0)\n\tinactive time:\t{self._rng.randrange(2000)} ms\n\tsignal:  \t"
            f"-{self._rng.randrange(40, 75)} dBm\n\tauthorized:\tyes\n\tassociated:\tyes\n"
            for mac in self._macs if self._there[mac])
        scratch = self._path.with_suffix(".new")
        scratch.write_text(text)
        os.replace(scratch, self._path)


@contextlib.contextmanager
def simulated(config: Any, seed: int = 0) -> Iterator[Any]:
    """The persons of the config, each with one sign in the simulated file, and delays that a demo can wait for."""
    with tempfile.TemporaryDirectory(prefix="hutkeeper-presence-") as folder:
        path = Path(folder) / "stations"
        macs = {person: f"02:00:00:00:00:{number:02x}" for number, person in enumerate(config.persons, 1)}
        persons = {
            name: msgspec.structs.replace(
                person, signs=(WifiFileSign(path=str(path), mac=macs[name], hold_s=5.0),),
                arrival_delay_s=min(1.0, person.arrival_delay_s), departure_delay_s=min(5.0, person.departure_delay_s))
            for name, person in config.persons.items()}
        access_point = SimulatedAccessPoint(path, list(macs.values()), seed)
        access_point.start()
        try:
            yield msgspec.structs.replace(config, persons=persons, canary=None)
        finally:
            access_point.stop()
