"""What operator and units say and what is answered: registrations, values, receipts, writes. Readings go to ``out``."""

from __future__ import annotations

import os
from collections import deque

from agent.api import Io, Node, Reading, RetryLater, Value, Yielded
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

from .labels import is_battery, told
from .link import Link
from .network import Network, RadioUnit
from .properties import UNIT_PROPERTIES
from .settings import RadioUnitsConfig
from .trust import Trust
from .writes import GivenUp

#: An operator that says nothing after a reset is reset again.
ANSWER_S = 10.0
#: Once in this time a unit that nobody put into the network is told to register (or that it may not).
STRANGER_S = 600.0


class Conversation:
    """With one gateway. It outlives the link, which comes and goes with the plug."""

    def __init__(self, config: RadioUnitsConfig, network: Network) -> None:
        self.config = config
        self.network = network
        self.trust = Trust()
        self.link: Link | None = None
        self.out: deque[Yielded] = deque()
        self.heard_s = self.asked_s = float("-inf")
        self.resets = 0
        """Resets since the operator last said anything."""
        self.idle = 0
        """Resets for silence since a unit last reported."""
        self.changed = False
        """Something is to be kept, and it is kept with the next reading."""
        self._declared: set[str] = set()
        self._refused: set[str] = set()
        self._strangers: dict[bytes, float] = {}

    def pump(self, io: Io, timeout_s: float) -> None:
        """Read once and take what came; also from within a command. Raises RetryLater."""
        if self.link is None:
            raise RetryLater("the gateway is not there")
        for item in self.link.read(timeout_s):
            self.take(io, item)

    def say(self, io: Io, name: str, value: Value, unit: RadioUnit | None = None, quality: str | None = None) -> None:
        self.out.append(Reading(name, value, t_us=io.clock.boottime_us(), node=unit.id if unit else None,
                                 quality=quality))

    def send(self, address: bytes, message: Message) -> None:
        if self.link is not None:
            self.link.write(to_unit(address, message, swapped=self.config.swap_written_bytes))

    def keep(self, io: Io) -> None:
        io.kept["network"] = self.network.kept()
        self.changed = True

    def reset(self, io: Io) -> None:
        self.resets += 1
        self.asked_s = now_s(io)
        self.send(OPERATOR, Reset())

    # --- what comes -----------------------------------------------------------------------------------------------

    def take(self, io: Io, item: tuple[bytes, Message] | Garbage) -> None:
        now = now_s(io)
        if isinstance(item, Garbage):
            self.trust.garbage(now)
            io.log.debug("%s: %d bytes skipped: %s", self.config.port, item.size, item.reason)
            return
        self.trust.frame()
        self.heard_s, self.resets = now, 0
        address, message = item
        match message:
            case Info():
                io.log.info("the operator says: %s", message.text)
            case Register() if self.trust.believe((address, "register"), message, now):
                self._register(io, address, message)
            case Update() if address == OPERATOR:
                self.send(address, Update(()))
            case Update():
                self._update(io, address, message)
            case PowerTest() if (unit := self.network.unit_at(address)) is not None:
                unit.heard_s = now
                if message.rssi is not None and self.trust.believe((address, "rssi"), message, now):
                    self.declare(unit)
                    self.say(io, "link_rssi", message.rssi, unit)
            case _:
                if (unit := self.network.unit_at(address)) is not None:
                    unit.heard_s = now

    def _register(self, io: Io, address: bytes, message: Register) -> None:
        config: RadioUnitsConfig = self.config
        if address == OPERATOR:
            right = config.gateway_uid is None or config.gateway_uid.lower() == message.uid
            key = bytes.fromhex(config.session_key) if config.session_key else os.urandom(2)
            if right:
                self.network.operator_began(key)
                self.keep(io)
                io.log.info("the operator %s opens the network", message.uid)
            else:
                io.degraded(f"the operator is {message.uid} and not {config.gateway_uid}: correct gateway_uid")
            self.send(address, RegisterAnswer(right, key))
            return
        unit = self.network.register(address, message)
        self._settle(io, address, unit is not None)
        if unit is None:
            if message.uid not in self._refused and len(self._refused) < 1000:
                self._refused.add(message.uid)
                io.log.warning("unit %s is in no [plugins.%s.units.<unit>]: refused; name it there to let it in",
                               message.uid, io.instance)
                self.say(io, "refused_units", len(self._refused))
            return
        unit.heard_s = now_s(io)
        self.declare(unit)
        for label, value in unit.defaults.items():
            unit.writes.want(label, value)
        if unit.defaults:
            self.say(io, "pending_writes", unit.writes.status(), unit)
        self.keep(io)

    def _settle(self, io: Io, address: bytes, accepted: bool) -> None:
        """Answer a registration. Without the session's key there is no session of ours: begin one."""
        if self.network.key:
            self.send(address, RegisterAnswer(accepted, self.network.key))
        elif now_s(io) - self.asked_s > ANSWER_S:
            self.reset(io)

    def _update(self, io: Io, address: bytes, message: Update) -> None:
        unit, now = self.network.unit_at(address), now_s(io)
        if unit is None:
            known = now - self._strangers.get(address, float("-inf")) < STRANGER_S or len(self._strangers) >= 1000
            if not known or not self.network.key:
                self._settle(io, address, False)
            if not known:
                self._strangers[address] = now
                io.log.warning("an unknown unit at address %s reports: told to register", address_text(address))
            return
        # A damaged label would be a new property: where the line is noisy, the whole set must come again too.
        labels = tuple(field.label for field in message.values)
        set_twice = self.trust.believe((address, message.last), labels, now)
        believed = [field for field in message.values
                    if self.trust.believe((address, field.label), field, now)
                    and (set_twice or field.label in unit.known)]
        unit.heard_s = now
        self.idle = 0
        if unit.silent:
            unit.silent = False
            io.alert(f"stale-{unit.id}", None)
            self.say(io, "heard", True, unit)
        news = [unit.learn(field, self.config.stale_after_s) for field in believed]
        self.declare(unit, again=any(new for _, new in news))
        for field in believed:
            self._value(io, unit, field)
        done = unit.writes.confirm(believed)
        for label in done:
            io.alert(f"write-{unit.id}", None)
            io.log.info("%s has taken %s", unit.id, label)
        if message.last:
            self._answer(io, unit, address, bool(done))

    def declare(self, unit: RadioUnit, again: bool = False) -> None:
        if again or unit.id not in self._declared:
            first = unit.id not in self._declared
            self._declared.add(unit.id)
            self.out.append(Node(id=unit.id, title=unit.title, properties=UNIT_PROPERTIES + unit.properties()))
            if first:
                self.out.append(Reading("heard", not unit.silent, node=unit.id))

    def _value(self, io: Io, unit: RadioUnit, field: ValueField) -> None:
        prop = unit.known[field.label].prop
        value, quality = told(field, prop)
        watch = unit.temperatures.get(field.label)
        if watch is not None and quality is None:
            frozen = watch.frozen
            quality = watch.judge(float(field.value), now_s(io))
            if quality == "sensor_error":
                value = None
            if watch.frozen != frozen:
                io.alert(f"frozen-{unit.id}", f"E_SENSOR_FROZEN {unit.id}: {prop.name} stands still at {field.value}: "
                         "restart or replace the sensor" if watch.frozen else None)
        self.say(io, prop.name, value, unit, quality)
        if (is_battery(field) and prop.minimum is not None and field.value >= prop.minimum
                and unit.battery.judge(float(field.value))):
            io.alert(f"battery-{unit.id}", f"{unit.id}: battery at {field.value:g} V, below "
                     f"{self.config.battery_low_v:g} V: replace it" if unit.battery.low else None)
            self.say(io, "battery_low", unit.battery.low, unit)

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
                self.send(address, Update(tuple(part), part is parts[-1]))
            except ValueError as error:  # a default that this unit's kind of value cannot hold
                for field in part:
                    unit.writes.drop(field.label)
                io.alert(f"write-{unit.id}", f"{unit.id}: {error}; correct its defaults in agent.toml")
        if changed:
            self.say(io, "pending_writes", unit.writes.status(), unit)
            self.keep(io)


def now_s(io: Io) -> float:
    return io.clock.boottime_us() / 1e6
