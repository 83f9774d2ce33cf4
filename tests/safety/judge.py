"""What every check of a day needs: pin edges, faults, samples as they were sent, alerts. Nothing of control's own."""

from __future__ import annotations

from collections.abc import Iterator

from .faults import LIES
from .scenarios import Log
from .verdict import LIMITS, US, Verdict, spans, union


class Judge:
    """One day. Spans are (begin, end) in microseconds."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.verdict = Verdict()
        self.on = list(spans(log.edges, log.end_us))
        self.edge_times = [t for t, _ in log.edges]
        config = log.config
        self.ages = {name: round(one.good_for_s * US) for name, one in config.sensors.items()}
        self.good = union((one.t_us, one.t_us + self.ages[one.sensor]) for one in log.samples
                           if one.kind not in LIES)
        self.process = sorted([*log.deaths, *log.guard_deaths])

    def saw(self, name: str, figure: float, text: str = "") -> None:
        verdict, limit = self.verdict, LIMITS[name][1]
        verdict.worst[name] = max(verdict.worst.get(name, 0.0), figure)
        verdict.occasions[name] = verdict.occasions.get(name, 0) + 1
        if figure > limit:
            verdict.violations.append(f"{name}: {figure:.1f} > {limit:g}, seed {self.log.seed}: {text}")

    def faults(self, *kinds: str) -> Iterator[tuple[int, int]]:
        return ((one.begin_us, one.end_us) for one in self.log.faults if one.kind in kinds)

    def touched(self, begin_us: int, end_us: int, *kinds: str) -> bool:
        return any(begin < end_us and end > begin_us for begin, end in self.faults(*kinds))

    def disturbed(self, begin_us: int, end_us: int) -> bool:
        """A process was not there, or had just come back."""
        return any(begin < end_us and end + 10 * US > begin_us for begin, end in self.process)

