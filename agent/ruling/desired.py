"""``<data_dir>/desired.json``: what the hub wants evaluated here, as it came last; whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from agent.wire import messages
from agent.wire.messages import Desired

FILE = "desired.json"
MAX_BYTES = 256 * 1024
MAX_RULES = 200


class Refused(ValueError):
    """One line: why a document is not taken."""


def parse(payload: bytes) -> Desired:
    """An empty payload is one without rules. Raises Refused."""
    if not payload:
        return Desired(0, {})
    if len(payload) > MAX_BYTES:
        raise Refused(f"{len(payload)} bytes of rules, at most {MAX_BYTES} are taken")
    try:
        found: Desired = messages.decode(payload, Desired)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(f"the rules that came cannot be read: {error}") from None
    if found.format > messages.DESIRED_FORMAT:
        raise Refused(f"the rules that came are of format {found.format}, this agent reads up to "
                      f"{messages.DESIRED_FORMAT}: update it")
    if len(found.rules) > MAX_RULES:
        raise Refused(f"{len(found.rules)} rules, at most {MAX_RULES} are taken")
    return found


def read(data_dir: Path) -> Desired | None:
    """What is kept; None: nothing came yet, or it cannot be read (then the hub's retained one comes again)."""
    try:
        return parse((data_dir / FILE).read_bytes())
    except (OSError, Refused):
        return None


def write(data_dir: Path, desired: Desired) -> None:
    """Raises OSError; then the old one stands."""
    path = data_dir / FILE
    scratch = path.with_name(f".{FILE}.{os.getpid()}")
    with scratch.open("wb") as file:
        file.write(messages.encode(desired))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
