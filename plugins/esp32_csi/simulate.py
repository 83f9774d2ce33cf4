"""A receiver behind a real pty (or UDP on loopback): a room with walls and a person who walks now and then."""

from __future__ import annotations

import contextlib
import math
import os
import random
import select
import socket
import threading
import time
import tty
from cmath import exp
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from firmware_bridges.esp32_csi import CsiRow, write_row

RATE_HZ = 100.0
TICK_S = 0.02
WAVE_M = 0.1225
"""2.447 GHz, channel 8."""
SPACING_HZ = 312_500.0
LIGHT_M_S = 299_792_458.0
NOISE = 0.45
"""Of each part of a value, in its units: rounding and thermal noise."""
CUT_RATIO = 0.002
"""Lines that the simulated line tears."""
QUIET_S, WALK_S = 20.0, 12.0
WALK_M_S = 0.6
SENDER = "1a:00:00:00:00:00"


class Room:
    """The channel at a time: fixed paths, and one over a person. Amplitudes of 10 to 40, as an AGC leaves them."""

    def __init__(self, seed: int, dialect: str = "esp_csi", mac: str = SENDER, channel: int = 11) -> None:
        self._random = random.Random(seed)
        self._dialect, self._mac, self.channel = dialect, mac, channel
        self.gain = 1.0
        self.agc_gain = 30
        rng = self._random
        self._paths = [(rng.uniform(5, 12), rng.uniform(3, 25)) for _ in range(4)]
        self._paths[0] = (20.0, 3.0)
        self._used = [i for i in range(64) if 1 <= abs(i - 32) <= (28 if dialect == "esp_csi_c6" else 26)]
        self._fixed = {i: sum(self._path(a, m, i) for a, m in self._paths) for i in self._used}

    @staticmethod
    def _path(amplitude: float, metres: float, position: int) -> complex:
        hertz = (position - 32) * SPACING_HZ
        return amplitude * exp(-2j * math.pi * (metres / WAVE_M + hertz * metres / LIGHT_M_S))

    def row(self, t_s: float, number: int, walked_m: float) -> CsiRow:
        """The row of one packet. ``walked_m``: how far the person has gone; stands while it stays the same."""
        gauss = self._random.gauss
        turn = exp(1j * self._random.uniform(0, 2 * math.pi))  # each packet has a carrier phase of its own
        values = [0] * 128
        detour_m = 6.0 + 1.5 * math.sin(walked_m / 1.5)
        for i in self._used:
            state = (self._fixed[i] + self._path(7.0, 2 * detour_m, i)) * turn * self.gain
            values[2 * i] = max(-128, min(127, round(state.imag + gauss(0, NOISE))))
            values[2 * i + 1] = max(-128, min(127, round(state.real + gauss(0, NOISE))))
        return CsiRow(dialect=self._dialect, mac=self._mac, rssi_dbm=-47 + round(gauss(0, 1)), noise_floor_dbm=-95,
                      channel=self.channel, secondary_channel=2, agc_gain=self.agc_gain, fft_gain=0,
                      device_us=round(t_s * 1e6) & 0xFFFFFFFF, sequence=number, values=values)

    def rows(self, rate_hz: float, seconds: float, walks: Callable[[float], bool]) -> Iterator[tuple[float, CsiRow]]:
        """(t_s, row) in order; the person walks at 0.6 m/s while ``walks(t_s)``."""
        walked_m = 0.0
        for number in range(round(seconds * rate_hz)):
            t_s = number / rate_hz
            walked_m += WALK_M_S * walks(t_s) / rate_hz
            yield t_s, self.row(t_s, number, walked_m)


def walking(t_s: float) -> bool:
    """Twenty quiet seconds, then twelve of walking, and so on."""
    return t_s % (QUIET_S + WALK_S) >= QUIET_S


class SimulatedReceiver(threading.Thread):
    """Writes rows at their pace until stopped."""

    def __init__(self, send: Callable[[bytes], None], room: Room, rate_hz: float, seed: int) -> None:
        super().__init__(name="simulated-csi", daemon=True)
        self._send = send
        self._room = room
        self._rate_hz = rate_hz
        self._random = random.Random(seed + 1)
        self._ending = threading.Event()

    def stop(self) -> None:
        self._ending.set()
        self.join()

    def run(self) -> None:
        began = time.monotonic()
        for t_s, row in self._room.rows(self._rate_hz, 1e7, walking):
            ahead = t_s - (time.monotonic() - began)
            if ahead > 0 and self._ending.wait(max(ahead, TICK_S)):
                return
            if self._ending.is_set():
                return
            line = write_row(row)
            if self._random.random() < CUT_RATIO:
                line = line[: self._random.randrange(20, len(line))] + b"\n"
            self._send(line)


@contextlib.contextmanager
def simulated(config: Any, seed: int = 0, rate_hz: float = RATE_HZ) -> Iterator[Any]:
    """The config with ``port`` on a pty (or ``udp_port``) that has a receiver behind it."""
    dialect = "esp_csi_c6" if config.chip in ("esp32c5", "esp32c6") else "esp_csi"
    mac = next((mac.lower() for mac in config.links if ":" in mac), SENDER)
    room = Room(seed, dialect, mac)
    with (_udp if config.transport == "udp" else _pty)(config) as (send, changed):
        receiver = SimulatedReceiver(send, room, rate_hz, seed)
        receiver.start()
        try:
            yield changed
        finally:
            receiver.stop()


@contextlib.contextmanager
def _pty(config: Any) -> Iterator[tuple[Callable[[bytes], None], Any]]:
    master, slave = os.openpty()
    try:
        tty.setraw(slave)  # from the start: else the terminal would echo
        os.set_blocking(master, False)

        def send(data: bytes) -> None:
            # What nobody reads is lost, and what has only half room is torn, as on a line.
            if select.select([], [master], [], 0)[1]:
                with contextlib.suppress(BlockingIOError):
                    os.write(master, data)

        # The slave stays open here, so that the receiver lives while nobody has the port open.
        yield send, msgspec.structs.replace(config, port=os.ttyname(slave))
    finally:
        os.close(master)
        os.close(slave)


@contextlib.contextmanager
def _udp(config: Any) -> Iterator[tuple[Callable[[bytes], None], Any]]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect(("127.0.0.1", port))

        def send(data: bytes) -> None:
            with contextlib.suppress(OSError):  # nobody listens yet
                sender.send(data)

        yield send, msgspec.structs.replace(config, udp_port=port, udp_address="127.0.0.1")
