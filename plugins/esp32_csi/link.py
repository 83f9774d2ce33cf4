"""One link, a sender's packets as one receiver hears them: rows in, readings out. No port; time is handed in."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from statistics import median_low
from typing import Any, Literal

from agent.api import Io, Reading
from firmware_bridges.esp32_csi import Chip, CsiRow, layout_of

from .arrays import Array, np
from .motion import MotionDetector, Tuning

GAP_S = 2.0
"""Between two rows of a link: what follows is looked at anew."""
OFF_KEPT = 0.999
"""From row to row: a crystal that is 0.01 % off never adds up to ``GAP_S``, a clock that stands does in 2 s."""
FROZEN_ROWS = 50
"""As many rows with the very same values: noise alone changes one of a hundred values in each row."""
GAIN_STEP = 6.0
"""Units of the receiver's gain (about 1 dB each) by which it may wander before the quiet room is learned anew."""
LEVEL_STEP = 1.7
"""The same as a ratio of the mean amplitude, for chips that do not report their gain."""
GAIN_S = 2.0
LAYOUT_ROWS = 200
TEACH_S = 10.0
Raw = Literal["none", "amplitudes", "values"]


class Link:
    """``t_s``: arrival of a row, seconds since boot. ``id``: of the node."""

    def __init__(self, node_id: str, *, interval_s: float, hold_s: float, chip: Chip | None, raw: Raw,
                 raw_hz: float, tuning: Tuning | None = None) -> None:
        self.id = node_id
        self.detector = MotionDetector(tuning)
        self.frozen = False
        self.absent = False
        self.restarts = 0
        self.peer: str | None = None
        """Address of the receiver; None before the first row."""
        self.heard_s = 0.0
        self._interval_s = interval_s
        self._hold_s = hold_s
        self._chip = chip
        self._raw = raw
        self._raw_gap_s = 1.0 / raw_hz
        self._last: CsiRow | None = None
        self._same = 0
        self._t_s = 0.0
        """On the sender's clock where the row has it: packets that wait in a buffer keep their distance."""
        self._off_s = 0.0
        """How far the sender's clock fell behind the arrivals lately."""
        self._place: tuple[Any, ...] | None = None
        self._index: Array | None = None
        self._layouts: Counter[tuple[Any, ...]] = Counter()
        self._gains: deque[tuple[float, float]] = deque(maxlen=400)
        self._gain_then: float | None = None
        self._rssi: deque[int] = deque(maxlen=4096)
        self._rows = 0
        self._due_s = 0.0
        self._since_s = 0.0
        self._moved_s = float("-inf")
        self._told: bool | None = None
        self._score: float | None = None
        self._raw_s = float("-inf")

    # --- rows ---------------------------------------------------------------------------------------------------

    def add(self, io: Io, row: CsiRow, t_s: float) -> Iterator[Reading]:
        """Take one row and yield what is to be told now."""
        last = self._last
        if last is not None and row.device_us is not None and row.device_us == last.device_us and (
                row.values == last.values):
            return  # the firmware printed one packet twice
        if self.absent or last is None:
            self.absent, self._since_s, self._due_s, self._rows = False, t_s, t_s + self._interval_s, 0
        self._rows += 1
        if row.rssi_dbm is not None:
            self._rssi.append(row.rssi_dbm)
        yield from self._freezing(io, row, last)
        self._advance(row, last, t_s)
        self._last, self.heard_s = row, t_s
        if not self.frozen and self._fits(io, row):
            yield from self._judge(io, row, t_s)
        if t_s >= self._due_s:
            yield from self._report(t_s)

    def _advance(self, row: CsiRow, last: CsiRow | None, t_s: float) -> None:
        step = t_s - self.heard_s
        if last is not None and row.device_us is not None and last.device_us is not None:
            own = ((row.device_us - last.device_us) & 0xFFFFFFFF) / 1e6
            if abs(own - step) < GAP_S:  # else the chip has started anew
                self._off_s = self._off_s * OFF_KEPT + step - own
                if abs(self._off_s) < GAP_S:  # else its clock stands, or counts something else
                    step = own
        if last is None or step > GAP_S or t_s - self.heard_s > GAP_S:
            self.detector.gap()
        self._t_s += max(step, 0.0)

    def _freezing(self, io: Io, row: CsiRow, last: CsiRow | None) -> Iterator[Reading]:
        same = last is not None and row.values == last.values and row.magnitudes == last.magnitudes
        self._same = self._same + 1 if same else 0
        if self._same >= FROZEN_ROWS and not self.frozen:
            self.frozen = True
            self.detector.gap()
            io.alert(f"frozen-{self.id}", f"{self.id}: {FROZEN_ROWS} rows with the very same values: "
                                          "restart the receiver, look for an overdriven input")
            yield from self._lost()
        elif self.frozen and not same:
            self.frozen = False
            io.alert(f"frozen-{self.id}", None)

    def _fits(self, io: Io, row: CsiRow) -> bool:
        """Whether the row is of the layout that is looked at; sees to changes of channel, layout and gain."""
        layout = layout_of(row, self._chip)
        # on the older chips all packets begin with the legacy field, so their lengths do not matter
        place = (row.channel, row.secondary_channel, row.dialect, layout.used)
        self._layouts[place] += 1
        if self._layouts.total() >= LAYOUT_ROWS or self._place is None:
            common = self._layouts.most_common(1)[0][0]
            if common != self._place:
                if self._place is not None:
                    self._restart(io, "channel or layout changed")
                self._place = common
                self._index = np.array(layout_of(row, self._chip).used if common == place else common[3])
            self._layouts.clear()
        elif place[0] != self._place[0] and self._layouts[place] >= 2:
            # another channel is another room for the waves: at once, but two rows must say so
            self._restart(io, f"channel {self._place[0]} became {place[0]}")
            self._place, self._index = place, np.array(layout.used)
            self._layouts.clear()
        return place == self._place and self._index is not None and len(self._index) >= 4

    def _restart(self, io: Io, why: str) -> None:
        self.restarts += 1
        self._gain_then = None
        self._gains.clear()
        self.detector.restart()
        io.log.info("%s: %s, learning the quiet room anew", self.id, why)

    def amplitudes(self, row: CsiRow) -> Array:
        """float32 (sub-carriers,): of those that carry a signal."""
        if row.polar:
            return np.array(row.magnitudes, dtype=np.float32)[self._index]
        values = np.array(row.values, dtype=np.float32)
        return np.hypot(values[0::2][self._index], values[1::2][self._index])

    def _judge(self, io: Io, row: CsiRow, t_s: float) -> Iterator[Reading]:
        amplitudes = self.amplitudes(row)
        self._watch_gain(io, row, float(amplitudes.mean()))
        if self._raw != "none" and t_s - self._raw_s >= self._raw_gap_s:
            self._raw_s = t_s
            kept = row.values if self._raw == "values" else [round(float(a), 1) for a in amplitudes]
            yield self._reading("csi", {"channel": row.channel, "rssi": row.rssi_dbm, self._raw: kept}, t_s)
        verdict = self.detector.feed(self._t_s, amplitudes)
        if verdict is None:
            return
        self._score = verdict.score
        if verdict.motion is None:
            return
        if verdict.motion:
            self._moved_s = t_s
        motion = t_s - self._moved_s < max(self._hold_s, 1e-6)
        if motion != self._told:
            self._told = motion
            yield from self._state(t_s)

    def _watch_gain(self, io: Io, row: CsiRow, level: float) -> None:
        """A change of the receiver's gain changes the noise against which the quiet room is measured."""
        known = row.agc_gain is not None
        self._gains.append((self._t_s, float(row.agc_gain or 0) + float(row.fft_gain or 0) / 4 if known else level))
        while self._gains and self._t_s - self._gains[0][0] > GAIN_S:
            self._gains.popleft()
        if len(self._gains) < 8 or self._rows % 16:
            return
        now = float(np.median([gain for _, gain in self._gains]))
        if self._gain_then is None:
            self._gain_then = now
        elif known and abs(now - self._gain_then) > GAIN_STEP:
            self._restart(io, f"gain {self._gain_then:.0f} became {now:.0f}")
        elif not known and max(now, self._gain_then) > LEVEL_STEP * max(min(now, self._gain_then), 1e-6):
            self._restart(io, f"level {self._gain_then:.0f} became {now:.0f}")

    # --- what is told -------------------------------------------------------------------------------------------

    def tick(self, t_s: float, absent_s: float) -> Iterator[Reading]:
        """Call it often, also while nothing comes."""
        if self._last is None or self.absent:
            return
        if t_s - self.heard_s > absent_s:
            self.absent = True
            self.detector.gap()
            yield from self._lost()
            yield self._reading("rate_hz", 0.0, t_s)

    def _lost(self) -> Iterator[Reading]:
        self._told, self._score, self._moved_s = None, None, float("-inf")
        yield Reading("motion", None, node=self.id, quality="sensor_error")

    def _state(self, t_s: float) -> Iterator[Reading]:
        if self._told is not None:
            yield self._reading("motion", self._told, t_s)
        if self._score is not None:
            yield self._reading("score", round(self._score, 3), t_s)

    def _report(self, t_s: float) -> Iterator[Reading]:
        row = self._last
        span = t_s - self._since_s
        if row is None or span <= 0:
            return
        yield from self._state(t_s)
        yield self._reading("rate_hz", round(self._rows / span, 1), t_s)
        if self._rssi:
            yield self._reading("rssi_dbm", median_low(self._rssi), t_s)
        if row.noise_floor_dbm is not None:
            yield self._reading("noise_floor_dbm", row.noise_floor_dbm, t_s)
        if row.channel is not None:
            yield self._reading("channel", row.channel, t_s)
        yield self._reading("calibration", self.calibration, t_s)
        yield self._reading("recalibrations", self.restarts, t_s)
        self._rows, self._since_s, self._due_s = 0, t_s, t_s + self._interval_s
        self._rssi.clear()

    def ended(self) -> Iterator[Reading]:
        """What was not reported yet, as of the last row."""
        if self._rows and not self.absent:
            yield from self._report(self.heard_s)

    @property
    def calibration(self) -> str:
        if self.detector.teaching:
            return "teaching"
        return "ready" if self.detector.quiet.known else "learning"

    def _reading(self, name: str, value: Any, t_s: float) -> Reading:
        return Reading(name, value, t_us=round(t_s * 1e6), node=self.id)

    # --- kept state ---------------------------------------------------------------------------------------------

    def kept(self) -> dict[str, Any] | None:
        """What was taught, and for which channel; None: nothing."""
        floor = self.detector.quiet.floor
        if floor <= 0.0 or self._place is None:
            return None
        return {"turbulence": floor, "channel": self._place[0]}

    def restore(self, kept: Any, row: CsiRow) -> None:
        """Take a :meth:`kept` of an earlier run, if it is of the channel of ``row``."""
        if isinstance(kept, dict) and kept.get("channel") == row.channel:
            floor = kept.get("turbulence")
            if isinstance(floor, float) and 0 < floor < 10:
                self.detector.quiet.remember(floor)
