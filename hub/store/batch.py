"""What the writer is given: messages of devices, already decoded. The device is the topic's, never the payload's."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from agent.wire.messages import LedgerCounts, Receipt, Reported
from agent.wire.records import Body, Header

SERIES = re.compile(r"([a-z0-9][a-z0-9-]{0,126})/([a-z0-9][a-z0-9_]{0,126})\Z")
"""``<node>/<property>``"""
WORD = re.compile(r"[a-z][a-z0-9_]{0,31}\Z")
PREFIX_BYTES = 256
"""How much of an unreadable message is kept to look at."""
EPOCH = re.compile(r"[0-9a-zA-Z_-]{1,32}\Z")


class Samples(NamedTuple):
    """A readable batch."""

    device: str
    received_us: int
    header: Header
    body: Body
    payload: bytes
    future_id: int | None = None
    """Row of ``future`` that this batch was kept in: it is settled already, now it can be read."""


class Poison(NamedTuple):
    """A batch whose body cannot be read: settled by its header, kept as prefix and hash (B33)."""

    device: str
    received_us: int
    header: Header
    code: str
    reason: str
    prefix: bytes
    sha256: str
    size: int


class Future(NamedTuple):
    """A batch of a version this hub does not know: kept whole, stored after the upgrade (B38)."""

    device: str
    received_us: int
    header: Header
    payload: bytes


class Counts(NamedTuple):
    """The device's own side of the ledger (Homie ``sys/ledger``)."""

    device: str
    received_us: int
    counts: LedgerCounts


class Declared(NamedTuple):
    """What the device says that it has (``reported``)."""

    device: str
    received_us: int
    reported: Reported


class Noticed(NamedTuple):
    """A fault for the hub's event log; ``text`` is its whole line (:func:`agent.wire.faults.line`)."""

    device: str
    received_us: int
    code: str
    severity: str
    text: str


Item = Samples | Poison | Future | Counts | Declared | Noticed


class Change(NamedTuple):
    """What a commit left for one series."""

    t_us: int
    value: object
    n: int


class Committed(NamedTuple):
    """What is on the disk now; only now the receipts may be sent."""

    receipts: list[tuple[str, Receipt]]
    changes: dict[str, dict[int, Change]]
    """device -> series id -> its newest sample of this commit and how many came"""
    samples: int


def poison(device: str, received_us: int, header: Header, code: str, reason: str, payload: bytes) -> Poison:
    """A :class:`Poison` of the whole payload."""
    return Poison(device, received_us, header, code, reason[:500], payload[:PREFIX_BYTES],
                  hashlib.sha256(payload).hexdigest(), len(payload))


def joined(parts: list[Committed]) -> Committed:
    """Several commits as one: the newest receipt of each epoch, the newest value of each series."""
    receipts: dict[tuple[str, str], tuple[str, Receipt]] = {}
    changes: dict[str, dict[int, Change]] = {}
    for part in parts:
        for device, receipt in part.receipts:
            receipts[device, receipt.epoch] = (device, receipt)
        for device, series in part.changes.items():
            mine = changes.setdefault(device, {})
            for id_, change in series.items():
                mine[id_] = Change(change.t_us, change.value, change.n + (mine[id_].n if id_ in mine else 0))
    return Committed(list(receipts.values()), changes, sum(part.samples for part in parts))
