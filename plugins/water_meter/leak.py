"""What the flow says of leaks: drip, running, burst, use in a vacation. Pure; times are seconds of one clock.

A house that is tight has hours without flow: "never zero in 24 hours" is a leak. The rule here is the same on any
meter: between two pulses exactly one pulse's volume flowed, between two readings of an index at most one unit more than
their difference. Wherever that is less than the smallest drip looked for, the house was **quiet**, and no constant drip
can have begun before. No quiet for ``drip_h`` hours is a drip; so are intervals that stay equal for hours.

A drip is over when the water stood **still**: for ``still_h`` hours less than a third of the smallest drip. A drip that
swings around the limit, as real ones do, is thus one episode and not one each night.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

from .equal import EqualIntervals
from .rules import Rules, Verdict

TOLERANCE = 0.93
"""Of the drip's pace: its single intervals vary."""
RUNNING_PULSES = 10
"""Fewer say too little about a flow without a pause."""
BURST_INTERVALS = 3
SHORT_HOLE_S = 1800.0
"""A hole in the watch that is too short to hide a quiet hour."""
SPARSE_S = 3 * 3600.0
"""Readings of an index that are further apart say nothing of the hours between."""
INDEX_SPAN_S = 3 * 3600.0
"""The longest stretch of an index whose mean may show a quiet: readings each quarter say little alone."""
BASE_S = 3600.0
"""What flowed without a pause for less than this is no base flow."""
MARKS = 50_000


class _Episode:
    """A leak that is on."""

    def __init__(self, since_s: float, volume_l: float) -> None:
        self.since_s = since_s
        self.volume_l = volume_l


class LeakWatch:
    """Feed pulses or readings of an index in order, :meth:`look` at least every minute."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._pulse_h = rules.litres * 3600
        self._run_gap_s = 1.1 * self._pulse_h / rules.running_l_h
        intervals = max(BURST_INTERVALS, math.ceil(rules.burst_l_h * rules.burst_s / self._pulse_h))
        self._burst_s = max(rules.burst_s, intervals * self._pulse_h / rules.burst_l_h)
        self._fast: deque[float] = deque(maxlen=intervals + 1)
        self._watch_s: float | None = None
        """Beginning of this watch."""
        self._last_s = 0.0
        """The last pulse, or the beginning."""
        self._quiet_s: float | None = None
        self._base = math.inf
        self._index: deque[tuple[float, float]] = deque()
        self._marks: deque[tuple[float, float]] = deque(maxlen=MARKS)
        """(time, litres since the beginning), the first one just older than ``still_h``."""
        self._litres = 0.0
        self._equal = EqualIntervals()
        self._run_s: float | None = None
        self._run_l = 0.0
        self._drip: _Episode | None = None
        self._drip_s = 0.0
        """Up to when the drip's volume is summed."""
        self._running: _Episode | None = None
        self._burst: _Episode | None = None
        self._away: _Episode | None = None
        """Use in a vacation."""
        self._vacation_s: float | None = None
        self._vacation_l = 0.0
        self.running_is_meant = False
        """Somebody waters the garden: running is not a leak now."""

    # --- what flowed ------------------------------------------------------------------------------------------

    def pulse(self, t_s: float) -> None:
        if self._watch_s is None:
            self._begin(t_s)
        t_s = max(t_s, self._last_s)
        self._bound(t_s)
        waited_s, self._last_s = t_s - self._last_s, t_s
        self._add(t_s, self._rules.litres)
        if waited_s > self._run_gap_s or self._run_s is None:
            self._run_s, self._run_l = t_s, 0.0
        else:
            self._run_l += self._rules.litres
        self._equal.add(t_s, waited_s)
        self._fast.append(t_s)
        self._judge_pulse(t_s)

    def index(self, t_s: float, index_l: float) -> None:
        """A reading of the whole index, from a recording: no single pulses are known, so only drips can be found."""
        if self._watch_s is None:
            self._begin(t_s)
        if not self._index:
            self._index.append((t_s, index_l))
            return
        before_s, before_l = self._index[-1]
        if t_s <= before_s:
            return
        if index_l < before_l or t_s - before_s > SPARSE_S:
            self.hole(t_s, SPARSE_S)
            self._index.append((t_s, index_l))
            return
        self._index.append((t_s, index_l))
        while t_s - self._index[0][0] > INDEX_SPAN_S:
            self._index.popleft()
        self._last_s = t_s
        self._add(t_s, index_l - before_l)
        for then_s, then_l in self._index:
            if then_s == t_s:
                break
            most = (index_l - then_l + self._rules.litres) * 3600 / (t_s - then_s)
            if most <= self._rules.drip_l_h:
                self._quiet(t_s)
                self._index.clear()
                self._index.append((t_s, index_l))
                return
        self._base = min(self._base, (index_l - before_l + self._rules.litres) * 3600 / (t_s - before_s))

    def _begin(self, now_s: float) -> None:
        self._watch_s = self._last_s = now_s
        self._marks.append((now_s, self._litres))

    def _add(self, t_s: float, litres: float) -> None:
        self._litres += litres
        self._marks.append((t_s, self._litres))
        for episode in (self._running, self._burst, self._away):
            if episode is not None:
                episode.volume_l += litres
        if self._vacation_s is not None:
            if self._away is None and t_s - self._vacation_s >= 86400:
                self._vacation_s, self._vacation_l = t_s, 0.0
            self._vacation_l += litres
            if self._away is None and self._vacation_l >= self._rules.vacation_l:
                self._away = _Episode(self._vacation_s, self._vacation_l)

    def _bound(self, t_s: float) -> None:
        """What the wait up to now says of a constant flow: it is no more than one pulse in this time."""
        waited_s = t_s - self._last_s
        if waited_s <= 0:
            return
        most = self._pulse_h / waited_s
        if most < TOLERANCE * self._rules.drip_l_h:
            self._quiet(t_s)
        else:
            self._base = min(self._base, most)

    def _quiet(self, t_s: float) -> None:
        self._sum_drip(t_s, 0.0)
        self._quiet_s = t_s
        self._base = math.inf

    # --- what it means ----------------------------------------------------------------------------------------

    def _judge_pulse(self, t_s: float) -> None:
        rules = self._rules
        if (self._run_s is not None and self._running is None and not self.running_is_meant
                and t_s - self._run_s >= rules.running_min * 60 and self._run_l >= RUNNING_PULSES * rules.litres):
            self._running = _Episode(self._run_s, self._run_l)
        if len(self._fast) == self._fast.maxlen and t_s - self._fast[0] <= self._burst_s and self._burst is None:
            self._burst = _Episode(self._fast[0], rules.litres * (len(self._fast) - 1))
        flow = self._equal.flow_l_h(rules.litres) if self._drip is None else None
        if flow is not None and TOLERANCE * rules.drip_l_h <= flow < rules.running_l_h:
            self._open_drip(self._equal.since_s, t_s, flow)

    def _open_drip(self, since_s: float, now_s: float, flow_l_h: float) -> None:
        self._drip = _Episode(since_s, flow_l_h * (now_s - since_s) / 3600)
        self._drip_s = now_s

    def _sum_drip(self, now_s: float, flow_l_h: float) -> None:
        if self._drip is not None and now_s > self._drip_s:
            self._drip.volume_l += flow_l_h * (now_s - self._drip_s) / 3600
            self._drip_s = now_s

    def look(self, now_s: float) -> Verdict:
        """The state by now."""
        if self._watch_s is None:
            self._begin(now_s)
        if not self._index:
            self._bound(now_s)
        while len(self._marks) > 1 and self._marks[1][0] <= now_s - self._rules.still_h * 3600:
            self._marks.popleft()
        self._sum_drip(now_s, 0.0 if math.isinf(self._base) else self._base)
        began_s = self._quiet_s if self._quiet_s is not None else self._watch_s
        if began_s is not None and self._drip is None and now_s - began_s >= self._rules.drip_h * 3600:
            self._open_drip(began_s, now_s, 0.0 if math.isinf(self._base) else self._base)
        elif self._drip is not None and self._is_still(now_s):
            self._drip = None
        if self._running is not None and (self.running_is_meant or now_s - self._last_s > 2 * self._run_gap_s):
            self._running = None
        if self._burst is not None:
            recent = sum(t_s > now_s - self._burst_s for t_s in self._fast)
            if recent * 2 < len(self._fast):
                self._burst = None
        return self._verdict(now_s)

    def _is_still(self, now_s: float) -> bool:
        then_s, then_l = self._marks[0]
        waited_s = now_s - then_s
        if waited_s < 0.97 * self._rules.still_h * 3600:  # readings of a recording are not quite hourly
            return False
        most = (self._litres - then_l + self._rules.litres) * 3600 / waited_s
        return most <= self._rules.drip_l_h / 3 * 1.05

    def _verdict(self, now_s: float) -> Verdict:
        began_s = self._quiet_s if self._quiet_s is not None else self._watch_s
        known = began_s is not None and now_s - began_s >= BASE_S and not math.isinf(self._base)
        base = self._base if known else None
        quiet_age_s = None if self._quiet_s is None else now_s - self._quiet_s
        for kind, episode in (("burst", self._burst), ("running", self._running), ("vacation", self._away),
                              ("drip", self._drip)):
            if episode is not None:
                return Verdict(kind, episode.since_s, episode.volume_l, base, quiet_age_s)
        return Verdict("unknown" if self._quiet_s is None else "none", None, 0.0, base, quiet_age_s)

    # --- orders, holes, restarts ------------------------------------------------------------------------------

    def vacation(self, on: bool, now_s: float) -> None:
        """From now on nobody is at home (or somebody is)."""
        self._vacation_s, self._vacation_l, self._away = (now_s if on else None), 0.0, None

    def hole(self, now_s: float, away_s: float) -> None:
        """Nothing was seen for ``away_s`` up to now: no interval over it means anything. A drip stays a drip."""
        self._begin(now_s)
        self._index.clear()
        self._marks.clear()
        self._marks.append((now_s, self._litres))
        self._fast.clear()
        self._equal = EqualIntervals()
        self._run_s = self._running = self._burst = None
        if away_s > SHORT_HOLE_S:
            self._quiet_s = None
            self._base = math.inf
        self._drip_s = now_s

    def state(self, now_s: float) -> dict[str, Any]:
        """JSON-able: what :meth:`restore` needs after a restart."""
        return {
            "quiet_age_s": None if self._quiet_s is None else round(now_s - self._quiet_s),
            "drip": None if self._drip is None else [round(now_s - self._drip.since_s), round(self._drip.volume_l, 3)],
        }

    def restore(self, state: dict[str, Any], now_s: float, away_s: float) -> None:
        """Go on after ``away_s`` without a watch. What is damaged in the state is as if it were not known."""
        quiet_age_s, drip = state.get("quiet_age_s"), state.get("drip")
        if isinstance(quiet_age_s, int | float):
            self._quiet_s = now_s - away_s - quiet_age_s
        if isinstance(drip, list) and len(drip) == 2 and all(isinstance(part, int | float) for part in drip):
            self._drip = _Episode(now_s - away_s - drip[0], drip[1])
        self.hole(now_s, away_s)
