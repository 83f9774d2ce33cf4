"""What one probe became, as a line: ``NAME KIND WORD MILLISECONDS [BYTES]``, and what that says of its target. Pure.

The words: ``answered`` (BYTES is the raw answer: the head of a page, a DNS message), ``refused``, ``reset``,
``timeout``, ``unreachable``, ``no-name`` (the resolver does not know it), ``error`` (BYTES says what). Of the router
also ``neighbour`` (mute, but the ARP table knows it), ``no-route`` and ``no-carrier`` (BYTES is the interface).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from . import dns
from .config import Target

WORDS = ("answered", "refused", "reset", "timeout", "unreachable", "no-name", "error")
GATEWAY_WORDS = (*WORDS, "neighbour", "no-route", "no-carrier")
LINE = re.compile(rb"([a-z0-9-]{1,30}) (tcp|http|dns) ([a-z-]{1,20}) (\d{1,7}(?:\.\d{1,3})?)(?: (.*))?\Z", re.S)
HEAD = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)(?: [^\r\n]*)?(?:\r?\n|\Z)")
LOCATION = re.compile(rb"^location:[ \t]*([^\r\n]{1,200})", re.I | re.M)
MAX_TEXT = 80


class Outcome(NamedTuple):
    """One line, taken apart."""

    name: str
    kind: str
    word: str
    ms: float
    data: bytes


class Judged(NamedTuple):
    """Whether it was the target that answered, and rightly. ``intercepted``: somebody else answered in its name."""

    reached: bool
    intercepted: bool
    text: str


def line(name: str, kind: str, word: str, seconds: float, data: bytes = b"") -> bytes:
    return f"{name} {kind} {word} {seconds * 1000:.1f}".encode() + (b" " + data if data else b"")


def parse(data: bytes) -> Outcome:
    """Raises ValueError."""
    found = LINE.match(data)
    if found is None:
        raise ValueError("expected NAME KIND WORD MILLISECONDS [BYTES]")
    word = found[3].decode()
    if word not in GATEWAY_WORDS:
        raise ValueError(f"{word!r} is none of {', '.join(GATEWAY_WORDS)}")
    return Outcome(found[1].decode(), found[2].decode(), word, float(found[4]), found[5] or b"")


def judge(target: Target, outcome: Outcome) -> Judged:
    """What the outcome says of its target. Never raises: an answer may be anything."""
    if outcome.word != "answered":
        words = {"no-name": "name not resolved", "error": printable(outcome.data) or "error"}
        return Judged(False, False, words.get(outcome.word, outcome.word))
    if target.kind == "http":
        return _page(target, outcome.data)
    if target.kind == "dns":
        return _name(target, outcome.data)
    return Judged(True, False, "connected")


def _page(target: Target, data: bytes) -> Judged:
    head = HEAD.match(data)
    if head is None:
        return Judged(False, False, "no HTTP in the answer" if data else "closed without an answer")
    status = int(head[1])
    if status == target.expect_status and target.expect_body.encode() in data:
        return Judged(True, False, f"status {status}")
    if status >= 500 and status != 511:  # 511: RFC 6585, "Network Authentication Required", a portal's own word
        return Judged(False, False, f"status {status}")
    location = LOCATION.search(data)
    where = f" to {printable(location[1])}" if location else ""
    wrong = "another page" if status == target.expect_status else f"status {status}{where}"
    return Judged(False, True, f"{wrong}, expected {target.expect_status}"
                               f"{' with ' + repr(target.expect_body[:40]) if target.expect_body else ''}")


def _name(target: Target, data: bytes) -> Judged:
    try:
        answer = dns.answer(data)
    except ValueError as error:
        return Judged(False, False, f"no DNS answer: {error}")
    if answer.rcode:
        return Judged(False, False, answer.error)
    if not answer.addresses:
        return Judged(False, False, "no address in the answer")
    if target.expect_address and target.expect_address not in answer.addresses:
        return Judged(False, True, f"{answer.addresses[0]}, expected {target.expect_address}")
    return Judged(True, False, answer.addresses[0])


def printable(data: bytes) -> str:
    """Foreign bytes as a text that may stand in a log and on a page."""
    text = data[:MAX_TEXT].decode("ascii", "replace")
    return "".join(char if 32 <= ord(char) < 127 else "?" for char in text)
