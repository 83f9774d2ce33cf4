"""Other devices of the Homie convention 5: everything from their ``$description``; each of their nodes is one of ours.

Source: Homie convention 5.0, "Topology", "Property Attributes", "Payload". Devices of this software are left out: their
readings come to the hub by themselves, and two that take each other in would never end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

from agent.api import Datatype, Property, Value

from .config import HomieConfig
from .findings import (
    MAX_BYTES,
    NUMBER,
    BadMessage,
    Finding,
    Known,
    Online,
    Seen,
    as_json,
    as_number,
    as_object,
    as_text,
    plain,
)
from .quantities import LASTING_S, Measure, changed, measure, named, word

OURS = "hutkeeper-agent"
DESCRIPTION_BYTES = 512 * 1024
MAX_DEVICES = 200
STATES: dict[str, bool | None] = {"ready": True, "sleeping": True, "init": None, "disconnected": False, "lost": False}


class Homie:
    name = "homie"
    silent_after_s: float | None = None

    def __init__(self, config: HomieConfig) -> None:
        self._config = config
        self._root = f"{config.domain}/5/"
        self._known: dict[str, dict[str, Measure]] = {}
        """Device -> ``node/property`` -> what it is."""
        self._online: dict[str, bool] = {}

    def filters(self, own_broker: bool) -> tuple[str, ...]:
        devices = self._config.devices or (("+",) if own_broker else ())
        return tuple(f"{self._root}{device}/{rest}" for device in devices for rest in ("$state", "$description", "+/+"))

    def limit(self, topic: str) -> int:
        return DESCRIPTION_BYTES if topic.endswith("/$description") else MAX_BYTES

    def read(self, topic: str, payload: bytes) -> Iterator[Finding]:
        if not topic.startswith(self._root) or not payload:
            return
        device, *rest = topic[len(self._root) :].split("/")
        if self._config.devices and device not in self._config.devices:
            return
        if rest == ["$state"]:
            yield from self._state(device, as_text(payload))
        elif rest == ["$description"]:
            yield from self._describe(device, as_object(payload))
        elif len(rest) == 2 and not rest[0].startswith("$"):
            made = self._known.get(device, {}).get("/".join(rest))
            if made is not None:  # else nobody has said what it is
                value, quality = _value(made, as_text(payload))
                yield Seen(f"{device}/{rest[0]}", rest[1], made.prop, value, quality)

    def _state(self, device: str, state: str) -> Iterator[Finding]:
        if state not in STATES:
            raise BadMessage(f"{state[:40]!r} is no state of a Homie device")
        online = STATES[state]
        if online is None:
            return
        if device in self._online or len(self._online) < MAX_DEVICES:
            self._online[device] = online
        if device in self._known:
            yield Online(device, online, below=True)

    def _describe(self, device: str, doc: dict[str, Any]) -> Iterator[Finding]:
        if doc.get("type") == OURS:
            return
        nodes = doc.get("nodes")
        if not isinstance(nodes, dict) or (device not in self._known and len(self._known) >= MAX_DEVICES):
            return
        known: dict[str, Measure] = {}
        self._known[device] = known
        title = doc.get("name") if isinstance(doc.get("name"), str) else device
        for node, about in nodes.items():
            properties = about.get("properties") if isinstance(about, dict) else None
            if not isinstance(properties, dict):
                continue
            found = []
            for name, one in properties.items():
                made = _property(name, one) if isinstance(one, dict) else None
                if made is not None:
                    known[f"{node}/{name}"] = made
                    found.append((name, made.prop))
            said = about.get("name")
            name = said if isinstance(said, str) and said else node
            yield Known(f"{device}/{node}", f"{title}: {name}", tuple(found))
        if device in self._online:
            yield Online(device, self._online[device], below=True)

    def command(self, raw: str, key: str, prop: Property, value: Value) -> tuple[str, str]:
        device, _, node = raw.partition("/")
        made = self._known.get(device, {}).get(f"{node}/{key}")
        topic = f"{self._root}{raw}/{key}/set"
        if isinstance(value, bool):
            return topic, "true" if value else "false"
        if isinstance(value, int | float):
            return topic, plain(made.theirs(value) if made is not None else value)
        if isinstance(value, dict | list):
            return topic, json.dumps(value, ensure_ascii=False)
        return topic, str(value) or "\0"  # Homie's empty text


def _property(name: str, one: dict[str, Any]) -> Measure | None:
    """A property by its attributes; None where it is not as the convention says."""
    kind: Any = one.get("datatype")
    unit, form = one.get("unit"), one.get("format")
    if kind == "color":
        kind = "string"
    if kind not in get_args(Datatype):
        return None
    datatype: Datatype = kind
    settable, event = one.get("settable") is True, one.get("retained") is False
    unit = unit if isinstance(unit, str) and len(unit) < 20 and unit != "#" else ""
    form = form if isinstance(form, str) else ""
    said = one.get("name")
    title = said if isinstance(said, str) else ""
    made = measure(name, unit) if datatype in ("float", "integer") else None
    prop = made.prop if made is not None else Property(name=named(word(name) or "value", None), datatype=datatype)
    prop = changed(prop, datatype=datatype if made is None or made.factor == 1 else "float", title=title[:100],
                   settable=settable, event=event, max_age_s=LASTING_S)
    if made is not None:
        low, high, step = _bounds(form)
        ours = [made.ours(side) if side is not None else None for side in (low, high)]
        state_class = prop.state_class if prop.unit and not settable and not event else None
        prop = changed(prop, minimum=ours[0], maximum=ours[1], state_class=state_class,
                       step=step * made.factor if step and settable else None)
    elif datatype == "enum":
        words = tuple(form.split(","))
        if len(words) > 100 or not all(words) or len(set(words)) < len(words):
            return None
        prop = changed(prop, options=words)
    elif datatype == "boolean":
        words = tuple(form.split(","))
        prop = changed(prop, options=words if len(words) == 2 and all(words) else ())
    return Measure(prop, made.factor if made else 1.0, made.offset if made else 0.0)


def _bounds(form: str) -> tuple[float | None, float | None, float | None]:
    sides: list[float | None] = [float(part) if NUMBER.match(part) else None for part in form.split(":")[:3]]
    low, high, step = [*sides, None, None, None][:3]
    if low is not None and high is not None and low > high:
        return None, None, None
    return low, high, step if step and step > 0 else None


def _value(made: Measure, said: str) -> tuple[Value, str | None]:
    prop = made.prop
    if prop.datatype in ("float", "integer"):
        number, quality = as_number(said)
        if number is None:
            return None, quality
        if prop.datatype == "integer" and number.is_integer():
            return int(number), None
        return made.ours(number), None
    if prop.datatype == "boolean":
        if said not in ("true", "false"):
            raise BadMessage(f"{said[:40]!r} is not true or false")
        return said == "true", None
    if prop.datatype == "enum" and said not in prop.options:
        raise BadMessage(f"{said[:40]!r} is none of {', '.join(prop.options)}"[:200])
    if prop.datatype == "json":
        found = as_json(said.encode())
        if not isinstance(found, dict | list):
            raise BadMessage("JSON, but not an object or array")
        return found, None
    return ("" if said == "\0" else said), None
