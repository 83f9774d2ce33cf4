"""Sets of whole numbers as sorted, disjoint, closed ranges: which batches are settled. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator

Range = tuple[int, int]


class Ranges:
    """``Ranges([(1, 40), (45, 45)])``; adjacent ranges are joined."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._first: list[int] = []
        self._last: list[int] = []
        for first, last in ranges:
            self.add(first, last)

    def add(self, first: int, last: int) -> list[Range]:
        """Add ``first..last``; returns what of it is new, in order. An empty range (last < first) adds nothing."""
        if last < first:
            return []
        new = list(self.holes(first, last))
        start = bisect_left(self._last, first - 1)  # the first range that touches or follows
        end = start
        while end < len(self._first) and self._first[end] <= last + 1:
            first, last = min(first, self._first[end]), max(last, self._last[end])
            end += 1
        self._first[start:end] = [first]
        self._last[start:end] = [last]
        return new

    def remove(self, first: int, last: int) -> None:
        """Take ``first..last`` out."""
        if last < first:
            return
        kept: list[Range] = []
        for a, b in self:
            kept += [part for part in ((a, min(b, first - 1)), (max(a, last + 1), b)) if part[0] <= part[1]]
        self._first, self._last = [a for a, _ in kept], [b for _, b in kept]

    def holes(self, first: int, last: int) -> Iterator[Range]:
        """What of ``first..last`` is not in the set, in order."""
        index = bisect_left(self._last, first)
        while first <= last:
            if index >= len(self._first) or self._first[index] > last:
                yield first, last
                return
            if self._first[index] > first:
                yield first, self._first[index] - 1
            first = self._last[index] + 1
            index += 1

    @property
    def upto(self) -> int:
        """The highest number with none missing from 1, or 0."""
        return self._last[0] if self._first and self._first[0] == 1 else 0

    def __contains__(self, number: int) -> bool:
        index = bisect_left(self._last, number)
        return index < len(self._first) and self._first[index] <= number

    def __iter__(self) -> Iterator[Range]:
        return iter(list(zip(self._first, self._last, strict=True)))

    def __len__(self) -> int:
        """How many ranges."""
        return len(self._first)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and list(self) == list(other)

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"

    __hash__ = None  # type: ignore[assignment]
