"""Tells the pages which lines are new, over ``<run_dir>/logged``: a hint that may be missed, the database has it
all."""

from __future__ import annotations

from pathlib import Path

import msgspec
import zmq

from agent import bus

NAME = "logged"
MOST = 500


class News:
    def __init__(self, run_dir: Path) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._socket = context.socket(zmq.PUB)
        bus.bounded(self._socket)
        self._socket.bind(bus.endpoint(run_dir, NAME))

    def tell(self, numbers: list[int]) -> None:
        try:
            self._socket.send(msgspec.msgpack.encode(numbers[-MOST:]), zmq.NOBLOCK)
        except zmq.ZMQError:
            return  # a page that does not read misses a hint

    def close(self) -> None:
        self._socket.close()
