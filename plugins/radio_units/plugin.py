"""Gateway to readings: who may be in the network, what its units say, what they are to take. The codec is elsewhere."""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from agent.api import CommandRefused, ConfigError, Io, Node, Plugin, Reading, RetryLater, Value, Yielded
from firmware_bridges.muta import (
    MAX_VALUES,
    OPERATOR,
    Garbage,
    Info,
    Message,
    PowerTest,
    Register,
    RegisterAnswer,
    Reset,
    Update,
    ValueField,
    address_text,
    to_unit,
)

from .labels import is_battery, told, wanted
from .link import Link, open_link
from .network import Network, RadioUnit
from .properties import PROPERTIES, UNIT_PROPERTIES
from .trust import Trust
from .writes import GivenUp, same

READ_S = 0.5
#: An operator that says nothing after a reset is reset again, and after three of them the port is opened anew.
ANSWER_S = 10.0
RESETS = 3
#: Tries of a command to a unit that is awake, and the wait for its read-back; a command is worth 10 s.
AWAKE_TRIES, AWAKE_WAIT_S = 3, 1.2
#: Once in this time a unit that nobody put into the network is told to register (or that it may not).
STRANGER_S = 600.0


class UnitConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>.units.<unit>]``: a unit that may be in the network."""

    uid: Annotated[str, Meta(pattern="^[0-9a-fA-F]{8}$")]
    title: str = ""
    defaults: dict[Annotated[str, Meta(pattern="^[A-Za-z][A-Za-z0-9]{2}$")], float | bool] = {}
    """Writable values by label that it is given when it registers: ``{ UpF = 5 }``."""
    address: Annotated[str, Meta(pattern="^[0-9a-fA-F]{4}$")] | None = None
    """Its short address where that is known beforehand: to replay a part of a session."""


class RadioUnitsConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>]`` of agent.toml."""

    port: str = "/dev/ttyACM0"
    """Better a name that stays: /dev/serial/by-id/...; the USB operator itself is a /dev/hidraw<N>."""
    link: Literal["serial", "hidraw"] = "serial"
    baudrate: Annotated[int, Meta(ge=1200, le=3_000_000)] = 115_200
    units: dict[str, UnitConfig] = {}
    stale_after_s: Annotated[float, Meta(ge=30, le=86_400)] = 900.0
    battery_low_v: Annotated[float, Meta(ge=0, le=6)] = 2.0
    accept_unknown: bool = False
    """Let in everybody: for a look at a capture or a new network, not for a house."""
    gateway_uid: Annotated[str, Meta(pattern="^[0-9a-fA-F]{8}$")] | None = None
    """Left out, any operator is taken."""
    session_key: Annotated[str, Meta(pattern="^[0-9a-fA-F]{4}$")] | None = None
    """Left out, two random bytes a session, as the network wants it."""
    swap_written_bytes: bool = False
    """For firmware that takes two-byte values high byte first although it sends them low byte first."""


class RadioUnits(Plugin, name="radio_units"):
    """Temperature, light, battery and settings of radio units that somebody named; nobody else gets in."""

    title = "Radio units"
    Config = RadioUnitsConfig
    properties = PROPERTIES
    interval_s = 300.0

    def __init__(self, config: RadioUnitsConfig) -> None:
        super().__init__(config)
        units, fixed = [], {}
        for unit_id, unit in config.units.items():
            if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", unit_id) or len(unit_id) > 30:
                raise ConfigError(f"units.{unit_id}: a unit's id is a-z, 0-9 and -, at most 30 characters")
            uid = unit.uid.lower()
            if uid in {other.uid for other in units}:
                raise ConfigError(f"units.{unit_id}.uid: {unit.uid} is another unit's already")
            title = unit.title or unit_id.replace("-", " ").capitalize()
            units.append(RadioUnit(unit_id, uid, title, unit.defaults, config.battery_low_v))
            if unit.address is not None:
                fixed[bytes.fromhex(unit.address)[::-1]] = uid
        self._network = Network(units, fixed, None if not config.accept_unknown else lambda unit_id, uid: RadioUnit(
            unit_id, uid, unit_id.replace("-", " ").capitalize(), {}, config.battery_low_v))
        self._trust = Trust()
        self._link: Link | None = None
        self._out: deque[Yielded] = deque()
        self._declared: set[str] = set()
        self._restored = False
        self._refused: set[str] = set()
        self._strangers: dict[bytes, float] = {}
        self._heard_s = 0.0
        self._resets = 0
        self._idle = 0
        """Resets for silence since a unit last reported."""
        self._told_s = self._asked_s = float("-inf")
        self._told_silent = 0
        self._noisy = False

    # --- life ---------------------------------------------------------------------------------------------------

    def run(self, io: Io) -> Iterator[Yielded]:
        config: RadioUnitsConfig = self.config
        if not self._restored:
            self._network.restore(io.kept.get("network"))
            self._restored = True
            for unit in self._network.units.values():
                unit.heard_s = _now_s(io)  # silent since the start at the earliest
        self._link = open_link(io, config.link, config.port, config.baudrate)
        self._heard_s, self._resets = _now_s(io), 0
        try:
            if not self._network.key:
                self._reset(io)
            while not io.stopping:
                self._pump(io, READ_S)
                self._watch(io)
                yield from self._drain()
        finally:
            try:
                for item in self._link.finish():
                    self._take(io, item)
            finally:
                self._link.close()
                self._link = None
        yield from self._drain()

    def _drain(self) -> Iterator[Yielded]:
        while self._out:
            yield self._out.popleft()

    def _pump(self, io: Io, timeout_s: float) -> None:
        """Read once and take what came; also from within a command, so what it yields goes through ``_out``."""
        if self._link is None:
            raise RetryLater("the gateway is not there")
        for item in self._link.read(timeout_s):
            self._take(io, item)

    def _say(self, io: Io, name: str, value: Value, unit: RadioUnit | None = None, quality: str | None = None) -> None:
        self._out.append(Reading(name, value, t_us=io.clock.boottime_us(), node=unit.id if unit else None,
                                 quality=quality))

    def _send(self, address: bytes, message: Message) -> None:
        if self._link is not None:
            self._link.write(to_unit(address, message, swapped=self.config.swap_written_bytes))

    def _keep(self, io: Io) -> None:
        io.kept["network"] = self._network.kept()

    def _reset(self, io: Io) -> None:
        self._resets += 1
        self._asked_s = _now_s(io)
        self._send(OPERATOR, Reset())

    # --- what comes -----------------------------------------------------------------------------------------------

    def _take(self, io: Io, item: tuple[bytes, Message] | Garbage) -> None:
        now = _now_s(io)
        if isinstance(item, Garbage):
            self._trust.garbage(now)
            io.log.debug("%s: %d bytes skipped: %s", self.config.port, item.size, item.reason)
            return
        self._trust.frame()
        self._heard_s, self._resets = now, 0
        address, message = item
        match message:
            case Info():
                io.log.info("the operator says: %s", message.text)
            case Register() if self._trust.believe((address, "register"), message, now):
                self._register(io, address, message)
            case Update() if address == OPERATOR:
                self._send(address, Update(()))
            case Update():
                self._update(io, address, message)
            case PowerTest() if (unit := self._network.unit_at(address)) is not None:
                unit.heard_s = now
                if message.rssi is not None and self._trust.believe((address, "rssi"), message, now):
                    self._declare(unit)
                    self._say(io, "link_rssi", message.rssi, unit)
            case _:
                if (unit := self._network.unit_at(address)) is not None:
                    unit.heard_s = now

    def _register(self, io: Io, address: bytes, message: Register) -> None:
        config: RadioUnitsConfig = self.config
        if address == OPERATOR:
            right = config.gateway_uid is None or config.gateway_uid.lower() == message.uid
            key = bytes.fromhex(config.session_key) if config.session_key else os.urandom(2)
            if right:
                self._network.operator_began(key)
                self._keep(io)
                io.log.info("the operator %s opens the network", message.uid)
            else:
                io.degraded(f"the operator is {message.uid} and not {config.gateway_uid}: correct gateway_uid")
            self._send(address, RegisterAnswer(right, key))
            return
        unit = self._network.register(address, message)
        key = self._network.key or b"\0\0"
        self._send(address, RegisterAnswer(unit is not None, key))
        if unit is None:
            if message.uid not in self._refused and len(self._refused) < 1000:
                self._refused.add(message.uid)
                io.log.warning("unit %s is in no [plugins.%s.units.<unit>]: refused; name it there to let it in",
                               message.uid, io.instance)
                self._say(io, "refused_units", len(self._refused))
            return
        unit.heard_s = _now_s(io)
        self._declare(unit)
        for label, value in unit.defaults.items():
            unit.writes.want(label, value)
        if unit.defaults:
            self._say(io, "pending_writes", unit.writes.status(), unit)
        self._keep(io)

    def _update(self, io: Io, address: bytes, message: Update) -> None:
        unit, now = self._network.unit_at(address), _now_s(io)
        if unit is None:
            if now - self._strangers.get(address, float("-inf")) >= STRANGER_S and len(self._strangers) < 1000:
                self._strangers[address] = now
                io.log.warning("an unknown unit at address %s reports: told to register", address_text(address))
                self._send(address, RegisterAnswer(False, self._network.key or b"\0\0"))
            return
        # A damaged label would be a new property: where the line is noisy, the whole set must come again too.
        labels = tuple(field.label for field in message.values)
        set_twice = self._trust.believe((address, message.last), labels, now)
        believed = [field for field in message.values
                    if self._trust.believe((address, field.label), field, now)
                    and (set_twice or field.label in unit.known)]
        unit.heard_s = now
        self._idle = 0
        if unit.silent:
            unit.silent = False
            io.alert(f"stale-{unit.id}", None)
            self._say(io, "heard", True, unit)
        news = [unit.learn(field, self.config.stale_after_s) for field in believed]
        self._declare(unit, again=any(new for _, new in news))
        for field in believed:
            self._value(io, unit, field)
        done = unit.writes.confirm(believed)
        for label in done:
            io.alert(f"write-{unit.id}", None)
            io.log.info("%s has taken %s", unit.id, label)
        if message.last:
            self._answer(io, unit, address, bool(done))

    def _declare(self, unit: RadioUnit, again: bool = False) -> None:
        if again or unit.id not in self._declared:
            first = unit.id not in self._declared
            self._declared.add(unit.id)
            self._out.append(Node(id=unit.id, title=unit.title, properties=UNIT_PROPERTIES + unit.properties()))
            if first:
                self._out.append(Reading("heard", not unit.silent, node=unit.id))

    def _value(self, io: Io, unit: RadioUnit, field: ValueField) -> None:
        prop = unit.known[field.label].prop
        value, quality = told(field, prop)
        watch = unit.temperatures.get(field.label)
        if watch is not None and quality is None:
            frozen = watch.frozen
            quality = watch.judge(float(field.value), _now_s(io))
            if quality == "sensor_error":
                value = None
            if watch.frozen != frozen:
                io.alert(f"frozen-{unit.id}", f"E_SENSOR_FROZEN {unit.id}: {prop.name} stands still at {field.value}: "
                         "restart or replace the sensor" if watch.frozen else None)
        self._say(io, prop.name, value, unit, quality)
        if (is_battery(field) and prop.minimum is not None and field.value >= prop.minimum
                and unit.battery.judge(float(field.value))):
            io.alert(f"battery-{unit.id}", f"{unit.id}: battery at {field.value:g} V, below "
                     f"{self.config.battery_low_v:g} V: replace it" if unit.battery.low else None)
            self._say(io, "battery_low", unit.battery.low, unit)

    def _answer(self, io: Io, unit: RadioUnit, address: bytes, changed: bool) -> None:
        """A report has ended; now even a sleeping unit listens: what is wanted of it, else an empty receipt."""
        fields: list[ValueField] = []
        for item in unit.writes.reported({label: known.field for label, known in unit.known.items()}):
            changed = True
            if isinstance(item, GivenUp):
                io.alert(f"write-{unit.id}", f"{unit.id}: {item.label} = {item.value:g}: {item.reason}")
            else:
                fields.append(item)
        parts = [fields[at : at + MAX_VALUES] for at in range(0, len(fields), MAX_VALUES)] or [[]]
        for part in parts:
            try:
                self._send(address, Update(tuple(part), part is parts[-1]))
            except ValueError as error:  # a default that this unit's kind of value cannot hold
                for field in part:
                    unit.writes.drop(field.label)
                io.alert(f"write-{unit.id}", f"{unit.id}: {error}; correct its defaults in agent.toml")
        if changed:
            self._say(io, "pending_writes", unit.writes.status(), unit)
            self._keep(io)

    # --- what does not come ---------------------------------------------------------------------------------------

    def _watch(self, io: Io) -> None:
        now, config = _now_s(io), self.config
        for unit in self._network.units.values():
            if unit.heard_s is not None and not unit.silent and now - unit.heard_s > config.stale_after_s:
                unit.silent = True
                self._declare(unit)
                self._say(io, "heard", False, unit)
                io.alert(f"stale-{unit.id}", f"{unit.id}: nothing heard for {config.stale_after_s / 60:.0f} min: check "
                         "its battery, its distance and the gateway")
        silent = sum(unit.silent for unit in self._network.units.values())
        if now - self._told_s >= self.interval_s or silent != self._told_silent:
            self._told_s, self._told_silent = now, silent
            for name, value in (("units_heard", len(self._network.units) - silent), ("units_silent", silent),
                                ("bad_frames", self._trust.bad)):
                self._say(io, name, value)
            if self._trust.good:
                self._say(io, "link_quality_pct", self._trust.quality_pct)
        noisy = self._trust.noisy(now)
        if noisy != self._noisy:
            self._noisy = noisy
            io.degraded("damaged frames on the line: a value counts once it came again" if noisy else None)
        if now - max(self._heard_s, self._asked_s) > self._patience_s():
            if self._resets >= RESETS:
                raise RetryLater(f"{config.port}: the operator says nothing, not even after {self._resets} resets: "
                                 "unplug it and plug it in again")
            if not self._resets:
                self._idle = min(self._idle + 1, 5)
            self._reset(io)

    def _patience_s(self) -> float:
        """How long the operator may say nothing. A reset throws everybody out: those that helped nobody grow rare."""
        if self._resets:
            return ANSWER_S
        periods = (float(known.field.value) * 60 for unit in self._network.units.values()
                   for label, known in unit.known.items() if label == "UpF")
        return max(self.config.stale_after_s, 3 * max(periods, default=0.0)) * 2.0**self._idle

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
            self._say(io, "pending_writes", unit.writes.status(), unit)
            self._keep(io)
            io.log.info("%s sleeps: %s is sent when it reports", unit.id, property_name)
            return told(known.field, known.prop)[0]
        for attempt in range(AWAKE_TRIES):
            self._send(address, Update((known.field._replace(value=number, writable=True),)))
            until = _now_s(io) + AWAKE_WAIT_S * 2**attempt
            while not io.stopping and _now_s(io) < until:
                self._pump(io, 0.1)
                if same(unit.known[label].field, number):
                    return value
        unit.writes.drop(label)
        self._say(io, "pending_writes", unit.writes.status(), unit)
        self._keep(io)
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


def _now_s(io: Io) -> float:
    return io.clock.boottime_us() / 1e6


