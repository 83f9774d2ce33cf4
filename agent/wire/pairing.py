"""Pairing: a device gets its certificate with a code that a person carries from the hub's screen to the device.

Neither side trusts the other before: the device does not know the hub's CA, the hub does not know the device. The code
is known to both, so each proves it to the other over everything that was said::

    device -> hub  POST /pair/hello   Hello {code: first four characters, device, nonce, csr, inputs}
    hub -> device                     Offered {offer: the JSON of Offer {salt, nonce, ca, ...}, proof: "hub"}
    device -> hub  POST /pair/sign    Sign {nonce of the offer, proof: "device"}
    hub -> device                     Signed {certificate, proof: "certificate"}

``key = scrypt(code, salt)``; ``transcript = SHA-256(len || Hello as sent || len || Offer as sent)``; a proof is
``HMAC-SHA-256(key, its word || 0 || transcript || more)``. So the secret never travels, a machine in between that puts
its own CA or CSR into a message cannot make the proof, and a proof cannot be turned round or used again. What it could
do is guess: a code has 40 secret bits, lives 15 minutes and 5 hellos, and one guess offline costs one scrypt (32 MiB).
TLS below adds privacy only; it cannot be verified yet and need not be.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any

import msgspec
from msgspec import Struct

VERSION = 1
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no I, L, O, U."""
SELECTOR = 4
"""Characters of the code that name it; the others are the secret."""
SECRET = 8
SCRYPT = {"n": 1 << 15, "r": 8, "p": 1, "maxmem": 64 << 20, "dklen": 32}
NONCE_BYTES = 16
VALID_S = 15 * 60
ATTEMPTS = 5
MAX_BYTES = 64 << 10
"""The longest request or answer."""


class Hello(Struct, frozen=True, kw_only=True):
    """What the device asks for. ``inputs`` are other devices' nodes it reads on the live lane, ``device/node``."""

    v: int
    code: str
    device: str
    nonce: bytes
    csr: str
    """PKCS #10, PEM, subject CN = device."""
    inputs: tuple[str, ...] = ()


class Offer(Struct, frozen=True, kw_only=True):
    """What the hub gives; the device uses none of it before the proof is checked."""

    salt: bytes
    nonce: bytes
    ca: str
    """PEM."""
    hub_name: str
    names: tuple[str, ...]
    """Host names and addresses in the broker's certificate."""
    mqtt_host: str | None
    """None: the host that the device used for this request."""
    mqtt_port: int


class Offered(Struct, frozen=True):
    offer: str
    """The JSON of an :class:`Offer`: as text, so that both sides hash the same bytes."""
    proof: bytes


class Sign(Struct, frozen=True):
    nonce: bytes
    proof: bytes


class Signed(Struct, frozen=True):
    certificate: str
    proof: bytes


class Refused(Struct, frozen=True):
    """The body of every answer that is not 200: one line that says what to do."""

    error: str


class BadCode(ValueError):
    """Not a code: one line."""


def new_code() -> str:
    """``K7QF-2M9X-4TBD``."""
    text = "".join(secrets.choice(ALPHABET) for _ in range(SELECTOR + SECRET))
    return "-".join(text[i:i + 4] for i in range(0, len(text), 4))


def split(code: str) -> tuple[str, str]:
    """(selector, secret) of a code as a person typed it: any case, O for 0, I or L for 1, dashes and spaces anywhere.

    Raises BadCode."""
    text = "".join(code.upper().split()).replace("-", "").translate(str.maketrans("OIL", "011"))
    if len(text) != SELECTOR + SECRET:
        raise BadCode(f"a pairing code has {SELECTOR + SECRET} characters, this one has {len(text)}")
    if wrong := sorted(set(text) - set(ALPHABET)):
        raise BadCode(f"a pairing code has no {wrong[0]!r}: read it again on the hub")
    return text[:SELECTOR], text[SELECTOR:]


def stretch(secret: str, salt: bytes) -> bytes:
    """The 32-byte key of a code's secret: about 0.1 s and 32 MiB, five times that on a small board."""
    return hashlib.scrypt(secret.encode(), salt=salt, **SCRYPT)


def transcript(hello: bytes, offer: bytes) -> bytes:
    """Hash of everything said before the first proof."""
    digest = hashlib.sha256()
    for part in (hello, offer):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def proof(key: bytes, word: str, said: bytes, more: bytes = b"") -> bytes:
    """``word``: who proves ("hub", "device") or what is proved ("certificate", with its text as ``more``)."""
    return hmac.digest(key, word.encode() + b"\0" + said + more, "sha256")


def same(one: bytes, other: bytes) -> bool:
    """Equal, in a time that tells nothing."""
    return hmac.compare_digest(one, other)


encode = msgspec.json.encode


def decode(payload: bytes, kind: type[Any]) -> Any:
    """Raises msgspec.DecodeError (ValidationError with the path)."""
    return msgspec.json.decode(payload, type=kind)
