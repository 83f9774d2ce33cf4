"""What came of a form, said on the page that follows it; kept here, for anybody could write into the address."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict

from msgspec import Struct

MAX_NOTES = 1_000


class Note(Struct, frozen=True):
    who: str
    ok: bool
    text: str


class Notes:
    """Of this process; the oldest are forgotten."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._notes: OrderedDict[str, Note] = OrderedDict()

    def add(self, who: str, text: str, *, ok: bool) -> str:
        """Its id, for ``?note=``."""
        key = secrets.token_urlsafe(9)
        with self._lock:
            self._notes[key] = Note(who, ok, text)
            while len(self._notes) > MAX_NOTES:
                self._notes.popitem(last=False)
        return key

    def get(self, key: str, who: str) -> Note | None:
        """Only for whom it was written."""
        with self._lock:
            note = self._notes.get(key)
        return note if note is not None and note.who == who else None
