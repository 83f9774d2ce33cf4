"""``[plugins.<id>]`` of agent.toml, and whom a signal belongs to. Pure."""

from __future__ import annotations

import re
from typing import Annotated

from msgspec import Meta, Struct

from .adverts import Advert, is_address, tidy_address
from .payloads import Decoded

NODE_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
ADAPTER = re.compile(r"(hci\d{1,2}|([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2})\Z")
PATTERN = re.compile(r"(\d{1,2}):([0-9a-f]{2}):(([0-9a-f]{2}){1,29})\Z")
NODE_LENGTH = 40
"""The instance's id comes before it, and both have 63 characters."""
LATELY, LATELY_S = 1000, 300.0
"""Addresses whose owner is remembered; an address that changes does so every quarter of an hour."""


class Device(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>.devices.<name>]``: somebody who is to be announced, by one of these signs."""

    address: str = ""
    """``C4:7C:8D:6A:11:07``; for whoever does not change it."""
    ibeacon: str = ""
    """``uuid``, ``uuid/major`` or ``uuid/major/minor``."""
    eddystone_uid: str = ""
    """32 hex digits: namespace and instance."""
    badge_id: str = ""
    """The number in a badge's own list."""
    local_name: str = ""
    pseudonym: str = ""
    """As the list on request shows it."""
    title: str = ""

    def __post_init__(self) -> None:
        signs = [sign for sign in ("address", "ibeacon", "eddystone_uid", "badge_id", "local_name", "pseudonym")
                 if getattr(self, sign)]
        if len(signs) != 1:
            raise ValueError("expected one of address, ibeacon, eddystone_uid, badge_id, local_name, pseudonym"
                             + (f", found {' and '.join(signs)}" if signs else ""))
        if self.address and not is_address(tidy_address(self.address)):
            raise ValueError(f"address: {self.address!r} is no address, expected C4:7C:8D:6A:11:07")
        if self.ibeacon and not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(/\d{1,5}){0,2}",
                                             self.ibeacon.lower()):
            raise ValueError(f"ibeacon: {self.ibeacon!r}: expected uuid, uuid/major or uuid/major/minor")
        if self.eddystone_uid and not re.fullmatch(r"[0-9a-f]{32}", self.eddystone_uid.lower()):
            raise ValueError(f"eddystone_uid: {self.eddystone_uid!r}: expected 32 hex digits, namespace and instance")


class BleConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>]`` of agent.toml."""

    adapters: tuple[str, ...] = ("hci0",)
    """``hci0``, or the controller's address (``bluetoothctl list``), which stays when numbers change."""
    devices: dict[str, Device] = {}
    """The allow-list: only these are announced."""
    rssi_interval_s: Annotated[float, Meta(ge=0, le=60)] = 1.0
    """The median of this time is one reading; 0: every packet."""
    patterns: tuple[str, ...] = ()
    """Passive scan for ``start:type:bytes`` in hex (``0:ff:4c000215``); left out, an active scan for everything."""
    every_packet: bool = False
    """Hold a monitor open beside the active scan, so that the chip does not drop repeats."""
    quiet_s: Annotated[float, Meta(ge=10, le=86_400)] = 90.0
    """No advertisement for so long: the scan is restarted. Longer where really nobody advertises."""
    power_cycle: bool = True
    """Whether the adapter may be switched off and on; not where others use it too (a loudspeaker)."""
    badge_company: str = "ffff"
    """Whose manufacturer data holds badge lists, 4 hex digits."""
    badge_beacons: Annotated[int, Meta(ge=1, le=15)] = 5
    """The strongest so many of a badge's list are kept."""
    dedup_s: Annotated[float, Meta(ge=0, le=60)] = 5.5
    """The same list of the same badge counts once in this time."""
    pseudonyms: bool = True
    """The list on request shows strangers by a keyed hash in place of their address."""
    interval_s: Annotated[float, Meta(ge=1, le=300)] = 10.0
    """How often the scanner's own figures are told."""
    bus: str = ""
    """D-Bus address; left out, the system's bus."""

    def __post_init__(self) -> None:
        if not self.adapters:
            raise ValueError("adapters: at least one, hci0 for example")
        for adapter in self.adapters:
            if not ADAPTER.match(adapter):
                raise ValueError(f"adapters: {adapter!r}: expected hci0 or the controller's address")
        if len(set(self.adapters)) != len(self.adapters):
            raise ValueError("adapters: one is there twice")
        for name in self.devices:
            if not NODE_ID.match(name) or len(name) > NODE_LENGTH:
                raise ValueError(f"devices: {name!r}: a name is a-z, 0-9 and -, at most {NODE_LENGTH} characters")
        for pattern in self.patterns:
            if not PATTERN.match(pattern.lower()):
                raise ValueError(f"patterns: {pattern!r}: expected start:type:bytes, 0:ff:4c000215 for iBeacons")
        if not re.fullmatch(r"[0-9a-f]{4}", self.badge_company):
            raise ValueError(f"badge_company: {self.badge_company!r}: expected 4 hex digits in lower case")

    def or_patterns(self) -> tuple[tuple[int, int, bytes], ...]:
        """As BlueZ takes them: start, AD type, bytes."""
        found = [PATTERN.match(pattern.lower()) for pattern in self.patterns]
        return tuple((int(one[1]), int(one[2], 16), bytes.fromhex(one[3])) for one in found if one)


class Names:
    """From an advertisement to the name in ``devices``."""

    def __init__(self, devices: dict[str, Device]) -> None:
        self._by_address: dict[str, str] = {}
        self._by_sign: dict[tuple[str, str], str] = {}
        self._lately: dict[str, tuple[str | None, float]] = {}
        self.need_pseudonym = False
        for name, device in devices.items():
            if device.address:
                self._by_address[tidy_address(device.address)] = name
            for sign in ("ibeacon", "eddystone_uid", "badge_id", "local_name", "pseudonym"):
                if value := getattr(device, sign):
                    self._by_sign[sign, value if sign in ("badge_id", "local_name") else value.lower()] = name
            self.need_pseudonym = self.need_pseudonym or bool(device.pseudonym)
        self.by_address_only = not self._by_sign
        """What strangers say need not be read."""

    def address(self, address: str) -> str | None:
        return self._by_address.get(address)

    def sign(self, address: str, advert: Advert, said: Decoded, pseudonym: str, t_s: float) -> str | None:
        """Whose this is by what it says, or by what the same address said a short time ago: a beacon sends its
        telemetry in frames that do not name it."""
        name = self._said(advert, said, pseudonym)
        if name is None:
            name, until_s = self._lately.get(address, (None, 0.0))
            return name if t_s < until_s else None
        self._lately.pop(address, None)
        if len(self._lately) >= LATELY:
            del self._lately[next(iter(self._lately))]
        self._lately[address] = name, t_s + LATELY_S
        return name

    def _said(self, advert: Advert, said: Decoded, pseudonym: str) -> str | None:
        signs = self._by_sign
        if said.ibeacon is not None:
            uuid, major, _ = said.ibeacon.split("/")
            for value in (said.ibeacon, f"{uuid}/{major}", uuid):
                if (name := signs.get(("ibeacon", value))) is not None:
                    return name
        if said.eddystone_uid is not None and (name := signs.get(("eddystone_uid", said.eddystone_uid))) is not None:
            return name
        if said.badge_id is not None and (name := signs.get(("badge_id", said.badge_id))) is not None:
            return name
        if advert.name is not None and (name := signs.get(("local_name", advert.name))) is not None:
            return name
        return signs.get(("pseudonym", pseudonym)) if pseudonym else None
