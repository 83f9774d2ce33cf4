"""Commands of notify to devices (a rule's "then", an SMS by the modem, an announcement): the request ``set``.

A request waits for its answer, so workers of our own send them. A command is good for a few seconds and is sent once:
who ordered it decides whether a failed one is ordered again.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from agent.wire import faults
from hub.live import LiveClient, LiveTree, NotConnected
from hub.store.errors import StoreError
from hub.store.reader import Reader

log = logging.getLogger(__name__)

WORKERS = 4
WAITING = 1000
ANSWER_S = 8.0
CONNECTED = ("ready", "init", "sleeping")


class Result(NamedTuple):
    ok: bool
    text: str
    """Why not, one line."""
    value: Any = None
    sent: bool = False
    """It left this hub: the device may have carried it out even if ``ok`` is False."""


Done = Callable[[Result], None]


class Commander:
    """``order`` never waits; ``done`` is called on a worker's thread."""

    def __init__(self, client: LiveClient, tree: LiveTree, reader: Reader) -> None:
        self._client = client
        self._tree = tree
        self._reader = reader
        client.term = self.own_term
        self._queue: queue.Queue[tuple[str, str, str, Any, str, Done] | None] = queue.Queue(WAITING)
        self._threads = [threading.Thread(target=self._work, name=f"commander-{n}", daemon=True)
                         for n in range(WORKERS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        for _ in self._threads:
            try:
                self._queue.put_nowait(None)
            except queue.Full:
                return  # they end with the process
        for thread in self._threads:
            if thread.is_alive():
                thread.join(1)

    def order(self, device: str, node: str, prop: str, value: Any, who: str, done: Done) -> None:
        """Give ``value`` to ``<device>/<node>/<prop>`` (its plain name or Homie id)."""
        try:
            self._queue.put_nowait((device, node, prop, value, who, done))
        except queue.Full:
            done(Result(False, f"more than {WAITING} commands wait"))

    def own_term(self) -> int | None:
        """Of this hub, from its store; None before its first start."""
        try:
            term = int(self._reader.meta().get("term", "0"))
        except (StoreError, ValueError):
            return None
        return term or None

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            *order, done = job
            try:
                result = self._send(*order)
            except Exception as error:  # a worker that ends would hold back every later message
                log.exception("command to %s/%s/%s", *order[:3])
                result = Result(False, f"{type(error).__name__}: {error}")
            try:
                done(result)
            except Exception:
                log.exception("what follows a command to %s/%s/%s", *order[:3])

    def _send(self, device_id: str, node: str, prop: str, value: Any, who: str) -> Result:
        term = self.own_term()
        if term is None:
            return Result(False, "this hub has not stored anything yet: it commands nothing")
        hub, _ = self._tree.hub_state
        if hub is not None and hub.term > term:
            return Result(False, faults.line("E_SECOND_HUB", who=f"term {hub.term}"))
        device = self._tree.device(device_id)
        if device is None or device.state not in CONNECTED:
            return Result(False, f"{device_id} is not connected")
        try:
            answer = self._client.request(device_id, "set", {
                "node": node, "property": prop.replace("_", "-"), "value": value, "who": who}, ANSWER_S)
        except NotConnected as error:
            return Result(False, str(error), sent=True)
        if answer.status != "ok":
            return Result(False, answer.error or answer.status, sent=True)
        return Result(True, "", answer.data, sent=True)
