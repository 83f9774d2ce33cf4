"""Who may speak: one lock with a key that lasts a minute, as an interphone between services. Pure."""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable


class Refused(Exception):
    """Why not, in one line for the asker."""


class Gate:
    """``lock`` gives a key to one service; until it ends or is released only who shows the key may speak.

    While the announcer is disabled only the holder of a key may speak at all. Times are seconds of one clock."""

    def __init__(self, lock_s: float, new_key: Callable[[], str] = lambda: uuid.uuid4().hex) -> None:
        self.enabled = True
        self.service: str | None = None
        self.until_s = 0.0
        self.number = 0
        """Counts the locks given: what was admitted under one is known by it, without keeping the key."""
        self._lock_s = lock_s
        self._new_key = new_key
        self._key = ""

    def holder(self, now_s: float) -> str | None:
        """The service that holds the lock."""
        if self.service is not None and now_s >= self.until_s:
            self.service, self._key = None, ""
        return self.service

    def lock(self, service: str, now_s: float) -> str:
        """The key. Raises Refused naming the holder, also to the holder itself: its key would no longer be one."""
        if (holder := self.holder(now_s)) is not None:
            raise Refused(f"already locked by service {holder}, for {self.until_s - now_s:.0f} s more")
        self.service, self._key, self.until_s = service, self._new_key(), now_s + self._lock_s
        self.number += 1
        return self._key

    def release(self, service: str, now_s: float) -> bool:
        """True when it held the lock, False when nobody does. The name is enough, no key is asked for."""
        holder = self.holder(now_s)
        if holder is None:
            return False
        if holder != service:
            raise Refused(f"locked by service {holder}: only that one can release it")
        self.service, self._key = None, ""
        return True

    def admit(self, key: str | None, now_s: float, passes: frozenset[str] = frozenset()) -> int:
        """May it speak? Returns the number of the lock that admits it, 0 for none. Raises Refused.

        ``passes``: ``lock`` and ``disabled`` do not hold this one up."""
        holder = self.holder(now_s)
        right = holder is not None and key is not None and hmac.compare_digest(key.encode(), self._key.encode())
        if right:
            return self.number
        if holder is not None and "lock" not in passes:
            what = "no key was given" if key is None else "the key is wrong or has expired"
            raise Refused(f"locked by service {holder} and {what}")
        if not self.enabled and "disabled" not in passes:
            raise Refused("announcements are disabled: only the holder of a key may speak")
        return 0
