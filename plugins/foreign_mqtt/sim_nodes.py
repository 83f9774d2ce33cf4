"""What simulated nodes say and do, as the firmware of each project would. Pure: no broker, the clock is handed in."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from typing import Any

from .config import EsphomeConfig, HomieConfig, TasmotaConfig, Zigbee2mqttConfig

FIRST = 1_700_000_000
"""Counters count from here."""


class Nodes:
    """Plays the nodes of the projects that the config names. ``say(topic, payload, retain)`` publishes."""

    def __init__(self, config: Any, seed: int) -> None:
        every = config.nothing_named
        self._rng = random.Random(seed)
        self.tasmota: Any = config.tasmota or (TasmotaConfig() if every else None)
        self.zigbee: Any = config.zigbee2mqtt or (Zigbee2mqttConfig() if every else None)
        self.esphome: Any = config.esphome or (EsphomeConfig() if every else None)
        self.homie: Any = config.homie or (HomieConfig() if every else None)
        self.plug_on, self.lamp_on, self.brightness, self.relay_on, self.heat_on = True, False, 120, False, False

    def _tasmota(self, prefix: str, last: str) -> str:
        where = self.tasmota.full_topic.strip("/")
        return f"{where.replace('%prefix%', prefix).replace('%topic%', 'sim-plug')}/{last}"

    @property
    def _esp(self) -> str:
        prefix = self.esphome.prefix.strip("/")
        return (prefix + "/" if prefix else "") + (self.esphome.nodes[0] if self.esphome.nodes else "sim-esp")

    @property
    def _device(self) -> str:
        return f"{self.homie.domain}/5/" + (self.homie.devices[0] if self.homie.devices else "sim-heater")

    def subscriptions(self) -> list[str]:
        found = []
        if self.tasmota:
            found.append(self._tasmota("cmnd", "+"))
        if self.zigbee:
            found.append(f"{self.zigbee.base}/+/set")
        if self.esphome:
            found.append(f"{self._esp}/+/+/command")
        if self.homie:
            found.append(f"{self._device}/+/+/set")
        return found

    def hello(self) -> Iterator[tuple[str, str, bool]]:
        """What stands on the broker: who lives, and what can do what."""
        if self.tasmota:
            yield self._tasmota("tele", "LWT"), "Online", True
        if self.zigbee:
            base = self.zigbee.base
            yield f"{base}/bridge/state", json.dumps({"state": "online"}), True
            yield f"{base}/bridge/devices", json.dumps(ZIGBEE), True
            for device in ZIGBEE:
                yield f"{base}/{device['friendly_name']}/availability", json.dumps({"state": "online"}), True
        if self.esphome:
            for kind, name, more in ESPHOME:
                topics = {"stat_t": f"{self._esp}/{kind}/{name}/state", "cmd_t": f"{self._esp}/{kind}/{name}/command"}
                where = f"{self.esphome.discovery or 'homeassistant'}/{kind}/{self._esp.rsplit('/', 1)[-1]}/{name}"
                yield f"{where}/config", json.dumps(topics | more), True
            yield f"{self._esp}/status", "online", True
        if self.homie:
            yield f"{self._device}/$state", "init", True
            yield f"{self._device}/$description", json.dumps(HOMIE), True
            yield f"{self._device}/$state", "ready", True

    def tick(self, now_s: float) -> Iterator[tuple[str, str, bool]]:
        """One round of measurements."""
        warm = 20 + 2 * math.sin(now_s / 300) + self._rng.uniform(-0.1, 0.1)
        if self.tasmota:
            watts = round(60 + 30 * math.sin(now_s / 60) + self._rng.uniform(-2, 2)) if self.plug_on else 0
            total = round((now_s - FIRST) / 3600 * 0.06, 3)
            yield self._tasmota("tele", "STATE"), json.dumps({
                "UptimeSec": int(now_s - FIRST), "POWER": "ON" if self.plug_on else "OFF",
                "Wifi": {"RSSI": 62, "Signal": -69}}), False
            yield self._tasmota("tele", "SENSOR"), json.dumps({"Time": "2026-01-01T00:00:00", "ENERGY": {
                "Total": total, "Today": 0.4, "Power": watts, "ApparentPower": watts + 4, "Factor": 0.95,
                "Voltage": 231, "Current": round(watts / 231, 3)}}), False
        if self.zigbee:
            yield f"{self.zigbee.base}/sim sensor", json.dumps({
                "temperature": round(warm, 2), "humidity": round(45 + self._rng.uniform(-1, 1), 2), "battery": 97,
                "linkquality": self._rng.randint(80, 120)}), False
            yield self._lamp()
        if self.esphome:
            yield f"{self._esp}/sensor/boiler_temperature/state", f"{warm + 30:.1f}", True
            yield self._relay()
        if self.homie:
            yield f"{self._device}/room/temperature", f"{warm:.2f}", True
            yield self._heat()

    def _lamp(self) -> tuple[str, str, bool]:
        return f"{self.zigbee.base}/sim-lamp", json.dumps({
            "state": "ON" if self.lamp_on else "OFF", "brightness": self.brightness, "linkquality": 140}), False

    def _relay(self) -> tuple[str, str, bool]:
        return f"{self._esp}/switch/pump/state", "ON" if self.relay_on else "OFF", True

    def _heat(self) -> tuple[str, str, bool]:
        return f"{self._device}/room/heating", "true" if self.heat_on else "false", True

    def told(self, topic: str, payload: str) -> Iterator[tuple[str, str, bool]]:
        """A command, and what the node says then."""
        if self.tasmota and topic == self._tasmota("cmnd", "POWER") and payload in ("ON", "OFF"):
            self.plug_on = payload == "ON"
            yield self._tasmota("stat", "RESULT"), json.dumps({"POWER": payload}), False
            yield self._tasmota("stat", "POWER"), payload, False
        elif self.zigbee and topic == f"{self.zigbee.base}/sim-lamp/set":
            try:
                asked = json.loads(payload)
                self.lamp_on = asked.get("state", "ON" if self.lamp_on else "OFF") == "ON"
                self.brightness = int(asked.get("brightness", self.brightness))
            except (ValueError, TypeError, AttributeError):
                return
            yield self._lamp()
        elif self.esphome and topic == f"{self._esp}/switch/pump/command":
            self.relay_on = payload == "ON"
            yield self._relay()
        elif self.homie and topic == f"{self._device}/room/heating/set":
            self.heat_on = payload == "true"
            yield self._heat()


def _numeric(name: str, unit: str) -> dict[str, Any]:
    return {"type": "numeric", "name": name, "property": name, "access": 1, "unit": unit}


ZIGBEE: list[dict[str, Any]] = [
    {"friendly_name": "sim sensor", "ieee_address": "0x00158d0000000001", "type": "EndDevice", "definition": {
        "model": "WSDCGQ11LM", "vendor": "Aqara", "exposes": [
            _numeric("temperature", "°C"), _numeric("humidity", "%"), _numeric("battery", "%"),
            _numeric("linkquality", "lqi")]}},
    {"friendly_name": "sim-lamp", "ieee_address": "0x00158d0000000002", "type": "Router", "definition": {
        "model": "LED1545G12", "vendor": "IKEA", "exposes": [
            {"type": "light", "features": [
                {"type": "binary", "name": "state", "property": "state", "access": 7, "value_on": "ON",
                 "value_off": "OFF"},
                {"type": "numeric", "name": "brightness", "property": "brightness", "access": 7, "value_min": 0,
                 "value_max": 254}]},
            _numeric("linkquality", "lqi")]}},
]
ESPHOME: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("sensor", "boiler_temperature", {"unit_of_meas": "°C", "dev_cla": "temperature", "stat_cla": "measurement"}),
    ("switch", "pump", {}),
)
HOMIE = {"homie": "5.0", "version": 1, "name": "Simulated heater", "nodes": {"room": {"name": "Room", "properties": {
    "temperature": {"name": "Temperature", "datatype": "float", "unit": "°C"},
    "heating": {"name": "Heating", "datatype": "boolean", "format": "off,on", "settable": True}}}}}
