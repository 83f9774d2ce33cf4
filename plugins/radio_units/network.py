"""Who is in the network: the operator's addresses, the units that agent.toml names, the session's key. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agent.api import Property
from firmware_bridges.muta import OPERATOR, Register, ValueField, address_text

from .labels import Known, is_temperature, property_of
from .watch import BatteryWatch, TemperatureWatch
from .writes import Writes

MOST_STRANGERS = 200


class RadioUnit:
    """One named unit and what is known of it."""

    def __init__(self, unit_id: str, uid: str, title: str, defaults: Mapping[str, float | bool], low_v: float) -> None:
        self.id, self.uid, self.title, self.defaults = unit_id, uid, title, defaults
        self.sleeping = True
        self.heard_s: float | None = None
        self.silent = False
        self.known: dict[str, Known] = {}
        self.writes = Writes()
        self.battery = BatteryWatch(low_v)
        self.temperatures: dict[str, TemperatureWatch] = {}

    def learn(self, field: ValueField, max_age_s: float) -> tuple[Known, bool]:
        """The label as it is now, and whether that is new (the node is to be declared anew)."""
        known = self.known.get(field.label)
        dress = field._replace(value=0)
        if known is not None and known.field._replace(value=0) == dress:
            self.known[field.label] = Known(field, known.prop)
            return self.known[field.label], False
        taken = {other.prop.name for label, other in self.known.items() if label != field.label}
        self.known[field.label] = Known(field, property_of(field, taken, max_age_s))
        if is_temperature(field):
            self.temperatures.setdefault(field.label, TemperatureWatch())
        return self.known[field.label], True

    def by_property(self, name: str) -> Known | None:
        return next((known for known in self.known.values() if known.prop.name == name), None)

    def properties(self) -> tuple[Property, ...]:
        return tuple(known.prop for known in self.known.values())


class Network:
    def __init__(self, units: list[RadioUnit], fixed: Mapping[bytes, str],
                 stranger: Callable[[str, str], RadioUnit] | None = None) -> None:
        """``fixed``: addresses known beforehand, to UIDs.

        ``stranger`` makes a unit of an id and a UID that nobody named; None: nobody gets in who is not named."""
        self._stranger = stranger
        self.units = {unit.uid: unit for unit in units}
        self.by_id = {unit.id: unit for unit in units}
        self.key = b""
        self.addresses: dict[bytes, str] = dict(fixed)
        self._fixed = dict(fixed)

    def operator_began(self, key: bytes) -> None:
        """The operator started anew: everybody registers again, with the new key."""
        self.key = key
        self.addresses = dict(self._fixed)

    def register(self, address: bytes, message: Register) -> RadioUnit | None:
        """A unit that may be in the network is; None: nobody named it. Its old address is forgotten."""
        unit = self.units.get(message.uid) or self._invite(f"unit-{message.uid}", message.uid)
        if unit is None or address == OPERATOR:
            return None
        self.addresses = {old: uid for old, uid in self.addresses.items() if uid != message.uid}
        self.addresses[address] = message.uid
        unit.sleeping = message.sleeping
        return unit

    def unit_at(self, address: bytes) -> RadioUnit | None:
        unit = self.units.get(self.addresses.get(address, ""))
        if unit is None:
            name = address_text(address)
            unit = self._invite(f"unit-at-{name}", f"@{name}")
            if unit is not None:
                self.addresses[address] = unit.uid
        return unit

    def _invite(self, unit_id: str, uid: str) -> RadioUnit | None:
        if self._stranger is None or len(self.units) >= MOST_STRANGERS:
            return None
        unit = self._stranger(unit_id, uid)
        self.units[uid] = self.by_id[unit_id] = unit
        return unit

    def address_of(self, unit: RadioUnit) -> bytes | None:
        return next((address for address, uid in self.addresses.items() if uid == unit.uid), None)

    # --- over a restart -----------------------------------------------------------------------------------------

    def kept(self) -> dict[str, Any]:
        return {
            "key": self.key.hex(),
            "addresses": {address.hex(): uid for address, uid in sorted(self.addresses.items())},
            "sleeping": {unit.uid: unit.sleeping for unit in self.units.values()},
            "writes": {unit.uid: wanted for unit in self.units.values() if (wanted := unit.writes.kept())},
        }

    def restore(self, kept: Any) -> None:
        """What :meth:`kept` gave; of a unit that is no longer named, or damaged, nothing is taken."""
        if not isinstance(kept, dict):
            return
        try:
            key = bytes.fromhex(str(kept.get("key", "")))
            addresses = {bytes.fromhex(address): uid for address, uid in dict(kept.get("addresses", {})).items()}
            sleeping, writes = dict(kept.get("sleeping", {})), dict(kept.get("writes", {}))
        except (TypeError, ValueError):
            return
        self.key = key if len(key) == 2 else b""
        self.addresses |= {address: uid for address, uid in addresses.items()
                           if uid in self.units and len(address) == 2}
        for uid, unit in self.units.items():
            unit.sleeping = sleeping.get(uid) is not False
            unit.writes = Writes(writes.get(uid))
