"""Lines that a bad cable makes of good ones: what is refused, and what is accepted with another content."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

from firmware_bridges.esp32_csi import DIALECTS, BadLine, CsiRow, LineDecoder, write_row
from plugins.esp32_csi.simulate import Room

KINDS = ("cut", "lost bytes", "flipped bits", "glued", "garbage", "doubled")
LINES = ("polar", *DIALECTS)


class Damage(NamedTuple):
    """Of the lines offered: refused, or accepted although a value or a column differs from what was sent."""

    offered: int
    refused: int
    wrong: int


def good_lines(count: int = 24, seed: int = 1) -> dict[str, list[bytes]]:
    """Lines of each dialect from a simulated room, each with its end."""
    return {dialect: [write_row(row, dialect) for _, row in Room(seed).rows(100, count / 100, lambda t: t > 0.1)]
            for dialect in LINES}


def damaged(line: bytes, other: bytes, kind: str, rng: random.Random) -> bytes:
    """One damaged line, with its end."""
    body = bytearray(line.rstrip())
    if kind == "cut":
        return bytes(body[: rng.randrange(1, len(body) - 1)]) + b"\n"
    if kind == "lost bytes":
        at = rng.randrange(len(body))
        del body[at : at + rng.randrange(1, 40)]
    elif kind == "flipped bits":
        for _ in range(rng.randrange(1, 4)):
            body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
    elif kind == "glued":
        return bytes(body[: rng.randrange(1, len(body))]) + other
    elif kind == "garbage":
        return rng.randbytes(rng.randrange(1, 200)) + b"\n"
    elif kind == "doubled":
        at = rng.randrange(len(body) - 1)
        body[at:at] = body[at : at + rng.randrange(1, 30)]
    return bytes(body) + b"\n"


def fuzz(count: int, seed: int = 1) -> Iterator[tuple[bytes, list[object]]]:
    """``count`` damaged lines of all dialects in chunks of any size: (chunk, events). Raises what it raises."""
    rng = random.Random(seed)
    pool = [line for lines in good_lines().values() for line in lines]
    decoder = LineDecoder()
    waiting = bytearray()
    for _ in range(count):
        waiting += damaged(rng.choice(pool), rng.choice(pool), rng.choice(KINDS), rng)
        if rng.random() < 0.3:
            size = rng.randrange(1, len(waiting) + 1)
            chunk = bytes(waiting[:size])
            del waiting[:size]
            yield chunk, list(decoder.feed(chunk))
    yield bytes(waiting), list(decoder.feed(bytes(waiting))) + list(decoder.finish())


def measure(dialect: str, kind: str, count: int, seed: int = 2) -> Damage:
    """``count`` lines of one dialect, each damaged in one way and read on its own."""
    rng = random.Random(seed)
    lines = good_lines()[dialect]
    right = [LineDecoder().feed(line)[0] for line in lines]
    refused = wrong = 0
    for _ in range(count):
        i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
        decoder = LineDecoder()
        events = decoder.feed(damaged(lines[i], lines[j], kind, rng)) + decoder.finish()
        rows = [event for event in events if isinstance(event, CsiRow)]
        refused += any(isinstance(event, BadLine) for event in events)
        wrong += any(row != right[i] and row != right[j] for row in rows)
    return Damage(count, refused, wrong)
