"""``POST /pair/hello`` and ``POST /pair/sign``: the hub's half of agent.wire.pairing, as a Flask blueprint.

Both are open routes by design: who may pass is decided by the code, which proves itself to both sides; a browser's
cookies play no part in it, so neither does CSRF."""

from __future__ import annotations

import collections
import ipaddress
import secrets
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from flask import Blueprint, Response, request
from msgspec import Struct

from agent.wire import pairing, topics
from hub import ca
from hub.pairing.registry import PairingError, Registry
from hub.settings import Settings

PENDING_S = 60.0
"""Between hello and sign; the device needs one scrypt for it."""
MAX_PENDING = 100
PER_MINUTE = 30
"""Requests of one address; a pairing takes two."""
MAX_ADDRESSES = 10_000
MAX_INPUTS = 64
DRAIN_BYTES = 1 << 20


class Pending(NamedTuple):
    """A hello that waits for its sign."""

    hello: pairing.Hello
    said: bytes
    key: bytes
    ends_s: float


class Desk:
    """What lies between the two requests, and who asks too often. Thread-safe."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._now = monotonic
        self._lock = threading.Lock()
        self._pending: collections.OrderedDict[bytes, Pending] = collections.OrderedDict()
        self._asked: collections.OrderedDict[str, collections.deque[float]] = collections.OrderedDict()

    def limit(self, address: str) -> None:
        """Raises PairingError (429) at more than 30 requests a minute from one address."""
        now = self._now()
        with self._lock:
            times = self._asked.setdefault(address, collections.deque())
            self._asked.move_to_end(address)
            while len(self._asked) > MAX_ADDRESSES:
                self._asked.popitem(last=False)
            while times and times[0] < now - 60:
                times.popleft()
            if len(times) >= PER_MINUTE:
                raise PairingError("too many tries from this address: wait a minute", 429)
            times.append(now)

    def put(self, nonce: bytes, hello: pairing.Hello, said: bytes, key: bytes) -> None:
        with self._lock:
            self._pending[nonce] = Pending(hello, said, key, self._now() + PENDING_S)
            while len(self._pending) > MAX_PENDING:
                self._pending.popitem(last=False)

    def take(self, nonce: bytes) -> Pending:
        """Once only. Raises PairingError."""
        with self._lock:
            pending = self._pending.pop(nonce, None)
        if pending is None or pending.ends_s < self._now():
            raise PairingError("this pairing was not begun here, or too long ago: run the command again", 409)
        return pending


def _answer(value: object, status: int = 200) -> Response:
    response = Response(pairing.encode(value), status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


def _allowed() -> None:
    """Plain HTTP on loopback only."""
    address = request.remote_addr or ""
    try:
        local = ipaddress.ip_address(address).is_loopback
    except ValueError:
        local = False
    if not request.is_secure and not local:
        raise PairingError("pairing needs https: use the hub's https address")


def blueprint(settings: Settings) -> Blueprint:
    """Register it on the hub's Flask app; CSRF exempts exactly ``pairing.hello`` and ``pairing.sign``."""
    routes = Blueprint("pairing", __name__, url_prefix="/pair")
    registry = Registry(settings.hub.data_dir)
    desk = Desk()

    def read(kind: type[Struct]) -> tuple[bytes, Struct]:
        _allowed()
        desk.limit(request.remote_addr or "")
        length = request.content_length
        if length is None or length > pairing.MAX_BYTES:
            request.stream.read(DRAIN_BYTES)  # else the sender sees a cut connection, and not why
            raise PairingError(f"a request of at most {pairing.MAX_BYTES} bytes is wanted", 413)
        body = request.get_data(cache=False)
        try:
            return body, pairing.decode(body, kind)
        except msgspec.DecodeError as error:
            raise PairingError(f"not a pairing request: {error}", 400) from None

    @routes.errorhandler(PairingError)
    def refused(error: PairingError) -> Response:
        return _answer(pairing.Refused(str(error)), error.status)

    @routes.errorhandler(ca.BadRequest)
    def bad(error: ca.BadRequest) -> Response:
        return _answer(pairing.Refused(str(error)), 400)

    @routes.errorhandler(OSError)
    def broken(error: OSError) -> Response:
        return _answer(pairing.Refused(f"the hub's disk: {error.strerror}: look at the hub's log"), 500)

    @routes.post("/hello")
    def hello() -> Response:
        body, asked = read(pairing.Hello)
        assert isinstance(asked, pairing.Hello)
        if asked.v != pairing.VERSION:
            raise PairingError(f"pairing version {asked.v} is not spoken here: update the hub or the agent", 400)
        ca.read_request(asked.csr, asked.device)
        if len(asked.nonce) != pairing.NONCE_BYTES or len(asked.inputs) > MAX_INPUTS or not all(
            topics.is_id(part) for name in asked.inputs for part in (name.split("/") if name.count("/") == 1 else [""])
        ):
            raise PairingError("not a pairing request: nonce or inputs", 400)
        code = registry.attempt(asked.code, asked.device)
        authority = ca.ensure(settings.hub.data_dir, settings.broker.names)
        offer = pairing.Offer(
            salt=code.salt, nonce=secrets.token_bytes(pairing.NONCE_BYTES), ca=authority.ca_pem,
            hub_name=settings.hub.name, names=authority.hub_names() if settings.embedded_broker else (),
            mqtt_host=settings.mqtt.host,
            mqtt_port=settings.broker.tls_port if settings.embedded_broker else settings.broker_port)
        text = pairing.encode(offer)
        said = pairing.transcript(body, text)
        desk.put(offer.nonce, asked, said, code.key)
        return _answer(pairing.Offered(text.decode(), pairing.proof(code.key, "hub", said)))

    @routes.post("/sign")
    def sign() -> Response:
        _, asked = read(pairing.Sign)
        assert isinstance(asked, pairing.Sign)
        pending = desk.take(asked.nonce)
        if not pairing.same(asked.proof, pairing.proof(pending.key, "device", pending.said)):
            raise PairingError("the device could not prove that it knows the code: type it again")
        certificate = registry.finish(
            pending.hello.code, pending.hello.device, pending.hello.inputs,
            ca.ensure(settings.hub.data_dir, settings.broker.names), pending.hello.csr)
        proof = pairing.proof(pending.key, "certificate", pending.said, certificate.encode())
        return _answer(pairing.Signed(certificate, proof))

    return routes
