"""Topics of others on our broker, for the plugins that take them in: one connection for the whole device.

A plugin says which filters it wants to hear (:class:`agent.bus.Listen`); each message goes down its lane, and what it
publishes for others goes out from here. Our own trees have their own ways and are refused: a broker may deliver a
message once for each overlapping subscription, and a command must come once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from itertools import zip_longest

from agent.bus import Listen, Mqtt, Publish
from agent.discovery import STATUS_TOPIC
from agent.wire.topics import DISCOVERY

log = logging.getLogger(__name__)

MAX_FILTERS = 200
MAX_PAYLOAD = 1 << 20
"""The broker's own limit; lists of devices (Zigbee2MQTT) come near it."""


def refusal(topic: str, device: str) -> str | None:
    """Why a filter (or a topic to publish to) is not for plugins; None: it is."""
    levels = topic.split("/")
    if not topic or len(topic) > 1000 or "\0" in topic:
        return "empty, too long or with a NUL in it"
    if any(("#" in level or "+" in level) and level not in ("#", "+") for level in levels) or "#" in levels[:-1]:
        return "# and + stand alone between slashes, and # only at the end"
    if levels[0] in ("#", "+") or levels[0].startswith("$"):
        return "the first level has to be a plain word"
    if overlap(topic, "hutkeeper/#"):
        return "hutkeeper/ is the agent's own; name other devices' readings in [device] inputs"
    if overlap(topic, f"homie/5/{device}/#"):
        return f"it takes in this device's own tree: name another device than {device} behind homie/5/"
    if overlap(topic, STATUS_TOPIC) or overlap(topic, f"{DISCOVERY}/device/{device}/#"):
        return "it takes in what the agent itself tells and hears of Home Assistant"
    return None


def overlap(one: str, other: str) -> bool:
    """Whether a topic can match both filters."""
    for a, b in zip_longest(one.split("/"), other.split("/")):
        if a == "#" or b == "#":
            return True
        if a is None or b is None or (a != b and "+" not in (a, b)):
            return False
    return True


def matches(wanted: str, topic: str) -> bool:
    """MQTT 5, section 4.7.1; ``$`` topics never match a wildcard at the first level, which is refused anyway."""
    levels = topic.split("/")
    parts = wanted.split("/")
    for at, part in enumerate(parts):
        if part == "#":
            return True
        if at >= len(levels) or part not in ("+", levels[at]):
            return False
    return len(parts) == len(levels)


def covers(wide: str, narrow: str) -> bool:
    """Whether every topic that ``narrow`` matches is matched by ``wide`` too."""
    parts, levels = wide.split("/"), narrow.split("/")
    for at, part in enumerate(parts):
        if part == "#":
            return True
        if at >= len(levels) or levels[at] == "#" or (part != "+" and part != levels[at]):
            return False
    return len(parts) == len(levels)


class ForeignLane:
    """``send(instance, message)`` puts a message on a plugin's lane; False: it has no room or is gone."""

    def __init__(self, device: str, *, subscribe: Callable[[str], object], unsubscribe: Callable[[str], object],
                 publish: Callable[[str, bytes], object], send: Callable[[str, Mqtt], bool]) -> None:
        self._device = device
        self._subscribe = subscribe
        self._unsubscribe = unsubscribe
        self._publish = publish
        self._send = send
        self._filters: dict[str, tuple[str, ...]] = {}

    def subscriptions(self) -> list[str]:
        """The fewest filters for what all plugins want: a message must come once, not once for each that fits."""
        asked = {one for filters in self._filters.values() for one in filters}
        return sorted(one for one in asked if not any(other != one and covers(other, one) for other in asked))

    def on_listen(self, listen: Listen) -> None:
        """Subscribes anew also to what was known: the broker then sends the retained messages once more."""
        asked = {one: refusal(one, self._device) for one in listen.filters[:MAX_FILTERS]}
        good = [one for one, why in asked.items() if why is None]
        refused = [f"{one[:80]!r} ({why})" for one, why in asked.items() if why is not None]
        if refused:
            log.warning("%s: MQTT topics that are not taken in: %s", listen.instance, "; ".join(refused))
        if len(listen.filters) > MAX_FILTERS:
            log.warning("%s: %d MQTT topics, only the first %d are taken in: use + and #", listen.instance,
                        len(listen.filters), MAX_FILTERS)
        self._change(listen.instance, tuple(good))

    def forget(self, instances: Iterable[str]) -> None:
        for instance in instances:
            self._change(instance, ())

    def _change(self, instance: str, filters: tuple[str, ...]) -> None:
        before = self.subscriptions()
        self._filters.pop(instance, None)
        if filters:
            self._filters[instance] = filters
        after = self.subscriptions()
        for one in after:
            if one not in before or any(covers(one, asked) for asked in filters):
                self._subscribe(one)
        for one in before:
            if one not in after:  # last, so that nothing is missed between a narrow filter and a wide one
                self._unsubscribe(one)

    def on_message(self, topic: str, payload: bytes, retained: bool, now_us: int) -> bool:
        """True when a plugin listens to it."""
        taken = False
        for instance, filters in self._filters.items():
            if any(matches(one, topic) for one in filters):
                taken = True
                if len(payload) > MAX_PAYLOAD:
                    log.warning("%s: a message of %d bytes on %s is left out, at most %d are taken in", instance,
                                len(payload), topic[:200], MAX_PAYLOAD)
                elif not self._send(instance, Mqtt(topic, payload, retained, now_us)):
                    log.warning("%s takes in its MQTT messages too slowly, some are left out", instance)
        return taken

    def on_publish(self, message: Publish) -> None:
        why = refusal(message.topic, self._device)
        if why is None and ("+" in message.topic or "#" in message.topic):
            why = "a topic to publish to has no wildcards"
        if why is not None:
            log.warning("%s: nothing is published to %r: %s", message.instance, message.topic, why)
            return
        self._publish(message.topic, message.payload)
