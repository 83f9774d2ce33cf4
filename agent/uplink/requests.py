"""Requests to this device: ``hutkeeper/1/<device>/request/<name>``, answered on ``.../response/<name>``.

At most once, never retained, never late: a request carries its id, when it was issued and how long it is good for
(60 s at most). While this machine does not know the time it takes none that does something.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from agent.wire import messages, topics
from agent.wire.messages import MAX_TTL_S, Request, Response

log = logging.getLogger(__name__)

REMEMBERED = 512
FUTURE_S = 5.0
MAX_PAYLOAD = 64 * 1024
READ_ONLY = frozenset({"log_tail", "ledger"})


class Refused(Exception):
    """One line for the asker."""


Handler = Callable[[dict[str, Any]], Any]


class Requests:
    """``handlers[name](args)`` returns what goes into ``data`` or raises Refused."""

    def __init__(self, device: str, handlers: dict[str, Handler], *, publish: Callable[[str, bytes], None],
                 wall_us: Callable[[], int | None], term: Callable[[], int]) -> None:
        self.device = device
        self.handlers = handlers
        self._publish = publish
        self._wall_us = wall_us
        self._term = term
        self._seen: OrderedDict[str, None] = OrderedDict()

    def subscriptions(self) -> list[str]:
        return [topics.request(self.device, "+")]

    def on_message(self, topic: str, payload: bytes, retained: bool) -> bool:
        """True when it was a request to us."""
        ours = topics.parse_ours(topic)
        if ours is None or ours.kind != "request" or ours.device != self.device:
            return False
        if not payload:
            return True
        try:
            if len(payload) > MAX_PAYLOAD:
                raise Refused(f"a request has at most {MAX_PAYLOAD} bytes")
            request = messages.decode(payload, Request)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Refused) as error:
            log.warning("request %s cannot be read: %s", ours.rest, error)
            return True
        if request.id in self._seen:
            return True  # carried out and answered already, or being so
        self._seen[request.id] = None
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        try:
            self._check(ours.rest, request, retained)
            response = Response(request.id, "ok", self.handlers[ours.rest](request.args))
        except Refused as error:
            response = Response(request.id, "error", error=str(error))
        except Exception as error:  # a handler's own fault must not take the device off the network
            log.exception("request %s failed", ours.rest)
            response = Response(request.id, "error", error=f"{type(error).__name__}: {error}")
        self._publish(topics.response(self.device, ours.rest), messages.encode(response))
        return True

    def _check(self, name: str, request: Request, retained: bool) -> None:
        if retained:
            raise Refused("E_CMD_RETAINED a retained request is never carried out; publish it without the retain flag")
        if name not in self.handlers:
            raise Refused(f"unknown request {name[:60]!r}, known are {', '.join(sorted(self.handlers))}")
        if not 0 < request.ttl_s <= MAX_TTL_S:
            raise Refused(f"ttl_s is {request.ttl_s:g}, allowed is more than 0 and at most {MAX_TTL_S:g}")
        if request.term < self._term() and request.term != 0:
            raise Refused(f"term {request.term} is over, the hub's is {self._term()}")
        now_us = self._wall_us()
        if now_us is None:
            if name not in READ_ONLY:
                raise Refused("this device does not know the time yet, so it cannot tell an old request from a new one")
            return
        age_s = (now_us - request.issued_us) / 1e6
        if age_s > request.ttl_s:
            raise Refused(f"E_CMD_EXPIRED issued {age_s:.0f} s ago, good for {request.ttl_s:g} s; check both clocks")
        if age_s < -FUTURE_S:
            raise Refused(f"issued {-age_s:.0f} s in the future; check both clocks")
