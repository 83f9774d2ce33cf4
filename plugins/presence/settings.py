"""``[plugins.<id>]`` of agent.toml: persons, things, and their signs, each by its kind."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

Mac = Annotated[str, Meta(pattern="^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$")]
Seconds = Annotated[float, Meta(gt=0, le=604_800)]
Host = Annotated[str, Meta(min_length=1, max_length=253, pattern="^[A-Za-z0-9._:-]+$")]
SignName = Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9_-]{0,29}$")]


class BleSign(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="by", tag="ble"):
    """A device that a Bluetooth scanner of this device (or of others) hears: its readings on the local bus."""

    device: Annotated[str, Meta(pattern="^[a-z0-9-]+$")]
    """Its name in the scanner's configuration; its node is ``<scanner>-<device>``."""
    scanner: Annotated[str, Meta(pattern="^[a-z0-9-]+$")] = "ble"
    """The instance of the scanner plugin."""
    on: tuple[Annotated[str, Meta(pattern="^[a-z0-9-]+$")], ...] = ()
    """Ids of other devices whose scanner counts too (they are inputs of this device)."""
    min_rssi_dbm: Annotated[int, Meta(ge=-127, le=20)] = -127
    hold_s: Seconds = 60.0
    source_silence_s: Seconds = 120.0
    name: SignName = "ble"


class PingSign(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="by", tag="ping"):
    """A host that answers an ICMP echo."""

    host: Host
    every_s: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    hold_s: Seconds = 180.0
    """Phones answer now and then only: hold a sighting over several turns."""
    name: SignName = "ping"


class ArpSign(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="by", tag="arp"):
    """A host of this network that answers the kernel's ARP or neighbour requests, also where it answers no ping."""

    host: Annotated[str, Meta(pattern="^[0-9A-Fa-f.:]+$")]
    """Its address (give it a fixed one on the router)."""
    mac: Mac | None = None
    """Left out, whoever has the address counts."""
    every_s: Annotated[float, Meta(ge=10, le=3600)] = 30.0
    hold_s: Seconds = 180.0
    name: SignName = "arp"


class WifiFileSign(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="by", tag="wifi_file"):
    """A file of the access point or the DHCP server."""

    path: Annotated[str, Meta(pattern="^/")]
    format: Literal["stations", "hostapd_log", "leases"] = "stations"
    mac: Mac
    hold_s: Seconds | None = None
    """Left out: stations 60 s, leases 2 h, hostapd_log until it says otherwise."""
    source_silence_s: Seconds | None = None
    """stations: the age of the file at which its writer counts as dead (120 s)."""
    name: SignName = "wifi"


class MqttSign(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="by", tag="mqtt"):
    """A topic on our broker: a phone app, an access point, Home Assistant."""

    topic: Annotated[str, Meta(min_length=1, pattern="^[^#+]+$")]
    key: str | None = None
    """Where the payload is JSON: the key that holds the word, ``a.b`` for one inside another."""
    home: tuple[str, ...] = ("home", "on", "true", "1", "online", "connected", "present")
    away: tuple[str, ...] = ("not_home", "away", "off", "false", "0", "offline", "disconnected", "absent")
    others_are_away: bool = False
    """Any other word (a zone's name) is away."""
    hold_s: Seconds | None = None
    """Left out: the word stands until another comes."""
    available_topic: Annotated[str, Meta(pattern="^[^#+]+$")] | None = None
    """Where its sender says ``online`` and ``offline``."""
    source_silence_s: Seconds | None = None
    name: SignName = "mqtt"


Sign = BleSign | PingSign | ArpSign | WifiFileSign | MqttSign


class PersonConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>.persons.<person>]``."""

    title: str = ""
    thing: bool = False
    """A thing (the car, the dog's collar) has an answer of its own and is nobody who is at home."""
    signs: Annotated[tuple[Sign, ...], Meta(min_length=1, max_length=20)]
    arrival_delay_s: Annotated[float, Meta(ge=0, le=86_400)] = 0.0
    departure_delay_s: Annotated[float, Meta(ge=0, le=86_400)] = 300.0


class PresenceConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    persons: Annotated[dict[str, PersonConfig], Meta(max_length=50)]
    canary: Host | None = None
    """A host that is always there (the router): while it does not answer a ping, nobody is said not to answer."""
    interval_s: Annotated[float, Meta(ge=1, le=3600)] = 60.0
    """How often an answer is said again when nothing changes."""

    def __post_init__(self) -> None:
        for person in self.persons:
            if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", person) or len(person) > 30:
                raise ValueError(f"persons: {person!r}: an id is a-z, 0-9 and -, at most 30 characters; its title is "
                                 "free")
