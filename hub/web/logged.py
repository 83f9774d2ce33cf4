"""Hears from notify which lines of the logbook are new, so that an open page shows them at once."""

from __future__ import annotations

import threading

import zmq
from msgspec import DecodeError, msgpack

from hub.live import Feed
from hub.logbook.news import NAME
from hub.settings import Settings
from hub.web.logbook import SCOPE


class Logged(threading.Thread):
    def __init__(self, settings: Settings, feed: Feed) -> None:
        super().__init__(name="logged", daemon=True)
        self._endpoint = f"ipc://{settings.hub.run_dir}/{NAME}"
        self._feed = feed
        self._stopping = threading.Event()

    def run(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        with context.socket(zmq.SUB) as socket:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.RCVTIMEO, 500)
            socket.connect(self._endpoint)
            while not self._stopping.is_set():
                try:
                    numbers = msgpack.decode(socket.recv(), type=list[int])
                except (zmq.Again, DecodeError):
                    continue
                self._feed.touch(SCOPE, *(("line", n) for n in numbers))

    def stop(self) -> None:
        self._stopping.set()
