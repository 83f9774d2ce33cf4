"""Who is told of what: changes by scope, coalesced for each reader, with nothing that polls.

A change is a key (``("v", node, property)``) in a scope (a device id, or ``FLEET``). A reader waits on its own
condition and takes all keys at once that changed since it last looked, so a slow reader costs no memory: it misses
steps in between and never the newest value.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Hashable

FLEET = ""
"""The scope of the fleet page; device ids are never empty."""
HEATING = "+heating"
"""The scope of the heating page; device ids have no ``+``."""

MAX_JOURNAL = 50_000
Key = tuple[Hashable, ...]


class Subscriber:
    """One open page. Made by :meth:`Feed.subscribe`; ``close`` it in a ``finally``."""

    def __init__(self, feed: Feed, scope: str) -> None:
        self._feed = feed
        self.scope = scope
        self._condition = threading.Condition(feed.lock)
        self._pending: dict[Key, None] = {}
        self._seq = 0
        self._closed = False

    def wait(self, timeout_s: float) -> list[Key]:
        """Keys changed since the last call, oldest first; ``[]`` after ``timeout_s`` or when the feed was closed."""
        with self._condition:
            if not self._pending and not self._closed:
                self._condition.wait(timeout_s)
            keys = list(self._pending)
            self._pending.clear()
            self._seq = self._feed.seq
            return keys

    @property
    def event_id(self) -> str:
        """Value for ``id:``; given back as Last-Event-ID, the reader goes on where it was."""
        return f"{self._feed.run}-{self._seq}"

    @property
    def closed(self) -> bool:
        return self._closed

    def push(self, key: Key) -> None:
        """Called by the feed, which holds the lock."""
        self._pending[key] = None
        self._condition.notify()

    def end(self) -> None:
        """Wake the reader for the last time (the feed holds the lock)."""
        self._closed = True
        self._condition.notify_all()

    def close(self) -> None:
        self._feed.unsubscribe(self)


class Feed:
    """Changes and their readers. All methods may be called from any thread."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.run = secrets.token_hex(4)
        self.seq = 0
        self._journal: dict[tuple[str, Key], int] = {}
        """Latest change of each key, in order of change; a key moves to the end when it changes again."""
        self._forgotten = 0
        """Changes up to this number may be missing from the journal."""
        self._readers: dict[str, set[Subscriber]] = {}
        self._closed = False

    def touch(self, scope: str, *keys: Key) -> None:
        with self.lock:
            readers = self._readers.get(scope, ())
            for key in keys:
                self.seq += 1
                self._journal.pop((scope, key), None)
                self._journal[scope, key] = self.seq
                for reader in readers:
                    reader.push(key)
            while len(self._journal) > MAX_JOURNAL:
                self._forgotten = self._journal.pop(next(iter(self._journal)))

    def subscribe(self, scope: str, last_event_id: str = "") -> tuple[Subscriber, bool]:
        """A reader, and whether it goes on where it was; if not, it must be sent everything anew."""
        with self.lock:
            reader = Subscriber(self, scope)
            since = self._resume_from(last_event_id)
            if since is not None:
                missed = []
                for (of, key), seq in reversed(self._journal.items()):
                    if seq <= since:
                        break
                    if of == scope:
                        missed.append(key)
                for key in reversed(missed):
                    reader.push(key)
            reader._seq = self.seq
            if self._closed:
                reader.end()
            self._readers.setdefault(scope, set()).add(reader)
            return reader, since is not None

    def unsubscribe(self, reader: Subscriber) -> None:
        with self.lock:
            readers = self._readers.get(reader.scope)
            if readers is not None:
                readers.discard(reader)
                if not readers:
                    del self._readers[reader.scope]

    @property
    def event_id(self) -> str:
        """Where a page that is made now may go on (``Subscriber.event_id``)."""
        with self.lock:
            return f"{self.run}-{self.seq}"

    @property
    def readers(self) -> int:
        with self.lock:
            return sum(len(readers) for readers in self._readers.values())

    def close(self) -> None:
        """End all readers (the server stops)."""
        with self.lock:
            self._closed = True
            for readers in self._readers.values():
                for reader in readers:
                    reader.end()

    def _resume_from(self, last_event_id: str) -> int | None:
        run, _, number = last_event_id.partition("-")
        if run != self.run or not number.isdecimal() or len(number) > 18:
            return None
        seq = int(number)
        return seq if self._forgotten <= seq <= self.seq else None
