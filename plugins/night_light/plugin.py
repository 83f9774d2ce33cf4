"""Bus readings to a lamp: listens, asks guard for what :mod:`.decide` wants, says what is so. Thin."""

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
    Relay,
    RelayIo,
    RelayState,
    Subscription,
    Value,
    property_place,
)

from .decide import Lamp, Wish
from .modes import DAY_US, US, WORDS, parsed
from .properties import properties
from .settings import NightLightConfig

TICK_S = 0.5
FIRST_WORD_S = 10.0
"""Nothing is asked of the relay before guard has said where it is, for so long."""
BY_HAND = "moved by hand"
"""Guard's word for a contact that changed long after its own pulse."""


class NightLightIo(BusIo, RelayIo, Protocol): ...


class NightLight(Plugin, name="night_light"):
    """A lamp that is on while it is dark."""

    title = "Night light"
    Config = NightLightConfig
    actuator = True

    def __init__(self, config: NightLightConfig) -> None:
        super().__init__(config)
        self._light: Lamp | None = None
        self._place = property_place(config.sensor) if config.sensor else None
        self._wish: bool | None = None
        self._insist = False
        self._due_us = 0
        self._told: dict[str, Value] = {}
        self._disagrees = False
        self._trouble = ""
        self._degraded: str | None = None

    def declare(self) -> tuple[Property, ...]:
        return properties(self.config)

    @classmethod
    def duty(cls, config: NightLightConfig) -> Duty:
        return Duty(kind="hold")

    @classmethod
    def hears(cls, config: NightLightConfig) -> list[str]:
        return [property_place(config.sensor).topic] if config.sensor else []

    # --- life -------------------------------------------------------------------------------------------------

    def run(self, io: NightLightIo) -> Iterator[Reading]:  # type: ignore[override]  # the runner's Io has both
        light = self._light = Lamp(self.config, io.clock.boottime_us())
        light.restore(io.kept.get("light"), io.clock.boottime_us())
        wish = io.kept.get("wish")
        self._wish = wish if isinstance(wish, bool) else None
        relay = io.relay()
        bus = io.subscribe(*self.hears(self.config))
        began_us, self._due_us = io.clock.boottime_us(), 0
        try:
            while not io.stopping:
                self._listen(io, bus, light)
                now_us, wall_us = io.clock.boottime_us(), io.clock.wall_us()
                state = relay.state
                if state.on is None and now_us - began_us < FIRST_WORD_S * US:
                    continue
                self._by_hand(io, light, state, now_us, wall_us)
                wish = light.decide(now_us, wall_us)
                state = self._ask(relay, wish, state)
                if (lamp := self._is(state)) is not None:
                    light.lamp(lamp, now_us)
                self._keep(io, light)
                self._warn(io, light, state, now_us, wall_us)
                yield from self._readings(light, wish, state, now_us, wall_us)
        finally:
            relay.close()
            bus.close()

    def _listen(self, io: Io, bus: Subscription, light: Lamp) -> None:
        """Everything that comes within a tick; commands are carried out meanwhile."""
        until_s = io.clock.monotonic_s() + TICK_S
        while not io.stopping and (left_s := until_s - io.clock.monotonic_s()) > 0:
            heard = bus.get(left_s)
            if heard is not None and self._place is not None and self._place.is_of(heard):
                light.light(heard.value, heard.quality, heard.t_us)

    def _by_hand(self, io: Io, light: Lamp, state: RelayState, now_us: int, wall_us: int | None) -> None:
        """Somebody has moved the relay itself: that is ON or OFF as if it had been asked for here."""
        if state.why != BY_HAND or state.on is None or state.on == self._wish:
            return
        self._wish = state.on
        light.force("on" if state.on else "off", "by hand at the relay", now_us, wall_us)
        io.log.info("the relay was moved by hand: %s", light.mode.word)

    def _ask(self, relay: Relay, wish: Wish, state: RelayState) -> RelayState:
        if wish.on is not None:
            self._wish = wish.on
        if self._wish is None:
            return state  # nobody knows anything: it stays where it is
        insist, self._insist = self._insist, False
        return relay.ask(self._wish, insist=insist, why=wish.why)

    @staticmethod
    def _is(state: RelayState) -> bool | None:
        """The contact's own word where there is one."""
        return state.on if state.contact is None else state.contact

    def _keep(self, io: Io, light: Lamp) -> None:
        kept = light.kept()
        if io.kept.get("light") != kept:
            io.kept["light"] = kept
        if io.kept.get("wish") != self._wish:
            io.kept["wish"] = self._wish

    # --- what is told -----------------------------------------------------------------------------------------

    def _warn(self, io: Io, light: Lamp, state: RelayState, now_us: int, wall_us: int | None) -> None:
        disagrees = light.disagrees(now_us, wall_us)
        if (disagrees is not None) != self._disagrees:
            self._disagrees = disagrees is not None
            io.alert(f"sun-disagrees-{io.instance}", disagrees)  # another lamp has its own
        if state.fault != self._trouble:
            self._trouble = state.fault
            io.alert(f"relay-{io.instance}", state.fault or None)
        config: NightLightConfig = self.config
        deaf = bool(config.sensor) and not light.fresh(now_us) and (
            now_us - light.began_us > config.sensor_max_age_s * US)
        reason = state.fault or None
        if deaf and reason is None:
            reason = f"{config.sensor} gives no good value" + (
                ": the sun decides" if config.latitude is not None
                else ", and no latitude is set: the lamp stays as it is")
        if reason != self._degraded:
            self._degraded = reason
            io.degraded(reason)

    @staticmethod
    def _why(wish: Wish, state: RelayState) -> str:
        """Guard's reason where it does not do what is wanted."""
        if state.on is None:
            return f"{wish.why}; guard has said nothing yet"
        return wish.why if wish.on in (None, state.on) else f"{wish.why}; guard: {state.why}"

    def _readings(self, light: Lamp, wish: Wish, state: RelayState, now_us: int, wall_us: int | None
                  ) -> Iterator[Reading]:
        """What has changed; everything each ``interval_s``. A value of None is one that there is not now."""
        fresh = light.fresh(now_us)
        sun = self.config.latitude is not None and wall_us is not None and fresh
        values: dict[str, Value] = {
            "lamp": self._is(state), "contact": state.contact, "mode": light.mode.word,
            "until": light.mode.until(now_us, wall_us), "why": self._why(wish, state), "source": wish.source,
            "sun_disagrees": self._disagrees if sun else None}
        slow: dict[str, Value] = {
            "ambient_light": round(light.judge.ambient, 3) if fresh and light.judge.ambient is not None else None,
            "rejected_values": light.rejected}
        if due := now_us >= self._due_us:
            self._due_us = now_us + round(self.config.interval_s * US)
            values |= slow
        for name, value in values.items():
            if value is not None and (due or value != self._told.get(name)):
                yield Reading(name, value, now_us)
        self._told = values

    # --- commands ---------------------------------------------------------------------------------------------

    def command(self, io: Io, property_name: str, value: Value) -> Value:
        light = self._light
        if light is None:
            raise CommandRefused("the night light has not started yet: send it again")
        now_us, wall_us = io.clock.boottime_us(), io.clock.wall_us()
        if property_name == "until":
            return self._until(light, value, now_us, wall_us)
        if value not in WORDS:
            raise CommandRefused(f"mode: {str(value)[:40]!r}: expected auto, on or off")
        light.force(value, "as asked for", now_us, wall_us)
        self._insist = value != "auto"
        return value

    @staticmethod
    def _until(light: Lamp, value: Value, now_us: int, wall_us: int | None) -> Value:
        if light.mode.word == "auto":
            raise CommandRefused("until: the mode is auto, which has no end; set mode to on or off first")
        if wall_us is None:
            raise CommandRefused("until: this device does not know the time yet; the mode ends by itself")
        try:
            for_us = parsed(str(value)) - wall_us
        except ValueError:
            raise CommandRefused(f"until: {str(value)[:40]!r}: expected a time as 2026-11-26T22:30:00Z") from None
        if not 0 < for_us <= DAY_US:
            raise CommandRefused(f"until: {value}: expected a time within the next 24 h")
        light.mode.force(light.mode.word, light.mode.by, now_us, wall_us, for_us)
        return light.mode.until(now_us, wall_us)

    # --- simulation -------------------------------------------------------------------------------------------

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)
