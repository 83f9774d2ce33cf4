"""A small Homie 5 controller, written from the convention alone (it imports nothing of ours).

It discovers with ``+/5/+/$state``, reads what the device says of itself and keeps every rule that a device broke.
Source: "The Homie Convention", version 5.0 (homieiot.github.io); section names stand beside the checks.
"""

from __future__ import annotations

import json
import math
import re
import threading
import time
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import paho.mqtt.client as mqtt

ID = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\Z")  # "Topic IDs": no hyphen at an end
STATES = {"init", "ready", "disconnected", "sleeping", "lost"}  # "Device Lifecycle"
MAY_DESCRIBE = {"init", "disconnected", "lost", None}  # "$description ... may only change when"
DATATYPES = {"integer", "float", "boolean", "string", "enum", "color", "datetime", "duration", "json"}
LEVELS = {"debug", "info", "warn", "error", "fatal"}  # "Logging"
INTEGER = re.compile(r"-?[0-9]+\Z")
FLOAT = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\Z")
DURATION = re.compile(r"PT(?=.)(?:\d+H)?(?:\d+M)?(?:\d+(?:\.\d+)?S)?\Z")  # "Duration": ISO 8601, time part only


def format_problem(datatype: str, text: Any) -> str | None:
    """What is wrong with a ``format`` ("Formats"); None when nothing is."""
    if text is None:
        return (
            "an enum needs a format"
            if datatype == "enum"
            else "a color needs a format"
            if datatype == "color"
            else None
        )
    if not isinstance(text, str) or not text:
        return f"format {text!r} is not a text"
    if datatype in ("float", "integer"):
        parts = text.split(":")
        pattern = INTEGER if datatype == "integer" else FLOAT
        if len(parts) not in (2, 3) or any(part and not pattern.match(part) for part in parts):
            return f"format {text!r} is not min:max[:step]"
        low, high = (Decimal(part) if part else None for part in parts[:2])
        if low is not None and high is not None and low > high:
            return f"format {text!r}: min above max"
        if len(parts) == 3 and (not parts[2] or Decimal(parts[2]) <= 0):
            return f"format {text!r}: step must be greater than 0"
    elif datatype == "enum":
        words = text.split(",")
        if any(not word for word in words) or len(set(words)) != len(words):
            return f"format {text!r}: empty or double words"
    elif datatype == "boolean":
        if len(text.split(",")) != 2 or not all(text.split(",")):
            return f"format {text!r} is not falseLabel,trueLabel"
    elif datatype == "json":
        try:
            json.loads(text)
        except ValueError:
            return f"format {text!r} is not a JSON schema in a string"
    return None


def value_problem(prop: dict[str, Any], data: bytes) -> str | None:
    """What is wrong with a payload against datatype and format ("Payload"); None when nothing is."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"{data!r} is not UTF-8"
    datatype, form = prop["datatype"], prop.get("format")
    if datatype == "string":
        return None if text == "\x00" or (text and "\x00" not in text) else f"{data!r} is not a legal string"
    if datatype == "boolean":
        return None if text in ("true", "false") else f"{text!r} is not a boolean"
    if datatype == "enum":
        return None if text in form.split(",") else f"{text!r} is not in {form!r}"
    if datatype in ("integer", "float"):
        if not (INTEGER if datatype == "integer" else FLOAT).match(text):
            return f"{text!r} is not {datatype}"
        try:
            number = Decimal(text)
        except InvalidOperation:
            return f"{text!r} is not a number"
        if not math.isfinite(float(text)) or (datatype == "integer" and not -(2**63) <= number < 2**63):
            return f"{text!r} is beyond 64 bits"
        low, high, *step = [*(form or ":").split(":")]
        if (low and number < Decimal(low)) or (high and number > Decimal(high)):
            return f"{text!r} is outside {form!r}"
        if step and low and (number - Decimal(low)) % Decimal(step[0]) != 0:
            return f"{text!r} is between two steps of {form!r}"
        return None
    if datatype == "datetime":
        try:
            when = datetime.fromisoformat(text)
        except ValueError:
            return f"{text!r} is not ISO 8601"
        return None if "T" in text and when.tzinfo else f"{text!r} has no zone"
    if datatype == "duration":
        return None if DURATION.match(text) else f"{text!r} is not a duration"
    if datatype == "json":
        try:
            return None if isinstance(json.loads(text), dict | list) else f"{text!r} is not an object or array"
        except ValueError:
            return f"{text!r} is not JSON"
    return f"datatype {datatype!r} is unknown"


def description_problems(described: Any) -> list[str]:
    """Every rule that a root device's ``$description`` breaks ("Device Attributes" to "Property Attributes")."""
    if not isinstance(described, dict):
        return ["the description is not an object"]
    found = []
    if not re.match(r"5\.\d+\Z", str(described.get("homie"))):
        found.append(f"homie {described.get('homie')!r} is not 5.x")
    if not isinstance(described.get("version"), int) or isinstance(described.get("version"), bool):
        found.append("version is not an integer")
    if not isinstance(described.get("name"), str):
        found.append("name is missing")
    if "root" in described or "parent" in described:
        found.append("a root device must omit root and parent")
    for key in ("children", "extensions"):
        if not isinstance(described.get(key, []), list):
            found.append(f"{key} is not a list")
    nodes = described.get("nodes", {})
    if not isinstance(nodes, dict):
        return [*found, "nodes is not an object"]
    for node_id, node in nodes.items():
        if not ID.match(node_id):
            found.append(f"node id {node_id!r}")
        for key in ("name", "type"):
            if key in node and not isinstance(node[key], str):
                found.append(f"{node_id}: {key} is not a text")
        for prop_id, prop in node.get("properties", {}).items():
            where = f"{node_id}/{prop_id}"
            if not ID.match(prop_id):
                found.append(f"property id {where!r}")
            if prop.get("datatype") not in DATATYPES:
                found.append(f"{where}: datatype {prop.get('datatype')!r}")
            wrong = format_problem(str(prop.get("datatype")), prop.get("format"))
            if wrong:
                found.append(f"{where}: {wrong}")
            for key in ("settable", "retained"):
                if not isinstance(prop.get(key, False), bool):
                    found.append(f"{where}: {key} is not a boolean")
            for key in ("name", "unit"):
                if key in prop and (not isinstance(prop[key], str) or not prop[key]):
                    found.append(f"{where}: {key} is not a text")
    return found


class Device:
    """One device as the controller sees it."""

    def __init__(self) -> None:
        self.state: str | None = None
        self.states: list[str] = []
        self.description: dict[str, Any] | None = None
        self.descriptions = 0
        self.values: dict[str, bytes] = {}
        """``node/property`` -> newest payload"""
        self.targets: dict[str, bytes] = {}
        self.alerts: dict[str, str] = {}
        self.logs: list[tuple[str, str]] = []
        self.history: list[tuple[str, bytes, bool]] = []
        """(topic below the device, payload, delivered as retained)"""

    def property(self, key: str) -> dict[str, Any] | None:
        node, _, prop = key.partition("/")
        nodes = (self.description or {}).get("nodes", {})
        found = nodes.get(node, {}).get("properties", {}).get(prop)
        return found if isinstance(found, dict) else None


class Controller:
    """``with Controller(port) as controller``. ``broken`` holds each rule that was broken, with the topic."""

    def __init__(self, port: int) -> None:
        self.devices: dict[str, Device] = {}
        self.broken: list[str] = []
        self._lock = threading.RLock()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_connect = lambda *_: self._client.subscribe("+/5/+/$state", qos=1)
        self._client.on_message = self._on_message
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def __enter__(self) -> Controller:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def set(self, device: str, key: str, data: bytes, retain: bool = False) -> None:
        """A command ("Property command topic"): never retained, except to see that the device refuses it."""
        self._client.publish(f"homie/5/{device}/{key}/set", data, qos=1, retain=retain)

    def until(self, what: str, check: Any, timeout_s: float = 10.0) -> Any:
        """Wait for ``check()`` under the lock; fails naming what was waited for."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            with self._lock:
                if answer := check():
                    return answer
            time.sleep(0.01)
        raise AssertionError(f"no {what} in {timeout_s} s; broken so far: {self.broken}")

    def _on_message(self, client: mqtt.Client, _: object, message: mqtt.MQTTMessage) -> None:
        with self._lock:
            try:
                self._take(client, message)
            except Exception as error:  # a thread must not swallow what a test is to see
                self.broken.append(f"{message.topic}: {type(error).__name__}: {error}")

    def _take(self, client: mqtt.Client, message: mqtt.MQTTMessage) -> None:
        parts = message.topic.split("/")
        if parts[0] != "homie":
            return
        id_, rest = parts[2], parts[3:]
        if not ID.match(id_):
            self.broken.append(f"{message.topic}: device id")
        if rest == ["$state"] and id_ not in self.devices and message.payload:
            self.devices[id_] = Device()
            client.subscribe(f"homie/5/{id_}/#", qos=1)
        device = self.devices.get(id_)
        if device is None:
            return
        device.history.append(("/".join(rest), message.payload, message.retain))
        if rest == ["$state"]:
            self._state(id_, device, message)
        elif rest == ["$description"]:
            self._description(device, message)
        elif rest[0] == "$alert" and len(rest) == 2:
            if not ID.match(rest[1]):
                self.broken.append(f"{message.topic}: alert id")
            if message.payload:
                device.alerts[rest[1]] = message.payload.decode()
            else:
                device.alerts.pop(rest[1], None)
        elif rest[0] == "$log" and len(rest) == 2:
            if rest[1] not in LEVELS or message.retain:
                self.broken.append(f"{message.topic}: log level or retained")
            device.logs.append((rest[1], message.payload.decode()))
        elif len(rest) == 2 or (len(rest) == 3 and rest[2] == "$target"):
            self._value(device, message, "/".join(rest[:2]), target=len(rest) == 3)
        elif not (len(rest) == 3 and rest[2] == "set"):
            self.broken.append(f"{message.topic}: no such topic in the convention")

    def _state(self, id_: str, device: Device, message: mqtt.MQTTMessage) -> None:
        if not message.payload:
            del self.devices[id_]  # "a zero length payload indicates a device removal"
            return
        word = message.payload.decode()
        if word not in STATES:
            self.broken.append(f"{message.topic}: {word!r}")
        if word != device.state:
            device.states.append(word)
        device.state = word

    def _description(self, device: Device, message: mqtt.MQTTMessage) -> None:
        if not message.payload:
            device.description = None
            return
        described = json.loads(message.payload)
        self.broken += [f"{message.topic}: {one}" for one in description_problems(described)]
        if device.description is not None and described != device.description:
            device.descriptions += 1
            if device.state not in MAY_DESCRIBE:
                self.broken.append(f"{message.topic}: changed in state {device.state}")
            if described["version"] <= device.description["version"]:
                self.broken.append(f"{message.topic}: changed without a higher version")
        device.description = described

    def _value(self, device: Device, message: mqtt.MQTTMessage, key: str, target: bool) -> None:
        held = device.targets if target else device.values
        if not message.payload:
            held.pop(key, None)
            return
        prop = device.property(key)
        if prop is None:
            # Retained messages of one subscription come in any order: the final check looks at those.
            if not message.retain:
                self.broken.append(f"{message.topic}: a value of a property that is not described")
            held[key] = message.payload
            return
        wrong = value_problem(prop, message.payload)
        if wrong:
            self.broken.append(f"{message.topic}: {wrong}")
        if target and not prop.get("settable"):
            self.broken.append(f"{message.topic}: a target of a property that cannot be set")
        live = not message.retain  # retained messages of one subscription come in any order
        commanded = prop.get("settable") and prop.get("retained", True)
        if live and not target and commanded and key not in device.targets:
            self.broken.append(f"{message.topic}: a value before its $target, which this device uses")
        if prop.get("retained", True) is False and message.retain:
            self.broken.append(f"{message.topic}: retained, but declared as not retained")
        held[key] = message.payload

    def final_problems(self, id_: str) -> list[str]:
        """What was broken, and what stands on the broker without a description (call it on a fresh controller)."""
        with self._lock:
            device = self.devices[id_]
            found = list(self.broken)
            if device.description is None:
                return [*found, "no description"]
            for key, data in {
                **device.values,
                **{f"{key}/$target": one for key, one in device.targets.items()},
            }.items():
                prop = device.property(key.removesuffix("/$target"))
                wrong = "nobody describes it" if prop is None else value_problem(prop, data)
                if wrong:
                    found.append(f"{key}: {wrong}")
            return found
