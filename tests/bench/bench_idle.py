"""What the agent costs while nothing happens: CPU, wake-ups and memory of uplink and of a quiet plugin."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.bench.figures import Figure, against_limit
from tests.house import House, until

ROUNDS = 5
ROUND_S = 30.0

BARE = """
import sys, time
import paho.mqtt.client as mqtt
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="bare", protocol=mqtt.MQTTv5)
client.connect("127.0.0.1", int(sys.argv[1]), keepalive=10)
client.loop_start()
time.sleep(100000)
"""


def wakeups(process: psutil.Process) -> int:
    """Voluntary context switches of all its threads so far: each is one return from a wait."""
    total = 0
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        for row in (task / "status").read_text().splitlines():
            if row.startswith("voluntary_ctxt_switches"):
                total += int(row.split()[1])
    return total


def cpu_s(process: psutil.Process) -> float:
    """Seconds of processor time from the scheduler's own count: the clock tick of 10 ms is far too coarse here."""
    return sum(
        int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{process.pid}/task").iterdir()
    ) / 1e9


def measure() -> list[Figure]:
    names = ("uplink", "plugin", "bare paho")
    cpu: dict[str, list[float]] = {name: [] for name in names}
    wakes: dict[str, list[float]] = {name: [] for name in names}
    rss: dict[str, list[float]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder, House(Path(folder)) as house:
        house.start_hub()
        house.start_agent("idle", '[plugins.quiet]\nuse = "house_quiet"\n')
        until("a stored sample", lambda: [row for row in house.ledger("idle") if row["stored"]], 60, every_s=1)
        bare = subprocess.Popen([sys.executable, "-c", BARE, str(house.mqtt)], env={**os.environ})
        try:
            watched = {
                "uplink": house.find("hutkeeper-agent", "uplink")[0],
                "plugin": house.find("hutkeeper-agent", "plugin", "quiet")[0],
                "bare paho": psutil.Process(bare.pid),
            }
            time.sleep(20)  # what a start costs is over
            for _ in range(ROUNDS):
                before = {name: (cpu_s(process), wakeups(process)) for name, process in watched.items()}
                time.sleep(ROUND_S)
                for name, process in watched.items():
                    cpu[name].append((cpu_s(process) - before[name][0]) / ROUND_S * 100)
                    wakes[name].append((wakeups(process) - before[name][1]) / ROUND_S)
                    rss[name].append(process.memory_info().rss / 2**20)
        finally:
            bare.kill()
            bare.wait()
    figures = []
    for name in ("uplink", "plugin"):
        figures.append(against_limit(f"idle {name}: CPU", cpu[name], 0.05, "% of a core"))
        figures.append(against_limit(f"idle {name}: wake-ups", wakes[name], 5.0, "1/s"))
    figures.append(Figure("RSS of uplink against a bare paho client", rss["uplink"], rss["bare paho"], "MiB", 1.5))
    figures.append(against_limit("RSS of a plugin process", rss["plugin"], 32.0, "MiB"))
    return figures


if __name__ == "__main__":
    for figure in measure():
        print(figure.line())
