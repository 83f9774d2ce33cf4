"""What a guard allows, moment for moment: pure, on CLOCK_BOOTTIME in microseconds, no memory but its own.

A heater is ON only while all of this holds; else it is OFF, whatever its control loop wants and whatever minimum-on
time it keeps:

* control asked for ON and said something within ``silence_s`` (10 s) and renewed the lease within ``lease_s`` (30 s);
* the sample it decided on was taken after this guard started and is not older than its max age and ``sample_grace_s``
  (120 s); or it is frost duty and this hour's seconds are not used up, those of that grace among them;
* it was not ON without a break for ``max_on_s`` (4 h); after that it rests for ``rest_s`` and needs a proof of heating;
* this guard started ``start_rest_s`` ago: a guard that is killed again and again makes no relay chatter.

Kind ``hold`` (a valve, a lamp) stays where it was last told.
"""

from __future__ import annotations

from collections import deque

from msgspec import Struct

from agent.api import Duty

HOUR_US = 3_600_000_000
FUTURE_US = 1_000_000
"""A sample from later than now is a lie; so much is the jitter of two processes that read one clock."""
MAX_FROST_S = 600.0


class Ask(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One word of the control loop; :meth:`agent.api.Relay.ask` has the meaning of its fields."""

    on: bool
    sample_us: int | None = None
    sample_max_age_s: float = 0.0
    frost: bool = False
    heats: bool = False
    insist: bool = False
    why: str = ""


class Verdict(Struct, frozen=True):
    on: bool
    why: str
    due_us: int | None
    """When it changes if nobody says anything until then."""


class Lease:
    """``ask`` and ``look`` may be called at any time, also twice in the same microsecond; time never runs back."""

    def __init__(self, duty: Duty, now_us: int, told: bool | None = None) -> None:
        """``told``: where a ``hold`` actuator was left (None: nobody knows, so OFF)."""
        self.duty = duty
        self._started_us = now_us
        self._ask: Ask | None = None
        self._asked_us = now_us
        self._told = bool(told)
        self._told_why = "as it was left" if told is not None else "nobody has asked yet"
        self._on_since_us: int | None = None
        self._rest_until_us = now_us + _us(duty.start_rest_s) if duty.start_rest_s else 0
        self._rest_why = f"the guard started less than {duty.start_rest_s:g} s ago"
        self._proof_needed = False
        spent_us = _us(min(duty.frost_s_per_h, MAX_FROST_S))
        self._frost = deque([(now_us - spent_us, now_us)] if spent_us > 0 else [])
        """Spans of ON with no sample that is good, within the last hour: frost duty, and the grace before it. What was
        before the start is unknown, so it counts as spent: a guard that is started again and again allows no more than
        one that lives."""
        self._blind_from_us: int | None = None
        """While it is ON: from when on it is without a good sample (may lie ahead). None: it is OFF."""

    def ask(self, ask: Ask, now_us: int) -> Verdict:
        if self.duty.kind == "hold":
            # the same wish again is none: a hand may have moved it since, and the hand was right
            if ask.insist or self._ask is None or ask.on != self._ask.on:
                self._told, self._told_why = ask.on, ask.why
            elif ask.on == self._told:
                self._told_why = ask.why
            self._ask = ask
            return self.look(now_us)
        self.look(now_us)  # what ran out before this word is over, and counted
        self._ask, self._asked_us = ask, now_us
        return self.look(now_us)

    @property
    def told(self) -> bool:
        """Where a ``hold`` actuator is to be."""
        return self._told

    def moved(self, on: bool, now_us: int) -> Verdict:
        """A hand has moved a ``hold`` actuator: that is where it is told to be now."""
        self._told, self._told_why = on, "moved by hand"
        return self.look(now_us)

    def gone(self, now_us: int) -> Verdict:
        """The control process hung up."""
        if self.duty.kind == "heat" and self._ask is not None:
            self._ask = Ask(on=False, why="control has gone")
        return self.look(now_us)

    def look(self, now_us: int) -> Verdict:
        """What holds now."""
        if self.duty.kind == "hold":
            return Verdict(self._told, self._told_why, None)
        on, why, due_us = self._judge(now_us)
        self._book(on, now_us)
        return Verdict(on, why, due_us)

    def _judge(self, now_us: int) -> tuple[bool, str, int | None]:
        ask, duty = self._ask, self.duty
        if ask is None:
            return False, "control has not asked yet", None
        if not ask.on:
            return False, ask.why or "control asked for OFF", None
        ends = [(self._asked_us + _us(min(duty.silence_s, duty.lease_s)),
                 f"lease ended: control silent for {min(duty.silence_s, duty.lease_s):g} s")]
        if now_us < self._rest_until_us:
            return False, self._rest_why, self._rest_until_us
        if self._proof_needed and not ask.heats:
            return False, f"{duty.max_on_s / 3600:g} h of ON and nothing showed that it heats", None
        if self._on_since_us is not None:
            ends.append((self._on_since_us + _us(duty.max_on_s), f"{duty.max_on_s / 3600:g} h of unbroken ON"))
        if ask.frost:
            ends.append((now_us + self._frost_left_us(now_us), "this hour's frost duty is used up"))
        else:
            refused = self._stale(ask, now_us)
            if refused:
                return False, refused, None
            assert ask.sample_us is not None
            ends.append((ask.sample_us + _us(ask.sample_max_age_s + duty.sample_grace_s), "the sample is too old"))
        end_us, end_why = min(ends)
        if now_us >= end_us:
            return False, end_why, None
        return True, ask.why or "control asked for ON", end_us

    def _stale(self, ask: Ask, now_us: int) -> str:
        if ask.sample_us is None:
            return "no sample"
        if ask.sample_us < self._started_us:
            return "no fresh sample since the start"
        if ask.sample_us > now_us + FUTURE_US:
            return "the sample's stamp lies in the future"
        if not 0 <= ask.sample_max_age_s <= 600:
            return f"a max age of {ask.sample_max_age_s:g} s (0 to 600 is allowed)"
        return ""

    # --- books ----------------------------------------------------------------------------------------------

    def _book(self, on: bool, now_us: int) -> None:
        if on and self._on_since_us is None:
            self._on_since_us = now_us
            self._proof_needed = False
        elif not on and self._on_since_us is not None:
            if now_us - self._on_since_us >= _us(self.duty.max_on_s):
                self._rest_until_us = now_us + _us(self.duty.rest_s)
                self._rest_why = f"resting after {self.duty.max_on_s / 3600:g} h of unbroken ON"
                self._proof_needed = True
            self._on_since_us = None
        self._book_blind(on, now_us)

    def _book_blind(self, on: bool, now_us: int) -> None:
        """What was ON with no good sample until now, and from when on it will be."""
        if self._blind_from_us is not None and self._blind_from_us < now_us:
            if self._frost and self._frost[-1][1] == self._blind_from_us:
                self._frost[-1] = (self._frost[-1][0], now_us)
            else:
                self._frost.append((self._blind_from_us, now_us))
                self._forget_frost(now_us)
        self._blind_from_us = None
        if on and self._ask is not None and self.duty.frost_s_per_h > 0:
            good_until_us = 0 if self._ask.frost else (self._ask.sample_us or 0) + _us(self._ask.sample_max_age_s)
            self._blind_from_us = max(now_us, good_until_us)

    def _frost_left_us(self, now_us: int) -> int:
        """What is left of the last hour's allowance, at worst: a span counts while any of it is within the hour."""
        self._forget_frost(now_us)
        used = sum(end - max(begin, now_us - HOUR_US) for begin, end in self._frost)
        if self._blind_from_us is not None and self._blind_from_us < now_us:
            used += now_us - max(self._blind_from_us, now_us - HOUR_US)
        return _us(min(self.duty.frost_s_per_h, MAX_FROST_S)) - used

    def _forget_frost(self, now_us: int) -> None:
        while self._frost and self._frost[0][1] <= now_us - HOUR_US:
            self._frost.popleft()


def _us(seconds: float) -> int:
    return round(seconds * 1e6)
