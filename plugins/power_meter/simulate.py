"""A meter behind a real pty, at the pace of a real line: for ``simulate = true``, the demo and the tests."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from . import pzem as pzem_codec
from . import sim_wire
from .sim_house import House, State

#: A write of this length keeps the pace smooth without many wake-ups.
TICK_S = 0.1
_ENCODERS: dict[str, tuple[int, float, int, Callable[[State, int], bytes]]] = {
    # protocol: baud, seconds from telegram to telegram, phases, state and number -> bytes
    "teleinfo": (1200, 0.0, 1, lambda state, number: sim_wire.teleinfo_historic(state)),
    "teleinfo-standard": (9600, 1.0, 1, lambda state, number: sim_wire.teleinfo_standard(state)),
    "dsmr": (115200, 1.0, 3, lambda state, number: sim_wire.dsmr(state)),
    "sml": (9600, 1.0, 3, lambda state, number: sim_wire.sml(state, number)),
}


class SimulatedMeter(threading.Thread):
    """Talks on the master side of a pty until stopped. Its counters follow the wall clock."""

    def __init__(self, master: int, protocol: str, seed: int, address: int) -> None:
        super().__init__(name=f"simulated-{protocol}", daemon=True)
        self._master = master
        self._protocol = protocol
        self._address = address
        self._house = House(seed, 1 if protocol == "pzem" else _ENCODERS[protocol][2])
        self._ending = threading.Event()

    def stop(self) -> None:
        self._ending.set()
        self.join()

    def run(self) -> None:
        if self._protocol == "pzem":
            self._answer()
        else:
            self._talk()

    def _talk(self) -> None:
        baud, period_s, _, encode = _ENCODERS[self._protocol]
        number = 0
        while not self._ending.is_set():
            due = time.monotonic() + period_s
            self._send(encode(self._house.at(time.time()), number), baud)
            number += 1
            self._ending.wait(max(0.02, due - time.monotonic()))

    def _answer(self) -> None:
        """A PZEM: silent until it is asked."""
        asked = pzem_codec.request(self._address)
        heard = b""
        while not self._ending.is_set():
            if not select.select([self._master], [], [], 0.2)[0]:
                continue
            with contextlib.suppress(OSError):
                heard = (heard + os.read(self._master, 256))[-64:]
            for address in (self._address, pzem_codec.ANY_ADDRESS):
                asked = pzem_codec.request(address)
                if asked in heard:
                    heard = b""
                    self._ending.wait(0.05)
                    self._send(sim_wire.pzem(self._house.at(time.time()), address), 9600)
                    break

    def _send(self, data: bytes, baud: int) -> None:
        """A pty has no baud rate: ten bits a byte, by the clock. What nobody reads is lost, as on a line."""
        portion = max(8, int(baud / 10 * TICK_S))
        for start in range(0, len(data), portion):
            part = data[start : start + portion]
            if select.select([], [self._master], [], 0)[1]:
                with contextlib.suppress(BlockingIOError):
                    os.write(self._master, part)
            if self._ending.wait(len(part) * 10 / baud):
                return


@contextlib.contextmanager
def simulated(config: Any, seed: int = 0) -> Iterator[Any]:
    """The config with ``port`` on a pty that has a meter behind it; Téléinfo historic where it says ``auto``."""
    protocol = "teleinfo" if config.protocol == "auto" else config.protocol
    if protocol == "teleinfo" and config.mode == "standard":
        protocol = "teleinfo-standard"
    master, slave = os.openpty()
    try:
        # Raw from the start: else the terminal would turn CR into LF, and echo what is sent to the meter.
        tty.setraw(slave)
        os.set_blocking(master, False)
        meter = SimulatedMeter(master, protocol, seed, config.address)
        meter.start()
        try:
            # The slave stays open here, so that the meter's side lives while nobody has the port open.
            yield msgspec.structs.replace(config, port=os.ttyname(slave))
        finally:
            meter.stop()
    finally:
        os.close(master)
        os.close(slave)
