"""Which batch numbers of an epoch are settled: everything up to ``upto``, and the ranges above it. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

MAX_RANGES = 4096
"""A device keeps at most 20 batches in flight, so more holes than this are an invention (memory stays bounded)."""


class TooManyGaps(ValueError):
    """Taking this number would need more than MAX_RANGES ranges."""


class Seqs:
    """Batch numbers from 1, as ``upto`` plus closed ranges above it, in order and not touching."""

    __slots__ = ("above", "upto")

    def __init__(self, upto: int = 0, above: Iterable[tuple[int, int]] = ()) -> None:
        self.upto = upto
        self.above = [(first, last) for first, last in above]

    def __contains__(self, seq: int) -> bool:
        if seq <= self.upto:
            return True
        if not self.above:
            return False
        at = bisect_right(self.above, (seq, 1 << 64)) - 1
        return at >= 0 and self.above[at][1] >= seq

    def add(self, first: int, last: int | None = None) -> None:
        """Settle ``first``..``last``. Raises TooManyGaps."""
        if last is None:
            last = first
        if not self.above and first <= self.upto + 1:
            self.upto = max(self.upto, last)
            return
        before = [part for part in self.above if part[1] < first - 1]
        after = [part for part in self.above if part[0] > last + 1]
        touching = self.above[len(before) : len(self.above) - len(after)]
        if touching:
            first, last = min(first, touching[0][0]), max(last, touching[-1][1])
        ranges = [*before, (first, last), *after]
        upto = self.upto
        while ranges and ranges[0][0] <= upto + 1:
            upto = max(upto, ranges.pop(0)[1])
        if len(ranges) > MAX_RANGES:
            raise TooManyGaps(f"more than {MAX_RANGES} gaps in the batch numbers")
        self.upto, self.above = upto, ranges

    def covers(self, first: int, last: int) -> bool:
        """True when every number of the range is settled."""
        if last <= self.upto:
            return True
        first = max(first, self.upto + 1)
        return any(low <= first and last <= high for low, high in self.above)
