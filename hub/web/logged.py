"""Hears from notify which lines of the logbook are new, so that an open page shows them at once."""

from __future__ import annotations

from msgspec import DecodeError, msgpack

from hub.hearing import Hearing
from hub.live import Feed
from hub.logbook.news import NAME
from hub.settings import Settings
from hub.web.logbook import SCOPE


class Logged(Hearing):
    def __init__(self, settings: Settings, feed: Feed) -> None:
        super().__init__(settings.hub.run_dir, NAME, self.take)
        self._feed = feed

    def take(self, payload: bytes) -> None:
        try:
            numbers = msgpack.decode(payload, type=list[int])
        except DecodeError:
            return  # of a newer notify: the page shows it when it is drawn anew
        self._feed.touch(SCOPE, *(("line", n) for n in numbers))
