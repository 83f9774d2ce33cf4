"""The dead man's ping: somebody outside is called for as long as this hub works, and notices when the calls end (B71).

A thread of its own with timeouts and back-off; nothing here is waited for. It speaks only while the notify process
has told within STALE_S that all is moving: a hub that hangs falls silent by itself.
"""

from __future__ import annotations

import http.client
import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from msgspec import Struct

from hub.watch.settings import Heartbeat, shown

log = logging.getLogger(__name__)

STALE_S = 15.0
FIRST_RETRY_S = 2.0
MAX_TEXT = 500


class Word(Struct, frozen=True):
    """What notify says each second."""

    at_s: float
    """CLOCK_MONOTONIC."""
    moves: bool
    """Notify, ingest and the broker make progress."""
    trouble: str = ""
    """Critical trouble of the hub itself: one line without names, or ''."""


class DeadMan(threading.Thread):
    """``say`` each second. ``failing_since_us``: since when no call was taken, or None."""

    def __init__(self, settings: Heartbeat, url: str, *, monotonic_s: Callable[[], float] = time.monotonic,
                 wall_us: Callable[[], int] = lambda: time.time_ns() // 1000) -> None:
        super().__init__(name="deadman", daemon=True)
        self._settings = settings
        self._url = url
        self._now = monotonic_s
        self._wall_us = wall_us
        self._word = Word(float("-inf"), False)
        self._stopping = threading.Event()
        self._due_s = float("-inf")
        self._wait_s = FIRST_RETRY_S
        self._told_trouble = ""
        self.failing_since_us: int | None = None
        self.last_us: int | None = None
        """When a call was last taken."""
        self.error = ""

    def say(self, word: Word) -> None:
        """Never waits."""
        self._word = word

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        log.info("the heartbeat goes to %s every %d s", shown(self._url), self._settings.every_s)
        while not self._stopping.wait(0.2):
            try:
                self.step()
            except Exception:  # this thread is what speaks for the hub: it goes on
                log.exception("the heartbeat's step failed")
                self._stopping.wait(FIRST_RETRY_S)

    def step(self) -> bool | None:
        """Call when it is due: True when it was taken, False when not, None when there was nothing to do."""
        now, word = self._now(), self._word
        new_trouble = word.trouble != self._told_trouble
        if now < self._due_s and not (new_trouble and self.failing_since_us is None):
            return None
        if now - word.at_s > STALE_S or not (word.moves or word.trouble):
            return None  # silence is what says it
        error = self._call("/fail" if word.trouble else "", word.trouble)
        if error:
            if self.failing_since_us is None:
                self.failing_since_us = self._wall_us()
                log.warning("the heartbeat was not taken: %s", error)
            self.error = error
            self._due_s = self._now() + self._wait_s * random.uniform(0.8, 1.2)
            self._wait_s = min(2 * self._wait_s, float(self._settings.every_s))
            return False
        if self.failing_since_us is not None:
            log.info("the heartbeat is taken again")
        self.failing_since_us, self.error, self._wait_s = None, "", FIRST_RETRY_S
        self.last_us, self._told_trouble = self._wall_us(), word.trouble
        self._due_s = now + self._settings.every_s
        return True

    def _call(self, suffix: str, text: str) -> str:
        """One request; '' or what went wrong, without the URL. Redirects are not followed: they tell the secret on."""
        to = urlsplit(self._url)
        timeout_s = self._settings.timeout_s
        port = to.port or (443 if to.scheme == "https" else 80)
        connection = http.client.HTTPSConnection(
            str(to.hostname), port, timeout=timeout_s, context=ssl.create_default_context()) \
            if to.scheme == "https" else http.client.HTTPConnection(str(to.hostname), port, timeout=timeout_s)
        path = (to.path.rstrip("/") if suffix else to.path or "/") + suffix + (f"?{to.query}" if to.query else "")
        body = text[:MAX_TEXT].encode() if text else None
        headers = {"User-Agent": "hutkeeper", "Connection": "close"}
        try:
            connection.request("POST" if body else "GET", path, body, headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException, ValueError) as error:
            kind = "no answer in time" if isinstance(error, TimeoutError) else \
                "the name is not known" if isinstance(error, socket.gaierror) else type(error).__name__
            return f"{shown(self._url)}: {kind}"
        finally:
            connection.close()
        return "" if 200 <= status < 300 else f"{shown(self._url)}: answer {status}"
