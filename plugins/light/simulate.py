"""A sensor folder that moves, or a board on a real pty: a day of ten minutes, with clouds."""

from __future__ import annotations

import math
import os
import random
import tempfile
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

DAY_S = 600.0
NOON_LX = 900.0
"""Inside, near a window."""
SCALE = 0.833333
"""bh1750 at its default integration time."""
TICK_S = 0.5


class Sky:
    """Light inside at a moment. Same seed, same clouds."""

    def __init__(self, seed: int, day_s: float = DAY_S) -> None:
        self._random = random.Random(seed)
        self._day_s = day_s
        self._cloud = 0.5

    def lux(self, t_s: float) -> float:
        height = math.sin(2 * math.pi * t_s / self._day_s)
        self._cloud = min(1.0, max(0.0, self._cloud + self._random.gauss(0, 0.03)))
        clear = NOON_LX * float(max(0.0, height) ** 1.5) * (1 - 0.8 * self._cloud)
        return max(0.0, clear * (1 + self._random.gauss(0, 0.01)) + 0.2 * self._random.random())


def write_sensor(root: Path, raw: int, name: str = "bh1750", number: int = 0) -> None:
    """The files of a driver, each whole or not at all, as the kernel's are."""
    folder = root / f"sys/bus/iio/devices/iio:device{number}"
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in (("name", name), ("in_illuminance_scale", str(SCALE)), ("in_illuminance_raw", str(raw))):
        scratch = folder / f".{file}"
        scratch.write_text(f"{text}\n")
        scratch.replace(folder / file)


@contextmanager
def ticking(tick: Callable[[], None], name: str) -> Iterator[None]:
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(TICK_S):
            tick()

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(5)


@contextmanager
def simulated(config: Any, seed: int = 0) -> Iterator[Any]:
    """The config with ``root`` on a moving folder; with a ``port``, on a pty on which a board prints percents."""
    sky = Sky(seed)
    if config.port is None:
        with tempfile.TemporaryDirectory(prefix="hutkeeper-light-") as folder:
            root = Path(folder)
            write_sensor(root, 0)
            with ticking(lambda: write_sensor(root, round(sky.lux(time.time()) / SCALE)), "simulated-sky"):
                yield msgspec.structs.replace(config, root=folder, sensor="auto")
        return
    master, slave = os.openpty()
    try:
        tty.setraw(slave)
        os.set_blocking(master, False)

        def speak() -> None:
            with suppress(BlockingIOError):  # what nobody reads is lost, as on a line
                os.write(master, b"Lit %d%%\r\n" % min(100, round(sky.lux(time.time()) / 10)))

        with ticking(speak, "simulated-board"):
            yield msgspec.structs.replace(config, port=os.ttyname(slave))
    finally:
        os.close(master)
        os.close(slave)
