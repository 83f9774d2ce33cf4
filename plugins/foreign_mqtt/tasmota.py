"""Tasmota: ``tele/<topic>/SENSOR``, ``STATE`` and ``LWT``, ``stat/<topic>/POWER``, ``cmnd/<topic>/POWER``.

Sources: Tasmota documentation, "MQTT", "JSON Status Responses", "Commands". Temperatures and pressures are converted by
the message's own ``TempUnit`` and ``PressureUnit``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from agent.api import Property, Value

from .config import TasmotaConfig
from .findings import (
    MAX_BYTES,
    MAX_TEXT,
    ON_OFF,
    ONLINE,
    BadMessage,
    Finding,
    Online,
    Seen,
    as_number,
    as_object,
    as_word,
    plain,
)
from .quantities import changed, measure, text, truth, word

TELE_S = 900.0
"""Three times Tasmota's default TelePeriod: after this a measurement is stale, and the node silent."""
POWER = re.compile(r"POWER(\d{0,2})\Z")
SKIP = frozenset({"Time", "Epoch", "TempUnit", "PressureUnit", "SpeedUnit", "TotalStartTime", "Id", "Period",
                  "Address"})
#: Tasmota's word -> ours, where it is not the same one.
ENERGY = {"Total": "energy", "ExportActive": "produced_energy", "Today": "energy_today",
          "Yesterday": "energy_yesterday", "Factor": "power_factor"}
WORDS = {"CarbonDioxide": "co2", "eCO2": "eco2", "PM2.5": "pm25", "PM2_5": "pm25", "PM1": "pm1", "PM10": "pm10",
         "SeaPressure": "sea_pressure", "DewPoint": "dew_point", "ApparentPower": "apparent_power",
         "ReactivePower": "reactive_power"}
FAILS = 85.0
"""What a DS18B20 says after a brown-out, before its first conversion (its data sheet's power-on value)."""
ABSENT = -127.0
"""What its library says when nothing answers."""
DIMMER = Property(name="brightness_pct", datatype="float", unit="%", minimum=0, maximum=100, step=1, settable=True,
                  max_age_s=TELE_S)


class Tasmota:
    name = "tasmota"
    silent_after_s: float | None = TELE_S

    def __init__(self, config: TasmotaConfig) -> None:
        self._levels = config.full_topic.strip("/").split("/")

    def _topic(self, prefix: str, topic: str, last: str) -> str:
        place = {"%prefix%": prefix, "%topic%": topic}
        return "/".join([*(place.get(level, level) for level in self._levels), last])

    def filters(self, own_broker: bool) -> tuple[str, ...]:
        wanted = (("tele", "LWT"), ("tele", "SENSOR"), ("tele", "STATE"), ("stat", "+"))
        return tuple(self._topic(prefix, "+", last) for prefix, last in wanted)

    def limit(self, topic: str) -> int:
        return MAX_BYTES

    def read(self, topic: str, payload: bytes) -> Iterator[Finding]:
        *levels, last = topic.split("/")
        if len(levels) != len(self._levels):
            return
        found = dict(zip(self._levels, levels, strict=True))
        if any(key != level for key, level in found.items() if key not in ("%prefix%", "%topic%")):
            return
        prefix, raw = found["%prefix%"], found["%topic%"]
        power = POWER.match(last)
        if (prefix, last) == ("tele", "LWT"):
            yield Online(raw, as_word(payload, ONLINE))
        elif prefix == "stat" and power:
            yield self._power(raw, last, as_word(payload, ON_OFF))
        elif (prefix, last) == ("tele", "STATE"):
            yield from self._state(raw, as_object(payload), powers=True)
        elif (prefix, last) == ("stat", "RESULT"):  # powers come on their own topic too: each once
            yield from self._state(raw, as_object(payload), powers=False)
        elif (prefix, last) == ("stat", "STATUS11"):
            yield from self._state(raw, _inner(payload, "StatusSTS"), powers=True)
        elif (prefix, last) == ("tele", "SENSOR"):
            yield from self._sensor(raw, as_object(payload))
        elif prefix == "stat" and last in ("STATUS8", "STATUS10"):
            yield from self._sensor(raw, _inner(payload, "StatusSNS"))

    @staticmethod
    def _power(raw: str, key: str, on: bool) -> Seen:
        number = key.removeprefix("POWER")
        prop, _ = truth(f"on_{number}" if number else "on", settable=True, max_age_s=TELE_S)
        return Seen(raw, key, prop, on)

    def _state(self, raw: str, doc: dict[str, Any], *, powers: bool) -> Iterator[Finding]:
        for key, value in doc.items():
            if powers and POWER.match(key) and value in ("ON", "OFF"):
                yield self._power(raw, key, value == "ON")
            elif key == "Dimmer":
                number, quality = as_number(value)
                yield Seen(raw, key, DIMMER, number, quality)
        if not powers:
            return
        wifi = doc.get("Wifi")
        if isinstance(wifi, dict) and "Signal" in wifi:  # RSSI is a percentage here
            yield self._number(raw, "Wifi.Signal", "rssi", wifi["Signal"])
        if "UptimeSec" in doc:
            yield self._number(raw, "UptimeSec", "uptime", doc["UptimeSec"])

    @staticmethod
    def _number(raw: str, key: str, name: str, value: Any) -> Seen:
        number, quality = as_number(value)
        return Seen(raw, key, measure(name, max_age_s=TELE_S).prop, number, quality)

    # --- SENSOR -----------------------------------------------------------------------------------------------

    def _sensor(self, raw: str, doc: dict[str, Any]) -> Iterator[Finding]:
        units = {"temperature": "°F" if doc.get("TempUnit") == "F" else "°C", "pressure": str(doc.get("PressureUnit"))}
        for section, content in doc.items():
            if section in SKIP:
                continue
            if isinstance(content, dict):
                yield from self._section(raw, section, section, content, units)
            else:
                yield from self._value(raw, "", section, section, content, units)

    def _section(self, raw: str, section: str, path: str, content: dict[str, Any], units: dict[str, str]
                 ) -> Iterator[Finding]:
        for key, value in content.items():
            here = f"{path}.{key}"
            if key in SKIP:
                continue
            if isinstance(value, dict):
                if here.count(".") < 4:
                    yield from self._section(raw, section, here, value, units)
            elif isinstance(value, list):
                for number, item in enumerate(value[:20], 1):  # one for each phase
                    yield from self._value(raw, section, f"{here}.{number}", key, item, units, f"l{number}")
            else:
                yield from self._value(raw, section, here, key, value, units)

    @staticmethod
    def _value(raw: str, section: str, key: str, name: str, value: Any, units: dict[str, str], phase: str = ""
               ) -> Iterator[Finding]:
        ours = (ENERGY.get(name) if section == "ENERGY" or "Energy" in key else None) or WORDS.get(name) or word(name)
        longer = f"{word(section)}_{ours}"
        if isinstance(value, str) and value in ("ON", "OFF"):
            yield Seen(raw, key, truth(ours, max_age_s=TELE_S)[0], value == "ON", longer=longer)
            return
        if isinstance(value, str) and value.lower() not in ("nan", "inf", "-inf"):
            if len(value) <= MAX_TEXT:
                yield Seen(raw, key, text(ours, max_age_s=TELE_S), value, longer=longer)
            return
        if value is None or isinstance(value, bool | list):
            return
        kind = "temperature" if ours in ("temperature", "dew_point") else ours.removeprefix("sea_")
        unit = units.get(kind)
        made = measure(ours, None if unit in (None, "None") else unit, TELE_S)
        prop, (number, quality) = made.prop, as_number(value)
        if phase:
            base = prop.name.removesuffix("_" + prop.name.rsplit("_", 1)[-1]) if prop.unit else prop.name
            prop = changed(prop, name=f"{base}_{phase}{prop.name[len(base):]}")
        ours_is = None if number is None else made.ours(number)
        failing = section.startswith("DS18") and kind == "temperature"
        if failing and ours_is is not None and abs(ours_is - ABSENT) < 0.1:
            ours_is, quality = None, "sensor_error"
        yield Seen(raw, key, prop, ours_is, quality, f"{word(section)}_{prop.name}", FAILS if failing else None)

    def command(self, raw: str, key: str, prop: Property, value: Value) -> tuple[str, str]:
        if isinstance(value, bool):
            return self._topic("cmnd", raw, key), "ON" if value else "OFF"
        return self._topic("cmnd", raw, key), plain(float(str(value)))


def _inner(payload: bytes, name: str) -> dict[str, Any]:
    found = as_object(payload).get(name)
    if not isinstance(found, dict):
        raise BadMessage(f"no {name} in it")
    return found
