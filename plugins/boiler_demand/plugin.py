"""Heaters' words to one relay: listens, asks guard for what :mod:`.demand` wants, says what is so. Thin."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Protocol

from agent.api import (
    BusIo,
    CommandRefused,
    Duty,
    Io,
    Plugin,
    Property,
    Reading,
    RelayIo,
    RelayState,
    Subscription,
    Value,
)

from .demand import US, Demand, Wish
from .proof import Proof
from .properties import properties
from .settings import BoilerDemandConfig

TICK_S = 1.0


class BoilerIo(BusIo, RelayIo, Protocol): ...


class BoilerDemand(Plugin, name="boiler_demand"):
    """The demand contact of a central boiler."""

    title = "Boiler demand"
    Config = BoilerDemandConfig
    actuator = True

    def __init__(self, config: BoilerDemandConfig) -> None:
        super().__init__(config)
        self._proof = Proof(config)
        self._due_us = 0
        self._told: dict[str, Value] = {}
        self._alerts: dict[str, str | None] = {}
        self._degraded: str | None = None

    def declare(self) -> tuple[Property, ...]:
        return properties(self.config)

    @classmethod
    def duty(cls, config: BoilerDemandConfig) -> Duty:
        return Duty(kind="heat")

    @classmethod
    def hears(cls, config: BoilerDemandConfig) -> list[str]:
        return config.topics

    # --- life -------------------------------------------------------------------------------------------------

    def run(self, io: BoilerIo) -> Iterator[Reading]:  # type: ignore[override]  # the runner's Io has both
        config: BoilerDemandConfig = self.config
        demand = Demand(config, io.clock.boottime_us())
        demand.restore(io.kept.get("starts"), io.clock.boottime_us())
        bus = io.subscribe(*self.hears(config))
        relay = io.relay()
        began_us = io.clock.boottime_us()
        try:
            while not io.stopping:
                self._listen(io, bus, demand)
                now_us = io.clock.boottime_us()
                if relay.state.on is not None:
                    demand.is_(relay.state.on, now_us)
                wish = demand.decide(now_us)
                state = relay.ask(wish.on, sample_us=wish.sample_us, sample_max_age_s=config.demand_max_age_s,
                                  heats=self._proof.heats is True, why=wish.why)
                if state.on is not None:
                    demand.is_(state.on, now_us)
                    self._proof.running(state.on, now_us)
                if io.kept.get("starts", []) != demand.starts:
                    io.kept["starts"] = demand.starts
                self._warn(io, demand, wish, state, now_us, began_us)
                yield from self._readings(demand, wish, state, now_us)
        finally:
            relay.close()
            bus.close()

    def _listen(self, io: Io, bus: Subscription, demand: Demand) -> None:
        """Everything that comes within a tick; commands are carried out meanwhile."""
        heaters, supply = self.config.places, self.config.supply_place
        until_s = io.clock.monotonic_s() + TICK_S
        while not io.stopping and (left_s := until_s - io.clock.monotonic_s()) > 0:
            heard = bus.get(left_s)
            if heard is None:
                continue
            node = heard.device, heard.node
            if (*node, heard.property) == supply:
                self._proof.supply(heard.value, heard.quality, heard.t_us)
            if node not in heaters:
                continue
            if heard.property == "heat_demand":
                demand.heard(node, heard.value, heard.quality, heard.t_us, io.clock.boottime_us())
            elif heard.property == "room_temperature_c":
                self._proof.room(node, heard.value, heard.quality, heard.t_us)

    # --- what is told -----------------------------------------------------------------------------------------

    def _warn(self, io: Io, demand: Demand, wish: Wish, state: RelayState, now_us: int, began_us: int) -> None:
        wrong = self._proof.look(now_us)
        self._alert(io, "no-response", wrong and (
            f"E_BOILER_COLD {io.instance} is ON, and {wrong}; kept: it goes on as long as it is allowed to, at "
            "most 4 h; do: look at the boiler, its water pressure and its pump"))
        self._alert(io, "relay", state.fault or None)
        silent = demand.silent(now_us)
        waited = now_us - began_us > self.config.demand_max_age_s * US
        reason = state.fault or (
            f"{', '.join(silent)} silent: what they want is not known" if silent and waited else None)
        if reason != self._degraded:
            self._degraded = reason
            io.degraded(reason)

    def _alert(self, io: Io, alert_id: str, text: str | None) -> None:
        if text != self._alerts.get(alert_id):
            io.alert(f"{alert_id}-{io.instance}", text)  # another one on this device has its own
        self._alerts[alert_id] = text

    @staticmethod
    def _why(wish: Wish, state: RelayState) -> str:
        """Guard's reason where it does not do what is wanted."""
        if state.on is None:
            return f"{wish.why}; guard has said nothing yet"
        return wish.why if state.on == wish.on else f"{wish.why}; guard: {state.why}"

    def _readings(self, demand: Demand, wish: Wish, state: RelayState, now_us: int) -> Iterator[Reading]:
        """What has changed; everything each ``interval_s``. A value of None is one that there is not now."""
        asking = demand.asking(now_us)
        values: dict[str, Value] = {
            "boiler": state.on, "phase": wish.phase, "heaters_asking": len(asking),
            "heaters_silent": len(demand.silent(now_us)), "why": self._why(wish, state),
            "heats": self._proof.heats, "contact": state.contact, "rejected_values": demand.rejected}
        due = now_us >= self._due_us
        if due:
            self._due_us = now_us + round(self.config.interval_s * US)
        for name, value in values.items():
            if value is not None and (due or value != self._told.get(name)):
                yield Reading(name, value, now_us)
        self._told = values

    # --- commands ---------------------------------------------------------------------------------------------

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        """``heats``: a person has seen that it heats (or that it does not)."""
        if not isinstance(value, bool):
            raise CommandRefused(f"heats: {str(value)[:40]!r}: expected true or false")
        self._proof.heats = value
        return value

    # --- simulation -------------------------------------------------------------------------------------------

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)
