"""Zigbee2MQTT: ``<base>/<friendly name>``, ``.../availability``, ``.../set`` and the list ``<base>/bridge/devices``.

Sources: Zigbee2MQTT documentation, "MQTT topics and messages", "Exposes". What a device exposes says units, ranges and
what can be set; without that list (an old version, no right to read it) common words are known all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from agent.api import Property, Value

from .config import Zigbee2mqttConfig
from .findings import (
    MAX_BYTES,
    MAX_TEXT,
    MAX_VALUES,
    ONLINE,
    BadMessage,
    Finding,
    Known,
    Online,
    Seen,
    as_json,
    as_number,
    as_object,
    as_word,
    number_or_bad,
)
from .quantities import LASTING_S, SWITCHES, Measure, changed, measure, text, truth, word

SILENT_S = 25 * 3600.0
"""Battery sensors of most makers report at least once in 24 h."""
LIST_BYTES = 4 << 20
MAX_DEVICES = 300
SKIP = frozenset({"last_seen", "update", "update_available", "device", "color", "color_mode", "elapsed"})
WORDS = frozenset({"set", "get", "availability"})
LINK = Property(name="linkquality", datatype="integer", minimum=0, maximum=255, diagnostic=True,
                state_class="measurement", max_age_s=SILENT_S)
BRIGHTNESS = Measure(Property(name="brightness_pct", datatype="float", unit="%", minimum=0, maximum=100, settable=True,
                              max_age_s=LASTING_S), 100 / 254)


class Expose(Struct, frozen=True):
    """One value of a device's description, and how it becomes ours."""

    key: str
    prop: Property
    measure: Measure | None = None
    on: Any = True
    off: Any = False


class Zigbee2mqtt:
    name = "zigbee2mqtt"
    silent_after_s: float | None = SILENT_S

    def __init__(self, config: Zigbee2mqttConfig) -> None:
        self._base = config.base.rstrip("/")
        self._devices: dict[str, dict[str, Expose]] = {}

    def filters(self, own_broker: bool) -> tuple[str, ...]:
        """A friendly name may have one slash in it."""
        return f"{self._base}/+", f"{self._base}/+/+", f"{self._base}/+/+/availability"

    def limit(self, topic: str) -> int:
        return LIST_BYTES if topic == f"{self._base}/bridge/devices" else MAX_BYTES

    def read(self, topic: str, payload: bytes) -> Iterator[Finding]:
        if not topic.startswith(self._base + "/") or not payload:
            return
        raw = topic[len(self._base) + 1 :]
        if raw == "bridge/state":
            if not self._online(payload):
                yield Online("", False, below=True)  # who is online again says so itself
        elif raw == "bridge/devices":
            yield from self._list(payload)
        elif raw.split("/")[0] == "bridge":
            return
        elif raw.endswith("/availability"):
            yield Online(raw.removesuffix("/availability"), self._online(payload))
        elif raw.rsplit("/", 1)[-1] not in WORDS and ("/" not in raw or payload.lstrip()[:1] == b"{"):
            yield from self._values(raw, as_object(payload))

    @staticmethod
    def _online(payload: bytes) -> bool:
        if payload.lstrip()[:1] == b"{":
            return as_word(str(as_object(payload).get("state")).encode(), ONLINE)
        return as_word(payload, ONLINE)

    # --- values -----------------------------------------------------------------------------------------------

    def _values(self, raw: str, doc: dict[str, Any]) -> Iterator[Finding]:
        exposed = self._devices.get(raw)
        for key, value in doc.items():
            if value is None or key in SKIP or isinstance(value, list | dict):
                continue
            expose = exposed.get(key) if exposed is not None else _guess(key, value, doc)
            if expose is None:
                continue
            prop = expose.prop
            if prop.datatype == "boolean":
                if value in (expose.on, expose.off):
                    yield Seen(raw, key, prop, value == expose.on)
            elif prop.datatype in ("float", "integer"):
                number, quality = number_or_bad(value)
                if number is not None:
                    number = expose.measure.ours(number) if expose.measure is not None else round(number)
                yield Seen(raw, key, prop, number, quality)
            elif isinstance(value, str) and len(value) <= MAX_TEXT and (value or not prop.event):
                yield Seen(raw, key, prop, value)

    def command(self, raw: str, key: str, prop: Property, value: Value) -> tuple[str, str]:
        expose = self._devices.get(raw, {}).get(key)
        theirs: Any = value
        if isinstance(value, bool):
            on, off = (expose.on, expose.off) if expose is not None else ("ON", "OFF")
            theirs = on if value else off
        elif isinstance(value, int | float):
            made = expose.measure if expose is not None else BRIGHTNESS if key.startswith("brightness") else None
            number = made.theirs(value) if made is not None else float(value)
            scaled = made is not None and made.factor != 1
            theirs = round(number) if scaled or float(number).is_integer() else number
        return f"{self._base}/{raw}/set", json.dumps({key: theirs}, ensure_ascii=False)

    # --- descriptions -----------------------------------------------------------------------------------------

    def _list(self, payload: bytes) -> Iterator[Finding]:
        devices = as_json(payload)
        if not isinstance(devices, list):
            raise BadMessage("the list of devices is no list")
        self._devices.clear()
        for device in devices[:MAX_DEVICES]:
            if not isinstance(device, dict) or device.get("type") == "Coordinator":
                continue
            raw, definition = device.get("friendly_name"), device.get("definition")
            if not isinstance(raw, str) or not raw or not isinstance(definition, dict):
                continue
            exposes = {one.key: one for one in _exposes(definition.get("exposes"))}
            self._devices[raw] = exposes
            yield Known(raw, raw, tuple((one.key, one.prop) for one in exposes.values()))


def _guess(key: str, value: Any, doc: dict[str, Any]) -> Expose | None:
    """What an undescribed value is, from the words that Zigbee2MQTT itself uses."""
    if key == "linkquality":
        return Expose(key, LINK)
    if isinstance(value, bool):
        prop, inverted = truth(key)
        return Expose(key, prop, on=not inverted, off=inverted)
    if key.split("_")[0] == "state" and value in ("ON", "OFF"):
        prop, _ = truth("on" + key.removeprefix("state"), settable=True)
        return Expose(key, prop, on="ON", off="OFF")
    if isinstance(value, int | float):
        if key == "brightness":
            return Expose(key, BRIGHTNESS.prop, BRIGHTNESS)
        battery = key == "voltage" and ("battery" in doc or value > 1000)  # of a cell, in mV
        made = measure(key, "mV" if battery else None, SILENT_S)
        return Expose(key, made.prop, made)
    return Expose(key, text(key, event=key == "action"))


def _exposes(found: Any, depth: int = 0) -> Iterator[Expose]:
    if not isinstance(found, list) or depth > 3:
        return
    for one in found[:MAX_VALUES]:
        if not isinstance(one, dict):
            continue
        if "features" in one and one.get("type") not in ("composite", "list"):  # switch, light, cover, lock, climate
            yield from _exposes(one["features"], depth + 1)
            continue
        key, access = one.get("property"), one.get("access")
        if not isinstance(key, str) or not key or key in SKIP or not isinstance(access, int) or not access & 1:
            continue  # not told in its messages
        made = _expose(one, key, bool(access & 2))
        if made is not None:
            yield made


def _expose(one: dict[str, Any], key: str, settable: bool) -> Expose | None:
    kind = one.get("type")
    if key == "linkquality":
        return Expose(key, LINK)
    if kind == "binary":
        on, off = one.get("value_on", True), one.get("value_off", False)
        if on == off:
            return None
        state = key.split("_")[0] == "state"
        prop, inverted = truth("on" + key.removeprefix("state") if state else key, settable=settable)
        # the words say which value is which; only a plain true and false follow the table of meanings
        if inverted and word(key) in SWITCHES and not (on is False and off is True):
            on, off = off, on
        return Expose(key, prop, None, on, off)
    if kind == "numeric":
        return _numeric(one, key, settable)
    if kind == "enum":
        words = [str(item) for item in one["values"]] if isinstance(one.get("values"), list) else []
        if key == "action" or not words or len(set(words)) < len(words) or any(not w or "," in w for w in words):
            return Expose(key, text(key, event=key == "action"))
        return Expose(key, changed(text(key), datatype="enum", options=tuple(words[:100]), settable=settable))
    return Expose(key, text(key)) if kind == "text" else None


def _numeric(one: dict[str, Any], key: str, settable: bool) -> Expose:
    low, high, step = (_bound(one.get(f"value_{name}")) for name in ("min", "max", "step"))
    if key.split("_")[0] == "brightness" and high:
        prop = changed(BRIGHTNESS.prop, settable=settable, name=f"brightness{key[10:]}_pct")
        return Expose(key, prop, Measure(prop, 100 / high))
    unit = one.get("unit")
    made = measure(key, unit if isinstance(unit, str) and len(unit) < 20 else None, SILENT_S)
    prop = made.prop
    if settable:
        prop = changed(prop, settable=True, state_class=None)
    if low is not None and high is not None and low <= high:
        prop = changed(prop, minimum=made.ours(low), maximum=made.ours(high),
                       step=step * made.factor if step and settable else None)
    return Expose(key, prop, Measure(prop, made.factor, made.offset))


def _bound(value: Any) -> float | None:
    try:
        return as_number(value)[0]
    except BadMessage:
        return None
