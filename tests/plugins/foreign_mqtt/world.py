"""Another MQTT client for tests: says what a foreign node says, hears what it is told, and does what is asked of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.subscribeoptions import SubscribeOptions

from tests.waiting import until

DEVICES = [
    {"friendly_name": "Living room", "type": "EndDevice", "definition": {"exposes": [
        {"type": "numeric", "name": "temperature", "property": "temperature", "access": 1, "unit": "°C"}]}},
    {"friendly_name": "desk lamp", "type": "Router", "definition": {"exposes": [{"type": "light", "features": [
        {"type": "binary", "property": "state", "access": 7, "value_on": "ON", "value_off": "OFF"},
        {"type": "numeric", "property": "brightness", "access": 7, "value_min": 0, "value_max": 254}]}]}},
]
HOMIE = {"homie": "5.0", "version": 1, "name": "Well pump", "nodes": {"pump": {"name": "Pump", "properties": {
    "power": {"datatype": "float", "unit": "W"},
    "running": {"datatype": "boolean", "format": "off,on", "settable": True}}}}}


class Client:
    """``answers(topic, payload)`` gives ``(topic, payload, retain)`` to say; ``heard`` are all messages, ``retained``
    what stands on the broker below ``keep``."""

    def __init__(self, port: int, listen: tuple[str, ...], answers: Callable[[str, str], Any] | None = None) -> None:
        self.heard: list[tuple[str, str]] = []
        self.values: dict[str, str] = {}
        self._answers = answers
        self._listen = listen
        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _on_connect(self, client: Any, *_: Any) -> None:
        for topic in self._listen:
            client.subscribe(topic, options=SubscribeOptions(qos=1, retainAsPublished=True))

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        topic, payload = message.topic, message.payload.decode("utf-8", "replace")
        self.heard.append((topic, payload))
        self.values[topic] = payload
        for said in self._answers(topic, payload) if self._answers else ():
            client.publish(said[0], said[1], qos=1, retain=said[2])

    def say(self, topic: str, payload: Any, retain: bool = False) -> None:
        text = json.dumps(payload) if isinstance(payload, dict | list) else payload
        until("the test's own client is connected", self.client.is_connected, 20)
        self.client.publish(topic, text, qos=1, retain=retain).wait_for_publish(10)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


def nodes(topic: str, payload: str) -> list[tuple[str, str, bool]]:
    """How each project's node answers a command."""
    if topic == "cmnd/plug/POWER":
        return [("stat/plug/RESULT", json.dumps({"POWER": payload}), False), ("stat/plug/POWER", payload, False)]
    if topic == "zigbee2mqtt/desk lamp/set":
        state = {"state": "OFF", "brightness": 10} | json.loads(payload)
        return [("zigbee2mqtt/desk lamp", json.dumps(state), False)]
    if topic == "boiler/switch/pump/command":
        return [("boiler/switch/pump/state", payload, True)]
    if topic == "homie/5/well/pump/running/set":
        return [("homie/5/well/pump/running", payload, True)]
    return []


def repeat(what: Callable[[], Any], check: Callable[[], Any], timeout_s: float = 30.0) -> Any:
    """Do it again and again until the check holds: a sample that came before the subscription is none."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        what()
        patience = time.monotonic() + 0.5
        while time.monotonic() < patience:
            if found := check():
                return found
            time.sleep(0.02)
    raise AssertionError(f"not within {timeout_s:.0f} s")
