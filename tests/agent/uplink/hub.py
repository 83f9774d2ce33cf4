"""A small hub that speaks receipts, over real MQTT: it keeps what it is sent (DESIGN.md section 4)."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

import paho.mqtt.client as mqtt

from agent.spool.ranges import Ranges
from agent.wire import messages, topics
from agent.wire.messages import HubState, Receipt
from agent.wire.records import BadHeader, Body, Header, decode_body, split


class SmallHub:
    """``numbers`` are all sample values that were stored, ``keys`` how often each (epoch, seq) came."""

    def __init__(self, port: int, device: str = "rig", *, term: int = 1, generation: str = "g1",
                 answering: bool = True) -> None:
        self.device, self.port, self.term, self.generation = device, port, term, generation
        self.answering = answering
        self.pace_s = 0.0
        """How long it takes for each batch."""
        self.deaf_to: set[int] = set()
        """Sequence numbers whose header "cannot be read"."""
        self.keys: Counter[tuple[str, int]] = Counter()
        self.headers: dict[tuple[str, int], Header] = {}
        self.settled: dict[str, Ranges] = {}
        self.values: list[Any] = []
        self.dropped: Counter[str] = Counter()
        self.gaps: list[tuple[str, int, int, int, str]] = []
        self.retired: list[str] = []
        self.samples = 0
        self.stored_bytes = 0
        """Of record payloads, each batch once."""
        self.order: list[int] = []
        self.lock = threading.Lock()
        self.errors: list[str] = []
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.max_inflight_messages_set(0)
        self.client.will_set(topics.HUB_STATE, messages.encode(HubState("lost", term, generation)), 1, True)
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.reconnect_delay_set(1, 1)
        self.client.connect("127.0.0.1", port, keepalive=10)
        self.client.loop_start()

    def say(self, state: str) -> None:
        self.client.publish(topics.HUB_STATE, messages.encode(HubState(state, self.term, self.generation)), 1, True)

    def _on_connect(self, client: Any, *_: Any) -> None:
        client.subscribe(topics.records(self.device), qos=1)
        self.say("ready")

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        time.sleep(self.pace_s)
        try:
            self._take(message.payload)
        except Exception as error:
            self.errors.append(repr(error))

    def _take(self, payload: bytes) -> None:
        try:
            header, packed = split(payload)
        except BadHeader:
            return
        with self.lock:
            if header.seq in self.deaf_to or not self.answering:
                self.order.append(-header.seq)
                return
            key = header.epoch, header.seq
            self.keys[key] += 1
            self.order.append(header.seq)
            settled = self.settled.setdefault(header.epoch, Ranges())
            if header.seq not in settled:
                self._store(header, decode_body(header, packed))
                self.stored_bytes += len(payload)
                settled.add(header.seq, header.seq)
                self.headers[key] = header
            upto = settled.upto
            receipt = Receipt(header.epoch, upto, [(a, b) for a, b in settled if a > upto][-50:], self.term)
        self.client.publish(topics.receipt(self.device), messages.encode(receipt), 1)

    def _store(self, header: Header, body: Body) -> None:
        for columns in body.series.values():
            self.values += columns.v
        self.samples += header.n
        for gap in body.dropped:
            settled = self.settled[header.epoch]
            self.gaps.append((header.epoch, gap.first, gap.last, gap.n, gap.reason))
            if any(True for _ in settled.holes(gap.first, gap.last)):
                had = sum(known.n for (epoch, seq), known in self.headers.items()
                          if epoch == header.epoch and gap.first <= seq <= gap.last)
                self.dropped[gap.reason] += max(0, gap.n - had)
                settled.add(gap.first, gap.last)
        if body.retires:
            self.retired.append(body.retires)

    def close(self, *, clean: bool = True) -> None:
        if clean:
            self.say("stopped")
        self.client.disconnect()
        self.client.loop_stop()
