"""The hub's own results for every MQTT client: the Homie device ``hub`` (retained; the will says ``lost``).

The node ``canary`` has one property for each device, the latency of its last canary in seconds; ``watch`` counts the
machines. Nothing here waits: what cannot be published now comes with the next connection.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from agent.wire import topics
from hub.live import NotConnected

DEVICE = topics.HUB
WATCH: dict[str, dict[str, Any]] = {
    "machines": {"name": "Machines", "datatype": "integer"},
    "machines-well": {"name": "Machines that are well", "datatype": "integer"},
    "disk-free": {"name": "Disk free", "datatype": "integer", "unit": "B"},
}

AGAIN_US = 60_000_000
"""The will of a process before this one may come late: the state is said again."""


def will() -> tuple[str, bytes]:
    return topics.state(DEVICE), b"lost"


class HubDevice:
    """:meth:`tell` each second with all values: (node, property) -> value."""

    def __init__(self, publish: Callable[[str, bytes, bool], None], name: str) -> None:
        """``publish(topic, payload, retain)`` raises NotConnected."""
        self._publish = publish
        self._name = name
        self._connection: object = None
        self._described: tuple[str, ...] | None = None
        self._told: dict[str, bytes] = {}
        self._said_us = 0

    def tell(self, connection: object, values: Mapping[tuple[str, str], float | int], now_us: int) -> None:
        """``connection``: another value after each new connection, None while there is none."""
        if connection is None:
            self._connection = None
            return
        try:
            self._tell(connection, values, now_us)
        except NotConnected:
            self._connection = None  # all of it again, with the next one

    def _tell(self, connection: object, values: Mapping[tuple[str, str], float | int], now_us: int) -> None:
        devices = tuple(sorted(prop for node, prop in values if node == "canary"))
        new = connection != self._connection
        if new or devices != self._described:
            before = set(self._told)
            self._publish(topics.state(DEVICE), b"init", True)
            self._publish(topics.description(DEVICE), self._description(devices, now_us), True)
            if new:
                self._told.clear()
            wanted = {topics.homie(DEVICE, node, prop) for node, prop in values}
            for topic in before - wanted:
                self._publish(topic, b"", True)
                self._told.pop(topic, None)
        for (node, prop), value in values.items():
            topic, payload = topics.homie(DEVICE, node, prop), json.dumps(value).encode()
            if self._told.get(topic) != payload:
                self._publish(topic, payload, True)
                self._told[topic] = payload
        if new or devices != self._described or not 0 <= now_us - self._said_us < AGAIN_US:
            self._publish(topics.state(DEVICE), b"ready", True)
            self._connection, self._described, self._said_us = connection, devices, now_us

    def end(self) -> None:
        """A clean end."""
        try:
            self._publish(topics.state(DEVICE), b"disconnected", True)
        except NotConnected:
            return  # the will says it

    def _description(self, devices: tuple[str, ...], now_us: int) -> bytes:
        nodes: dict[str, Any] = {"watch": {"name": "Watch", "properties": WATCH}}
        if devices:
            nodes["canary"] = {"name": "Canary", "properties": {
                device: {"name": device, "datatype": "float", "unit": "s"} for device in devices}}
        return json.dumps({"homie": "5.0", "version": now_us // 1000, "name": self._name, "nodes": nodes}).encode()
