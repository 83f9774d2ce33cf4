"""The ledger's two sides at one moment: what the device told a moment ago, and what has been settled here since.

``produced = stored + quarantined + dropped + spooled + in flight + difference`` in samples. The device's counts are
seconds old while batches go on arriving, so the bare sum would tremble around 0 and never be believed. Two facts make
it exact: the device numbers its batches (what is settled here beyond its ``next_seq`` is newer than its counts), and
what it calls receipted must be here.
"""

from __future__ import annotations

from typing import NamedTuple

from agent.wire.messages import LedgerCounts


class Balance(NamedTuple):
    """In samples, all at the moment of the hub's last commit."""

    produced: int
    spooled: int
    in_flight: int
    difference: int
    """> 0: lost, receipted samples that are not here; < 0: doubled, more than were produced."""


def balance(told: LedgerCounts, settled: int, newer: int) -> Balance:
    """``settled``: stored + quarantined + dropped here; ``newer``: its part in batches from ``told.next_seq`` on."""
    known = settled - newer
    waiting = max(0, told.produced - max(known, told.receipted))
    in_flight = min(told.in_flight, waiting)
    difference = told.produced - known - waiting
    return Balance(told.produced + newer, waiting - in_flight, in_flight, difference)
