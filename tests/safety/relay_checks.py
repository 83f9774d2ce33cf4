"""When the relay may be ON: the sample's age, death, four hours, frost duty, lies, restarts, starts (B41 to B52)."""

from __future__ import annotations

from bisect import bisect_right

from .faults import LIES, SENSOR
from .judge import Judge
from .verdict import HOUR_US, MINUTE_US, US, clock, minus

GRACE_US = 120 * US


class RelayChecks(Judge):
    def _after_sample(self) -> None:
        blind = list(minus(self.on, [(begin, end + GRACE_US) for begin, end in self.good]))
        declared_us = round(self.log.config.frost_duty_min_per_h * MINUTE_US)
        if not declared_us:
            for begin, end in minus(self.on, self.good):
                self.saw("after_sample", (end - begin) / US, f"at {clock(self.log, begin)}")
            return
        ends = {end for _, end in self.good}
        for begin, end in minus(self.on, self.good):
            if begin in ends and end - begin <= GRACE_US:
                self.saw("after_sample", (end - begin) / US)
        blind = list(minus(self.on, [(begin, end + 1) for begin, end in self.good]))
        blind = [(b, e) for b, e in blind if not any(abs(b - end) <= US for _, end in self.good)]
        for _, end in blind:
            used = sum(min(e, end) - max(b, end - HOUR_US) for b, e in blind if b < end and e > end - HOUR_US)
            self.saw("frost", used / US, f"at {clock(self.log, end)}")
            self.saw("frost_declared", max(0.0, (used - declared_us) / US - 2.5), f"at {clock(self.log, end)}")

    def _after_death(self) -> None:
        for death, back in self.log.deaths:
            for begin, end in self.on:
                if begin <= death < end:
                    self.saw("after_death", (min(end, back) - death) / US, f"at {clock(self.log, death)}")

    def _unbroken(self) -> None:
        for begin, end in self.on:
            self.saw("unbroken", (end - begin) / US, f"at {clock(self.log, begin)}")

    # --- B43, B49 -------------------------------------------------------------------------------------------

    def _bogus(self) -> None:
        bogus = {one.t_us for one in self.log.samples if one.kind in LIES}
        wrong = sorted({sample for _, sample in self.log.rests if sample in bogus})
        self.saw("bogus", len(wrong), f"sample at {clock(self.log, wrong[0])}" if wrong else "")

    def _unfresh(self) -> None:
        """The last start of either process before each ON; a stop is none for control, its memory lives on."""
        starts = sorted([self.log.begin_us, *(back for _, back in self.log.guard_deaths),
                         *(back for (begin, back) in self.log.deaths
                           if not self.touched(begin, begin + 1, "control_stop", "both_stop"))])
        good = sorted(one.t_us for one in self.log.samples if one.kind not in LIES)
        for begin, _ in self.on:
            start = starts[bisect_right(starts, begin) - 1]
            at = bisect_right(good, begin) - 1
            fresh = at >= 0 and good[at] >= start - 2 * US
            frost = bool(self.log.config.frost_duty_min_per_h) and begin - start >= 30 * MINUTE_US
            self.saw("unfresh", 0 if fresh or frost else 1, f"at {clock(self.log, begin)}")

    # --- B48 ------------------------------------------------------------------------------------------------

    def _starts(self) -> None:
        begins = [begin for begin, _ in self.on]
        for i, begin in enumerate(begins):
            self.saw("starts", i + 1 - bisect_right(begins, begin - HOUR_US), f"at {clock(self.log, begin)}")

    def _minima(self) -> None:
        config = self.log.config
        for (_, end), (begin, _) in zip(self.on, self.on[1:], strict=False):
            self.saw("min_off", begin - end < round(config.min_off_s * US), f"{(begin - end) / US:.1f} s at "
                                                                         f"{clock(self.log, end)}")
        for begin, end in self.on:
            if end == self.log.end_us:
                continue
            short = end - begin < round(config.min_on_s * US)
            self.saw("min_on", short and not self._for_safety(begin, end), f"{(end - begin) / US:.1f} s at "
                                                                          f"{clock(self.log, end)}")

    def _for_safety(self, begin_us: int, end_us: int) -> bool:
        since = min(begin_us, end_us - 40 * US)
        if any(start < end_us + US and back > since for start, back in self.process):
            return True
        age = max(self.ages.values()) + 130 * US
        if self.touched(begin_us - age, end_us + US, *SENSOR, "absent_both", "silence"):
            return True
        if any(level == "off" and abs(t - end_us) <= 2 * MINUTE_US for t, _, _, level in self.log.aims):
            return True
        limit = self.log.config.load_limit_w
        if limit is not None:
            last = [watts for t, watts in self.log.loads if t <= end_us]
            return bool(last) and last[-1] + self.log.config.heater_w > limit
        for name, one in self.log.config.sensors.items():
            near = (sample.value for sample in self.log.samples
                    if sample.sensor == name and begin_us - MINUTE_US < sample.t_us <= end_us)
            if one.limit_c is not None and any(value >= one.limit_c for value in near):
                return True
        last = [one.value for one in self.log.samples if one.sensor == "main" and one.t_us <= end_us][-2:]
        if len(last) == 2 and abs(last[1] - last[0]) > 1.5:
            return True  # a window: colder so fast that it is not believed at first
        # a sensor that skipped an interval: OFF is right where no valid sample was there any more
        return any(abs(end_us - stop) <= 5 * US for _, stop in self.good)
