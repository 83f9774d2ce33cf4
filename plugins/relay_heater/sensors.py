"""One thermometer, and whether to believe it: absent, frozen, lying (FAULTS B41 to B43). Pure; CLOCK_BOOTTIME in us.

A sample counts once it is in range, says no word of its own trouble, and follows from the one before at a speed that
air in a room can have. After a start, a gap or a freeze, some samples in a row must agree first; after a jump, they
must agree for ten minutes. ``0.0`` exactly is what a broken reader gives, so it counts only between values near it.

Frozen is the very same value for longer than this sensor ever had it: twice the longest such run of the last week
(three times, while it is known for a few days only), at least 25 min; before a day is learned, six hours. Two more
signs are quicker: half an hour of heating (twice the longest run, if that is more), or another sensor that moved by
1.5 °C, without a last digit changing.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import deque
from typing import Any

from .settings import SensorConfig
from .standstill import MINUTE_US, US, Runs

KEEP_US = 36 * MINUTE_US
LEVEL_US = 4 * MINUTE_US
"""The mean over so long is where the room is: one sample alone is noise."""
RATE_C_MIN = 1.0
STEP_C = 0.5
MOST_C = 2.5
AGREE_STEP_C = 0.3
AGREE_RATE_C_MIN = 0.5
NEAR_C = 3.0
"""After a gap: so far from the last good value needs no longer proof."""
FORGET_US = 3600 * US
DRIFT_C_H = 3.0
"""A room may have gone so far within a gap; what is farther away is another place, and no slope leads there."""
JUMP_US = 10 * MINUTE_US
JUMP_SAMPLES = 5
TWIN_US = 20 * MINUTE_US
TWIN_C = 1.5
ALARM_US = 15 * MINUTE_US
LIES_US = 10 * MINUTE_US
LIES = 3
GOOD_WORDS = (None, "good")


class Sensor:
    """``feed`` with every reading, ``look`` with every tick."""

    def __init__(self, name: str, config: SensorConfig, now_us: int) -> None:
        self.name = name
        self.config = config
        self.max_age_us = round(config.good_for_s * US)
        self.lost_us = self.max_age_us + min(60 * US, self.max_age_us // 2)
        """One sample that is lost on its way is no lost sensor: three intervals, by default. The guard gives 120 s."""
        self.value_c: float | None = None
        """The last good one; old or not."""
        self.good_us: int | None = None
        """CLOCK_BOOTTIME of it. None also while frozen."""
        self.times: list[int] = []
        self.values: list[float] = []
        """Good samples of the last half hour and their stamps, all of one place: after a jump they begin anew."""
        self.bogus = 0
        self.last_lie = ""
        self.frozen = ""
        self._started_us = now_us
        self._heard_us = -1
        self._doubted: list[tuple[int, float]] = []
        self._known_us = now_us
        """Last moment at which it was fine: what alarms count from."""
        self._lies: deque[int] = deque(maxlen=LIES)
        self._same: float | None = None
        self._same_since_us = now_us
        self._same_n = 0
        self._heated_us = self._looked_us = 0
        """How much of the run of one value was heated."""
        self._twins: dict[str, float] = {}
        """What the others said when this run of one value began."""
        self._learned = Runs()

    # --- samples --------------------------------------------------------------------------------------------

    def feed(self, t_us: int, value: object, quality: str | None, now_us: int) -> bool:
        """One reading with its stamp; True when it counts."""
        if t_us <= self._heard_us or t_us > now_us + US:
            return False
        silent_us, self._heard_us = t_us - self._heard_us, t_us
        if silent_us > 2 * self.lost_us:
            self._same = None  # silence is no standing still
        lie = self._lie(value, quality)
        if lie:
            self._refuse(lie, t_us)
            self._doubted = []
            return False
        assert isinstance(value, int | float)
        c = float(value) + self.config.offset_c
        self._run(t_us, c)
        if self.frozen:
            return False
        if not self._follows(t_us, c):
            return False
        if self._doubted and self._doubted[-1][0] == t_us and self.times:  # believed again, after a gap or a jump
            gap_us = t_us - self.times[-1]
            if abs(c - self.values[-1]) > STEP_C + DRIFT_C_H * gap_us / FORGET_US:
                self._forget()
        self._doubted = []
        self.value_c, self.good_us = c, t_us
        self.times.append(t_us)
        self.values.append(c)
        if self.times[0] < t_us - KEEP_US - LEVEL_US:
            old = bisect_left(self.times, t_us - KEEP_US)
            del self.times[:old], self.values[:old]
        return True

    def _forget(self) -> None:
        self.times, self.values = [], []

    def _lie(self, value: object, quality: str | None) -> str:
        if quality not in GOOD_WORDS:
            return f"it says {quality} of itself"
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return f"{value!r:.20} is no temperature"
        if value in (85.0, -127.0):
            return f"{value:g} °C is what it says when it did not measure"
        if not self.config.minimum_c <= value <= self.config.maximum_c:
            return f"{value:g} °C is out of its range"
        if value == 0.0 and (self.value_c is None or abs(self.value_c - self.config.offset_c) > STEP_C):
            return "0 °C exactly, out of nothing"
        return ""

    def _refuse(self, lie: str, t_us: int) -> None:
        self.bogus += 1
        self.last_lie = lie
        self._lies.append(t_us)

    def _follows(self, t_us: int, c: float) -> bool:
        good_us = self.good_us
        if good_us is not None and t_us - good_us <= self.lost_us and self.value_c is not None:
            room = min(MOST_C, STEP_C + RATE_C_MIN * (t_us - good_us) / MINUTE_US)
            if abs(c - self.value_c) <= room:
                return True
            self._refuse(f"{c:.2f} °C after {self.value_c:.2f} °C: no room changes so fast", t_us)
        return self._agreed(t_us, c)

    def _agreed(self, t_us: int, c: float) -> bool:
        """Whether enough samples in a row speak for this one."""
        if self._doubted:
            before_us, before = self._doubted[-1]
            minutes = (t_us - before_us) / MINUTE_US
            if abs(c - before) > min(MOST_C, AGREE_STEP_C + AGREE_RATE_C_MIN * minutes) \
                    or t_us - before_us > max(self.max_age_us, 3 * MINUTE_US):
                self._doubted = []
        self._doubted.append((t_us, c))
        if len(self._doubted) > 200:
            del self._doubted[1:100]
        jumped = (self.good_us is not None and self.value_c is not None and t_us - self.good_us < FORGET_US
                  and abs(self._doubted[0][1] - self.value_c) > NEAR_C)
        if jumped:
            return (t_us - self._doubted[0][0] >= JUMP_US and len(self._doubted) >= JUMP_SAMPLES
                    and len({value for _, value in self._doubted}) > 1)
        return len(self._doubted) >= (3 if self.config.interval_s <= 120 else 2)

    # --- frozen ---------------------------------------------------------------------------------------------

    def _run(self, t_us: int, c: float) -> None:
        """Books on runs of one value."""
        if c == self._same:
            self._same_n += 1
            return
        if self._same is not None and abs(c - self._same) <= 1.0 and not self.frozen:
            self._learned.add(t_us - self._same_since_us, t_us)
        if self.frozen:  # it lives: from here on as after a start
            self.frozen, self.good_us, self._doubted = "", None, []
        self._same, self._same_since_us, self._same_n, self._twins, self._heated_us = c, t_us, 1, {}, 0

    def look(self, now_us: int, heating_since_us: int | None, others: list[Sensor]) -> None:
        """``heating_since_us``: since when it heats without a break."""
        if not self.lost(now_us) and self.good_us is not None:
            self._known_us = min(now_us, self.good_us + self.max_age_us)
        if self._same is not None and heating_since_us is not None:
            self._heated_us += max(0, now_us - max(heating_since_us, self._same_since_us, self._looked_us))
        self._looked_us = now_us
        if self.frozen or self._same is None or self._same_n < 5 or self.lost(now_us):
            return
        run_us = self._heard_us - self._same_since_us
        minutes = f"the very same {self._same:g} °C for {run_us / MINUTE_US:.0f} min"
        if run_us >= self._learned.limit_us():
            self._freeze(minutes)
        elif self._heated_us >= self._learned.heated_us():
            self._freeze(f"{minutes}, {self._heated_us / MINUTE_US:.0f} of them heated")
        else:
            for other in others:
                if other.value_c is None or other.lost(now_us):
                    continue
                moved = abs(other.value_c - self._twins.setdefault(other.name, other.value_c))
                if moved >= TWIN_C and run_us >= TWIN_US:
                    self._freeze(f"{minutes} while {other.name} moved by {moved:.1f} °C")

    def _freeze(self, why: str) -> None:
        self.frozen, self.good_us, self._doubted = why, None, []
        self._forget()

    # --- what others ask ------------------------------------------------------------------------------------

    def lost(self, now_us: int) -> str:
        """Why it may not decide now, or nothing."""
        if self.frozen:
            return f"frozen: {self.frozen}"
        if self.good_us is not None and now_us - self.good_us <= self.lost_us:
            return ""
        if self._doubted and now_us - self._doubted[-1][0] <= self.max_age_us:
            return "not believed yet"
        if self._lies and now_us - self._lies[-1] <= self.max_age_us:
            return f"lying: {self.last_lie}"
        if self.good_us is None:
            return "no sample since the start"
        return f"no sample for {(now_us - self.good_us) / US:.0f} s"

    def alarm_us(self) -> int:
        """When it will be called absent if nothing comes."""
        heard_us = max(self._heard_us, self._started_us) + self.max_age_us
        return (heard_us if self.frozen else self._known_us) + ALARM_US

    def alarms(self, now_us: int) -> dict[str, str]:
        """Code -> what to say."""
        found = {}
        silent = now_us - max(self._heard_us, self._started_us) >= self.max_age_us + ALARM_US
        if self.frozen and not silent:
            found["E_SENSOR_FROZEN"] = f"{self.name} stands still: {self.frozen}"
        elif silent or now_us - self._known_us >= ALARM_US:
            found["E_SENSOR_ABSENT"] = f"{self.name}: {self.lost(now_us)}"
        if len(self._lies) == LIES and now_us - self._lies[0] <= max(LIES_US, 4 * self.max_age_us):
            found["E_SENSOR_LIES"] = f"{self.name}: {self.last_lie}"
        return found

    def at(self, t_us: int) -> tuple[int, float] | None:
        """The last good sample not after ``t_us``, else the first one that there is."""
        if not self.times:
            return None
        number = max(0, bisect_right(self.times, t_us) - 1)
        return self.times[number], self.values[number]

    def level_c(self, t_us: int) -> float | None:
        """The mean of the good samples within the four minutes before ``t_us``; one at least, as :meth:`at` has it."""
        if not self.times:
            return None
        end = max(1, bisect_right(self.times, t_us))
        values = self.values[min(end - 1, bisect_left(self.times, t_us - LEVEL_US)):end]
        return sum(values) / len(values)

    def rise_c(self, from_us: int) -> float | None:
        """From the first to the last good samples since ``from_us``, each the mean of up to three."""
        values = self.values[bisect_left(self.times, from_us):]
        n = min(3, len(values) // 2)
        return sum(values[-n:]) / n - sum(values[:n]) / n if n else None

    def slope_c_h(self, from_us: int) -> float | None:
        """Least squares over the good samples since ``from_us``; None where they are too few or too close."""
        found = self.trend(from_us)
        return None if found is None else found[0]

    def trend(self, from_us: int) -> tuple[float, float] | None:
        """Slope in °C/h and its standard error."""
        first = bisect_left(self.times, from_us)
        times, values = self.times[first:], self.values[first:]
        n = len(times)
        if n < 3 or times[-1] - times[0] < 8 * MINUTE_US:
            return None
        mean_t, mean_c = sum(times) / n, sum(values) / n
        apart = [t - mean_t for t in times]
        var = sum([t * t for t in apart])
        slope = sum([t * c for t, c in zip(apart, values, strict=True)]) / var
        left = sum([(c - mean_c - slope * t) ** 2 for t, c in zip(apart, values, strict=True)])
        digit = 0.03 ** 2  # three samples on one line by chance, or on one digit, are not without error
        error = math.sqrt((left / max(1, n - 2) + digit) / var)
        return slope * 3600 * US, error * 3600 * US

    def ramps(self, from_us: int) -> bool:
        """Whether a straight line fits better than a step does: a thermometer that was moved, or stood still and lives
        again, jumps once; a heated room rises all the time."""
        first = bisect_left(self.times, from_us)
        times, values = self.times[first:], self.values[first:]
        n = len(values)
        if n < 3:
            return False
        mean_t, total = sum(times) / n, sum(values)
        apart = [t - mean_t for t in times]
        slope = sum([t * c for t, c in zip(apart, values, strict=True)]) / sum([t * t for t in apart])
        line = slope * slope * sum([t * t for t in apart])  # what each explains of the spread
        step = before = 0.0
        for number, c in enumerate(values[:-1], 1):
            before += c
            gap = (total - before) / (n - number) - before / number
            step = max(step, gap * gap * number * (n - number) / n)
        return line > 0.9 * step  # of a step, a line explains three quarters at most

    def restore(self, kept: Any) -> None:
        self._learned.restore(kept)

    def to_kept(self) -> dict[str, Any] | None:
        return self._learned.to_kept()
