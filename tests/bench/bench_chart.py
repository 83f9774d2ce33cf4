"""A chart of one year of one series among 50 at one sample a minute, against reading that year's hourly roll-up."""

from __future__ import annotations

import random
import sqlite3
import tempfile
import time
from pathlib import Path

from agent.wire.records import Body, ClockInfo, Columns, Header
from hub.store import rollup
from hub.store.batch import Samples
from hub.store.reader import Reader
from hub.store.rollup import DAY_US, MINUTE_US
from hub.store.writer import Writer
from tests.bench.figures import Figure, against_limit

ROUNDS = 7
TIMES = 20
SERIES = 50
RAW_DAYS = 2
DAYS = 365
START = 1_790_000_000_000_000 - 1_790_000_000_000_000 % DAY_US


def fill(path: Path) -> None:
    """What ingest leaves after a year: the last days through the writer, before them the roll-ups, day by day, made by
    the writer's own function and lying in the file in the order in which they came (their samples would change nothing
    but the size of another table)."""
    rng = random.Random(7)
    with Writer(path) as writer:
        names = [f"meter-{n // 10}/active_power_l{n % 10}_w" for n in range(SERIES)]
        for day in range(DAYS):
            t = [START + day * DAY_US + minute * MINUTE_US for minute in range(1440)]
            values = {name: [rng.uniform(0, 3000) for _ in t] for name in names}
            if day == 0 or day >= DAYS - RAW_DAYS:
                header = Header("e", day + 1, 1440 * SERIES, 1, "b", ClockInfo(START, "synced"))
                body = Body({name: Columns([at - START for at in t], values[name]) for name in names})
                writer.commit([Samples("bench", START + DAYS * DAY_US, header, body, b"")])
                continue
            with writer.transaction() as db:
                for number, name in enumerate(names, 1):
                    for table, width in rollup.LEVELS[1:]:
                        db.executemany(rollup.INSERT[table], rollup.buckets(number, t, values[name], width))


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.db"
        fill(path)
        reader = Reader(path)
        end = START + DAYS * DAY_US
        plain = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        ours, peer, points = [], [], []
        for _ in range(ROUNDS):
            before = time.perf_counter()
            for series in range(1, TIMES + 1):
                rows = plain.execute("SELECT t_us, n, min, max, sum FROM rollup_hour WHERE series_id = ? AND t_us >= ? "
                                     "AND t_us < ? ORDER BY t_us", (series, START, end)).fetchall()
            peer.append((time.perf_counter() - before) / TIMES * 1000)
            assert len(rows) == DAYS * 24
            before = time.perf_counter()
            for series in range(1, TIMES + 1):
                chart = reader.chart(series, START, end)
            ours.append((time.perf_counter() - before) / TIMES * 1000)
            assert sum(chart.n) == DAYS * 1440 and chart.level == "hour"
            points.append(float(len(chart.t_us)))
        plain.close()
        reader.close()
    return [Figure("one-year chart against its hourly roll-up", ours, peer, "ms", 1.5),
            against_limit("points of a one-year chart", points, 1000.0, "points")]


if __name__ == "__main__":
    for figure in measure():
        print(figure.line())
