"""A random walk over control and lease, step by step, with the invariants looked at after every step (B41, B48, B49).

No room and no physics: values, stamps, deaths and clocks are whatever the walk says. One seed is one walk; Hypothesis
drives the same machine in the tests, and shrinks what it finds."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from agent.api import PlainRelay, RelayState
from agent.guard.keeper import Keeper
from agent.guard.lease import Ask, Lease
from plugins.relay_heater.control import Control
from plugins.relay_heater.plugin import RelayHeater, RelayHeaterConfig
from plugins.relay_heater.settings import SensorConfig

from .scenarios import Wanted

US = 1_000_000
HOUR_US = 3600 * US
BOGUS = (85.0, -127.0, float("nan"), float("inf"), None, True, "21", 1e9, 0.0)
CONFIG = RelayHeaterConfig(
    relay=PlainRelay(line="sim:/x"), frost_duty_min_per_h=5.0, load="house/active_power_w", load_limit_w=3000.0,
    sensors={"main": SensorConfig(source="a/b", interval_s=60.0), "second": SensorConfig(source="a/c", limit_c=26.0)})


class Machine:
    """Raises AssertionError at the step that breaks an invariant."""

    OPS = ("tick", "tick", "tick", "tick", "sample", "sample", "sample", "bogus", "wait", "long", "aim", "load",
           "window", "kill", "stop", "guard", "hang")

    def __init__(self, *, control: type[Control] = Control, lease: type[Lease] = Lease) -> None:
        self.now_us = 5000 * US
        self._control_class, self._lease_class = control, lease
        self.on = False
        self.edges: deque[tuple[int, bool]] = deque(maxlen=64)
        self.starts: deque[int] = deque()
        self.off_us: int | None = None
        self.on_us = 0
        self.good_until_us = 0
        """Max age of the best valid sample that control has been given."""
        self.frost: deque[tuple[int, int]] = deque()
        self.bogus: set[int] = set()
        self.fresh = False
        """A valid sample came since both last started."""
        self.said_us = self.now_us
        self.c = 18.0
        self.aim = Wanted(20.0)
        self.safety_us = -HOUR_US
        """When something last happened that lets OFF come early."""
        self.steps = 0
        self.kept: Any = None
        self._older: Any = None
        self._sensor_us = {"main": 0, "second": 0}
        self.seen = RelayState()
        self.connected = False
        self._guard_starts()
        self._control_starts()

    # --- what drives it -------------------------------------------------------------------------------------

    def step(self, op: str, x: float) -> None:
        """``x``: 0 to 1, whatever the operation makes of it."""
        self.steps += 1
        getattr(self, "_" + op)(x)
        self.check()

    def _tick(self, x: float) -> None:
        self._pass(round((0.5 + 1.5 * x) * US))
        if self.connected:
            self.seen = self.keeper.state(self.now_us)
        decision = self.control.tick(self.now_us, self.aim, self.seen)
        assert not (decision.on and decision.sample_us in self.bogus), "a decision rests on a bogus sample"
        self.frost_asked = decision.frost
        self.keeper.ask(Ask(on=decision.on, sample_us=decision.sample_us, sample_max_age_s=decision.sample_max_age_s,
                            frost=decision.frost, heats=decision.heats), self.now_us)
        self.connected, self.said_us = True, self.now_us
        self._older, self.kept = self.kept, self.control.to_kept()

    def _sample(self, x: float) -> None:
        """A few in a row, as a sensor sends them, each followed by a tick."""
        name = "main" if x < 0.8 else "second"
        self.c += (x * 37 % 1 - 0.5) * (0.6 if x * 91 % 1 < 0.95 else 12.0)
        self.c = min(30.0, max(5.0, self.c))
        for number in range(1 + int(x * 53 % 4)):
            self._pass(round((20 + 40 * (x * 17 % 1)) * US))
            self._give(name, self.now_us - US // 10, self.c + 0.0625 * (number % 2))
            self._tick(x)

    def _give(self, name: str, t_us: int, value: float) -> None:
        if t_us <= self._sensor_us[name]:
            return
        self._sensor_us[name] = t_us
        self.control.sample(name, t_us, value, None, self.now_us)
        self.good_until_us = max(self.good_until_us, t_us + 120 * US)
        self.fresh = True

    def _bogus(self, x: float) -> None:
        value = BOGUS[int(x * 1000) % len(BOGUS)]
        if value == 0.0 and self.c < 6.0:
            return
        t_us = self.now_us - int(x * 1e6)
        if t_us > self._sensor_us["main"]:
            self._sensor_us["main"] = t_us
            self.bogus.add(t_us)
            self.control.sample("main", t_us, value, "bad" if x < 0.2 and value != 0.0 else None, self.now_us)
            self.safety_us = self.now_us + 200 * US

    def _wait(self, x: float) -> None:
        """Nobody ticks: up to a minute."""
        self._pass(round(60 * x * US))

    def _long(self, x: float) -> None:
        """Control lives and hears nothing, for up to three hours."""
        end_us = self.now_us + round(3 * HOUR_US * x ** 4)
        while self.now_us < end_us:
            self._pass(round(min(8.0, 1 + (end_us - self.now_us) / US / 40) * US))
            self._tick(0.2)
            self.check()

    def _aim(self, x: float) -> None:
        self.aim = Wanted(7.0, "off") if x < 0.05 else Wanted(12.0 + 12.0 * x)
        if self.aim.level == "off":
            self.safety_us = self.now_us + 10 * US

    def _load(self, x: float) -> None:
        self.control.load(self.now_us, 5000.0 * x, None)
        self.safety_us = self.now_us + 60 * US

    def _window(self, x: float) -> None:
        self.control.contact(self.now_us, x < 0.3)

    def _kill(self, x: float) -> None:
        """Dead for up to 100 s. What was kept within its last second is lost."""
        self.kept = self._older if x < 0.3 else self.kept
        self.safety_us = self.now_us + round((100 * x + 40) * US)
        if x < 0.5:
            self.keeper.gone(self.now_us)
        self._pass(round(100 * x * US))
        self._control_starts()

    def _stop(self, x: float) -> None:
        self._pass(round(300 * x * x * US))

    def _guard(self, x: float) -> None:
        """The guard is killed and comes back within 8 s."""
        level, gone_us = self.on, round((0.2 + 7.8 * x) * US)
        self.now_us += gone_us
        assert level == self.on
        self._guard_starts()

    def _hang(self, x: float) -> None:
        """Both are gone."""
        self._kill(x / 2)
        self._guard(x)

    # --- processes ------------------------------------------------------------------------------------------

    def _control_starts(self) -> None:
        self.control = self._control_class(CONFIG, self.now_us, self.kept, CONFIG.frost_floor_c)
        self.seen, self.connected, self.fresh = RelayState(), False, False
        self.frost_asked = False

    def _guard_starts(self) -> None:
        duty = RelayHeater.duty(CONFIG)
        self.keeper = Keeper("x", duty, self.now_us, open_driver=lambda: self)
        self.keeper._lease = self._lease_class(duty, self.now_us)
        self.connected, self.fresh = False, False
        self.safety_us = self.now_us + 10 * US
        self.keeper.look(self.now_us)

    def _pass(self, length_us: int) -> None:
        """Time goes on; the guard looks when it is due."""
        end_us = self.now_us + length_us
        while self.keeper.due_us is not None and self.on and self.keeper.due_us <= end_us:
            self.now_us = max(self.now_us, self.keeper.due_us)
            self.keeper.look(self.now_us)
        self.now_us = end_us

    # --- the pin --------------------------------------------------------------------------------------------

    has_probe = False

    def put(self, on: bool) -> None:
        if on == self.on:
            return
        self.on = on
        now_us = self.now_us
        self.edges.append((now_us, on))
        if on:
            assert self.off_us is None or now_us - self.off_us >= 180 * US, "OFF for less than 180 s"
            while self.starts and self.starts[0] <= now_us - HOUR_US:
                self.starts.popleft()
            self.starts.append(now_us)
            assert len(self.starts) <= 6, f"{len(self.starts)} starts in an hour"
            assert self.fresh or self.frost_asked, "ON without a fresh sample after a restart"
            self.on_us = now_us
        else:
            self.off_us = now_us
            lost = now_us > min(self._sensor_us.values()) + 120 * US or now_us - self.said_us >= 9 * US
            assert now_us - self.on_us >= 180 * US or lost or now_us <= self.safety_us \
                or self.control.sensors["main"].frozen or self._unbelieved() or self._hot(), \
                "ON for less than 180 s, and not by safety"

    def _unbelieved(self) -> bool:
        """Samples came, but none that agrees with the ones before: the last good one of every sensor ran out."""
        return all(one.lost(self.now_us) for one in self.control.sensors.values())

    def _hot(self) -> bool:
        return any(one.value_c is not None and one.value_c >= min(32.0, one.config.limit_c or 32.0)
                   for one in self.control.sensors.values())

    def contact(self) -> None:
        return None

    def close(self) -> None:
        return

    def check(self) -> None:
        if not self.on:
            return
        assert self.now_us - self.on_us <= 4 * HOUR_US, "ON for more than 4 h"
        assert self.now_us - self.said_us <= 30 * US, "ON after control fell silent"
        blind_us = max(self.on_us, self.good_until_us + 120 * US)
        if self.now_us > blind_us:
            while self.frost and self.frost[0][1] < self.now_us - HOUR_US:
                self.frost.popleft()
            if self.frost and self.frost[-1][0] >= self.on_us:
                self.frost[-1] = (self.frost[-1][0], self.now_us)
            else:
                self.frost.append((blind_us, self.now_us))
            used = sum(end - max(begin, self.now_us - HOUR_US) for begin, end in self.frost)
            assert used <= 300 * US, f"{used / US:.0f} s of ON without a sample in an hour"


def drawn_op(rng: random.Random) -> str:
    """Time, samples and ticks most of the time."""
    op = rng.choice(Machine.OPS)
    return "sample" if op in ("kill", "stop", "guard", "hang", "long") and rng.random() < 0.7 else op


def walk(seed: int, steps: int, **mutant: Any) -> int:
    """Raises AssertionError with seed and step."""
    rng = random.Random(seed)
    machine = Machine(**mutant)
    while machine.steps < steps:
        op = drawn_op(rng)
        try:
            machine.step(op, rng.random())
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, step {machine.steps} ({op}): {error}") from error
    return machine.steps
