"""What stands on the broker under our names, and what of it has no business there any more.

A plugin renamed while uplink was down, an alert of a process that was killed, a device id of the past: nobody
is left to delete these retained messages but the device that wrote them. So after each connect the own topics are
read once, compared with what should stand there, and the rest is emptied. The filters leave out ``.../set``: the
broker may deliver a message once for each overlapping subscription, and a command must come once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from agent.wire import topics

QUIET_US = 2_000_000
"""Retained messages come right after the subscription; two seconds without one mean that all have come."""
OURS = ("homie/5", f"{topics.DISCOVERY}/device", f"{topics.OURS}")
LIVING = (b"init", b"ready", b"sleeping")


def filters(device: str) -> list[str]:
    """The subscriptions that show everything a device may have left."""
    return [
        topics.homie(device, "+"),
        topics.homie(device, "+", "+"),
        topics.homie(device, "+", "+", "$target"),
        topics.discovery(device, "+"),
    ]


def node_of(topic: str) -> str | None:
    """The node that a topic of the tree or a discovery topic belongs to; None for ``$state``, ``$alert/...``."""
    parts = topic.split("/")
    if parts[0] == topics.DISCOVERY:
        return parts[3] if len(parts) == 5 and parts[1] == "device" and parts[4] == "config" else None
    return parts[3] if len(parts) > 4 and not parts[3].startswith("$") else None


def of_instance(node: str, instances: Iterable[str]) -> bool:
    """True for the node of one of these plugins and for what it found (``<instance>-<id>``)."""
    return any(node == instance or node.startswith(instance + "-") for instance in instances)


def leftovers(seen: Collection[str], expected: Collection[str], silent: Collection[str]) -> list[str]:
    """Topics of the own tree to be emptied. ``silent``: plugins of agent.toml that have not said yet what they have;
    their nodes are left alone."""
    gone = []
    for topic in seen:
        if topic in expected or topic.startswith(topics.DISCOVERY + "/"):
            continue
        node = node_of(topic)
        if node is None or not of_instance(node, silent):
            gone.append(topic)
    return sorted(gone)


def former_topics(device: str, seen: Collection[str]) -> list[str]:
    """Everything of a former device id in the order of removal: ``$state`` first (Homie 5, "Device Lifecycle")."""
    state = topics.state(device)
    return [state, *sorted(topic for topic in seen if topic != state)]


class Sweep:
    """One reading of the retained messages. ``seen`` maps topic to payload."""

    def __init__(self, device: str, former: Iterable[str], now_us: int) -> None:
        self.former = tuple(former)
        self.subscriptions = [one for id_ in (device, *self.former) for one in filters(id_)]
        self.subscriptions += [topics.reported(id_) for id_ in self.former]
        self._last_us = now_us
        self._devices = {device: True} | {id_: True for id_ in self.former}
        self.seen: dict[str, dict[str, bytes]] = {id_: {} for id_ in self._devices}

    def take(self, topic: str, payload: bytes, now_us: int) -> bool:
        """A retained message. True when it belongs to this sweep."""
        parts = topic.split("/")
        if len(parts) < 4 or parts[2] not in self.seen or "/".join(parts[:2]) not in OURS:
            return False  # also what a plugin takes in of others comes by here
        if payload:
            self.seen[parts[2]][topic] = payload
        self._last_us = now_us
        return True

    @property
    def due_us(self) -> int:
        return self._last_us + QUIET_US
