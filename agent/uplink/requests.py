"""Requests to this device: ``hutkeeper/1/<device>/request/<name>``, answered on ``.../response/<name>``.

At most once, never retained, never late: a request carries its id, when it was issued and how long it is good for
(60 s at most). While this machine does not know the time it takes none that does something. What was issued before this
process started may have been carried out by the one before it, so it is refused.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from agent.wire import messages, topics
from agent.wire.messages import MAX_TTL_S, Request, Response

log = logging.getLogger(__name__)

REMEMBERED = 4096
REMEMBERED_S = 3600.0
"""Longer than any request is good for: a clock that is set back must not make an old one new."""
FUTURE_S = 5.0
MAX_PAYLOAD = 64 * 1024
READ_ONLY = frozenset({"log_tail", "ledger", "services", "canary"})


class Refused(Exception):
    """One line for the asker."""


Reply = Callable[[Any, str | None], None]
"""(data, None) or (None, one line of refusal); called once."""


class Later(NamedTuple):
    """What a handler returns when the answer comes from somewhere else: called with the way to answer."""

    begin: Callable[[Reply], None]


Handler = Callable[[dict[str, Any]], Any]


class Requests:
    """``handlers[name](args)`` returns what goes into ``data`` or raises Refused."""

    def __init__(self, device: str, handlers: dict[str, Handler], *, publish: Callable[[str, bytes], None],
                 clear: Callable[[str], None] = lambda topic: None,
                 wall_us: Callable[[], int | None], term: Callable[[], int],
                 monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.device = device
        self.handlers = handlers
        self._publish = publish
        self._clear = clear
        self._wall_us = wall_us
        self._term = term
        self._monotonic_s = monotonic_s
        self._began_s = monotonic_s()
        self._seen: OrderedDict[str, float] = OrderedDict()

    def subscriptions(self) -> list[str]:
        return [topics.request(self.device, "+")]

    def on_message(self, topic: str, payload: bytes, retained: bool) -> bool:
        """True when it was a request to us."""
        ours = topics.parse_ours(topic)
        if ours is None or ours.kind != "request" or ours.device != self.device:
            return False
        if not payload:
            return True
        if retained:
            self._clear(topic)
        try:
            if len(payload) > MAX_PAYLOAD:
                raise Refused(f"a request has at most {MAX_PAYLOAD} bytes")
            request = messages.decode(payload, Request)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, Refused) as error:
            log.warning("request %s cannot be read: %s", ours.rest, error)
            return True
        if request.id in self._seen:
            return True  # carried out and answered already, or being so
        full = self._forget()
        self._seen[request.id] = self._monotonic_s()
        try:
            if full:
                raise Refused(f"more than {REMEMBERED} requests in an hour: too many to tell a new one from an old one")
            self._check(ours.rest, request, retained)
            data = self.handlers[ours.rest](request.args)
            if isinstance(data, Later):
                data.begin(lambda value, refusal: self._answer(ours.rest, Response(
                    request.id, "ok" if refusal is None else "error", value, refusal)))
                return True
            response = Response(request.id, "ok", data)
        except Refused as error:
            response = Response(request.id, "error", error=str(error))
        except Exception as error:  # a handler's own fault must not take the device off the network
            log.exception("request %s failed", ours.rest)
            response = Response(request.id, "error", error=f"{type(error).__name__}: {error}")
        self._answer(ours.rest, response)
        return True

    def _answer(self, name: str, response: Response) -> None:
        self._publish(topics.response(self.device, name), messages.encode(response))

    def _forget(self) -> bool:
        """Ids that are old enough; True when there are too many that are not."""
        now_s = self._monotonic_s()
        while self._seen and now_s - next(iter(self._seen.values())) > REMEMBERED_S:
            self._seen.popitem(last=False)
        if len(self._seen) < REMEMBERED:
            return False
        if len(self._seen) >= 2 * REMEMBERED:
            self._seen.popitem(last=False)
        return True

    def _check(self, name: str, request: Request, retained: bool) -> None:
        if retained:
            raise Refused("E_CMD_RETAINED a retained request is never carried out; it was deleted from the broker; "
                          "publish it without the retain flag")
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
        if name not in READ_ONLY and age_s > self._monotonic_s() - self._began_s:
            raise Refused("E_CMD_EXPIRED issued before this agent started, which may have carried it out already; "
                          "look, and send it again")
        if age_s < -FUTURE_S:
            raise Refused(f"issued {-age_s:.0f} s in the future; check both clocks")
