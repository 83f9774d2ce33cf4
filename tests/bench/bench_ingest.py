"""What a sample costs the hub: the store path and the whole ingest against a bare loop on the same batches.

The bare loop decodes the same payloads (header, zlib, JSON) and does ``executemany`` into the same table of an own
file, at synchronous=FULL, with as many batches in a transaction as ingest takes; it keeps no keys, no ledger, no
roll-ups. Each round runs it and ours one after the other on the same payloads.
"""

from __future__ import annotations

import os
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import repeat
from pathlib import Path

from agent.wire import records
from agent.wire.records import Body, ClockInfo, Columns, Header
from hub.ingest.decode import records_of
from hub.store.writer import Writer
from tests.bench.figures import Figure

ROUNDS = 5
SERIES = 50
BATCH = 100
BATCHES = int(os.environ.get("HUTKEEPER_BENCH_BATCHES", "3000"))
GROUP = 200
"""Batches in a transaction: what [store] commit_samples = 20 000 takes under load."""
OFFSET_US = 1_790_000_000_000_000


def payloads(series_a_batch: int, count: int = BATCHES, seed: int = 1) -> list[bytes]:
    """Batches of 100 samples at 1 Hz, as an agent makes them: 100 of one series, or 2 of each of 50."""
    rng = random.Random(seed)
    names = [f"meter-{n // 10}/active_power_l{n % 10}_w" for n in range(SERIES)]
    each = BATCH // series_a_batch
    clock = dict.fromkeys(names, 1_000_000_000)
    made = []
    for seq in range(1, count + 1):
        body = Body()
        for n in range(series_a_batch):
            name = names[(seq + n) % SERIES]
            t = [clock[name] + 1_000_000 * k + rng.randrange(2000) for k in range(each)]
            clock[name] += 1_000_000 * each
            body.series[name] = Columns(t, [round(rng.uniform(0, 3000), 1) for _ in t])
        enc, packed = records.encode_body(body)
        header = Header("00112233445566ff", seq, BATCH, 1, "b" * 32, ClockInfo(OFFSET_US, "synced"), enc)
        made.append(records.encode_batch(header, packed))
    return made


def bare(batches: list[bytes], folder: Path) -> float:
    """CPU seconds of the peer."""
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA cache_size = -65536")
    db.execute("CREATE TABLE samples (series_id INTEGER NOT NULL, t_us INTEGER NOT NULL, value, quality TEXT, "
               "PRIMARY KEY (series_id, t_us)) WITHOUT ROWID")
    ids: dict[str, int] = {}
    before = time.process_time()
    for at in range(0, len(batches), GROUP):
        db.execute("BEGIN")
        for payload in batches[at : at + GROUP]:
            header, packed = records.split(payload)
            offset = header.clock.offset_us or 0
            for name, columns in records.decode_body(header, packed).series.items():
                series = ids.setdefault(name, len(ids) + 1)
                db.executemany("INSERT INTO samples VALUES (?, ?, ?, ?)",
                               zip(repeat(series), [t + offset for t in columns.t], columns.v, repeat(None)))
        db.execute("COMMIT")
    took = time.process_time() - before
    db.close()
    return took


def store_path(batches: list[bytes], folder: Path) -> float:
    """CPU seconds of ours without MQTT: decode, keys, ledger, samples, roll-ups, receipts, checkpoints."""
    with Writer(folder / "samples.db") as writer:
        before = time.process_time()
        for at in range(0, len(batches), GROUP):
            now = OFFSET_US + 2_000_000_000_000
            done = writer.commit([records_of("bench", payload, now) for payload in batches[at : at + GROUP]])
            assert done.samples == BATCH * len(batches[at : at + GROUP])
        return time.process_time() - before


def rounds(batches: list[bytes], ours: Callable[[list[bytes], Path], float]) -> tuple[list[float], list[float]]:
    """CPU seconds per 10^6 samples of ours and of the bare loop, paired."""
    mine, peer = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            peer.append(bare(batches, Path(folder)) / len(batches) / BATCH * 1e6)
            mine.append(ours(batches, Path(folder)) / len(batches) / BATCH * 1e6)
    return mine, peer


def measure() -> list[Figure]:
    figures = []
    for width in (1, SERIES):
        batches = payloads(width)
        mine, peer = rounds(batches, store_path)
        rate = 1e6 / statistics.median(mine)
        figures.append(Figure(f"hub store, {width} series a batch", mine, peer, "CPU s/10^6", 1.5,
                              f"{rate:,.0f} samples per CPU s"))
    return figures


if __name__ == "__main__":
    for figure in measure():
        print(figure.line())
