"""The other end of ``<run_dir>/lines``: what the hub's processes say, taken without waiting."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec
import zmq

from agent import bus
from hub.logbook.lines import LAST_WORDS, NAME, Said

log = logging.getLogger(__name__)

WAITING = 10_000
A_STEP = 2_000
MAX_BYTES = 64 * 1024


class Ears:
    """Bound by the notify process, whose desk already holds the run directory's lock."""

    def __init__(self, run_dir: Path) -> None:
        self._file = run_dir / LAST_WORDS
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self._socket = context.socket(zmq.PULL)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.RCVHWM, WAITING)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
        self._socket.bind(bus.endpoint(run_dir, NAME))
        (run_dir / NAME).chmod(0o660)

    def take(self) -> list[Said]:
        """At most A_STEP; the others wait."""
        found = []
        for _ in range(A_STEP):
            try:
                payload = self._socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                found.append(msgspec.msgpack.decode(payload, type=Said))
            except msgspec.DecodeError as error:
                log.warning("an unreadable line: %s", error)
        return found

    def last_words(self) -> Said | None:
        """Of the notify process before this one."""
        try:
            return msgspec.msgpack.decode(self._file.read_bytes()[:MAX_BYTES], type=Said)
        except (OSError, msgspec.DecodeError):
            return None

    def last_words_are_kept(self) -> None:
        self._file.unlink(missing_ok=True)

    def close(self) -> None:
        self._socket.close()


