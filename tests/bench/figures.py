"""One way to print a figure: medians of several runs, always as a ratio against a peer or a limit of the same run."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from msgspec import Struct


class Figure(Struct):
    """A measured ratio and the ratio that it may have."""

    name: str
    ours: Sequence[float]
    peer: Sequence[float]
    unit: str
    at_most: float
    note: str = ""

    @property
    def ratio(self) -> float:
        """Median of the pairwise ratios: pairs ran side by side, so a slow moment of the machine hits both."""
        return statistics.median(a / b for a, b in zip(self.ours, self.peer, strict=True))

    def line(self) -> str:
        ours, peer = statistics.median(self.ours), statistics.median(self.peer)
        verdict = "ok" if self.ratio <= self.at_most else "OVER"
        return (f"{self.name:<46} {ours:10.4g} {self.unit:<14} peer {peer:10.4g}  ratio {self.ratio:6.2f} "
                f"(at most {self.at_most:g})  {verdict}  {self.note}").rstrip()


def against_limit(name: str, values: Sequence[float], limit: float, unit: str, note: str = "") -> Figure:
    """A figure whose peer is a fixed limit."""
    return Figure(name, values, [limit] * len(values), unit, 1.0, note)
