"""A small house of foreign nodes on a real broker: a private Mosquitto, and an MQTT client that plays the nodes."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from agent.api import ConfigError

from .config import BrokerConfig, EsphomeConfig, HomieConfig, TasmotaConfig, Zigbee2mqttConfig

PERIOD_S = 2.0
"""Real nodes take 10 to 300 s; who looks at a demo does not."""
START_S = 10.0
TRIES = 5
FIRST = 1_700_000_000
"""Counters count from here."""


class Nodes:
    """Plays the nodes of the projects that the config names. ``say(topic, payload, retain)`` publishes."""

    def __init__(self, config: Any, seed: int) -> None:
        every = config.nothing_named
        self._rng = random.Random(seed)
        self.tasmota = config.tasmota or (TasmotaConfig() if every else None)
        self.zigbee = config.zigbee2mqtt or (Zigbee2mqttConfig() if every else None)
        self.esphome = config.esphome or (EsphomeConfig() if every else None)
        self.homie = config.homie or (HomieConfig() if every else None)
        self.plug_on, self.lamp_on, self.brightness, self.relay_on, self.heat_on = True, False, 120, False, False

    def _tasmota(self, prefix: str, last: str) -> str:
        where = self.tasmota.full_topic.strip("/")
        return where.replace("%prefix%", prefix).replace("%topic%", "sim-plug") + "/" + last

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


class Player(threading.Thread):
    """The MQTT client behind the nodes, until stopped."""

    def __init__(self, port: int, nodes: Nodes) -> None:
        super().__init__(name="simulated-nodes", daemon=True)
        self._nodes = nodes
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="simulated-nodes", protocol=mqtt.MQTTv311)
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port, keepalive=30)
        self.client.loop_start()

    def _on_connect(self, client: Any, userdata: Any, flags: Any, code: Any, properties: Any) -> None:
        for topic in self._nodes.subscriptions():
            client.subscribe(topic, 1)
        self._say(self._nodes.hello())

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        with self._lock:
            answers = list(self._nodes.told(message.topic, message.payload.decode("utf-8", "replace")))
        self._say(iter(answers))

    def _say(self, said: Iterator[tuple[str, str, bool]]) -> None:
        for topic, payload, retain in said:
            self.client.publish(topic, payload, qos=1, retain=retain)

    def run(self) -> None:
        while not self._ending.is_set():
            with self._lock:
                said = list(self._nodes.tick(time.time()))
            self._say(iter(said))
            self._ending.wait(PERIOD_S)

    def stop(self) -> None:
        self._ending.set()
        self.join()
        self.client.disconnect()
        self.client.loop_stop()


@contextlib.contextmanager
def private_broker() -> Iterator[int]:
    """A Mosquitto of our own on a free port of loopback, which it gives. Raises ConfigError where there is none."""
    program = shutil.which("mosquitto", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise ConfigError("simulate: the simulated nodes need a broker of their own: apt install mosquitto "
                          "mosquitto-clients, or leave simulate out")
    # If we are killed, the broker is not to stay: the kernel ends it with its parent (setpriv is of util-linux).
    with_us = [setpriv, "--pdeathsig", "TERM"] if (setpriv := shutil.which("setpriv")) else []
    with tempfile.TemporaryDirectory(prefix="hutkeeper-nodes-") as folder:
        for _ in range(TRIES):
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            config = Path(folder) / "mosquitto.conf"
            user = "user root\n" if os.geteuid() == 0 else ""
            config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n{user}")
            process = subprocess.Popen([*with_us, program, "-c", str(config)], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                if _answers(process, port):
                    yield port
                    return
            finally:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait(5)
    raise ConfigError("simulate: mosquitto did not start; run it by hand to see why")


def _answers(process: subprocess.Popen[bytes], port: int) -> bool:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
            continue
        time.sleep(0.02)  # somebody else's may sit on the port: ours is ready only if it lives after its bind
        return process.poll() is None
    return False


@contextlib.contextmanager
def simulated(config: Any, seed: int = 0) -> Iterator[Any]:
    """The config with ``broker`` on a private Mosquitto on which the nodes of the named projects live."""
    with private_broker() as port:
        player = Player(port, Nodes(config, seed))
        player.start()
        try:
            yield msgspec.structs.replace(config, broker=BrokerConfig(host="127.0.0.1", port=port))
        finally:
            player.stop()
