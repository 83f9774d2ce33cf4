"""Asking the notify process, which alone writes alerts.db: ``alert.acknowledge``, ``rule.put``, ``log.add``, ...

One ipc socket (``<run_dir>/notify``), one question, one answer. A question that is asked again because no answer came
may be carried out twice: every handler is made for that.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import zmq
from msgspec import Struct

from agent import bus

log = logging.getLogger(__name__)

NAME = "notify"
TIMEOUT_S = 5.0
MAX_BYTES = 1 << 20


class Ask(Struct, frozen=True):
    name: str
    args: dict[str, Any]
    who: str
    """The user, token or command that asks."""


class Answer(Struct, frozen=True):
    ok: bool
    data: Any = None
    error: str = ""
    """One line for the asker."""


class Refused(Exception):
    """A handler's one line for the asker."""


class Away(Exception):
    """The notify process does not answer; the text says what to do."""


Handler = Callable[[dict[str, Any], str], Any]
"""(args, who) -> data; raises Refused. ``args`` come from outside: validate them."""


def ask(run_dir: Path, name: str, args: dict[str, Any] | None = None, *, who: str, timeout_s: float = TIMEOUT_S) -> Any:
    """The answer's data. Raises Refused and Away."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
    with context.socket(zmq.REQ) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDTIMEO, 1000)
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.connect(bus.endpoint(run_dir, NAME))
        try:
            socket.send(msgspec.msgpack.encode(Ask(name, args or {}, who)))
            if not socket.poll(int(timeout_s * 1000)):
                raise Away(f"the hub's notify did not answer within {timeout_s:g} s: is it running? "
                           "see the log of notify")
            answer = msgspec.msgpack.decode(socket.recv(), type=Answer)
        except zmq.Again:
            raise Away("the hub's notify is not running: start it with hutkeeper-hub run") from None
    if not answer.ok:
        raise Refused(answer.error)
    return answer.data


class Desk:
    """The other end, in the notify process; parts add their ``handlers``. Raises bus.BusTaken: there is one already."""

    def __init__(self, run_dir: Path) -> None:
        self.handlers: dict[str, Handler] = {}
        run_dir.mkdir(parents=True, exist_ok=True)
        self._lock = bus.lock(run_dir, NAME)  # a second bind would take the path away from a living process
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context.instance()
        self.socket = context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.setsockopt(zmq.MAXMSGSIZE, MAX_BYTES)
        self.socket.bind(bus.endpoint(run_dir, NAME))

    def serve(self, limit: int = 100) -> None:
        """Answer what waits, at most ``limit`` questions."""
        for _ in range(limit):
            try:
                who, _, payload = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            except ValueError:
                continue  # not a question of ours
            answer = self._answer(payload)
            with contextlib.suppress(zmq.ZMQError):
                self.socket.send_multipart([who, b"", msgspec.msgpack.encode(answer)], zmq.NOBLOCK)

    def _answer(self, payload: bytes) -> Answer:
        try:
            asked = msgspec.msgpack.decode(payload, type=Ask)
        except msgspec.DecodeError as error:
            return Answer(False, error=f"unreadable question: {error}")
        handler = self.handlers.get(asked.name)
        if handler is None:
            return Answer(False, error=f"notify knows no {asked.name!r}")
        try:
            return Answer(True, handler(asked.args, asked.who))
        except Refused as error:
            return Answer(False, error=str(error))
        except Exception as error:  # a handler's own fault must not end the process that wakes people
            log.exception("%s failed", asked.name)
            return Answer(False, error=f"{type(error).__name__}: {error}")

    def close(self) -> None:
        self.socket.close()
        os.close(self._lock)
