"""One random day: the real control and guard code in a room, with faults, from event to event in virtual time.

Between two events control says the same thing every second or two; that is modelled by moving the lease's last word
ahead to the next tick, and back to the last one when control dies. ``step_s`` makes it tick all the time instead:
the test that compares both is what allows the short cut.

What is assumed of the processes around (the tests that kill real ones measure it): a killed guard is back within 8 s,
and a stopped one is killed after 10 to 12 s by control, or after 15 to 20 s by the watchdog when control is gone too.
"""

from __future__ import annotations

import copy
import heapq
import math
import random
from collections import deque
from typing import Any

from msgspec import Struct

from agent.api import PlainRelay, RelayState
from agent.guard.keeper import Keeper
from agent.guard.lease import Ask, Lease
from plugins.relay_heater.control import Control, Decision
from plugins.relay_heater.plugin import RelayHeater, RelayHeaterConfig
from plugins.relay_heater.programme import Aim, Programme
from plugins.relay_heater.schedule import ProfileConfig
from plugins.relay_heater.settings import SensorConfig

from .faults import DAY_US, LIES, US, Fault, draw, draw_welds
from .room import Room, Thermometer

START_US = 1000 * US
WALL_US = 1_767_600_000 * US
MINUTE_US = 60 * US
WELD_EVERY = 20


class Wanted(Struct, frozen=True):
    """A simple aim, where the day does not use the real programme."""

    setpoint_c: float
    level: str = "base"
    delta_plus_c: float = 0.1
    delta_minus_c: float = 0.25
    sensor: str = "main"
    why: str = ""


class Sample(Struct, frozen=True):
    t_us: int
    sensor: str
    value: float
    kind: str
    """true, or the fault that made it."""


class Log(Struct, kw_only=True):
    """What can be seen from outside, for the checker."""

    seed: int
    cold: bool
    config: RelayHeaterConfig
    faults: list[Fault]
    rate_c_h: float
    begin_us: int
    end_us: int
    probe: bool
    stood_us: int
    """How long the main thermometer stood still at most in the week before."""
    edges: list[tuple[int, bool]] = []
    samples: list[Sample] = []
    rests: list[tuple[int, int]] = []
    """ON that the guard was asked for: when, and the stamp of the sample it rests on (0: none)."""
    deaths: list[tuple[int, int]] = []
    """Control: gone or stopped from, until it is back."""
    guard_deaths: list[tuple[int, int]] = []
    alerts: list[tuple[int, str, bool]] = []
    room: list[tuple[int, float, bool, bool]] = []
    """Air, told ON, contact closed."""
    aims: list[tuple[int, float, float, str]] = []
    loads: list[tuple[int, float]] = []
    powered: list[tuple[int, float]] = []
    """Air of a room heated to 15 °C whenever the house leaves the heater its power; on cold days with a load."""
    ticks: int = 0


class Pin:
    """The relay and its contact, which outlive every process. What :class:`agent.guard.keeper.Keeper` drives."""

    def __init__(self, day: Day, has_probe: bool) -> None:
        self.day = day
        self.has_probe = has_probe
        self.level = False
        self.closed = False

    def put(self, on: bool) -> None:
        if on != self.level:
            self.level = on
            self.day.log.edges.append((self.day.now_us, on))
        self.day.wire()

    def contact(self) -> bool | None:
        return self.closed if self.has_probe else None

    def close(self) -> None:
        return


class Day:
    """``control`` and ``lease``: other classes than the real ones, to show that their lack of a rule is seen."""

    def __init__(self, seed: int, *, control: type[Control] = Control, lease: type[Lease] = Lease,
                 faults: list[Fault] | None = None, step_s: float | None = None, cold: bool | None = None,
                 **settings: Any) -> None:
        rng = self.rng = random.Random(seed)
        self.cold = rng.random() < 0.1 if cold is None else cold
        self._control_class, self._lease_class, self._step_s = control, lease, step_s
        self.now_us = START_US
        self.room = Room(rng, self.now_us, self.cold)
        welds = seed % WELD_EVERY == WELD_EVERY - 1 and faults is None and cold is None
        if welds:  # days on which a welded contact can be known by the room alone
            self.cold, faults = False, draw_welds(rng)
            settings = {"heater_power": "", "load": "", "load_limit_w": None} | settings
            self.room.strong(rng)
        self.config = self._configure(rng, settings)
        self._powered = copy.copy(self.room) if self.cold and self.config.load else None
        self.meters = {}
        for name, sensor in self.config.sensors.items():
            self.meters[name] = Thermometer(rng, self.room, sensor.interval_s,
                                            0.0 if name == "main" else rng.uniform(-1.0, 1.0), rng.choice((0, 60, 180)))
        drawn = draw(rng, self.cold) if faults is None else faults
        self._kept: Any = {"sensors": {name: meter.week() for name, meter in self.meters.items()}}
        self.faults = [Fault(one.kind, one.begin_us + START_US, one.end_us + START_US) for one in drawn]
        probe = rng.random() < 0.3 and not welds
        self.log = Log(seed=seed, cold=self.cold, config=self.config, faults=self.faults, rate_c_h=self.room.rate_c_h,
                       begin_us=START_US, end_us=START_US + DAY_US, probe=probe,
                       stood_us=self._kept["sensors"]["main"]["days"][0])
        self.pin = Pin(self, probe)
        self.active: dict[str, Fault] = {}
        self.welded = False
        self.wall_us = WALL_US
        self.load_w = 500.0
        self._programme = Programme(self.config) if rng.random() < 0.2 and not self.cold else None
        self._wanted = self._wishes(rng)
        self._aim: Aim | Wanted = self._wanted[0][1]
        self._aim_us = -1
        self.control: Control | None = None
        self.control_runs = False
        self.keeper: Keeper | None = None
        self.guard_runs = False
        self._connected = False
        self._seen = RelayState()
        self._decision: Decision | None = None
        self._tick_us = 0
        """The last one."""
        self._dies = any(fault.kind in ("control_kill", "both_kill", "reboot") for fault in self.faults)
        self._alerts: set[str] = set()
        self._queue: list[tuple[str, int, float, str | None]] = []
        self._heap: list[tuple[int, int, str, Any]] = []
        self._number = 0
        self._tick_number = self._look_number = 0
        self._room_us = 0
        self._last: float | None = None
        """What the main thermometer read last."""

    # --- the day's draw -------------------------------------------------------------------------------------

    def _configure(self, rng: random.Random, settings: dict[str, Any]) -> RelayHeaterConfig:
        interval = rng.choices((10.0, 30.0, 60.0, 120.0, 300.0), (1, 5, 30, 10, 10))[0]
        sensors = {"main": SensorConfig(source="room/temperature_c", interval_s=interval)}
        if self.cold or rng.random() < 0.5:
            limit = rng.uniform(23.0, 28.0) if not self.cold and rng.random() < 0.4 else None
            sensors["second"] = SensorConfig(source="hall/temperature_c", interval_s=rng.choice((60.0, 120.0)),
                                             limit_c=limit)
        chosen: dict[str, Any] = {"control": "tpi" if rng.random() < 0.3 else "hysteresis"}
        if rng.random() < 0.15:
            chosen["frost_duty_min_per_h"] = rng.choice((2.0, 5.0, 10.0))
        if rng.random() < 0.4:
            chosen["heater_power"] = "heater/active_power_w"
        if rng.random() < 0.15:
            chosen |= {"load": "house/active_power_w", "load_limit_w": 3000.0}
        if rng.random() < 0.2:
            chosen["window_contact"] = "window/open"
        profiles = {"work": ProfileConfig(comfort_c=20.0, eco_c=17.0, calendar={"all": ["06:00-08:00", "17:00-22:30"]})}
        return RelayHeaterConfig(relay=PlainRelay(line="sim:/x"), sensors=sensors, profiles=profiles, timezone="UTC",
                                 **(chosen | settings))

    def _wishes(self, rng: random.Random) -> list[tuple[int, Wanted]]:
        if self.cold:
            return [(0, Wanted(rng.uniform(16.0, 20.0)))]
        found = [(0, Wanted(rng.uniform(15.0, 22.0)))]
        for _ in range(rng.randint(0, 6)):
            off = rng.random() < 0.1
            plus = rng.choice((0.1, 0.1, 0.3))
            found.append((START_US + round(rng.random() * DAY_US),
                          Wanted(7.0, "off") if off else Wanted(rng.uniform(14.0, 22.5), delta_plus_c=plus)))
        return sorted(found, key=lambda one: one[0])

    # --- events ---------------------------------------------------------------------------------------------

    def at(self, t_us: int, kind: str, what: Any = None) -> int:
        self._number += 1
        heapq.heappush(self._heap, (t_us, self._number, kind, what))
        return self._number

    def run(self) -> Log:
        for fault in self.faults:
            self.at(fault.begin_us, "begin", fault)
            self.at(fault.end_us, "end", fault)
        for name in self.meters:
            self.at(START_US + round(self.rng.uniform(1, 60) * US), "sample", name)
        if self.config.load:
            self.at(START_US, "load")
        self._guard_starts()
        self._control_starts()
        end_us, heap = self.log.end_us, self._heap
        while heap and heap[0][0] <= end_us:
            self.now_us, number, kind, what = heapq.heappop(heap)
            if (kind == "tick" and number != self._tick_number) or (kind == "look" and number != self._look_number):
                continue
            self.room.to(self.now_us)
            getattr(self, "_on_" + kind)(what)
        self.now_us = end_us
        self.room.to(end_us)
        self._note(True)
        return self.log

    def _note(self, always: bool = False) -> None:
        if always or self.now_us - self._room_us >= 2 * MINUTE_US:
            self._room_us = self.now_us
            self.log.room.append((self.now_us, self.room.air_c, self.pin.level, self.pin.closed))
            if self._powered is not None:
                self._powered.to(self.now_us)
                self._powered.air_c = min(15.0, self._powered.air_c)
                self.log.powered.append((self.now_us, self._powered.air_c))

    def wire(self) -> None:
        """The contact follows its coil, unless it is welded."""
        if self.pin.level or not (self.pin.closed and "weld" in self.active):
            self.pin.closed = self.pin.level
        self.room.heats = self.pin.closed and "dead" not in self.active
        self._note(True)

    def _on_sample(self, name: str) -> None:
        meter = self.meters[name]
        jitter = self.rng.uniform(0.9, 1.1) if self.rng.random() > 0.02 else 2.0
        self.at(self.now_us + round(meter.interval_s * jitter * US), "sample", name)
        read = self._reading(name, meter)
        if read is None:
            return
        value, quality, kind = read
        t_us = self.now_us - round(self.rng.uniform(0.05, 1.9) * US)
        if self.control is None:
            return
        self.log.samples.append(Sample(t_us, name, value, kind))
        if not self.control_runs:
            self._queue.append((name, t_us, value, quality))
            return
        self.control.sample(name, t_us, value, quality, self.now_us)
        if name == "main" or self._second_counts(name, value):
            self._on_tick(None)

    def _second_counts(self, name: str, value: float) -> bool:
        """What another sensor says is looked at with the next tick, unless it decides, or comes near its limit."""
        assert self.control is not None
        main, limit_c = self.control.main, self.config.sensors[name].limit_c
        return main is None or main.name == name or (limit_c is not None and value > limit_c - 1.0)

    def _reading(self, name: str, meter: Thermometer) -> tuple[float, str | None, str] | None:
        active = self.active
        value = meter.read(self.now_us, self.room.air_c)
        if "silence" in active or "absent_both" in active:
            return None
        if name != "main":
            return value, None, "true"
        if "absent" in active:
            return None
        if "frozen" in active:
            return self._frozen_at(value), None, "frozen"
        self._last = value
        if "fallen" in active:
            outside = 0.7 * self.room.outdoors(self.now_us) + 0.3 * 12.0
            return round((outside + self.rng.gauss(0, 0.1)) / 0.0625) * 0.0625, None, "fallen"
        for lie in LIES:
            if lie in active:
                return self._lie(lie, value)
        return value, None, "true"

    def _frozen_at(self, value: float) -> float:
        self._last = value if self._last is None else self._last
        return self._last

    def _lie(self, lie: str, value: float) -> tuple[float, str | None, str]:
        if lie == "says_bad":
            return value - 10.0, self.rng.choice(("bad", "sensor_error", "uncertain")), lie
        if lie == "nan":
            return math.nan, None, lie
        if lie == "spikes":
            if self.rng.random() < 0.7:
                return value, None, "true"
            return value + self.rng.choice((-1, 1)) * self.rng.uniform(4.0, 30.0), None, lie
        if lie == "0" and abs(value) < 1.0:
            return value, None, "true"
        return float(lie), None, lie

    def _on_load(self, _: object) -> None:
        self.load_w = self.rng.choice((300.0, 600.0, 1200.0, 1900.0, 2500.0, 3500.0))
        self.log.loads.append((self.now_us, self.load_w))
        if self._powered is not None:
            self._powered.to(self.now_us)
            limit_w = self.config.load_limit_w or 0.0
            self._powered.heats = self.load_w + self.config.heater_w < 0.95 * limit_w
        self.at(self.now_us + round(self.rng.expovariate(1 / 1500.0) * US) + US, "load")
        self._soon(1.0)

    def _on_begin(self, fault: Fault) -> None:
        self.active[fault.kind] = fault
        match fault.kind:
            case "window":
                self.room.open = True
            case "clock":
                self.wall_us += self.rng.choice((-1, 1)) * round(self.rng.choice((3600, 7200, 86_400, 14 * 86_400))
                                                                 * US)
            case "control_kill":
                self._control_dies(fault.end_us)
            case "control_stop":
                self._control_stops(fault.end_us)
            case "guard_kill":
                self._guard_dies(fault.end_us)
            case "guard_stop":
                self._guard_stops()
            case "both_kill":
                self._control_dies(fault.end_us)
                self._guard_dies(min(fault.end_us, self.now_us + 8 * US))
            case "both_stop":
                self._control_stops(fault.end_us)
                self._guard_stops()
            case "reboot":
                self._control_dies(fault.end_us + round(self.rng.uniform(0, 20) * US))
                self.pin.put(False)
                self._guard_dies(fault.end_us)
        self._windows()
        self.wire()
        self._soon(1.0)

    def _on_end(self, fault: Fault) -> None:
        self.active.pop(fault.kind, None)
        if fault.kind == "window":
            self.room.open = False
        self._windows()
        self.wire()
        self._soon(1.0)

    def _windows(self) -> None:
        if self.config.window_contact and self.control is not None and self.control_runs:
            self.control.contact(self.now_us, "window" in self.active or "contact_sticks" in self.active)

    # --- control --------------------------------------------------------------------------------------------

    def _on_control(self, _: object) -> None:
        self._control_starts()

    def _control_starts(self) -> None:
        self.control = self._control_class(self.config, self.now_us, self._kept, self.config.frost_floor_c)
        self.control_runs, self._connected, self._seen = True, False, RelayState()
        self._decision, self._queue, self._alerts = None, [], set()
        self._snapshots: deque[tuple[int, Any]] = deque(maxlen=8)
        self._windows()
        self._soon(0.5)

    def _last_words(self) -> None:
        """The guard last heard control at its last second."""
        if self.keeper is not None and self._decision is not None:
            said_us = self.now_us - round(self.rng.uniform(0, 1.9) * US)
            self.keeper._lease._asked_us = max(min(self._tick_us, self.now_us), said_us)
            self._look()

    def _control_dies(self, back_us: int) -> None:
        if self.control is None:
            return
        whole = [kept for t_us, kept in self._snapshots if t_us <= self.now_us - US]
        self._kept = whole[-1] if whole else self._kept  # what was kept within its last second is lost
        self.log.deaths.append((self.now_us, back_us))
        self._last_words()
        self.control, self.control_runs, self._decision = None, False, None
        if self.keeper is not None and self.guard_runs and self.rng.random() < 0.5:
            self.keeper.gone(self.now_us)  # the socket closes at once, or its other end is held by a child
            self._look()
        self.at(back_us, "control")

    def _control_stops(self, back_us: int) -> None:
        if self.control is None or not self.control_runs:
            return
        self.log.deaths.append((self.now_us, back_us))
        self._last_words()
        self.control_runs = False
        self.at(back_us, "resume", self.control)

    def _on_resume(self, control: Control) -> None:
        if control is not self.control:
            return
        self.control_runs = True
        for name, t_us, value, quality in self._queue:
            control.sample(name, t_us, value, quality, self.now_us)
        self._queue = []
        self._windows()
        self._soon(0.01)

    def _soon(self, most_s: float) -> None:
        if self.control is not None and self.control_runs:
            self._next_tick(self.now_us + round(self.rng.uniform(0.005, most_s) * US))

    def _next_tick(self, t_us: int) -> None:
        self._tick_number = self.at(t_us, "tick")
        if self.keeper is not None and self.guard_runs and self._connected and self._decision is not None:
            self.keeper._lease._asked_us = t_us
            if self.pin.level:
                self._look()

    def _on_tick(self, _: object) -> None:
        if self.control is None or not self.control_runs:
            return
        now_us = self.now_us
        aim = self._aimed()
        self._feed()
        hears = self.keeper is not None and self.guard_runs
        if hears and self._connected:
            assert self.keeper is not None
            self._seen = self.keeper.state(now_us)  # what it would do by itself has its own event
        decision = self.control.tick(now_us, aim, self._seen)
        self._decision, self._tick_us = decision, now_us
        self.log.ticks += 1
        if self._dies:
            self._snapshots.append((now_us, self.control.to_kept()))
        fresh = hears and not self._connected
        if hears:
            assert self.keeper is not None
            self.keeper.ask(Ask(on=decision.on, sample_us=decision.sample_us,
                                sample_max_age_s=decision.sample_max_age_s, frost=decision.frost,
                                heats=decision.heats), now_us)
            self._connected = True
            if decision.on:
                self.log.rests.append((now_us, decision.sample_us or 0))
        if self.control.alerts.keys() != self._alerts:
            self.log.alerts += [(now_us, code, code in self.control.alerts)
                                for code in self.control.alerts.keys() ^ self._alerts]
            self._alerts = set(self.control.alerts)
        self._note()
        unsettled = fresh or not hears or decision.on != self._seen.on
        if self._step_s is not None:
            self._next_tick(now_us + round(self._step_s * US))
        elif unsettled:
            self._next_tick(now_us + 2 * US)
        else:
            most_us = now_us + (15 * US if self.config.load else 70 * US)
            self._next_tick(max(now_us + US // 2, min(decision.wake_us, most_us)))

    def _feed(self) -> None:
        assert self.control is not None
        if "silence" in self.active:
            return
        heats = self.room.heats
        if self.config.heater_power:
            self.control.power(self.now_us, self.config.heater_w if heats else 1.0, None)
        if self.config.load:
            self.control.load(self.now_us, self.load_w + (self.config.heater_w if heats else 0.0), None)

    def _aimed(self) -> Aim | Wanted:
        if self.now_us - self._aim_us < MINUTE_US and self._aim_us > 0:
            return self._aim
        self._aim_us = self.now_us
        if self._programme is not None:
            self._aim = self._programme.aim(self.now_us, self.wall_us + self.now_us, None)
        else:
            self._aim = [one for t_us, one in self._wanted if t_us <= self.now_us][-1]
        last = (self._aim.setpoint_c, self._aim.delta_plus_c, self._aim.level)
        if not self.log.aims or self.log.aims[-1][1:] != last:
            self.log.aims.append((self.now_us, *last))
        return self._aim

    # --- guard ----------------------------------------------------------------------------------------------

    def _on_guard(self, _: object) -> None:
        self._guard_starts()

    def _guard_starts(self) -> None:
        self.keeper = Keeper("heater", RelayHeater.duty(self.config), self.now_us, open_driver=lambda: self.pin)
        if self._lease_class is not Lease:
            self.keeper._lease = self._lease_class(RelayHeater.duty(self.config), self.now_us)
        self.guard_runs, self._connected = True, False
        self.keeper.look(self.now_us)
        self._soon(1.9)

    def _guard_dies(self, back_us: int) -> None:
        if self.keeper is None:
            return
        self.log.guard_deaths.append((self.now_us, back_us))
        self.keeper, self.guard_runs, self._connected = None, False, False
        self.at(back_us, "guard")

    def _guard_stops(self) -> None:
        if self.keeper is None or not self.guard_runs:
            return
        self.guard_runs = False
        wait_s = self.rng.uniform(10, 12) if self.control_runs else self.rng.uniform(15, 20)
        self.at(self.now_us + round(wait_s * US), "guard_killed", self.keeper)

    def _on_guard_killed(self, keeper: Keeper) -> None:
        if keeper is self.keeper and not self.guard_runs:
            self._seen = RelayState()
            self._guard_dies(self.now_us + round(self.rng.uniform(0.5, 8) * US))

    def _look(self) -> None:
        """Look again when the guard would do something by itself."""
        assert self.keeper is not None
        if self.guard_runs:
            self.keeper.look(self.now_us)
            if self.pin.level and self.keeper.due_us is not None:
                self._look_number = self.at(max(self.now_us, self.keeper.due_us), "look")

    def _on_look(self, _: object) -> None:
        if self.keeper is not None and self.guard_runs:
            self._look()
