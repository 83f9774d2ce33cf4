"""ESPHome: ``<prefix>/<component>/<id>/state`` and ``/command``, ``<prefix>/status``, units from its announcements.

Sources: ESPHome documentation, "MQTT Client Component" (default topics), "Sensor", "Light", "Number", "Select"; Home
Assistant documentation, "MQTT discovery" (abbreviations), which ESPHome uses to say what a value is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from agent.api import Property, Value

from .config import EsphomeConfig
from .findings import (
    MAX_BYTES,
    MAX_TEXT,
    ON_OFF,
    ONLINE,
    BadMessage,
    Finding,
    Known,
    Online,
    Seen,
    as_number,
    as_object,
    as_text,
    as_word,
    plain,
)
from .quantities import LASTING_S, Measure, changed, measure, text, truth, word

SILENT_S = 3600.0
"""The slowest update_interval that people use for a measurement."""
MAX_ANNOUNCED = 1000
#: Words whose unit is the same in every ESPHome sensor; energy (Wh, kWh) and current (mA, A) are not among them.
SURE = ("temperature", "humidity", "wifi_signal", "illuminance", "battery_level", "dew_point")
LABELS = {"LOCKED": True, "UNLOCKED": False}


class Esphome:
    name = "esphome"
    silent_after_s: float | None = None

    def __init__(self, config: EsphomeConfig) -> None:
        self._config = config
        self._prefix = config.prefix.strip("/").split("/") if config.prefix.strip("/") else []
        self._told: dict[tuple[str, str], dict[str, Any]] = {}
        """(node, key) -> its announcement"""

    def filters(self, own_broker: bool) -> tuple[str, ...]:
        nodes = self._config.nodes or (("+",) if self._prefix or own_broker else ())
        before = "".join(level + "/" for level in self._prefix)
        made = []
        for node in nodes:
            if self._config.discovery:
                made.append(f"{self._config.discovery}/+/{node}/+/config")
            made += [f"{before}{node}/status", f"{before}{node}/+/+/state"]
        return tuple(dict.fromkeys(made))

    def limit(self, topic: str) -> int:
        return MAX_BYTES

    def read(self, topic: str, payload: bytes) -> Iterator[Finding]:
        levels = topic.split("/")
        if levels[-1] == "config":
            if self._config.discovery and "/".join(levels[:-4]) == self._config.discovery and payload:
                yield from self._announced(as_object(payload))
            return
        if levels[: len(self._prefix)] != self._prefix:
            return
        levels = levels[len(self._prefix) :]
        if not levels or (self._config.nodes and levels[0] not in self._config.nodes):
            return
        if len(levels) == 2 and levels[1] == "status":
            yield Online(levels[0], as_word(payload, ONLINE))
        elif len(levels) == 4 and levels[3] == "state":
            yield from self._state(levels[0], levels[1], levels[2], payload)

    # --- values -----------------------------------------------------------------------------------------------

    def _state(self, raw: str, component: str, name: str, payload: bytes) -> Iterator[Finding]:
        key = f"{component}/{name}"
        if component == "light":
            doc = as_object(payload)
            if doc.get("state") in ("ON", "OFF"):
                yield Seen(raw, key, truth(name, settable=True)[0], doc["state"] == "ON")
            if "brightness" in doc:
                number, quality = as_number(doc["brightness"])
                dimmer = _dimmer(name)
                yield Seen(raw, key + "/brightness", dimmer.prop, None if number is None else dimmer.ours(number),
                           quality)
            return
        found = self._property(raw, component, name)
        if found is None:
            return
        prop, made = found
        if made is not None:
            number, quality = as_number(as_text(payload))
            yield Seen(raw, key, prop, None if number is None else made.ours(number), quality,
                       longer=_longer(component, prop))
        elif prop.datatype == "boolean":
            said = as_word(payload, ON_OFF) if component != "lock" else LABELS.get(as_text(payload).strip())
            if said is not None:
                yield Seen(raw, key, prop, said, longer=_longer(component, prop))
        else:
            said_text = as_text(payload)
            if len(said_text) > MAX_TEXT:
                raise BadMessage(f"text of {len(said_text)} characters, at most {MAX_TEXT}")
            yield Seen(raw, key, prop, said_text, longer=_longer(component, prop))

    def _property(self, raw: str, component: str, name: str) -> tuple[Property, Measure | None] | None:
        """The property of a component; None: one that is not taken in (cover, climate)."""
        told = self._told.get((raw, f"{component}/{name}"), {})
        if component in ("sensor", "number"):
            unit = told.get("unit_of_measurement")
            unit = unit if isinstance(unit, str) else None if word(name).endswith(SURE) and not told else ""
            made = measure(name, unit, SILENT_S)
            prop = made.prop
            if told.get("state_class") == "total_increasing" and prop.unit:
                prop = changed(prop, state_class="total_increasing")
            if component == "number":
                low, high, step = (_bound(told.get(at)) for at in ("min", "max", "step"))
                prop = changed(prop, settable=True, state_class=None, step=step,
                               minimum=made.ours(low) if low is not None else None,
                               maximum=made.ours(high) if high is not None else None)
            return prop, Measure(prop, made.factor, made.offset)
        if component in ("switch", "fan", "lock"):
            return truth(name, settable=True)[0], None
        if component == "binary_sensor":
            prop, _ = truth(name)
            device_class = told.get("device_class")
            # never turned round: ESPHome's ON is already what its class calls on
            return changed(prop, name=word(name) or prop.name, options=(),
                           device_class=device_class if isinstance(device_class, str) else None), None
        if component == "select":
            options = told.get("options")
            words = tuple(str(one) for one in options[:100]) if isinstance(options, list) else ()
            if words and len(set(words)) == len(words) and all(w and "," not in w for w in words):
                return changed(text(name), datatype="enum", options=words, settable=True), None
            return text(name), None
        if component in ("text_sensor", "text", "event"):
            return changed(text(name), event=component == "event", settable=component == "text"), None
        return None

    # --- announcements ----------------------------------------------------------------------------------------

    def _announced(self, doc: dict[str, Any]) -> Iterator[Finding]:
        """What a node tells Home Assistant about one component; it uses the short keys."""
        short = {"unit_of_meas": "unit_of_measurement", "dev_cla": "device_class", "stat_cla": "state_class",
                 "stat_t": "state_topic", "cmd_t": "command_topic", "ops": "options"}
        told = {short.get(key, key): value for key, value in doc.items()}
        topic = told.get("state_topic") or told.get("command_topic")
        levels = topic.split("/")[len(self._prefix) :] if isinstance(topic, str) else []
        if len(levels) != 4 or (self._config.nodes and levels[0] not in self._config.nodes):
            return  # of another project, or with a topic of its own
        node, component, name, _ = levels
        key = f"{component}/{name}"
        if len(self._told) < MAX_ANNOUNCED or (node, key) in self._told:
            self._told[node, key] = {at: told.get(at) for at in ("unit_of_measurement", "device_class", "state_class",
                                                               "min", "max", "step", "options")}
        title = doc.get("dev", {}).get("name") if isinstance(doc.get("dev"), dict) else None
        props: list[tuple[str, Property]] = []
        if component == "light":
            props = [(key, truth(name, settable=True)[0])]
            if told.get("brightness") is True or doc.get("bri") is True:
                props.append((key + "/brightness", _dimmer(name).prop))
        elif component == "button":
            props = [(key, Property(name=word(name) or "button", datatype="enum", options=("press",), settable=True,
                                    event=True))]
        else:
            found = self._property(node, component, name)
            props = [(key, found[0])] if found is not None else []
        if props:
            yield Known(node, title if isinstance(title, str) and title else node, tuple(props))

    def command(self, raw: str, key: str, prop: Property, value: Value) -> tuple[str, str]:
        component, name, *part = key.split("/")
        topic = "/".join([*self._prefix, raw, component, name, "command"])
        if component == "light":
            if part:
                return topic, json.dumps({"state": "ON", "brightness": round(_dimmer(name).theirs(float(str(value))))})
            return topic, json.dumps({"state": "ON" if value else "OFF"})
        if component == "lock":
            return topic, "LOCK" if value else "UNLOCK"
        if component == "button":
            return topic, "PRESS"
        if isinstance(value, bool):
            return topic, "ON" if value else "OFF"
        if isinstance(value, int | float):
            found = self._property(raw, component, name)
            return topic, plain(found[1].theirs(value) if found and found[1] else value)
        return topic, str(value)


def _dimmer(name: str) -> Measure:
    prop = Property(name=f"{word(name)[:50] or 'light'}_brightness_pct", datatype="float", unit="%", minimum=0,
                    maximum=100, settable=True, max_age_s=LASTING_S)
    return Measure(prop, 100 / 255)


def _longer(component: str, prop: Property) -> str:
    return f"{component}_{prop.name}"


def _bound(value: Any) -> float | None:
    try:
        return as_number(value)[0]
    except BadMessage:
        return None
