"""What must be said, how soon, and what must not be said (B41, B42, B44, B47)."""

from __future__ import annotations

from collections.abc import Iterator

from .faults import LIES, SENSOR
from .judge import Judge
from .verdict import HOUR_US, MINUTE_US, US, clock, spans

OTHERS = ("absent", "absent_both", "silence", "fallen", *LIES)
DAY_US = 24 * HOUR_US


class AlarmChecks(Judge):
    """Alerts against the schedule of faults."""

    def raised(self, code: str) -> list[tuple[int, int]]:
        """Spans during which an alert stood; a control that died takes its alerts with it."""
        edges = sorted([(t, up) for t, name, up in self.log.alerts if name == code]
                       + [(begin, False) for begin, back in self.log.deaths
                          if not self.touched(begin, begin + 1, "control_stop", "both_stop")])
        return list(spans(edges, self.log.end_us))

    def _absent(self) -> None:
        """One that was told as frozen is told as lost already; but it must be told all the time."""
        told = sorted([*self.raised("E_SENSOR_ABSENT"), *self.raised("E_SENSOR_FROZEN")])
        for begin, end in self.faults("absent", "absent_both", "silence"):
            last = max((s.t_us for s in self.log.samples if s.sensor == "main" and s.t_us <= begin), default=None)
            if last is None or end - last < 19 * MINUTE_US or self.disturbed(last - 20 * MINUTE_US, end) \
                    or self.touched(last - 20 * MINUTE_US, last + 26 * MINUTE_US, *LIES, "fallen"):
                continue
            due = last + self.ages["main"]
            if end - due < 905 * US:
                continue
            waited = next((b - due for b, e in told if e > due + 905 * US), end - due)
            self.saw("absent_alarm", max(0, waited) / US, f"at {clock(self.log, begin)}")

    def _frozen(self) -> None:
        raised = self.raised("E_SENSOR_FROZEN")
        for begin, end in self.faults("frozen"):
            for since, until in self._undisturbed(begin, end):
                if self.touched(since - 15 * MINUTE_US, until, *OTHERS):
                    continue
                stood_us = self._stood_us(since)
                allowed_us = max(30 * MINUTE_US, 3 * stood_us + 2 * self.ages["main"])
                waited = next((b - since for b, e in raised if e > since), until - since)
                if until - since >= 31 * MINUTE_US and allowed_us == 30 * MINUTE_US:
                    self.saw("frozen_alarm", max(0, waited) / US, f"at {clock(self.log, since)}")
                elif until - since >= allowed_us + MINUTE_US:
                    self.saw("frozen_slow", max(0, waited - allowed_us) / US, f"at {clock(self.log, since)}")
        for begin, _ in raised:
            truly = any(b <= begin <= e + self.ages["main"] + 5 * MINUTE_US for b, e in self.faults("frozen"))
            # a dead heater, and a thermometer that rightly stands still for half an hour of ON: one of them is it
            truly = truly or any(on <= begin - 28 * MINUTE_US and off >= begin - 70 * US
                                 and self.touched(on, off, "dead") for on, off in self.on)
            self.saw("false_frozen", not truly, f"at {clock(self.log, begin)}")

    def _undisturbed(self, begin: int, end: int) -> Iterator[tuple[int, int]]:
        """The parts of a fault in which control was there all the time; each begins anew what must be found."""
        since = begin
        for start, back in self.process:
            if back > since and start < end:
                if start > since:
                    yield since, min(start, end)
                since = max(since, back + 10 * US)
        if since < end:
            yield since, end

    def _stood_us(self, begin: int) -> int:
        """How long the main thermometer stood still at most while it lived, in the week before and today."""
        value, since, longest = None, 0, self.log.stood_us
        for one in self.log.samples:
            if one.t_us >= begin:
                break
            if one.sensor == "main" and one.kind in ("true", "frozen") and one.value != value:
                longest = max(longest, one.t_us - since if since else 0)
                value, since = one.value, one.t_us
        return longest

    def _dead(self) -> None:
        """From the first ON with a heater that does not heat to the alarm; once a day is enough for one that comes and
        goes."""
        raised = self.raised("E_NO_HEATING_RESPONSE")
        for begin, end in self.faults("dead"):
            for on, off in self.on:
                if not begin <= on < end or off - on < 30 * MINUTE_US or off > end:
                    continue
                if self.disturbed(on - 5 * MINUTE_US, on + 32 * MINUTE_US) \
                        or self.touched(on - 40 * MINUTE_US, on + 32 * MINUTE_US, *SENSOR, "absent_both", "silence"):
                    continue
                told = any(b < on and b > on - DAY_US for b, _ in raised)
                waited = 0 if told else next((b - on for b, e in raised if e > on), off - on + HOUR_US)
                self.saw("alarm_no_rise", max(0, waited, off - on) / US, f"at {clock(self.log, on)}")

    def _wolf(self) -> None:
        """A heater that is whole is told of once a day, however weak; again only after three vain tries in a row."""
        raised = [b for b, _ in self.raised("E_NO_HEATING_RESPONSE")
                  if not self.touched(b - 2 * HOUR_US, b, "dead", "window", *SENSOR)
                  and not self.disturbed(b - 40 * MINUTE_US, b)]
        self.saw("wolf", len(raised), f"at {', '.join(clock(self.log, b) for b in raised)}")

    def _stuck(self) -> None:
        log = self.log
        raised = self.raised("E_RELAY_STUCK")
        fast = log.probe or bool(log.config.heater_power)
        closed = list(spans([(t, shut and not on) for t, _, on, shut in log.room], log.end_us))
        for begin, end in closed:
            if end - begin < 10 * US:
                continue
            limit = 300 if fast else 1200
            if end - begin >= limit * US and not self.disturbed(begin - MINUTE_US, begin + limit * US):
                waited = next((b - begin for b, e in raised if e > begin), end - begin) / US
                if fast and (log.probe or not self.touched(begin, begin + 310 * US, "dead", "silence")):
                    self.saw("stuck_fast", max(0.0, waited), f"at {clock(log, begin)}")
                elif not fast and self._shows(begin, begin + 1200 * US):
                    self.saw("stuck_slow", max(0.0, waited), f"at {clock(log, begin)}")
        for begin, _ in raised:
            truly = any(b <= begin <= e + 2 * MINUTE_US for b, e in closed)
            # by the room alone the news is old: it was welded for minutes, and has come loose within the window
            truly = truly or (not fast and any(b <= begin <= e + 12 * MINUTE_US and e - b >= 4 * MINUTE_US
                                              for b, e in closed))
            self.saw("false_stuck", not truly, f"at {clock(log, begin)}")

    def _shows(self, begin: int, end: int) -> bool:
        """The thermometer can know: it works, speaks every two minutes, no window is open, and the room, as warm as
        wanted, gets warmer by 1.5 °C/h all the time."""
        if self.ages["main"] > 240 * US:
            return False
        if self.touched(begin - 40 * MINUTE_US, end, *SENSOR, *OTHERS, "window", "contact_sticks", "dead"):
            return False
        rows = [(t, air) for t, air, _, _ in self.log.room if begin + 5 * MINUTE_US <= t <= end]
        aims = [setpoint for at, setpoint, _, _ in self.log.aims if at <= begin]
        if len(rows) < 5 or any(begin <= at <= end for at, *_ in self.log.aims):
            return False
        slopes = [(b - a) / (t - s) * HOUR_US for (s, a), (t, b) in zip(rows, rows[2:], strict=False) if t > s]
        return min(slopes) >= SHOWS_C_H and rows[0][1] >= aims[-1] + 0.1


SHOWS_C_H = 1.5
