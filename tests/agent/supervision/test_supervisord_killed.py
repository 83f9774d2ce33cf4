"""B58: supervisord is killed again and again: it comes back, its orphans end, and there are never two writers."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psutil

from tests.agent.supervision.device import Device
from tests.waiting import until

KILLS = 100 if os.environ.get("HUTKEEPER_LONG") == "1" else 3


class Watch(threading.Thread):
    """Looks every 10 ms who holds the plugin's and uplink's locks, and who is alive beside them."""

    def __init__(self, device: Device) -> None:
        super().__init__(daemon=True)
        self.device = device
        self.stop = threading.Event()
        self.doubles: list[str] = []

    def run(self) -> None:
        path = self.device.folder / "writer.diary"
        alive: set[int] = set()
        seen = 0
        while not self.stop.wait(0.01):
            lines = path.read_text().splitlines() if path.exists() else []
            for line in lines[seen:]:
                pid = int(line.split()[0])
                for other in alive - {pid}:
                    if is_alive(other):
                        self.doubles.append(f"{pid} began while {other} was alive")
                alive = {pid}
            seen = len(lines)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_B58_killed_supervisord_never_leaves_two_writers(tmp_path: Path) -> None:
    with Device(tmp_path) as device:
        device.write(device.stand_in("writer", "good"))
        device.start()
        until("the writer", lambda: device.diary("writer"))
        watch = Watch(device)
        watch.start()
        for _ in range(KILLS):
            old = device.supervisord()
            starts = len(device.diary("writer"))
            children = psutil.Process(old).children()
            time.sleep(0.05)
            os.kill(old, signal.SIGKILL)
            until("the orphans' end", lambda children=children: not any(is_alive(child.pid) for child in children), 5)
            until("a new writer", lambda starts=starts: len(device.diary("writer")) > starts, 15)
        watch.stop.set()
        watch.join()
        assert watch.doubles == []
        assert len({pid for pid, _, _ in device.diary("writer")}) == KILLS + 1
        assert device.root is not None and device.root.poll() is None


def test_B58_a_killed_run_takes_everything_with_it(tmp_path: Path) -> None:
    with Device(tmp_path) as device:
        device.write(device.stand_in("writer", "good"))
        device.start()
        until("the writer", lambda: device.diary("writer"))
        assert device.root is not None
        device.root.kill()
        device.root.wait(5)
        until("no process left", lambda: not device.processes(), 15)


def test_a_second_run_on_the_same_device_is_refused(tmp_path: Path) -> None:
    with Device(tmp_path) as device:
        device.write("")
        device.start()
        device.supervisord()
        first, device.root = device.root, None
        try:
            device.start()
            assert device.root is not None and device.root.wait(20) == 1
            assert "is held by process" in (tmp_path / "run.log").read_text()
        finally:
            device.root = first
