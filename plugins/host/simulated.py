"""A machine that is not there: a folder with proc/ and sys/ whose numbers move once a second."""

from __future__ import annotations

import random
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

STEP_S = 1.0
CORES = 4
MEMORY_KB = 3_884_000


class Machine:
    """A Raspberry Pi 4 with a card, an Ethernet port and Wi-Fi; ``step`` moves it on by a second."""

    def __init__(self, root: Path, seed: int) -> None:
        self._root = root
        self._random = random.Random(seed)
        self._jiffies = [[0, 0] for _ in range(CORES)]
        self._seconds = 0
        self._bytes = {"eth0": [0, 0], "wlan0": [0, 0]}
        self._celsius = 48.0
        boot = f"{self._random.getrandbits(128):032x}"
        self._write("proc/sys/kernel/random/boot_id",
                    f"{boot[:8]}-{boot[8:12]}-{boot[12:16]}-{boot[16:20]}-{boot[20:]}\n")
        self._write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        self._write("sys/class/net/eth0/operstate", "up\n")
        self._write("sys/class/net/wlan0/operstate", "up\n")
        self._write("proc/mounts", "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n")
        self._write("proc/net/route", "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
                                      "eth0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n")
        self._write("proc/net/fib_trie", "Main:\n     |-- 192.168.2.17\n        /32 host LOCAL\n")
        self.step()

    def step(self) -> None:
        """One second passes."""
        chance = self._random
        self._seconds += 1
        busy = chance.betavariate(1.5, 8)
        for core in self._jiffies:
            share = min(1.0, max(0.0, busy + chance.gauss(0, 0.05)))
            core[0] += round(100 * share)
            core[1] += 100 - round(100 * share)
        lines = [("cpu", [sum(core[n] for core in self._jiffies) for n in (0, 1)]),
                 *((f"cpu{n}", core) for n, core in enumerate(self._jiffies))]
        self._write("proc/stat", "".join(f"{name} {core[0]} 0 0 {core[1]} 0 0 0 0 0 0\n" for name, core in lines))
        available = int(MEMORY_KB * (0.7 + 0.05 * chance.random()))
        self._write("proc/meminfo", f"MemTotal: {MEMORY_KB} kB\nMemAvailable: {available} kB\n"
                                    "SwapTotal: 102396 kB\nSwapFree: 100348 kB\n")
        self._write("proc/loadavg", f"{busy * CORES:.2f} {busy * CORES:.2f} {busy * CORES:.2f} 1/180 900\n")
        self._write("proc/uptime", f"{self._seconds}.00 {self._seconds * CORES}.00\n")
        (self._root / f"proc/{100 + self._seconds % 40}").mkdir(exist_ok=True)
        self._celsius += 0.1 * (45 + 30 * busy - self._celsius) + chance.gauss(0, 0.1)
        self._write("sys/class/thermal/thermal_zone0/temp", f"{round(self._celsius * 1000)}\n")
        self._write("sys/devices/platform/soc/soc:firmware/get_throttled", "0\n")
        for counts in self._bytes.values():
            counts[0] += chance.randrange(200, 40_000)
            counts[1] += chance.randrange(200, 9_000)
        rows = "".join(f"{name}: {received} 1 0 0 0 0 0 0 {sent} 1 0 0 0 0 0 0\n"
                       for name, (received, sent) in self._bytes.items())
        self._write("proc/net/dev", f"Inter-| Receive | Transmit\n face |bytes |bytes\n{rows}")
        self._write("proc/net/wireless", "Inter-| sta-| Quality\n face | tus | link level noise\n"
                                         f" wlan0: 0000   58.  {-52 - chance.randrange(6)}.  -256 0 0 0 0 0 0\n")

    def _write(self, name: str, text: str) -> None:
        """Whole or not at all, as the kernel's files are."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(path.name + ".new")
        scratch.write_text(text)
        scratch.replace(path)


@contextmanager
def simulated_machine(config: Any, seed: int) -> Iterator[Any]:
    """Gives ``config`` with ``root`` set to the machine's folder."""
    with tempfile.TemporaryDirectory(prefix="hutkeeper-host-") as folder:
        machine = Machine(Path(folder), seed)
        stop = threading.Event()

        def move() -> None:
            while not stop.wait(STEP_S):
                machine.step()

        thread = threading.Thread(target=move, name="simulated-host", daemon=True)
        thread.start()
        try:
            yield msgspec.structs.replace(config, root=folder)
        finally:
            stop.set()
            thread.join(5)
