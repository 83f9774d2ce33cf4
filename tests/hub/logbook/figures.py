"""``python -m tests.hub.logbook.figures [lines] [folder]``: the logbook with very many lines. Prints milliseconds."""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from hub.logbook.model import SEVERITIES, Entry
from hub.store import logbook_rows as rows
from hub.store.alerts_db import AlertsDb, AlertsReader
from hub.store.logbook_rows import Query
from tests.hub.logbook.hall import NOON_US

WORDS = [f"word{n}" for n in range(20_000)]
EVERY_US = 30_000_000


def entry(n: int, dice: random.Random) -> Entry:
    few = " ".join(dice.choice(WORDS) for _ in range(6))
    common = "no answer from the sensor" if n % 3 else "the heater was switched"
    return Entry(NOON_US + n * EVERY_US, f"device-{n % 500}", f"plugin-{n % 40}", SEVERITIES[min(4, n % 50 % 7)],
                 f"{common} {few}", ("log", "note", "command", "alert")[n % 4])  # type: ignore[arg-type]


def fill(path: Path, lines: int) -> float:
    """Seconds."""
    dice, began = random.Random(1), time.perf_counter()
    db = AlertsDb(path)
    for start in range(0, lines, 10_000):
        with db.writing() as connection:
            for n in range(start, min(start + 10_000, lines)):
                rows.insert(connection, entry(n, dice))
    db.close()
    return time.perf_counter() - began


def ms(action: Callable[[], object], times: int = 5) -> float:
    """Of the median."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        took.append((time.perf_counter() - began) * 1e3)
    return statistics.median(took)


def measure(path: Path, lines: int) -> dict[str, float]:
    reader = AlertsReader(path)
    middle = NOON_US + lines // 2 * EVERY_US
    asked = {
        "newest 200": Query(), "a page in the middle": Query(before=middle),
        "a day in the middle": Query(middle, middle + 86_400_000_000),
        "a rare word": Query(words="word123"), "a word of two thirds": Query(words="sensor"),
        "a word of two thirds, page in the middle": Query(words="sensor", before=middle),
        "the beginning of all words": Query(words="wor"), "two words and a machine": Query(words="sensor word77",
                                                                                     machine="device-7"),
        "machine": Query(machine="device-7"), "machine, service, error": Query(machine="device-7", service="plugin-7",
                                                                               severity="error"),
        "nothing fits": Query(words="sensor", machine="nobody"),
        "alarm of one machine, word": Query(words="heater", machine="device-4", severity="alarm"),
    }
    found = {name: ms(lambda query=query: rows.find(reader, query, 200)) for name, query in asked.items()}
    found["days beside"] = ms(lambda: rows.neighbours(reader, middle, middle + 86_400_000_000))
    reader.close()
    db = AlertsDb(path)

    def one() -> None:
        with db.writing() as connection:
            rows.insert(connection, entry(lines + random.randrange(1 << 30), random.Random()))

    found["one more line, committed"] = ms(one, 20)
    found["retention: 2,000 lines go"] = ms(lambda: _prune(db), 3)
    db.close()
    return found


def _prune(db: AlertsDb) -> None:
    with db.writing() as connection:
        rows.prune(connection, NOON_US + 10**15, 2_000)


def main() -> None:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    with tempfile.TemporaryDirectory(dir=sys.argv[2] if len(sys.argv) > 2 else None) as folder:
        path = Path(folder) / "alerts.db"
        print(f"{lines} lines written in {fill(path, lines):.0f} s, {path.stat().st_size / 1e6:.0f} MB")
        for name, took in measure(path, lines).items():
            print(f"{took:9.2f} ms  {name}")


if __name__ == "__main__":
    main()
