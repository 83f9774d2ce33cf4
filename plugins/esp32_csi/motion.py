"""Motion without training: how much of the amplitude's fluctuation is slow, and more than in a quiet room.

A person who moves changes the sum of the paths from packet to packet, smoothly at 100 packets a second; noise, AGC
steps and foreign bursts do not go on from one packet to the next. Two figures of each window say so:

* **coherence**, 0 to 1: the autocorrelation of the amplitudes from one packet to the next (or the one or two after it),
  the mean of the selected sub-carriers. It has no unit and needs no calibration (the idea is published as the "motion
  statistic": autocorrelation of the channel's power at the first lag, F. Zhang et al., WiDetect, 2019).
* **turbulence**: the root of that covariance, relative to the mean amplitude. Compared with what a quiet room has.

Below ``LAG_RATE_HZ`` one packet knows nothing of the next: then turbulence is the plain spread, and only that counts.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from msgspec import Struct

from .arrays import Array, Mask, np

LAG_RATE_HZ = 75.0
RATE_SLACK = 0.08
"""So far from ``LAG_RATE_HZ`` the kind of judgement changes: a link at its edge must not forget every minute."""
LAGS = 3
"""Somebody who walks fast across turns a path by half a wave in two packets: then the second packet is the opposite."""
MIN_ROWS = 8
SLOW_ROWS, LONGEST_S = 16, 8.0
WEAK = 0.35
"""A sub-carrier with less than this part of the median amplitude is a null or a filter's edge."""
EPS = 1e-9


class Tuning(Struct, frozen=True, kw_only=True):
    """Set on the takes that README names, by ``python -m tests.plugins.esp32_csi.figures tune``."""

    window_s: float = 1.0
    hop_s: float = 0.25
    outlier: float = 3.0
    """Median absolute deviations (as sigma) beyond which a value is pulled back."""
    coherence_first: float = 0.6
    """Before a quiet room was seen."""
    coherence_low: float = 0.42
    coherence_high: float = 0.6
    coherence_margin: float = 0.1
    """The threshold is the quiet room's 95 % plus this, within low and high."""
    factor: float = 2.5
    """Turbulence is motion above this many times the quiet room's."""
    factor_slow: float = 2.0
    """The same for spread alone, at a low packet rate."""
    factor_taught: float = 1.3
    """Above the strongest that somebody taught as quiet; a choice, not set by data."""
    release: float = 0.95
    """Motion ends below this score."""
    quiet_needed: int = 16
    """Windows until the quiet room counts as known."""
    memory: int = 2400
    """Quiet windows remembered (10 minutes of them)."""


class Figures(NamedTuple):
    """Of one window."""

    coherence: float
    turbulence: float
    spread: float


def usable(amplitudes: Array) -> Mask:
    """Boolean mask of the sub-carriers worth looking at: amplitudes (rows, sub-carriers)."""
    middle = np.median(amplitudes, axis=0)
    live: Mask = middle > 0
    if not live.any():
        return live
    strong: Mask = middle > WEAK * np.median(middle[live])
    return strong


def pulled_in(values: Array, limit: float) -> Array:
    """The values with outliers drawn to ``limit`` robust sigmas around each column's median (Hampel's identifier).

    Drawn in rather than replaced by the median of the neighbours: that would make noise look coherent."""
    middle = np.median(values, axis=0)
    reach = limit * 1.4826 * np.median(np.abs(values - middle), axis=0)
    return np.clip(values, middle - reach, middle + reach)


def figures(amplitudes: Array, limit: float) -> Figures:
    """amplitudes: (rows, sub-carriers), more than two rows, selected sub-carriers only."""
    relative = amplitudes / np.maximum(amplitudes.mean(axis=1, keepdims=True), EPS)  # takes the receiver's gain out
    relative = pulled_in(relative, limit)
    relative = relative - relative.mean(axis=0)
    variance = np.mean(relative * relative, axis=0)
    live = variance > EPS
    coherence = turbulence = 0.0
    for lag in range(1, min(LAGS, len(relative) // 4) + 1) if live.any() else ():
        lagged = np.mean(relative[lag:] * relative[:-lag], axis=0)
        found = abs(float(np.mean(lagged[live] / variance[live])))
        if found > coherence:
            coherence, turbulence = found, abs(float(lagged.mean()))
    return Figures(coherence, turbulence**0.5, float(np.sqrt(variance.mean())))


class Quiet:
    """What a quiet room looks like on this link, learned from the windows that show no coherent motion."""

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._seen: deque[Figures] = deque(maxlen=tuning.memory)
        self._since = 0
        self._slow = False
        self.coherence = tuning.coherence_first
        self.turbulence = 0.0
        """Thresholds; 0.0 while nothing is known."""
        self.floor = 0.0
        """Turbulence that somebody taught as quiet: what is learned goes no lower."""

    @property
    def known(self) -> bool:
        return self.turbulence > 0.0

    def learn(self, seen: Figures, slow: bool) -> None:
        """``slow``: the rate is too low for coherence, so everything is taken in and the quietest tenth counts."""
        if slow != self._slow:
            self._seen.clear()
            self._slow, self.turbulence = slow, 0.0
        if not slow and seen.coherence >= min(self.coherence, self._tuning.coherence_first):
            return
        self._seen.append(seen)
        self._since += 1
        if len(self._seen) >= self._tuning.quiet_needed and (self._since >= 8 or not self.known):
            self.settle()

    def settle(self) -> None:
        """Set the thresholds by what was seen."""
        self._since = 0
        tuning = self._tuning
        seen = np.array(self._seen, dtype=np.float64)
        if self._slow:
            self.turbulence = max(float(np.quantile(seen[:, 2], 0.1)) * tuning.factor_slow, self.floor, EPS)
            return
        self.coherence = min(tuning.coherence_high, max(
            tuning.coherence_low, float(np.quantile(seen[:, 0], 0.95)) + tuning.coherence_margin))
        self.turbulence = max(float(np.quantile(seen[:, 1], 0.5)) * tuning.factor, self.floor, EPS)

    def taught(self, windows: list[Figures], slow: bool) -> None:
        """Somebody says that these windows were quiet, whatever they look like (a fan that turns all day)."""
        self._slow = slow
        self._seen.clear()
        strengths = [window.spread if slow else window.turbulence for window in windows]
        self.remember(float(np.quantile(np.array(strengths), 0.95)) * self._tuning.factor_taught)
        for window in windows:
            self.learn(window, slow)

    def remember(self, floor: float) -> None:
        """A floor that was taught, now or in an earlier run."""
        self.floor = floor
        self.turbulence = max(self.turbulence, floor)


class Verdict(NamedTuple):
    """Of one window: ``score`` is 1 at the threshold; None while nothing can be said."""

    t_s: float
    score: float | None
    motion: bool | None
    figures: Figures


class MotionDetector:
    """Amplitudes of one link in, verdicts out. All rows have the same sub-carriers; else :meth:`restart` first."""

    def __init__(self, tuning: Tuning | None = None) -> None:
        self.tuning = tuning or Tuning()
        self.quiet = Quiet(self.tuning)
        self.motion: bool | None = None
        self._times: list[float] = []
        self._rows: list[Array] = []
        self._due_s = 0.0
        self._teaching: list[Figures] | None = None
        self._teach_s = 0.0
        self._teach_until_s: float | None = None
        self._slow = False

    def restart(self) -> None:
        """Channel, gain or layout changed: nothing that was seen holds any longer."""
        self.quiet = Quiet(self.tuning)
        self.gap()

    def gap(self) -> None:
        """Rows are missing: what follows does not go on from what was."""
        self._times.clear()
        self._rows.clear()
        self.motion = None

    def teach(self, seconds: float) -> None:
        """The room is quiet for the next ``seconds``."""
        self._teaching, self._teach_s, self._teach_until_s = [], seconds, None

    @property
    def teaching(self) -> bool:
        return self._teaching is not None

    def feed(self, t_s: float, row: Array) -> Verdict | None:
        """One row of amplitudes at ``t_s`` (seconds, growing). A verdict every ``hop_s``."""
        if not self._times:
            self._due_s = t_s + self.tuning.window_s
        self._times.append(t_s)
        self._rows.append(row)
        if t_s < self._due_s:
            return None
        self._due_s = max(self._due_s + self.tuning.hop_s, t_s + self.tuning.hop_s / 2)
        return self._judge(t_s)

    def _judge(self, t_s: float) -> Verdict | None:
        first = next(i for i, t in enumerate(self._times) if t > t_s - self.tuning.window_s)
        # a slow link gets a longer window
        while first and len(self._times) - first < SLOW_ROWS and self._times[first - 1] > t_s - LONGEST_S:
            first -= 1
        del self._times[:first], self._rows[:first]
        count = len(self._rows)
        if count < MIN_ROWS:
            return None
        window = np.array(self._rows, dtype=np.float32)
        chosen = usable(window)
        if chosen.sum() < 4:
            return None
        found = figures(window[:, chosen], self.tuning.outlier)
        rate_hz = (count - 1) / max(self._times[-1] - self._times[0], EPS)
        slow = self._slow = rate_hz < LAG_RATE_HZ * (1 + RATE_SLACK if self._slow else 1 - RATE_SLACK)
        if self._teaching is not None:
            self._teaching.append(found)
            if self._teach_until_s is None:
                self._teach_until_s = t_s + self._teach_s
            elif t_s >= self._teach_until_s and len(self._teaching) >= 4:
                self.quiet.taught(self._teaching, slow)
                self._teaching = None
            return Verdict(t_s, None, None, found)
        self.quiet.learn(found, slow)
        score = self._score(found, slow)
        if score is None:
            self.motion = None
        elif score >= 1.0:
            self.motion = True
        elif score < self.tuning.release or self.motion is None:
            self.motion = False
        return Verdict(t_s, score, self.motion, found)

    def _score(self, found: Figures, slow: bool) -> float | None:
        if slow:
            return found.spread / self.quiet.turbulence if self.quiet.known else None
        coherent = found.coherence / self.quiet.coherence
        return max(0.0, min(coherent, found.turbulence / self.quiet.turbulence) if self.quiet.known else coherent)
