"""The announcement to Home Assistant, kept equal to what stands on the broker.

Published only where it is missing or different: Home Assistant reads a retained message after every start, and openHAB
users lost channels around identical repetitions (tomquist/hm2mqtt#407). A broker that lost its store is noticed by the
comparison after each connect; a Home Assistant that starts anew (its birth message) leads to the same comparison
after a random wait, so that a hundred devices do not answer at once.
"""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Iterable

from agent.discovery import STATUS_TOPIC, DeviceInfo, digest, discovery_payload, encode, without_removed
from agent.homie.tree import TreeNode
from agent.uplink.state_sweep import node_of, of_instance
from agent.uplink.state_values import Send
from agent.wire import topics

ONLINE_WAIT_S = (1.0, 10.0)


class Announcer:
    def __init__(self, device: DeviceInfo, install: str, send: Send) -> None:
        self._device = device
        self._install = install
        self._send = send
        self._wanted: dict[str, bytes] = {}
        self._there: dict[str, str] = {}
        """node -> digest of the config that stands on the broker"""
        self._platforms: dict[str, dict[str, str]] = {}
        """node -> component -> platform of that config: what it takes to remove one component"""
        self._compared = False
        """Since this connect; before that nothing is published."""
        self.compare_due_us: int | None = None

    def pause(self) -> None:
        self._compared = False
        self.compare_due_us = None

    def set_nodes(self, nodes: Iterable[TreeNode], silent: Collection[str]) -> None:
        """What should be announced; goes out at once when what stands there is known.

        ``silent``: plugins of agent.toml that have not said yet what they have; what is announced of them stays."""
        self._wanted = {node.id: encode(discovery_payload(self._device, node, self._install)) for node in nodes}
        if self._compared:
            self._publish(silent)

    def compare(self, seen: dict[str, bytes], silent: Collection[str]) -> None:
        """After a sweep: ``seen`` are the config topics of this device with their payloads."""
        self._there = {}
        for topic, data in seen.items():
            node = node_of(topic)
            if node is not None and topic == topics.discovery(self._device.id, node):
                self._there[node] = digest(data)
                self._platforms[node] = _platforms(data)
        self._compared = True
        self._publish(silent)

    def _publish(self, silent: Collection[str]) -> None:
        for node in sorted(set(self._there) - set(self._wanted)):
            if not of_instance(node, silent):
                self._send(topics.discovery(self._device.id, node), b"", 1, True)
                del self._there[node]
                self._platforms.pop(node, None)
        for node, data in self._wanted.items():
            now = digest(data)
            if self._there.get(node) == now:
                continue
            topic = topics.discovery(self._device.id, node)
            step = without_removed(self._platforms.get(node, {}), json.loads(data))
            if step is not None:
                self._send(topic, encode(step), 1, True)
            self._send(topic, data, 1, True)
            self._there[node] = now
            self._platforms[node] = _platforms(data)

    def on_status(self, payload: bytes, retained: bool, now_us: int) -> None:
        """Home Assistant's birth. A retained one is old news, and we have just compared anyway."""
        if payload == b"online" and not retained:
            self.compare_due_us = now_us + int(random.uniform(*ONLINE_WAIT_S) * 1e6)

    def subscription(self) -> str:
        return STATUS_TOPIC

    def topics(self) -> list[str]:
        """Every config topic that may stand on the broker."""
        return [topics.discovery(self._device.id, node) for node in sorted({*self._there, *self._wanted})]


def _platforms(data: bytes) -> dict[str, str]:
    """component -> platform of a config; nothing of one that is not readable (it will be replaced)."""
    try:
        components = json.loads(data)["components"]
        return {key: str(one["platform"]) for key, one in components.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
