"""Server-sent events: one thread for each open page, freed when its reader is gone.

A heartbeat comment every 10 s makes a write fail once the reader is gone, so the thread comes back; a cap on streams
keeps threads for ordinary requests, and above it the page is told 503 and asks every few seconds instead.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from flask import Response

from hub.live import Feed, Subscriber

HEARTBEAT_S = 10.0
RETRY_MS = 2000
MAX_STREAMS = 64
PAUSE_S = 0.05
"""At least this long between two events of a stream: twenty a second are more than an eye follows."""

Changes = list[tuple[Any, ...]]
Make = Callable[[Changes | None], dict[str, Any] | None]
"""Makes an event from changes (None: everything; an empty list: time has passed); None when there is nothing to say."""


class Streams:
    """All open streams of this process."""

    def __init__(self, feed: Feed, *, cap: int = MAX_STREAMS, heartbeat_s: float = HEARTBEAT_S) -> None:
        self.feed = feed
        self.cap = cap
        self.heartbeat_s = heartbeat_s
        self._lock = threading.Lock()
        self._open = 0

    @property
    def open(self) -> int:
        with self._lock:
            return self._open

    def response(
        self, scope: str, last_event_id: str, make: Make, alive: Callable[[], bool], pause_s: float = PAUSE_S
    ) -> Response:
        """The stream, or 503 when there are too many. ``alive`` is asked at each heartbeat (session ended?)."""
        with self._lock:
            full = self._open >= self.cap
            if not full:
                self._open += 1
        if full:
            return Response("too many streams are open: ask again, or poll\n", 503,
                            {"Retry-After": "10", "Content-Type": "text/plain; charset=utf-8"})
        reader, resumed = self.feed.subscribe(scope, last_event_id)
        body = _Body(self, reader, self._events(reader, resumed, make, alive, pause_s))
        return Response(body, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"})

    def _events(
        self, reader: Subscriber, resumed: bool, make: Make, alive: Callable[[], bool], pause_s: float
    ) -> Iterator[bytes]:
        yield f"retry: {RETRY_MS}\n\n".encode()
        event = make([] if resumed else None)
        if event is not None:
            yield _event(event, reader.event_id)
        beat = time.monotonic() + self.heartbeat_s
        while True:
            keys: Changes = list(reader.wait(max(0.0, beat - time.monotonic())))
            if reader.closed:
                return
            if time.monotonic() >= beat:
                if not alive():
                    yield b"event: ended\ndata: {}\n\n"
                    return
                beat = time.monotonic() + self.heartbeat_s
                yield b": still here\n\n"
            event = make(keys)
            if event is not None:
                yield _event(event, reader.event_id)
                time.sleep(pause_s)  # changes meanwhile wait in the reader and leave together

    def ended(self, reader: Subscriber) -> None:
        reader.close()
        with self._lock:
            self._open -= 1


class _Body:
    """The iterable that the server closes, whatever happened; also when it was never begun."""

    def __init__(self, streams: Streams, reader: Subscriber, events: Iterator[bytes]) -> None:
        self._streams = streams
        self._reader = reader
        self._events = events
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self._events

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._streams.ended(self._reader)


def _event(data: dict[str, Any], event_id: str) -> bytes:
    return f"id: {event_id}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
