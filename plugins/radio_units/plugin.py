"""Gateway to readings: opens the link, watches for silence, carries out commands. The rest is in ``conversation``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

from agent.api import CommandRefused, Io, Plugin, RetryLater, Value, Yielded
from firmware_bridges.muta import OPERATOR, Update, to_unit

from .conversation import ANSWER_S, Conversation, now_s
from .labels import told, wanted
from .link import open_link
from .network import Network, RadioUnit
from .properties import PROPERTIES
from .settings import RadioUnitsConfig
from .writes import same

READ_S = 0.5
#: After so many resets without a word the port is opened anew.
RESETS = 3
#: Tries of a command to a unit that is awake, and the wait for its read-back; a command is worth 10 s.
AWAKE_TRIES, AWAKE_WAIT_S = 3, 1.2


class RadioUnits(Plugin, name="radio_units"):
    """Temperature, light, battery and settings of radio units that somebody named; nobody else gets in."""

    title = "Radio units"
    Config = RadioUnitsConfig
    properties = PROPERTIES
    interval_s = 300.0

    def __init__(self, config: RadioUnitsConfig) -> None:
        super().__init__(config)
        units: list[RadioUnit] = []
        fixed: dict[bytes, str] = {}
        for unit_id, unit in config.units.items():
            uid = unit.uid.lower()
            title = unit.title or unit_id.replace("-", " ").capitalize()
            units.append(RadioUnit(unit_id, uid, title, unit.defaults, config.battery_low_v))
            if unit.address is not None:
                fixed[bytes.fromhex(unit.address)[::-1]] = uid
        self._network = Network(units, fixed, None if not config.accept_unknown else lambda unit_id, uid: RadioUnit(
            unit_id, uid, unit_id.replace("-", " ").capitalize(), {}, config.battery_low_v))
        self._talk = Conversation(config, self._network)
        self._restored = False
        self._told_s = float("-inf")
        self._told_silent = 0
        self._noisy = False

    # --- life ---------------------------------------------------------------------------------------------------

    def run(self, io: Io) -> Iterator[Yielded]:
        config: RadioUnitsConfig = self.config
        if not self._restored:
            self._network.restore(io.kept.get("network"))
            self._restored = True
            for unit in self._network.units.values():
                unit.heard_s = now_s(io)  # silent since the start at the earliest
        talk = self._talk
        talk.link = link = open_link(io, config.link, config.port, config.baudrate)
        talk.heard_s, talk.resets = now_s(io), 0
        try:
            if not self._network.key:
                talk.reset(io)
            while not io.stopping:
                talk.pump(io, READ_S)
                self._watch(io)
                yield from self._drain()
            for item in link.finish():
                talk.take(io, item)
            yield from self._drain()
        except RetryLater:
            yield from self._drain()
            raise
        finally:
            talk.link = None
            link.close()

    def _drain(self) -> Iterator[Yielded]:
        while self._talk.out:
            yield self._talk.out.popleft()

    # --- what does not come ---------------------------------------------------------------------------------------

    def _watch(self, io: Io) -> None:
        now, config, talk = now_s(io), self.config, self._talk
        for unit in self._network.units.values():
            if unit.heard_s is not None and not unit.silent and now - unit.heard_s > config.stale_after_s:
                unit.silent = True
                talk.declare(unit)
                talk.say(io, "heard", False, unit)
                io.alert(f"stale-{unit.id}", f"{unit.id}: nothing heard for {config.stale_after_s / 60:.0f} min: check "
                         "its battery, its distance and the gateway")
        silent = sum(unit.silent for unit in self._network.units.values())
        if now - self._told_s >= self.interval_s or silent != self._told_silent or (talk.changed and not talk.out):
            self._told_s, self._told_silent = now, silent
            for name, value in (("units_heard", len(self._network.units) - silent), ("units_silent", silent),
                                ("bad_frames", talk.trust.bad)):
                talk.say(io, name, value)
            if talk.trust.good:
                talk.say(io, "link_quality_pct", talk.trust.quality_pct)
        talk.changed = False
        noisy = talk.trust.noisy(now)
        if noisy != self._noisy:
            self._noisy = noisy
            io.degraded("damaged frames on the line: a value counts once it came again" if noisy else None)
        if now - max(talk.heard_s, talk.asked_s) > self._patience_s():
            if talk.resets >= RESETS:
                raise RetryLater(f"{config.port}: the operator says nothing, not even after {talk.resets} resets: "
                                 "unplug it and plug it in again")
            if not talk.resets:
                talk.idle = min(talk.idle + 1, 5)
            talk.reset(io)

    def _patience_s(self) -> float:
        """How long the operator may say nothing. A reset throws everybody out: those that helped nobody grow rare."""
        if self._talk.resets:
            return ANSWER_S
        periods = (float(known.field.value) * 60 for unit in self._network.units.values()
                   for label, known in unit.known.items() if label == "UpF")
        return max(float(self.config.stale_after_s), 3 * max(periods, default=0.0)) * 2.0**self._talk.idle

    # --- commands -------------------------------------------------------------------------------------------------

    def node_command(self, io: Io, node: str, property_name: str, value: Value) -> Value:
        unit = self._network.by_id.get(node)
        known = unit.by_property(property_name) if unit else None
        if unit is None or known is None or not known.field.writable:
            raise CommandRefused(f"{node} has no writable {property_name} (or has not reported since the start)")
        label = known.field.label
        try:
            number = wanted(known, value)
            to_unit(OPERATOR, Update((known.field._replace(value=number),)))
        except ValueError as error:
            raise CommandRefused(f"{node} {property_name} = {value!r}: {error}") from None
        address = self._network.address_of(unit)
        if unit.silent or address is None:
            raise CommandRefused(f"{node} is not heard: {property_name} stays {told(known.field, known.prop)[0]}")
        if same(known.field, number):
            unit.writes.drop(label)
            return value
        unit.writes.want(label, number)
        if unit.sleeping:
            self._talk.say(io, "pending_writes", unit.writes.status(), unit)
            self._talk.keep(io)
            io.log.info("%s sleeps: %s is sent when it reports", unit.id, property_name)
            return told(known.field, known.prop)[0]
        for attempt in range(AWAKE_TRIES):
            self._talk.send(address, Update((known.field._replace(value=number, writable=True),)))
            until = now_s(io) + AWAKE_WAIT_S * 2**attempt
            while not io.stopping and now_s(io) < until:
                self._talk.pump(io, 0.1)
                if same(unit.known[label].field, number):
                    return value
        unit.writes.drop(label)
        self._talk.say(io, "pending_writes", unit.writes.status(), unit)
        self._talk.keep(io)
        raise CommandRefused(f"{node} did not take {property_name} = {value} in {AWAKE_TRIES} tries; it says "
                             f"{told(unit.known[label].field, known.prop)[0]}")

    # --- captures and the simulated gateway -----------------------------------------------------------------------

    @classmethod
    def capture(cls, config: Any, data: bytes) -> bytes:
        from .captures import wire_bytes

        return wire_bytes(data)

    @classmethod
    def captured(cls, config: Any, data: bytes) -> list[tuple[float, bytes]] | None:
        from .captures import stamped

        return stamped(data)

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)
