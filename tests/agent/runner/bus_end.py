"""Uplink's end of the real local bus, for tests of plugin processes: keeps what came and answers as uplink does."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from agent import bus


class BusEnd:
    """Binds the run directory on a thread. ``acks`` False: batches are read and not acknowledged, and come again."""

    def __init__(self, run_dir: Path, kept: bytes | None = None) -> None:
        run_dir.mkdir(parents=True, exist_ok=True)
        self.run_dir = run_dir
        self.kept: bytes | None = kept
        self.acks = True
        self.messages: list[Any] = []
        self.committed: dict[str, int] = {}
        self.batches: list[bus.Batch] = []
        """Those that were committed, each once."""
        self.known: set[str] = set()
        self._down: list[tuple[bytes, bytes]] = []
        self._fan: list[list[bytes]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> BusEnd:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        context: zmq.Context[Any] = zmq.Context()
        lock = bus.lock(self.run_dir, "uplink")
        lane, fan = bus.bind(context, self.run_dir)
        while not self._stop.is_set():
            while self._down:
                who, message = self._down.pop(0)
                lane.send_multipart([who, message])
            while self._fan:
                fan.send_multipart(self._fan.pop(0))
            if not lane.poll(10):
                continue
            who, frame = lane.recv_multipart()
            message = bus.decode_to_uplink(frame)
            answer = self._answer(message)
            self.messages.append(message)
            if answer is not None:
                lane.send_multipart([who, bus.encode(answer)])
        lane.close()
        fan.close()
        context.term()
        os.close(lock)

    def _answer(self, message: Any) -> Any:
        if isinstance(message, bus.Hello):
            self.known.add(message.run)
            return bus.Welcome(message.run, self.committed.get(message.run, 0), self.kept)
        if isinstance(message, bus.Batch):
            if message.run not in self.known:
                return bus.Again()
            given_up = bool(message.oldest) and message.oldest >= message.n
            if not self.acks or (message.n > self.committed.get(message.run, 0) + 1 and not given_up):
                return None  # one between is missing: uplink waits until it is repeated
            if message.n > self.committed.get(message.run, 0):
                self.committed[message.run] = message.n
                self.batches.append(message)
                if message.kept is not None:
                    self.kept = message.kept
            return bus.Ack(message.run, self.committed[message.run])
        return None

    def forget(self) -> None:
        """As a restarted uplink: no run is known."""
        self.known.clear()

    def command(self, instance: str, command: bus.Command) -> None:
        self._down.append((instance.encode(), bus.encode(command)))

    def publish(self, topic: str, message: Any) -> None:
        self._fan.append([topic.encode(), bus.encode(message)])

    def of(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.messages if isinstance(message, kind)]

    def samples(self, series: str) -> list[tuple[int, Any, str | None]]:
        """(t_us, value, quality) of everything committed, in order of arrival."""
        found = []
        for batch in self.batches:
            for part in batch.parts:
                columns = part.series.get(series)
                if columns is not None:
                    q = columns.q or [None] * len(columns.t)
                    found += list(zip(columns.t, columns.v, q, strict=True))
        return found

    def until(self, what: str, check: Callable[[], Any], timeout_s: float = 20.0) -> Any:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if answer := check():
                return answer
            time.sleep(0.02)
        raise AssertionError(f"{what}: not within {timeout_s:.0f} s; got {[type(m).__name__ for m in self.messages]}")
