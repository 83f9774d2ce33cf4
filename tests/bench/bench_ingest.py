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
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import repeat
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from agent.testing.broker import Broker
from agent.wire import messages, records, topics
from agent.wire.records import Body, ClockInfo, Columns, Header
from hub.ingest.decode import records_of
from hub.store.upkeep import Days, Upkeep
from hub.store.writer import Writer
from tests.bench.figures import Figure

ROUNDS = 5
SERIES = 50
DEVICES = 10
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


def bare(batches: list[tuple[str, bytes]], folder: Path) -> float:
    """CPU seconds of the peer for (device, payload)."""
    db = sqlite3.connect(folder / "bare.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA cache_size = -65536")
    db.execute("CREATE TABLE samples (series_id INTEGER NOT NULL, t_us INTEGER NOT NULL, value, quality TEXT, "
               "PRIMARY KEY (series_id, t_us)) WITHOUT ROWID")
    ids: dict[tuple[str, str], int] = {}
    before = time.process_time()
    for at in range(0, len(batches), GROUP):
        db.execute("BEGIN")
        for device, payload in batches[at : at + GROUP]:
            header, packed = records.split(payload)
            offset = header.clock.offset_us or 0
            for name, columns in records.decode_body(header, packed).series.items():
                series = ids.setdefault((device, name), len(ids) + 1)
                db.executemany("INSERT INTO samples VALUES (?, ?, ?, ?)",
                               zip(repeat(series), [t + offset for t in columns.t], columns.v, repeat(None)))
        db.execute("COMMIT")
    took = time.process_time() - before
    db.close()
    return took


def store_path(batches: list[tuple[str, bytes]], folder: Path) -> float:
    """CPU seconds of ours without MQTT: decode, keys, ledger, samples, roll-ups, receipts, checkpoints."""
    with Writer(folder / "samples.db") as writer:
        upkeep = Upkeep(writer, lambda name: Days(0, 0, 0, 0))
        now = OFFSET_US + 2_000_000_000_000
        before = time.process_time()
        for at in range(0, len(batches), GROUP):
            group = batches[at : at + GROUP]
            done = writer.commit([records_of(device, payload, now) for device, payload in group])
            assert done.samples == BATCH * len(group)
            upkeep.after_commit(now)
        return time.process_time() - before


class Fleet:
    """Devices as one MQTT client: each keeps a window of 20 batches without a receipt, as an agent does."""

    def __init__(self, port: int, batches: list[tuple[str, bytes]]) -> None:
        self.queues: dict[str, list[bytes]] = {}
        for device, payload in batches:
            self.queues.setdefault(device, []).append(payload)
        self.next = dict.fromkeys(self.queues, 0)
        self.upto = dict.fromkeys(self.queues, 0)
        self.done = threading.Event()
        self.ready = threading.Event()
        self.lock = threading.Lock()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.max_inflight_messages_set(1000)
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port)
        self.client.subscribe([(topics.HUB_STATE, 1), (f"{topics.OURS}/+/receipt", 1)])
        self.client.loop_start()

    def send(self, device: str) -> None:
        with self.lock:
            first, last = self.next[device], min(self.upto[device] + 20, len(self.queues[device]))
            self.next[device] = max(first, last)
        for payload in self.queues[device][first:last]:
            self.client.publish(f"{topics.OURS}/{device}/records", payload, qos=1)

    def _on_message(self, client: mqtt.Client, userdata: object, message: mqtt.MQTTMessage) -> None:
        if message.topic == topics.HUB_STATE:
            self.ready.set()
            return
        device = message.topic.split("/")[2]
        self.upto[device] = max(self.upto[device], messages.decode(bytes(message.payload), messages.Receipt).upto)
        self.send(device)
        if all(self.upto[one] == len(self.queues[one]) for one in self.queues):
            self.done.set()

    def run(self) -> None:
        if not self.ready.wait(30):
            raise RuntimeError("ingest was not ready within 30 s")
        for device in self.queues:
            self.send(device)
        if not self.done.wait(300):
            raise RuntimeError("not everything was receipted within 300 s")
        self.client.disconnect()
        self.client.loop_stop()


def whole_ingest(batches: list[tuple[str, bytes]], folder: Path) -> float:
    """CPU seconds of the process ``hutkeeper-hub ingest`` behind a real Mosquitto, from first send to last receipt."""
    with Broker(folder) as broker:
        toml = folder / "hub.toml"
        toml.write_text(f'[hub]\ndata_dir = "{folder}/data"\nrun_dir = "{folder}/run"\n'
                        f'[broker]\nport = {broker.port}\n')
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen([sys.executable, "-m", "hub.cli", "ingest", "--config", str(toml)],
                                       stdout=log, stderr=log)
        try:
            fleet = Fleet(broker.port, batches)
            if not fleet.ready.wait(30):
                raise RuntimeError(f"ingest was not ready: {(folder / 'log').read_text()[-500:]}")
            before = cpu_s(process.pid)
            fleet.run()
            return cpu_s(process.pid) - before
        finally:
            process.terminate()
            process.wait(30)


def cpu_s(pid: int) -> float:
    """By the scheduler's own count, all threads."""
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir()) / 1e9


def rounds(batches: list[tuple[str, bytes]],
           ours: Callable[[list[tuple[str, bytes]], Path], float]) -> tuple[list[float], list[float]]:
    """CPU seconds per 10^6 samples of ours and of the bare loop, paired."""
    mine, peer = [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            peer.append(bare(batches, Path(folder)) / len(batches) / BATCH * 1e6)
            mine.append(ours(batches, Path(folder)) / len(batches) / BATCH * 1e6)
    return mine, peer


def measure() -> list[Figure]:
    figures = []
    for what, ours, limit in (("store", store_path, 1.5), ("ingest", whole_ingest, 2.0)):
        for width in (1, SERIES):
            devices = 1 if ours is store_path else DEVICES
            one = payloads(width, BATCHES // devices)
            batches = [(f"bench-{n}", payload) for payload in one for n in range(devices)]
            mine, peer = rounds(batches, ours)
            rate = 1e6 / statistics.median(mine)
            figures.append(Figure(f"hub {what}, {width} series a batch", mine, peer, "CPU s/10^6", limit,
                                  f"{rate:,.0f} samples per CPU s"))
    return figures


if __name__ == "__main__":
    for figure in measure():
        print(figure.line())
