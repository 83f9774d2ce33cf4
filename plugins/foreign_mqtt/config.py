"""``[plugins.<id>]`` of agent.toml: which projects speak, on which broker, and maps for what no preset knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from .quantities import TAKEN, word

MOST = 500
"""Series of one device that the hub keeps (B40)."""
Name = Annotated[str, Meta(min_length=1, max_length=100)]
Positive = Annotated[float, Meta(gt=0)]


def _plain(key: str, *words: str) -> None:
    """Raises ValueError where a word is no single level of a topic."""
    for one in words:
        if set(one) & set("/+#\0"):
            raise ValueError(f"{key}: {one[:40]!r}: expected a name without / + and #")


class TasmotaConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    full_topic: str = "%prefix%/%topic%/"
    """As set on the nodes (``FullTopic``)."""

    def __post_init__(self) -> None:
        levels = self.full_topic.strip("/").split("/")
        if sorted(level for level in levels if "%" in level) != ["%prefix%", "%topic%"]:
            raise ValueError("full_topic: expected %prefix% and %topic%, each once between slashes")


class Zigbee2mqttConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    base: Name = "zigbee2mqtt"
    """``base_topic`` of its configuration."""

    def __post_init__(self) -> None:
        _plain("base", *self.base.split("/"))


class EsphomeConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    nodes: tuple[Name, ...] = ()
    """Names of the nodes; left out, all, where a prefix or another broker allows it."""
    prefix: str = ""
    """What stands before the node's name in ``topic_prefix`` (``esphome`` for ``esphome/kitchen``)."""
    discovery: str = "homeassistant"
    """``discovery_prefix``: tells the units; "" if the nodes do not announce themselves."""

    def __post_init__(self) -> None:
        _plain("nodes", *self.nodes)
        _plain("prefix", *self.prefix.split("/"))
        _plain("discovery", *self.discovery.split("/"))


class HomieConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    devices: tuple[Name, ...] = ()
    """Ids of the devices; left out, all, which works on another broker only."""
    domain: Name = "homie"

    def __post_init__(self) -> None:
        _plain("devices", *self.devices)
        _plain("domain", *self.domain.split("/"))


class Map(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One value of one kind of message."""

    topic: Name
    """An MQTT filter; the first ``+`` is the node's id."""
    property: str
    """Its name here, with its unit: ``flow_l_h``; ``online`` tells whether the node lives."""
    node: str = ""
    """The node's id where the topic has no ``+``."""
    path: str = ""
    """Where in a JSON payload: ``/data/0/temp`` (RFC 6901) or ``data.0.temp``; left out, the payload is the value."""
    datatype: Literal["float", "integer", "boolean", "string", "enum"] = "float"
    unit: str | None = None
    title: str = ""
    scale: float = 1.0
    offset: float = 0.0
    """ours = theirs * scale + offset"""
    minimum: float | None = None
    maximum: float | None = None
    step: Positive | None = None
    options: tuple[str, ...] = ()
    """enum: the words; boolean: (false label, true label)."""
    on: str = "true"
    off: str = "false"
    """Their words for a boolean."""
    device_class: str | None = None
    state_class: Literal["measurement", "total", "total_increasing"] | None = None
    max_age_s: Positive | None = None
    command_topic: str = ""
    """Makes it settable: where to send, ``{node}`` stands for the node's id."""
    command: str = "{value}"
    """What to send."""

    def __post_init__(self) -> None:
        if word(self.property) != self.property or (self.property in TAKEN and self.property != "online"):
            raise ValueError("property: expected a name of a-z, 0-9 and _ that the agent does not use itself")
        levels = self.topic.split("/")
        if any(("#" in level or "+" in level) and level not in ("#", "+") for level in levels) or "#" in levels[:-1]:
            raise ValueError("topic: # and + stand alone between slashes, and # only at the end")
        if bool(self.node) == ("+" in levels):
            raise ValueError("node: name it here or by a + in topic, one of the two")
        if self.datatype == "enum" and (not self.options or any(not w or "," in w for w in self.options)):
            raise ValueError("options: an enum has at least one, none empty or with a comma")
        if self.options and self.datatype not in ("enum", "boolean"):
            raise ValueError(f"options: not for {self.datatype}")
        if self.datatype == "boolean" and (self.on == self.off or len(self.options) not in (0, 2)):
            raise ValueError("on: a boolean needs two words, on and off, and two options or none")
        if self.property == "online" and self.datatype != "boolean":
            raise ValueError('datatype: online is "boolean"')
        if not self.scale:
            raise ValueError("scale: not 0")
        if "+" in self.command_topic or "#" in self.command_topic:
            raise ValueError("command_topic: no wildcards; {node} stands for the node's id")


class BrokerConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Another broker than this device's own."""

    host: Name
    port: Annotated[int, Meta(ge=0, le=65535)] = 0
    """Default 8883 with TLS, else 1883."""
    tls: bool = False
    ca: Path | None = None
    """CA certificates, PEM; left out, those of the system."""
    cert: Path | None = None
    key: Path | None = None
    username: str | None = None
    password_file: Path | None = None
    client_id: str = ""
    """Default: a new one at each start."""
    keepalive_s: Annotated[int, Meta(ge=5, le=300)] = 30

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError(f"{'key' if self.key is None else 'cert'}: missing, cert and key go together")
        if (self.ca or self.cert) and not self.tls:
            raise ValueError("tls: false, but ca or cert is set")
        if self.password_file is not None and self.username is None:
            raise ValueError("username: missing, password_file is set")

    @property
    def where(self) -> str:
        return f"{self.host}:{self.port or (8883 if self.tls else 1883)}"


class ForeignMqttConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    tasmota: TasmotaConfig | None = None
    zigbee2mqtt: Zigbee2mqttConfig | None = None
    esphome: EsphomeConfig | None = None
    homie: HomieConfig | None = None
    """A table here, even an empty one, takes the project in. None at all: all that the broker allows."""
    maps: tuple[Map, ...] = ()
    broker: BrokerConfig | None = None
    """Left out: this device's own broker, through its one connection."""
    interval_s: Annotated[float, Meta(gt=0, le=3600)] | None = None
    """At most one reading of a measured number in this time; left out, all of them."""
    silent_after_s: Annotated[float, Meta(ge=10, le=90 * 86400)] | None = None
    """A node that says nothing for so long is offline; left out, by project."""
    answer_s: Annotated[float, Meta(ge=0.1, le=9)] = 5.0
    """How long a command waits for the node to say that it did it."""

    def __post_init__(self) -> None:
        if self.broker is not None:
            return
        if self.tasmota is not None and self.tasmota.full_topic.startswith("%topic%"):
            raise ValueError("tasmota: on this device's own broker full_topic has to begin with a plain word or "
                             "%prefix%: set FullTopic %prefix%/%topic%/ on the nodes")
        if self.esphome is not None and not self.esphome.nodes and not self.esphome.prefix:
            raise ValueError("esphome: on this device's own broker name the nodes, or the prefix that all have")
        if self.homie is not None and not self.homie.devices:
            raise ValueError("homie: on this device's own broker name the devices")
        for number, one in enumerate(self.maps):
            if re.match(r"[+#$]|hutkeeper/", one.topic):
                raise ValueError(f"maps: number {number}: on this device's own broker a topic begins with a plain word")

    @property
    def nothing_named(self) -> bool:
        return not (self.tasmota or self.zigbee2mqtt or self.esphome or self.homie or self.maps)
