"""What heating does to the room: too hot, too cold, no warmer (B43, B44, B52)."""

from __future__ import annotations

from bisect import bisect_left, bisect_right

from .faults import SENSOR
from .judge import Judge
from .verdict import HOUR_US, MINUTE_US, US, clock

WINDOW_US = 31 * MINUTE_US
LEVEL_US = 4 * MINUTE_US
"""A thermometer's noise is no rise: levels are means of so long."""
COOLING_US = 15 * MINUTE_US
"""It goes on cooling at first: a heater and a thermometer are slow."""
RISE_C = 0.2
"""0.3 °C less what two means of a noisy thermometer differ by."""
TRIES_H = (0.0, 1.0, 2.5, 5.0, 9.5, 14.0, 18.5, 23.0)
"""A thermometer that hangs elsewhere: heated half an hour each from these hours on (pauses of 30, 60, 120, 240 min)."""
SUN_C_H = 0.6


class RoomChecks(Judge):
    """The air is the model's own, which no control has seen."""

    def _hot(self) -> None:
        """ON in a room above what is aimed at, a thermometer's error, and what a plausible liar may add until found."""
        log = self.log
        age_us = max(self.ages.values())
        for t, air, on, closed in log.room:
            if not on or not closed or self._on_duty(t):
                continue
            since = t - 4 * MINUTE_US  # a setpoint that was lowered within the minimum-on time
            aims = [setpoint + plus for at, setpoint, plus, _ in log.aims if since <= at <= t]
            aims += [setpoint + plus for at, setpoint, plus, _ in log.aims if at <= since][-1:]
            limit = max([*aims, 7.5]) + 1.0 + log.rate_c_h * (age_us + 5 * MINUTE_US) / HOUR_US
            trust_us = age_us + 12 * MINUTE_US
            if len(log.config.sensors) > 1 and self.touched(t - trust_us, t, *SENSOR, "absent_both", "silence"):
                limit += 1.0  # the one that stands in hangs elsewhere
            extra_c, before_c = self._lied_c(t, trust_us)
            limit = max(max(limit, before_c) + extra_c, self._blind_c(t))
            self.saw("too_hot", max(0.0, air - limit), f"{air:.1f} °C at {clock(log, t)}")

    def _on_duty(self, t: int) -> bool:
        """The declared frost duty, blind by its nature (a thermometer that lied for hours and is not believed yet): the
        guard was asked with no sample, now or within the minimum-on time. ``frost`` and ``frost_declared`` hold it to
        its minutes."""
        rests = self.log.rests
        since = t - round(self.log.config.min_on_s * US)
        lately = rests[bisect_left(rests, (since, 0)):bisect_right(rests, (t, t))]
        return bool(self.log.config.frost_duty_min_per_h) and any(sample == 0 for _, sample in lately)

    def _lied_c(self, t: int, trust_us: int) -> tuple[float, float]:
        """What a frozen or fallen thermometer that is at it, or only just over, may have added, and to what. One that
        stands still for long by nature is known as frozen only after twice that, which are several tries."""
        extra = before = 0.0
        frozen_min = max(31.0, 2 * self.log.stood_us / MINUTE_US + 2)
        for begin, end in self.faults("frozen", "fallen"):
            if not begin <= t <= end + trust_us:
                continue
            before = max(before, self._air(begin) + 0.2)
            if self.touched(begin, begin + 1, "frozen"):
                extra = max(extra, self.log.rate_c_h * frozen_min / 60)
            else:
                tries = bisect_right(TRIES_H, (t - begin) / HOUR_US)
                extra = max(extra, self.log.rate_c_h * 31 / 60 * tries + SUN_C_H * (t - begin) / HOUR_US)
        return extra, before

    def _air(self, t: int) -> float:
        return [air for at, air, _, _ in self.log.room if at <= t][-1]

    def _blind_c(self, t: int) -> float:
        """Declared frost duty asks no thermometer: as warm as it was when the last one spoke, and what duty and sun
        added since."""
        if not self.log.config.frost_duty_min_per_h or any(b <= t <= e for b, e in self.good):
            return 0.0
        since = max((e for _, e in self.good if e <= t), default=self.log.begin_us)
        on_us = sum(min(e, t) - max(b, since) for b, e in self.on if b < t and e > since)
        return self._air(since) + 0.2 + (self.log.rate_c_h * on_us + SUN_C_H * (t - since)) / HOUR_US

    def _cold(self) -> None:
        """Cold days: a second sensor keeps it from freezing. A house that draws too much must leave it its share."""
        if not self.log.cold:
            return
        for t, air, _, _ in self.log.room:
            if self._unpowered(t) or any(end - begin > 1200 * US and begin <= t <= end + HOUR_US
                                         for begin, end in self.process):
                continue
            self.saw("frozen_room", max(0.0, 5.0 - air), f"{air:.1f} °C at {clock(self.log, t)}")

    def _unpowered(self, t: int) -> bool:
        """The house drew so much that nobody could have kept it warm: the same room, heated whenever there was power
        for it, came to less than 7 °C within the hours before."""
        return any(c < 7.0 for at, c in self.log.powered if t - 2 * HOUR_US <= at <= t)

    def _no_rise(self) -> None:
        """ON goes on for 31 min in which the thermometer that counts never got warmer by 0.3 °C from where it
        was in their first half.

        Where another one may count in between, none of them was."""
        levels = {name: _Levels([(one.t_us, one.value) for one in self.log.samples
                                 if one.sensor == name and one.kind in ("true", "fallen", "frozen")])
                  for name in self.log.config.sensors}
        for on, off in self.on:
            for begin in range(on, off - 30 * MINUTE_US, 5 * MINUTE_US):
                end = min(off, begin + WINDOW_US)
                alone = not self.touched(begin - 30 * MINUTE_US, end, *SENSOR, "absent_both", "silence")
                asked = ["main"] if alone else list(levels)
                if all(levels[name].flat(begin, end) for name in asked):
                    self.saw("no_rise", (off - begin) / US, f"at {clock(self.log, begin)}")


class _Levels:
    def __init__(self, samples: list[tuple[int, float]]) -> None:
        self.times, self.values = [t for t, _ in samples], [c for _, c in samples]

    def level(self, number: int) -> float:
        """Up to this sample."""
        first = bisect_left(self.times, self.times[number] - LEVEL_US)
        values = self.values[first:number + 1]
        return sum(values) / len(values)

    def flat(self, begin: int, end: int) -> bool:
        """Also where it says nothing: then it cannot have risen."""
        before, last = bisect_right(self.times, begin), bisect_right(self.times, end)
        if not before:
            return False  # it began to speak within
        soon = bisect_right(self.times, begin + COOLING_US)
        base = min(self.level(number) for number in range(before - 1, max(before, soon)))
        return all(self.level(number) - base < RISE_C for number in range(before, last)
                   if self.values[number] - base >= RISE_C / 3)
