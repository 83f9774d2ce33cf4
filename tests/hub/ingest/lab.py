"""A real hub ingest as its own process behind a real Mosquitto, and a device that talks to it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from agent.testing.broker import Broker
from agent.wire import messages, topics
from agent.wire.messages import HubState, Receipt
from hub.ingest import status
from hub.store.reader import Reader
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]
LONG = bool(os.environ.get("HUTKEEPER_LONG"))


class Hub:
    """``hutkeeper-hub ingest`` as a child process; ``kill``, ``stop`` and ``start`` again at will."""

    def __init__(self, folder: Path, broker: Broker, extra: str = "", data: Path | None = None) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.data = data or folder / "data"
        self.run = folder / "run"
        self.toml = folder / "hub.toml"
        self.toml.write_text(f'[hub]\ndata_dir = "{self.data}"\nrun_dir = "{self.run}"\n[broker]\n'
                             f'port = {broker.port}\n{extra}')
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> Hub:
        with self.log.open("ab") as out:
            self.process = subprocess.Popen([sys.executable, "-m", "hub.cli", "ingest", "--config", str(self.toml)],
                                            cwd=ROOT, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        return self

    def ready(self, timeout_s: float = 30.0) -> Hub:
        """Wait until this very process says that it takes records."""
        until(f"ingest ready ({self.log})", lambda: self.says("ready") and self.status().connected, timeout_s)
        return self

    def says(self, state: str) -> bool:
        found = self.status()
        return self.process is not None and found.pid == self.process.pid and found.state == state

    def status(self) -> status.Status:
        return status.read(self.run) or status.Status()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        return self.process.wait(30)

    @property
    def reader(self) -> Reader:
        return Reader(self.data / "samples.db")

    def __enter__(self) -> Hub:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(30)


class Device:
    """As an agent's uplink: at most 20 batches without a receipt, sent again after a while, only while the hub is
    ready; a batch counts as delivered by its receipt alone. ``run`` works until all are receipted."""

    WINDOW = 20
    AGAIN_S = 3.0

    def __init__(self, port: int, device: str = "dev", batches: list[bytes] | None = None) -> None:
        self.device = device
        self.batches = batches or []
        self.inbox: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self.hub: HubState | None = None
        self.receipts: list[Receipt] = []
        self.settled: set[int] = set()
        self.sent = 0
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"test-{device}", protocol=mqtt.MQTTv5)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._on_connect
        self.client.on_message = lambda client, data, message: self.inbox.put((message.topic, bytes(message.payload)))
        self.client.connect_async("127.0.0.1", port, keepalive=5)
        self.client.loop_start()

    def _on_connect(self, client: mqtt.Client, *_: object) -> None:
        client.subscribe([(topics.HUB_STATE, 1), (topics.receipt(self.device), 1)])

    def publish(self, payload: bytes, kind: str = "records") -> None:
        self.client.publish(f"{topics.OURS}/{self.device}/{kind}", payload, qos=1)

    def listen(self, seconds: float) -> None:
        """Take in what came; at least one look."""
        ends = time.monotonic() + seconds
        while True:
            try:
                topic, payload = self.inbox.get(timeout=max(0.0, ends - time.monotonic()))
            except queue.Empty:
                return
            if topic == topics.HUB_STATE:
                state = messages.decode(payload, HubState) if payload else None
                if state is not None and (self.hub is None or state.term >= self.hub.term):
                    self.hub = state
            else:
                receipt = messages.decode(payload, Receipt)
                self.receipts.append(receipt)
                self.settled |= {n for n in range(1, len(self.batches) + 1) if n <= receipt.upto}
                for first, last in receipt.also:
                    self.settled |= set(range(first, last + 1))

    @property
    def done(self) -> bool:
        return len(self.settled) >= len(self.batches)

    def run(self, timeout_s: float = 120.0) -> None:
        ends = time.monotonic() + timeout_s
        flying: dict[int, float] = {}
        while not self.done:
            assert time.monotonic() < ends, f"{len(self.batches) - len(self.settled)} batches without a receipt"
            if self.hub is not None and self.hub.state == "ready":
                now = time.monotonic()
                flying = {n: at for n, at in flying.items() if n not in self.settled and now - at < self.AGAIN_S}
                for n in range(1, len(self.batches) + 1):
                    if len(flying) >= self.WINDOW:
                        break
                    if n not in self.settled and n not in flying:
                        flying[n] = now
                        self.sent += 1
                        self.publish(self.batches[n - 1])
            else:
                flying = {}
            self.listen(0.05)

    def thread(self, timeout_s: float = 120.0) -> threading.Thread:
        started = threading.Thread(target=self.run, args=(timeout_s,), daemon=True)
        started.start()
        return started

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
