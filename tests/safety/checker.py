"""The judge of a day: pin edges, the schedule of faults, samples as they were sent, alerts. Nothing of control's own.

Each limit has a worst figure, in its own unit, and violations as text. ``None`` where the day had no occasion.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator

from msgspec import Struct

from .faults import LIES, SENSOR
from .scenarios import Log

US = 1_000_000
MINUTE_US = 60 * US
HOUR_US = 3600 * US
GRACE_US = 120 * US
SLACK_US = 3 * US
"""A tick and a word."""
LIMITS: dict[str, tuple[str, float, str]] = {
    # name: what, limit, unit
    "after_sample": ("ON after the last valid sample's max age ran out", 120, "s"),
    "after_death": ("ON after control was killed or stopped", 30, "s"),
    "unbroken": ("unbroken ON", 14_400, "s"),
    "frost": ("ON with no valid sample in any hour (declared frost duty)", 600, "s"),
    "frost_declared": ("the same, above what was declared", 0, "s"),
    "bogus": ("decisions for ON that rest on a bogus sample", 0, ""),
    "unfresh": ("ON without a fresh sample after a restart", 0, ""),
    "starts": ("starts in any hour", 6, ""),
    "min_off": ("OFF shorter than 180 s", 0, ""),
    "min_on": ("ON shorter than 180 s, not by safety", 0, ""),
    "too_hot": ("ON in a room above its limit, relay not welded", 0, "°C"),
    "frozen_room": ("warmth missing to 5 °C, second sensor, -10 °C outdoors", 0, "°C"),
    "no_rise": ("ON while the thermometer shows no rise", 1860, "s"),
    "absent_alarm": ("alarm of a sensor that is absent, after its max age", 905, "s"),
    "frozen_alarm": ("alarm of a frozen sensor (one that never stood still for 9 min)", 1800, "s"),
    "false_frozen": ("false alarms of a frozen sensor", 0, ""),
    "stuck_fast": ("alarm of a welded contact by probe or power", 300, "s"),
    "stuck_slow": ("alarm of a welded contact by temperature", 1200, "s"),
    "false_stuck": ("false alarms of a welded contact", 0, ""),
    "alarm_no_rise": ("OFF and alarm of a heater that is dead", 1860, "s"),
}


class Verdict(Struct, kw_only=True):
    worst: dict[str, float] = {}
    occasions: dict[str, int] = {}
    violations: list[str] = []
    sensor_days: float = 0.0


class Checker:
    """One day. Spans are (begin, end) in microseconds."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.verdict = Verdict()
        self.on = list(_spans(log.edges, log.end_us))
        self.edge_times = [t for t, _ in log.edges]
        config = log.config
        self.ages = {name: round(one.good_for_s * US) for name, one in config.sensors.items()}
        self.good = _union((one.t_us, one.t_us + self.ages[one.sensor]) for one in log.samples
                           if one.kind not in LIES)
        self.process = sorted([*log.deaths, *log.guard_deaths])

    def judge(self) -> Verdict:
        for check in (self._after_sample, self._after_death, self._unbroken, self._bogus, self._unfresh, self._starts,
                      self._minima, self._hot, self._cold, self._no_rise, self._absent, self._frozen, self._stuck,
                      self._dead):
            check()
        self.verdict.sensor_days = len(self.log.config.sensors) * (self.log.end_us - self.log.begin_us) / 86_400e6
        return self.verdict

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

    # --- B41, G9, B52 ---------------------------------------------------------------------------------------

    def _after_sample(self) -> None:
        blind = list(_minus(self.on, [(begin, end + GRACE_US) for begin, end in self.good]))
        declared_us = round(self.log.config.frost_duty_min_per_h * MINUTE_US)
        if not declared_us:
            for begin, end in _minus(self.on, self.good):
                self.saw("after_sample", (end - begin) / US, f"at {_clock(self.log, begin)}")
            return
        ends = {end for _, end in self.good}
        for begin, end in _minus(self.on, self.good):
            if begin in ends and end - begin <= GRACE_US:
                self.saw("after_sample", (end - begin) / US)
        blind = list(_minus(self.on, [(begin, end + 1) for begin, end in self.good]))
        blind = [(b, e) for b, e in blind if not any(abs(b - end) <= US for _, end in self.good)]
        for _, end in blind:
            used = sum(min(e, end) - max(b, end - HOUR_US) for b, e in blind if b < end and e > end - HOUR_US)
            self.saw("frost", used / US, f"at {_clock(self.log, end)}")
            self.saw("frost_declared", max(0.0, (used - declared_us) / US - 2.5), f"at {_clock(self.log, end)}")

    def _after_death(self) -> None:
        for death, back in self.log.deaths:
            for begin, end in self.on:
                if begin <= death < end:
                    self.saw("after_death", (min(end, back) - death) / US, f"at {_clock(self.log, death)}")

    def _unbroken(self) -> None:
        for begin, end in self.on:
            self.saw("unbroken", (end - begin) / US, f"at {_clock(self.log, begin)}")

    # --- B43, B49 -------------------------------------------------------------------------------------------

    def _bogus(self) -> None:
        bogus = {one.t_us for one in self.log.samples if one.kind in LIES}
        wrong = sorted({sample for _, sample in self.log.rests if sample in bogus})
        self.saw("bogus", len(wrong), f"sample at {_clock(self.log, wrong[0])}" if wrong else "")

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
            self.saw("unfresh", 0 if fresh or frost else 1, f"at {_clock(self.log, begin)}")

    # --- B48 ------------------------------------------------------------------------------------------------

    def _starts(self) -> None:
        begins = [begin for begin, _ in self.on]
        for i, begin in enumerate(begins):
            self.saw("starts", i + 1 - bisect_right(begins, begin - HOUR_US), f"at {_clock(self.log, begin)}")

    def _minima(self) -> None:
        config = self.log.config
        for (_, end), (begin, _) in zip(self.on, self.on[1:], strict=False):
            self.saw("min_off", begin - end < round(config.min_off_s * US), f"{(begin - end) / US:.1f} s at "
                                                                         f"{_clock(self.log, end)}")
        for begin, end in self.on:
            if end == self.log.end_us:
                continue
            short = end - begin < round(config.min_on_s * US)
            self.saw("min_on", short and not self._for_safety(begin, end), f"{(end - begin) / US:.1f} s at "
                                                                          f"{_clock(self.log, end)}")

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
        # a sensor that skipped an interval: OFF is right where no valid sample was there any more
        return any(abs(end_us - stop) <= 5 * US for _, stop in self.good)

    # --- the room -------------------------------------------------------------------------------------------

    def _hot(self) -> None:
        """Above what was aimed at in the last hour, a thermometer's error, and what a lying one adds until found."""
        log = self.log
        welds = [(begin, end + HOUR_US) for begin, end in self.faults("weld")]
        for t, air, on, closed in log.room:
            if not on or not closed or any(begin <= t <= end for begin, end in welds):
                continue
            aims = [setpoint + plus for at, setpoint, plus, _ in log.aims if t - HOUR_US <= at <= t]
            before = [setpoint + plus for at, setpoint, plus, _ in log.aims if at <= t - HOUR_US][-1:]
            room = 1.0 + log.rate_c_h * (max(self.ages.values()) + 5 * MINUTE_US) / HOUR_US
            if len(log.config.sensors) > 1:
                room += 1.0
            if self.touched(t - 8 * HOUR_US, t, *SENSOR):
                room += log.rate_c_h * 31 / 60
            if self.touched(t - 8 * HOUR_US, t, "fallen"):  # it stays as warm as it was, and the tries add to it
                room += log.rate_c_h * 0.5
                aims = [setpoint + plus for at, setpoint, plus, _ in log.aims if at <= t]
            if log.config.frost_duty_min_per_h and not any(b <= t <= e + GRACE_US for b, e in self.good):
                continue  # the declared duty asks no thermometer
            limit = max([*aims, *before, 7.5]) + room
            self.saw("too_hot", max(0.0, air - limit), f"{air:.1f} °C at {_clock(log, t)}")

    def _cold(self) -> None:
        if not self.log.cold or self.log.config.load:  # a house that draws too much has no power for the heater
            return
        for t, air, _, _ in self.log.room:
            if not any(end - begin > 1200 * US and begin <= t <= end + HOUR_US for begin, end in self.process):
                self.saw("frozen_room", max(0.0, 5.0 - air), f"{air:.1f} °C at {_clock(self.log, t)}")

    def _no_rise(self) -> None:
        """ON is over 31 min after the thermometer last was 0.3 °C below what it reads (true, fallen or frozen)."""
        samples = [(one.t_us, one.value) for one in self.log.samples
                   if one.sensor == "main" and one.kind in ("true", "fallen", "frozen")]
        times = [t for t, _ in samples]
        for begin, end in self.on:
            if end - begin < 30 * MINUTE_US or len(self.log.config.sensors) > 1 \
                    or self.touched(begin - 40 * MINUTE_US, end, *LIES, "absent", "silence", "absent_both", "window"):
                continue
            if self.ages["main"] > 240 * US:  # a thermometer that speaks every five minutes is judged at its samples
                continue
            before = bisect_right(times, begin)
            ref = [c for _, c in samples[max(0, before - 3):before]]
            inside = [c for _, c in samples[before:bisect_right(times, min(end, begin + 31 * MINUTE_US))]]
            if ref and inside and max(inside) - min(ref) < 0.3 - 0.0625:
                self.saw("no_rise", (end - begin) / US, f"at {_clock(self.log, begin)}")

    # --- alarms ---------------------------------------------------------------------------------------------

    def raised(self, code: str) -> list[tuple[int, int]]:
        """Spans during which an alert stood; a control that died takes its alerts with it."""
        edges = sorted([(t, up) for t, name, up in self.log.alerts if name == code]
                       + [(begin, False) for begin, back in self.log.deaths
                          if not self.touched(begin, begin + 1, "control_stop", "both_stop")])
        return list(_spans(edges, self.log.end_us))

    def _absent(self) -> None:
        spans = self.raised("E_SENSOR_ABSENT")
        for begin, end in self.faults("absent", "absent_both", "silence"):
            last = max((s.t_us for s in self.log.samples if s.sensor == "main" and s.t_us <= begin), default=None)
            if last is None or end - last < 19 * MINUTE_US or self.disturbed(last - 20 * MINUTE_US, end) \
                    or self.touched(last - 40 * MINUTE_US, last + 26 * MINUTE_US, *(set(SENSOR) - {"absent"})):
                continue
            if any(b <= last + 20 * MINUTE_US and e >= last for b, e in self.raised("E_SENSOR_FROZEN")):
                continue  # it is lost already, and told as frozen
            due = last + self.ages["main"]
            waited = next((b - due for b, e in spans if e > due), end - due)
            self.saw("absent_alarm", max(0, waited) / US, f"at {_clock(self.log, begin)}")

    def _frozen(self) -> None:
        spans = self.raised("E_SENSOR_FROZEN")
        freezes = list(self.faults("frozen"))
        for begin, end in freezes:
            others = set(SENSOR) - {"frozen"} | {"absent_both", "silence"}
            if self._stood_still_before(begin):
                continue
            if end - begin < 31 * MINUTE_US or self.disturbed(begin - 25 * MINUTE_US, begin + 31 * MINUTE_US) \
                    or self.touched(begin - 40 * MINUTE_US, begin + 31 * MINUTE_US, *others):
                continue
            waited = next((b - begin for b, e in spans if e > begin), end - begin)
            self.saw("frozen_alarm", max(0, waited) / US, f"at {_clock(self.log, begin)}")
        for begin, _ in spans:
            truly = any(b <= begin <= e + 10 * MINUTE_US for b, e in freezes)
            # half an hour of heat without a digit's rise is a fault, of the thermometer or of the heater
            truly = truly or any(on <= begin - 28 * MINUTE_US and off >= begin - 70 * US for on, off in self.on)
            self.saw("false_frozen", not truly, f"at {_clock(self.log, begin)}")

    def _dead(self) -> None:
        """From the first ON with a heater that does not heat to the alarm, where the thermometer shows no rise."""
        spans = self.raised("E_NO_HEATING_RESPONSE")
        for begin, end in self.faults("dead"):
            for on, off in self.on:
                if not begin <= on < end or off - on < 30 * MINUTE_US or off > end:
                    continue
                if self.disturbed(on - 5 * MINUTE_US, on + 32 * MINUTE_US) \
                        or self.touched(on - 40 * MINUTE_US, on + 32 * MINUTE_US, *SENSOR, "absent_both", "silence"):
                    continue
                waited = next((b - on for b, e in spans if e > on), off - on + HOUR_US)
                self.saw("alarm_no_rise", max(0, waited, off - on) / US, f"at {_clock(self.log, on)}")

    def _stood_still_before(self, begin: int) -> bool:
        """A sensor that stood still before and lived is given three times as long as that, and rightly so."""
        value, since, longest = None, 0, self.log.stood_us
        for one in self.log.samples:
            if one.t_us >= begin:
                break
            if one.sensor == "main" and one.kind in ("true", "frozen") and one.value != value:
                longest = max(longest, one.t_us - since if since else 0)
                value, since = one.value, one.t_us
        return 3 * max(longest, begin - since) + self.ages["main"] > 30 * MINUTE_US

    def _stuck(self) -> None:
        log = self.log
        spans = self.raised("E_RELAY_STUCK")
        fast = log.probe or bool(log.config.heater_power)
        closed = list(_spans([(t, shut and not on) for t, _, on, shut in log.room], log.end_us))
        for begin, end in closed:
            if end - begin < 10 * US:
                continue
            limit = 300 if fast else 1200
            if end - begin >= limit * US and not self.disturbed(begin - MINUTE_US, begin + limit * US):
                waited = next((b - begin for b, e in spans if e > begin), end - begin) / US
                if fast and (log.probe or not self.touched(begin, begin + 310 * US, "dead", "silence")):
                    self.saw("stuck_fast", max(0.0, waited), f"at {_clock(log, begin)}")
                elif not fast and self._shows(begin, begin + 1200 * US):
                    self.saw("stuck_slow", max(0.0, waited), f"at {_clock(log, begin)}")
        for begin, _ in spans:
            truly = any(b <= begin <= e + 2 * MINUTE_US for b, e in closed)
            truly = truly or self.touched(begin - 40 * MINUTE_US, begin, *SENSOR)  # by a thermometer that lies
            self.saw("false_stuck", not truly, f"at {_clock(log, begin)}")

    def _shows(self, begin: int, end: int) -> bool:
        """The thermometer can know: it works, no window is open, and the room has become warmer as a heater does it."""
        if self.touched(begin - 40 * MINUTE_US, end, *SENSOR, "absent_both", "silence", "window", "dead"):
            return False
        rows = [(t, air) for t, air, _, _ in self.log.room if begin + 5 * MINUTE_US <= t <= end]
        aims = [setpoint for at, setpoint, _, _ in self.log.aims if at <= begin]
        if len(rows) < 5 or len([1 for at, *_ in self.log.aims if begin <= at <= end]):
            return False
        rise, steady = rows[-1][1] - rows[0][1], min(b[1] - a[1] for a, b in zip(rows, rows[4:], strict=False)) > 0
        return steady and rise >= max(0.35, 0.2 * self.log.rate_c_h) and rows[0][1] >= aims[-1] + 0.1


def summary(verdicts: list[Verdict]) -> tuple[dict[str, float], Counter[str], list[str], float]:
    worst: dict[str, float] = defaultdict(float)
    seen: Counter[str] = Counter()
    for one in verdicts:
        for name, figure in one.worst.items():
            worst[name] = max(worst[name], figure)
            seen[name] += one.occasions[name]
    return worst, seen, [text for one in verdicts for text in one.violations], sum(one.sensor_days for one in verdicts)


def _clock(log: Log, t_us: int) -> str:
    s = (t_us - log.begin_us) // US
    return f"{s // 3600:02d}:{s // 60 % 60:02d}:{s % 60:02d}"


def _spans(edges: list[tuple[int, bool]], end_us: int) -> Iterator[tuple[int, int]]:
    since = None
    for t, on in edges:
        if on and since is None:
            since = t
        elif not on and since is not None:
            yield since, t
            since = None
    if since is not None:
        yield since, end_us


def _union(spans: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((begin, end))
    return found


def _minus(spans: list[tuple[int, int]], holes: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """What of ``spans`` lies in none of ``holes``; both sorted."""
    first = 0
    for begin, end in spans:
        at = begin
        while first < len(holes) and holes[first][1] <= at:
            first += 1
        i = first
        while at < end:
            if i >= len(holes) or holes[i][0] >= end:
                yield at, end
                break
            if holes[i][0] > at:
                yield at, holes[i][0]
            at = max(at, holes[i][1])
            i += 1
