"""Hearing what another process of the hub says on its local bus (ZeroMQ PUB over ipc): ``committed``, ``logged``.

A word that is missed costs time, never a fact: what it is about stands in a database.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

import zmq

from agent import bus

log = logging.getLogger(__name__)

LOOK_MS = 500
"""So long :meth:`Hearing.stop` takes at most."""


class Hearing(threading.Thread):
    """``take(payload)`` is called on this thread for each message; what it raises is logged and the next one comes."""

    def __init__(self, run_dir: Path, name: str, take: Callable[[bytes], None]) -> None:
        super().__init__(name=f"hearing-{name}", daemon=True)
        self._endpoint = bus.endpoint(run_dir, name)
        self._take = take
        self._stopping = threading.Event()

    def run(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        with context.socket(zmq.SUB) as socket:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RCVTIMEO, LOOK_MS)
            socket.connect(self._endpoint)
            while not self._stopping.is_set():
                try:
                    payload = socket.recv_multipart()[-1]
                except zmq.Again:
                    continue
                try:
                    self._take(payload)
                except Exception:
                    log.exception("a message of %s was not taken", self._endpoint)

    def stop(self) -> None:
        self._stopping.set()
