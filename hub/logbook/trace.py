"""What a trace says: which fault it is, wherever and however often it happens. Pure.

The fingerprint is the type of the exception and the chain of our own frames as (file, function): a line that moved or
another value in the message is the same fault, another way to the same function is another one.
"""

from __future__ import annotations

import hashlib
import re

from msgspec import Struct

FRAME = re.compile(r'^ {2}File "([^"\n]{1,400})", line (\d{1,9}), in (\S[^\n]{0,200})$')
RAISED = re.compile(r"^([A-Za-z_][\w.]{0,150})(?:: (.*))?$", re.S)
UNHANDLED = re.compile(r"^(?:([a-z0-9][a-z0-9-]{0,63}): )?unhandled (?=\w)")
BUG = re.compile(r"^([a-z0-9][a-z0-9-]{0,63}): bug in (\w{1,30}): ([A-Za-z_][\w.]{0,150}): ")
BEGIN = "Traceback (most recent call last):"
OURS = ("agent/", "hub/", "plugins/", "firmware_bridges/", "hutkeeper_")
MAX_FRAMES = 60
CUT = "\n  ...\n"
"""Where ``agent.wire.crashes`` left out the middle of a long trace."""


class Fault(Struct, frozen=True):
    fingerprint: str
    type: str
    message: str
    place: str
    """``file function`` of our innermost frame, or what was known instead."""


def fault(trace: str, default: str = "") -> Fault:
    """Of the last exception in a trace. ``default``: what stands for the place in one without frames."""
    part = trace[trace.rfind(BEGIN):] if BEGIN in trace else trace
    frames: list[tuple[str, str]] = []
    raised: tuple[str, str] | None = None
    for line in part.splitlines():
        found = FRAME.match(line)
        if found is not None:
            frames.append((found[1], found[3]))
            raised = None
        elif line and not line[0].isspace() and line != BEGIN and raised is None:
            said = RAISED.match(line)
            if said is not None and (frames or BEGIN not in part):
                raised = said[1], said[2] or ""
    kind, message = raised or ("Exception", "")
    chain = [(path, function) for path, function in ((own(path), function) for path, function in frames) if path]
    if not chain:
        chain = [(path.rsplit("/", 1)[-1], function) for path, function in frames[-3:]]
    once = [frame for n, frame in enumerate(chain) if n == 0 or chain[n - 1] != frame]  # a recursion's depth is a value
    place = f"{once[-1][0]} {once[-1][1]}" if once else default
    if CUT in part:
        once = once[-4:]  # where it was cut depends on how long the values in it are
    said_by = [kind, *(f"{path} {function}" for path, function in once[-MAX_FRAMES:])] if once else [kind, default]
    mark = hashlib.blake2b("\n".join(said_by).encode("utf-8", "replace"), digest_size=6).hexdigest()
    return Fault(mark, kind, message, place)


def own(path: str) -> str:
    """The file's path from our own folder on, however it is installed; '' for a file of others."""
    path = path.replace("\\", "/")
    inside = path.rpartition("site-packages/")[2] if "site-packages/" in path else None
    if inside is not None:
        return inside if inside.startswith(OURS) else ""
    if "/lib/python3" in path or path.startswith("<"):
        return ""
    parts = path.split("/")
    for n, part in enumerate(parts[:-1]):
        if part + "/" in OURS:
            return "/".join(parts[n:])
    return "/".join(parts[-2:])


def of_log_line(text: str) -> tuple[str, str, str] | None:
    """(plugin instance, trace, default place) of a device's ``$log`` line that tells an unhandled exception:
    ``<instance>: unhandled <Type>: <message>`` with the trace below, or ``<instance>: bug in <where>: <Type>: ...``."""
    told = UNHANDLED.match(text)
    if told is not None:
        first, _, below = text[told.end():].partition("\n")
        service = told[1] or "agent"
        if BEGIN not in below:
            return service, f"{first}\n{below}".strip(), service
        kind = first.partition(":")[0]
        ended = any(line.startswith(kind) for line in below.splitlines())
        return service, below if ended else f"{below}\n{first}", service  # a long one came without its end
    bug = BUG.match(text)
    if bug is not None:
        return bug[1], text[bug.start(3):], f"{bug[1]} {bug[2]}"
    return None
