"""One question to a DNS server and its answer, as bytes. Pure. Source: RFC 1035 section 4, RFC 3596 (AAAA)."""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple

A, AAAA = 1, 28
MAX_MESSAGE = 4096
RCODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


class Answer(NamedTuple):
    """What a server said: 0 is no error; the addresses of the kind that was asked for."""

    rcode: int
    addresses: tuple[str, ...]

    @property
    def error(self) -> str:
        return RCODES.get(self.rcode, f"RCODE {self.rcode}")


def encode_name(name: str) -> bytes:
    """``example.org`` as labels. Raises ValueError."""
    labels = name.rstrip(".").split(".")
    if not all(label and len(label) <= 63 and label.isascii() for label in labels) or len(name) > 253:
        raise ValueError(f"{name!r} is no host name")
    return b"".join(bytes((len(label),)) + label.encode() for label in labels) + b"\0"


def query(number: int, name: str, kind: int = A) -> bytes:
    """A question with recursion desired; ``number`` is its 16-bit id."""
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + encode_name(name) + struct.pack(">2H", kind, 1)


def belongs(data: bytes, question: bytes) -> bool:
    """Whether ``data`` answers this very question: same id, it is a response, same name (case folded) and kind."""
    end = len(question)
    return (len(data) >= end and data[:2] == question[:2] and bool(data[2] & 0x80)
            and data[12:end].lower() == question[12:].lower())


def answer(data: bytes, kind: int = A) -> Answer:
    """The addresses in a response. Raises ValueError for what is no whole response."""
    if len(data) < 12:
        raise ValueError("shorter than a header")
    _, flags, questions, answers, _, _ = struct.unpack_from(">6H", data)
    if not flags & 0x8000:
        raise ValueError("no response")
    at = 12
    for _ in range(questions):
        at = _skip_name(data, at) + 4
    found: list[str] = []
    for _ in range(answers):
        at = _skip_name(data, at)
        if at + 10 > len(data):
            raise ValueError("cut off in a record")
        record, family, _, size = struct.unpack_from(">2HIH", data, at)
        at += 10
        if at + size > len(data):
            raise ValueError("cut off in a record")
        if record == kind and family == 1:
            if size != (4 if kind == A else 16):
                raise ValueError("an address of a wrong length")
            found.append(str(ipaddress.ip_address(data[at : at + size])))
        at += size
    return Answer(flags & 0x000F, tuple(found))


def _skip_name(data: bytes, at: int) -> int:
    """The place after a name; a compression pointer ends it, so no loop can be made."""
    while at < len(data):
        length = data[at]
        if length == 0:
            return at + 1
        if length & 0xC0 == 0xC0:
            return at + 2
        if length & 0xC0:
            break
        at += 1 + length
    raise ValueError("cut off in a name")


def respond(question: bytes, address: str | None, rcode: int = 0) -> bytes:
    """A server's response, for the simulated one: one A record, or none."""
    flags = 0x8180 | rcode
    head = question[:2] + struct.pack(">5H", flags, 1, 0 if address is None else 1, 0, 0) + question[12:]
    if address is None:
        return head
    return head + b"\xc0\x0c" + struct.pack(">2HIH", A, 1, 60, 4) + ipaddress.IPv4Address(address).packed
