"""Controls and guards with one rule missing each, and the limit whose violation must be seen.

Where control and guard both hold a rule, it is taken from both; that either alone is enough is a test of its own."""

from __future__ import annotations

from collections import deque
from typing import Any

from msgspec import Struct

from agent.guard.lease import Ask, Lease
from plugins.relay_heater import control as control_module
from plugins.relay_heater.control import Control, _Wish
from plugins.relay_heater.sensors import Sensor

from .checker import Checker
from .faults import DAY_US, US, Fault
from .scenarios import Day

HOUR_US = 3600 * US


class DeafLease(Lease):
    """Believes any age of a sample."""

    def _stale(self, ask: Ask, now_us: int) -> str:
        return ""

    def ask(self, ask: Ask, now_us: int) -> Any:
        if ask.on and not ask.frost:
            ask = Ask(on=True, sample_us=now_us, sample_max_age_s=600.0, heats=ask.heats, why=ask.why)
        return super().ask(ask, now_us)


class EndlessLease(Lease):
    """A lease that never ends by silence."""

    def _judge(self, now_us: int) -> Any:
        self._asked_us = now_us
        if self._ask is not None and self._ask.on and self._ask.sample_us is not None:
            self._ask = Ask(on=True, sample_us=now_us, sample_max_age_s=600.0, heats=True)
        return super()._judge(now_us)

    def gone(self, now_us: int) -> Any:
        return self.look(now_us)


class Tireless(Lease):
    """Knows no 4 h."""

    def _judge(self, now_us: int) -> Any:
        if self._on_since_us is not None:
            self._on_since_us = now_us
        return super()._judge(now_us)


class Generous(Lease):
    """Counts no frost duty."""

    def _frost_left_us(self, now_us: int) -> int:
        return HOUR_US


class OldSample(Sensor):
    def lost(self, now_us: int) -> str:
        return "" if self.value_c is not None and not self.frozen else super().lost(now_us)


class Gullible(Sensor):
    def _lie(self, value: object, quality: str | None) -> str:
        return ""

    def _follows(self, t_us: int, c: float) -> bool:
        return True


class NeverFrozen(Sensor):
    def _freeze(self, why: str) -> None:
        return


def with_sensors(kind: type[Sensor]) -> type[Control]:
    class Mutant(Control):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started = self._started_us
            self.sensors = {name: kind(name, one, started) for name, one in self.config.sensors.items()}

    return Mutant


class NoMemory(Control):
    """Counts no starts, and forgets when the relay last moved."""

    def _cycled(self, wish: _Wish, now_us: int) -> _Wish:
        return wish


class NoStarts(Control):
    def _cycled(self, wish: _Wish, now_us: int) -> _Wish:
        noted = self.books._noted_us
        self.books.starts = deque([] if noted is None else [noted])
        return super()._cycled(wish, now_us)


class NoMinOn(Control):
    def _cycled(self, wish: _Wish, now_us: int) -> _Wish:
        return super()._cycled(_Wish(wish.on, wish.why, True, wish.frost) if not wish.on else wish, now_us)


class NoPause(Control):
    """Heats on where nothing gets warmer."""

    def _silent_room(self, now_us: int) -> bool:
        return False


class NoEnd(NoPause):
    """And for longer than 4 h."""

    def tick(self, *args: Any) -> Any:
        before, control_module.MAX_ON_US = control_module.MAX_ON_US, 100 * HOUR_US
        try:
            return super().tick(*args)
        finally:
            control_module.MAX_ON_US = before


class FrostAlways(Control):
    """Frost duty again as soon as it is over."""

    def _frost_begin_us(self) -> int:
        return self._sound_us + control_module.FROST_LOST_US


class OneSensor(Control):
    """Nobody stands in for the lost one."""

    def _choose(self, wanted: str, now_us: int) -> Any:
        main = self.sensors[wanted]
        return (None, True) if main.lost(now_us) else (main, False)


class Blind(Control):
    """Says nothing of a stuck relay."""

    def _tell(self, now_us: int) -> None:
        self.truth.stuck = ""
        super()._tell(now_us)


class Mute(Control):
    """No alarm of a sensor that is gone."""

    def _tell(self, now_us: int) -> None:
        super()._tell(now_us)
        self.alerts.pop("E_SENSOR_ABSENT", None)


class Remembers(with_sensors(OldSample)):  # type: ignore[misc]
    """Takes the last value from before the restart for one of now."""

    last: float | None = None

    def tick(self, now_us: int, *args: Any) -> Any:
        sensor = next(iter(self.sensors.values()))
        if sensor.value_c is None and Remembers.last is not None:
            sensor.value_c, sensor.good_us = Remembers.last, now_us
        Remembers.last = sensor.value_c
        return super().tick(now_us, *args)


class Mutant(Struct, frozen=True):
    name: str
    limit: str
    control: type[Control] = Control
    lease: type[Lease] = Lease
    faults: tuple[Fault, ...] = ()
    settings: dict[str, Any] = {}
    cold: bool = False
    first: int = 0
    seeds: int = 12


def _fault(kind: str, begin_h: float, hours: float) -> Fault:
    return Fault(kind, round(begin_h * HOUR_US), min(DAY_US, round((begin_h + hours) * HOUR_US)))


KILLS = tuple(_fault("control_kill", 1 + n * 0.13, 0.01) for n in range(60))
MUTANTS = (
    Mutant("age of a sample, in both", "after_sample", with_sensors(OldSample), DeafLease,
           tuple(_fault("absent_both", h, 0.5) for h in (2, 5, 8, 11, 14, 17))),
    Mutant("the lease's end", "after_death", Control, EndlessLease,
           tuple(_fault("control_stop", 1 + n / 2, 0.2) for n in range(40))),
    Mutant("4 h, in both", "unbroken", NoEnd, Tireless, (_fault("fallen", 1, 22),)),
    Mutant("the hour of frost duty, in both", "frost_declared", FrostAlways, Generous,
           (_fault("absent_both", 2, 20),), {"frost_duty_min_per_h": 5.0}),
    Mutant("lies", "bogus", with_sensors(Gullible), Lease, (_fault("0", 2, 4), _fault("spikes", 10, 6))),
    Mutant("a fresh sample after a start", "unfresh", Remembers, DeafLease, (*KILLS, _fault("absent_both", 0.9, 20))),
    Mutant("starts an hour", "starts", NoStarts, Lease, KILLS),
    Mutant("minimum off", "min_off", NoMemory, Lease, (*KILLS, _fault("spikes", 12, 8))),
    Mutant("minimum on", "min_on", NoMinOn, Lease, (_fault("window", 4, 0.5),), first=6),
    Mutant("no rise", "no_rise", NoPause, Lease, (_fault("dead", 1, 20),), first=2),
    Mutant("a frozen sensor", "frozen_alarm", with_sensors(NeverFrozen), Lease,
           (_fault("frozen", 3, 3), _fault("frozen", 10, 3)), first=2),
    Mutant("a frozen sensor heats the room", "too_hot", type("Both", (with_sensors(NeverFrozen), NoPause), {}), Lease,
           tuple(_fault("frozen", h, 3) for h in (1, 5, 9, 13, 17)), seeds=12),
    Mutant("the second sensor", "frozen_room", OneSensor, Lease, (_fault("absent", 2, 22),), cold=True),
    Mutant("the relay's truth", "stuck_fast", Blind, Lease, (_fault("weld", 1, 22),), seeds=12),
    Mutant("absent for 15 min", "absent_alarm", Mute, Lease, (_fault("absent", 3, 3),)),
)


def caught(mutant: Mutant) -> bool:
    """Whether the checker sees the violation within the mutant's days."""
    for seed in range(mutant.first, mutant.first + mutant.seeds):
        day = Day(seed, control=mutant.control, lease=mutant.lease, faults=list(mutant.faults), cold=mutant.cold,
                  **mutant.settings)
        if any(text.startswith(f"{mutant.limit}:") for text in Checker(day.run()).judge().violations):
            return True
    return False
