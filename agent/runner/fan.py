"""Readings of other plugins of this device, and subscribed ones of other devices, off the local bus."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import msgspec
import zmq

from agent import bus
from agent.api import Heard
from agent.runner.worker import Worker, boottime_us


class FanSubscription:
    """:class:`agent.api.Subscription` on the bus's fan. ``now/<node>`` or ``live/<device>/<plugin>``, prefixes."""

    def __init__(self, run_dir: Path, topics: tuple[str, ...], worker: Worker) -> None:
        self._worker = worker
        self._socket = bus.subscribe(zmq.Context.instance(), run_dir, list(topics))
        self._fd = int(self._socket.getsockopt(zmq.FD))
        self._ready: deque[Heard] = deque()

    def get(self, timeout_s: float) -> Heard | None:
        if self._ready or self._take():
            return self._ready.popleft()
        # The descriptor of a ZeroMQ socket only says that its state changed: look at the socket after every wake-up.
        if self._worker.wait(timeout_s, self._fd) and self._take():
            return self._ready.popleft()
        return None

    def _take(self) -> bool:
        while not self._ready:
            try:
                frames = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return False
            try:
                message = bus.decode_fan(frames[-1])
            except msgspec.DecodeError:
                continue  # an uplink of another version; the next message may be one we know
            if isinstance(message, bus.Now):
                for node, name, value, t_us, quality in message.values:
                    self._ready.append(Heard(None, node, name, value, t_us, quality))
            else:
                t_us = boottime_us() - int(message.age_s * 1e6)
                self._ready.append(
                    Heard(message.device, message.node, message.property, message.value, t_us, message.quality))
        return True

    def close(self) -> None:
        self._socket.close()
