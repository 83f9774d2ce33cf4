"""Bus readings and commands to a valve: listens, asks guard for what :mod:`.valve` wants, says what is so. Thin."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol

from agent.api import (
    BusIo,
    CommandRefused,
    Duty,
    GpioIo,
    Io,
    MessageStream,
    Plugin,
    Property,
    Reading,
    Relay,
    RelayIo,
    RelayState,
    Subscription,
    Value,
)

from .properties import properties
from .settings import LEAKS, WaterValveConfig
from .valve import US, Refused, Valve

TICK_S = 0.5
FIRST_WORD_S = 10.0
"""Nothing is asked of the relay before guard has said where it is, for so long."""
BY_HAND = "moved by hand"
"""Guard's word for a contact that changed long after its own pulse."""


class ValveIo(BusIo, RelayIo, GpioIo, Protocol): ...


class WaterValve(Plugin, name="water_valve"):
    """The main water valve."""

    title = "Water valve"
    Config = WaterValveConfig
    actuator = True

    def __init__(self, config: WaterValveConfig) -> None:
        super().__init__(config)
        self._valve: Valve | None = None
        self._asked: bool | None = None
        self._insist = False
        self._due_us = 0
        self._told: dict[str, Value] = {}
        self._alerts: dict[str, str | None] = {}
        self._degraded: str | None = None

    def declare(self) -> tuple[Property, ...]:
        return properties(self.config.interval_s)

    @classmethod
    def duty(cls, config: WaterValveConfig) -> Duty:
        return Duty(kind="hold")

    @classmethod
    def hears(cls, config: WaterValveConfig) -> list[str]:
        return [config.meter.topic]

    # --- life -------------------------------------------------------------------------------------------------

    def run(self, io: ValveIo) -> Iterator[Reading]:  # type: ignore[override]  # the runner's Io has all three
        config: WaterValveConfig = self.config
        with ExitStack() as stack:
            relay = io.relay()
            stack.callback(relay.close)
            bus = io.subscribe(*self.hears(config))
            stack.callback(bus.close)
            end = None
            if config.end_line is not None:
                end = io.edges(config.end_line, pull=config.end_pull, active_low=config.end_active_low)
                stack.callback(end.close)
            valve = self._start(io, relay)
            while not io.stopping:
                self._listen(io, bus, end, valve)
                now_us, wall_us = io.clock.boottime_us(), io.clock.wall_us()
                local = config.local(wall_us)
                state = relay.state
                if valve.closed is None and state.on is not None:
                    valve.closed = self._closed(state)
                self._by_hand(io, valve, state, now_us)
                valve.tick(now_us, local)
                wants = valve.wants_closed(now_us)
                if wants is not None:
                    self._asked = wants
                    insist, self._insist = self._insist, False
                    state = relay.ask(self._relay_on(wants), insist=insist, why=self._why(valve, now_us))
                kept = valve.kept(now_us, wall_us)
                if io.kept.get("valve") != kept:
                    io.kept["valve"] = kept
                self._warn(io, valve, state, now_us)
                yield from self._readings(valve, state, now_us)

    def _start(self, io: Io, relay: Relay) -> Valve:
        """Where it was left, by what was kept and by guard's word; guard may need a moment to start."""
        began_us = io.clock.boottime_us()
        while relay.state.on is None and not io.stopping and io.clock.boottime_us() - began_us < FIRST_WORD_S * US:
            io.clock.sleep(0.2)
        valve = Valve(self.config, io.clock.boottime_us())
        state = relay.state
        kept = io.kept.get("valve")
        if state.why == BY_HAND:  # while this plugin was away: the hand was right
            kept = None
        valve.restore(kept, self._closed(state), io.clock.boottime_us(), io.clock.wall_us())
        self._valve = valve
        return valve

    def _listen(self, io: Io, bus: Subscription, end: MessageStream | None, valve: Valve) -> None:
        """Everything that comes within a tick; a leak is not kept waiting."""
        until_s = io.clock.monotonic_s() + TICK_S
        if end is not None:
            while (edge := end.read(0)) is not None:
                valve.stuck.end(edge.data == b"1")
        meter = self.config.meter
        while not io.stopping and (left_s := until_s - io.clock.monotonic_s()) > 0:
            heard = bus.get(left_s)
            if heard is None or not meter.is_of(heard):
                continue
            valve.heard(heard.property, heard.value, heard.quality, heard.t_us)
            if heard.property == "leak":
                return

    def _by_hand(self, io: Io, valve: Valve, state: RelayState, now_us: int) -> None:
        closed = self._closed(state)
        if state.why != BY_HAND or closed is None or closed == self._asked:
            return
        stays = valve.by_hand(closed, now_us, self.config.local(io.clock.wall_us()))
        self._insist = not stays
        io.log.warning("the relay was moved by hand: %s%s", "closed" if closed else "open",
                       "" if stays else ", and it is closed again, because a leak is reported")

    def _relay_on(self, closed: bool) -> bool:
        config: WaterValveConfig = self.config
        return closed == (config.normally == "open")

    def _closed(self, state: RelayState) -> bool | None:
        return None if state.on is None else self._relay_on(state.on)  # the same either way round

    # --- what is told -----------------------------------------------------------------------------------------

    def _why(self, valve: Valve, now_us: int) -> str:
        if valve.closed is None:
            return "nobody knows where it was left: it is not moved"
        if valve.exercise.active:
            return "closed for a moment, so that it does not seize"
        leak = valve.leak(now_us)
        if not valve.closed:
            return f"open{_by(valve.by)}" + (f", although {leak} is reported" if leak is not None else "")
        still = f", {leak} is still reported" if leak is not None else ""
        by = f", because {self.config.water} reported {valve.by}" if valve.by in LEAKS else _by(valve.by)
        return f"closed{by}{still}; only a person opens it"

    def _position(self, valve: Valve, state: RelayState, now_us: int) -> str:
        wants = valve.wants_closed(now_us)
        if wants is None or state.on is None:
            return "unknown"
        if valve.stuck.reason is not None:
            return "stuck"
        if valve.stuck.travelling(now_us):
            return "closing" if wants else "opening"
        return "closed" if wants else "open"

    def _warn(self, io: Io, valve: Valve, state: RelayState, now_us: int) -> None:
        name = io.instance
        stuck = valve.stuck.reason
        told = "closed" if valve.wants_closed(now_us) else "open"
        self._alert(io, "stuck", stuck and (
            f"E_VALVE_STUCK the valve {name} was told to be {told}, and {stuck}; kept: it is still told so, nothing "
            "else is tried; do: close or open the stopcock by hand, then look at the valve"))
        by_leak = valve.closed and valve.by in LEAKS
        self._alert(io, "closed", f"{name} is closed, because {self.config.water} reported {valve.by}; open it when "
                                  "the leak is mended" if by_leak else None)
        self._alert(io, "relay", state.fault or None)
        reason = state.fault or None
        if reason is None and valve.silent(now_us):
            reason = (f"{self.config.water} has said nothing for {self.config.meter_max_age_s / 60:.0f} min: a burst "
                      "would not be seen, the valve stays where it is")
        if reason != self._degraded:
            self._degraded = reason
            io.degraded(reason)

    def _alert(self, io: Io, alert_id: str, text: str | None) -> None:
        """Raised once, for the litres in the text grow; a fault of the relay may become another one."""
        before = self._alerts.get(alert_id)
        if (text is None) != (before is None) or (alert_id == "relay" and text != before):
            io.alert(f"{alert_id}-{io.instance}", text)  # another one on this device has its own
        self._alerts[alert_id] = text

    def _readings(self, valve: Valve, state: RelayState, now_us: int) -> Iterator[Reading]:
        """What has changed; everything each ``interval_s``. A value of None is one that there is not now."""
        left_us = max(0, (valve.forced_until_us or 0) - now_us)
        values: dict[str, Value] = {
            "valve": None if valve.closed is None else not valve.closed,
            "position": self._position(valve, state, now_us),
            "force_open_min": math.ceil(left_us / 60 / US), "stuck": valve.stuck.reason is not None,
            "why": self._why(valve, now_us) + ("" if state.on is not None else "; guard has said nothing yet"),
            "meter_silent": valve.silent(now_us), "contact": state.contact, "rejected_values": valve.rejected}
        due = now_us >= self._due_us
        if due:
            self._due_us = now_us + round(self.config.interval_s * US)
        for name, value in values.items():
            if value is not None and (due or value != self._told.get(name)):
                yield Reading(name, value, now_us)
        self._told = values

    # --- commands ---------------------------------------------------------------------------------------------

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        valve = self._valve
        if valve is None:
            raise CommandRefused("the valve has not started yet: send it again")
        now_us = io.clock.boottime_us()
        local = self.config.local(io.clock.wall_us())
        try:
            if property_name == "force_open_min":
                if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                    raise CommandRefused(f"force_open_min: {str(value)[:40]!r}: expected minutes")
                valve.force_open(value, now_us, local)
                return math.ceil(value)
            if not isinstance(value, bool):
                raise CommandRefused(f"valve: {str(value)[:40]!r}: expected true (open) or false (closed)")
            if value:
                valve.open(now_us, local)
            else:
                valve.close("a person", local)
            self._insist = True
        except Refused as error:
            raise CommandRefused(str(error)) from None
        return value

    # --- simulation -------------------------------------------------------------------------------------------

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)


def _by(by: str) -> str:
    return f" by {by}" if by.startswith("a person") else f", {by}"
