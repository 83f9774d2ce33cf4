"""10,000 conditions at once: a second of the book against a bare pass over the same dictionary with one row written
each, for each thing that can happen to all of them in one second."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec.structs import replace

from hub.alerts.model import Condition
from tests.bench.figures import Figure
from tests.hub.alerts.desk import T0, Bench, S, condition

ROUNDS = 5
AT_MOST = {"nothing new": 3.0}


def conditions(n: int, *, absent: bool) -> dict[str, Condition]:
    """On ``n / 20`` devices."""
    made = {}
    for number in range(n):
        device, place = divmod(number, 20)
        key = f"rule:no-data:d{device}/node/p{place}"
        made[key] = condition(key, f"property:d{device}/node/p{place}", "warning", absent=absent, title=f"p{place}: x")
    return made


def bare_s(folder: Path, wrong: dict[str, Condition]) -> float:
    """Look at each and write a row of it, in one transaction."""
    with sqlite3.connect(folder / "bare.db", isolation_level=None) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, key TEXT, title TEXT, since_us INTEGER)")
        seen: dict[str, Condition] = {}
        began = time.perf_counter()
        db.execute("BEGIN")
        rows = []
        for key, one in wrong.items():
            if seen.get(key) is not one:
                seen[key] = one
                rows.append((key, one.title, one.since_us))
        db.executemany("INSERT INTO t (key, title, since_us) VALUES (?, ?, ?)", rows)
        db.execute("COMMIT")
        return time.perf_counter() - began


def round_s(folder: Path, n: int) -> dict[str, float]:
    """Seconds of each step."""
    bench = Bench(folder)
    bench.at(0)
    took: dict[str, float] = {}

    def second(name: str = "") -> None:
        bench.now_us += S
        began = time.perf_counter()
        bench.tick()
        if name:
            took[name] = time.perf_counter() - began

    bench.wrong = conditions(n, absent=True)
    second("new")
    second("nothing new")
    bench.set(condition("mains", "mains", since_us=T0))
    second("a cause for all turns up")
    bench.clear("mains")
    for _ in range(10):
        second()
    second("the cause is over")
    bench.wrong.clear()
    second("all gone")
    for _ in range(9):
        second()
    second("all over")
    bench.wrong = {f"{key}!": replace(one, key=f"{key}!") for key, one in conditions(n, absent=False).items()}
    for _ in range(5):
        second()
    second("told as one group")
    assert bench.events[-1].children == n, bench.events[-1]
    bench.kill()
    second("after a restart")
    bench.db.close()
    return took


def measure(n: int = 10_000, rounds: int = ROUNDS) -> list[Figure]:
    ours: dict[str, list[float]] = {}
    peer: list[float] = []
    for _ in range(rounds):
        with TemporaryDirectory() as folder:
            peer.append(bare_s(Path(folder), conditions(n, absent=True)))
            for name, seconds in round_s(Path(folder) / "book", n).items():
                ours.setdefault(name, []).append(seconds)
    return [Figure(f"alerts: {n} conditions, {name}", values, peer, "s", AT_MOST.get(name, 20.0), "peer: a bare pass")
            for name, values in ours.items()]


if __name__ == "__main__":
    for figure in measure():
        print(figure.line())
