"""A plugin process that a test kills: the real worker, and a journal that is its disk. A line of it is one commit.

``python -m tests.plugins.modem.kill_child JOURNAL PORT ALLOWED``; stdin: one ``send`` command a line."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

from agent.api import Reading
from agent.bus import Answer, Command
from agent.runner.io import RunnerIo
from agent.runner.logs import CappedLog
from agent.runner.worker import Worker, Yield, boottime_us
from plugins.modem.config import ModemConfig
from plugins.modem.plugin import Modem


def kept_in(journal: Path) -> dict[str, Any]:
    """The newest whole line's state."""
    kept: dict[str, Any] = {}
    if journal.exists():
        for line in journal.read_text().split("\n")[:-1]:
            kept = json.loads(line)["kept"] or kept
    return kept


def main(journal: Path, port: str, allowed: str) -> None:
    config = ModemConfig(port=port, allow=(allowed,), baudrate=921_600, interval_s=1, per_10_min=100, per_day=1000,
                         all_per_day=1000)
    worker = Worker("x", lambda: Modem(config), Modem(config), 1.0, lambda: None, CappedLog(lambda level, text: None))
    worker.kept = kept_in(journal)
    worker.io = RunnerIo(worker, CappedLog(lambda level, text: None), lambda: None, Path("/nonexistent"))
    worker.start()
    threading.Thread(target=orders, args=(worker,), daemon=True).start()
    yields = 0
    with journal.open("ab", buffering=0) as disk:
        while True:
            told, kept, answers = [], None, []
            while worker.items:
                item = worker.items.popleft()
                if isinstance(item, Yield):
                    yields += 1
                    kept = json.loads(item.kept) if item.kept else kept
                    if isinstance(item.what, Reading):
                        told.append([item.what.property, item.what.value])
                elif isinstance(item, Answer):
                    answers.append([item.id, item.ok, item.message])
            if told or kept:
                disk.write(msgspec.json.encode({"told": told, "kept": kept}) + b"\n")
                os.fsync(disk.fileno())
            worker.safe = yields
            for answer in answers:
                print(json.dumps(answer), flush=True)
            time.sleep(0.01)


def orders(worker: Worker) -> None:
    for number, line in enumerate(sys.stdin):
        worker.command(Command(f"{os.getpid()}-{number}", "x", "send", json.loads(line), boottime_us() + 20_000_000))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
