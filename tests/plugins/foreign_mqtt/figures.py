"""How many messages a second one core takes in: ``python -m tests.plugins.foreign_mqtt.figures [seconds]``.

A house of 100 nodes with 4 values each, through the whole plugin, with what it keeps compared at every reading as the
runner does; then the same with names that are invented."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from itertools import count

import msgspec

from plugins.foreign_mqtt.config import ForeignMqttConfig, Zigbee2mqttConfig
from plugins.foreign_mqtt.plugin import ForeignMqtt

from .test_plugin import Scripted

CONFIG = ForeignMqttConfig(zigbee2mqtt=Zigbee2mqttConfig())


def house(until_s: float) -> Iterator[tuple[float, str, bytes, bool]]:
    for n in count():
        if time.perf_counter() > until_s:
            return
        doc = {"temperature": 20 + n % 7 / 10, "humidity": 40 + n % 9, "battery": 90, "linkquality": n % 255}
        yield n / 1000, f"zigbee2mqtt/node {n % 100}", json.dumps(doc).encode(), False


def inventor(until_s: float) -> Iterator[tuple[float, str, bytes, bool]]:
    for n in count():
        if time.perf_counter() > until_s:
            return
        doc = {f"invented_{n}_{m}": n for m in range(10)}
        yield n / 1000, f"zigbee2mqtt/n{n % 300}", json.dumps(doc).encode(), False


def rate(made: Iterator[tuple[float, str, bytes, bool]], began_s: float) -> tuple[float, float]:
    """(messages, readings) a second."""
    scripted = Scripted(made)
    readings = messages = 0
    plugin = ForeignMqtt(CONFIG)
    for _ in plugin.run(scripted):
        readings += 1
        msgspec.json.encode(scripted.kept)  # the runner looks at it with every yield
    messages = plugin._messages
    elapsed_s = time.perf_counter() - began_s
    return messages / elapsed_s, readings / elapsed_s


def main(seconds: float) -> None:
    for made, name in ((house, "100 nodes, 4 values a message"), (inventor, "10 invented names a message")):
        began_s = time.perf_counter()
        messages, readings = rate(made(began_s + seconds), began_s)
        print(f"{name}: {messages:.0f} messages/s, {readings:.0f} readings/s on one core")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0)
