"""Keeps the mirror equal to the Homie 5 trees, and carries ``/set`` over to them.

Order, so that no controller reads half a device: ``$state`` init, attributes, values, ``$state``. A retained ``/set``
is not carried over: the device would refuse it, and rightly. One connection has one will, so while this process is down
what it mirrored stays as it was; it comes back and corrects it.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable

from hub.live import Connection, Feed, LiveClient, LiveDevice, LiveTree, NotConnected
from hub.logbook import handler
from hub.mirror import homie4
from hub.settings import Settings
from hub.watch.pulse import Pulse

log = logging.getLogger(__name__)

LOOK_S = 1.0
SETS = "homie/+/+/+/set"
OURS = "homie/+/$implementation"


class MirroredTree(LiveTree):
    """The live tree, and who is told of each message that was taken in and of each new connection."""

    def __init__(self, feed: Feed, changed: Callable[[str, list[str]], None], began: Callable[[], None]) -> None:
        super().__init__(feed)
        self._changed = changed
        self._began = began

    def begin_sync(self) -> None:
        super().begin_sync()
        self._began()

    def apply(self, topic: str, payload: bytes, *, retained: bool, now_us: int) -> str | None:
        found = super().apply(topic, payload, retained=retained, now_us=now_us)
        parts = topic.split("/")
        if len(parts) > 3 and parts[:2] == ["homie", "5"]:
            self._changed(parts[2], parts[3:])
        return found


class Mirror:
    """``publish(topic, payload, retain)`` raises NotConnected; all of it is published anew with the next connection."""

    def __init__(self, publish: Callable[[str, bytes, bool], object]) -> None:
        self._publish = publish
        self.device: Callable[[str], LiveDevice | None] = lambda key: None
        self.shown: dict[str, dict[str, str]] = {}
        """device -> what stands on the broker, ``$state`` too"""
        self.left: set[str] = set()
        """Devices of an earlier mirror, to be compared with what there is."""

    def changed(self, key: str, below: list[str]) -> None:
        """A message of ``homie/5/<key>/<below>`` was taken in."""
        device = self.device(key)
        try:
            if device is None:
                self.remove(key)
            elif not homie4.can_be_mirrored(device):
                return
            elif below[0].startswith("$") or key not in self.shown:
                self._whole(device)
            elif len(below) == 2:
                self._value(device, below[0], below[1])
        except NotConnected:
            return  # the next connection begins anew

    def forget(self) -> None:
        """A new connection: the broker may have lost all of it."""
        self.left |= set(self.shown)
        self.shown.clear()

    def _say(self, of: dict[str, str], topic: str, text: str) -> None:
        of[topic] = text  # first: who compares what stands there must not take it for a leftover
        self._publish(topic, text.encode(), True)

    def _whole(self, device: LiveDevice) -> None:
        of = self.shown.setdefault(device.id, {})
        state = homie4.state_topic(device.id)
        wanted = homie4.attributes(device)
        have = {topic for topic in of if "/$" in topic and topic != state}
        if {topic: of[topic] for topic in have} != wanted:
            self._say(of, state, "init")
            wanted |= homie4.values(device)
            for topic in set(of) - set(wanted) - {state}:
                self._publish(topic, b"", True)
                del of[topic]
            for topic, text in wanted.items():
                if of.get(topic) != text:
                    self._say(of, topic, text)
        word = homie4.state(device)
        if of.get(state) != word:
            self._say(of, state, word)

    def _value(self, device: LiveDevice, node_id: str, prop_id: str) -> None:
        node = device.description.nodes.get(node_id) if device.description is not None else None
        prop = node.properties.get(prop_id) if node is not None else None
        if prop is None:
            return
        of, topic = self.shown[device.id], f"{homie4.base(device.id)}/{node_id}/{prop_id}"
        text = device.values.get((node_id, prop_id), "")
        if not prop.retained:
            if text:
                self._publish(topic, text.encode(), False)
        elif text and of.get(topic) != text:
            self._say(of, topic, text)
        elif not text and topic in of:
            self._publish(topic, b"", True)
            del of[topic]

    def remove(self, key: str) -> None:
        """``$state`` first, so that it ceases to exist before it falls apart."""
        of = self.shown.pop(key, {})
        state = homie4.state_topic(key)
        for topic in sorted(of, key=lambda topic: topic != state):
            self._publish(topic, b"", True)

    def other(self, topic: str, payload: bytes, retained: bool) -> None:
        """``/set`` of a Homie 4 controller, or the mark of an earlier mirror."""
        parts = topic.split("/")
        if parts[-1] == "$implementation":
            if payload == homie4.IMPLEMENTATION.encode():
                self.left.add(parts[1])
        elif parts[1] != "5" and parts[1] in self.shown and payload:
            if retained:
                log.warning("%s: a retained command is not carried over; publish it without the retain flag", topic)
                return
            try:
                self._publish(f"homie/5/{parts[1]}/{parts[2]}/{parts[3]}/set", payload, False)
            except NotConnected:
                log.warning("%s: not carried over, there is no connection to the broker", topic)


class Service:
    """The process: a live client of its own. :meth:`look` once a second."""

    def __init__(self, connection: Connection) -> None:
        self.mirror = Mirror(lambda topic, payload, retain: self.client.publish(topic, payload, retain=retain))
        feed = Feed()
        self.tree = MirroredTree(feed, self.mirror.changed, self.mirror.forget)
        self.mirror.device = self.tree.device
        self.client = LiveClient(connection, self.tree, feed, also=(SETS, OURS), on_other=self.mirror.other,
                                 on_synced=self._synced)
        self._synced_once = threading.Event()

    def _synced(self) -> None:
        """Everything retained has come: what is not complete yet is written now."""
        for device in self.tree.devices():
            self.mirror.changed(device.id, ["$state"])
        self._synced_once.set()

    def look(self) -> None:
        """Clear what an earlier mirror, or an earlier description, has left. Not on the client's own threads."""
        if not self._synced_once.is_set() or not self.mirror.left:
            return
        for key in sorted(tuple(self.mirror.left)):
            try:
                there = self.client.retained([f"{homie4.base(key)}/#"])
                gone = there - set(self.mirror.shown.get(key, {}))
                for topic in sorted(gone, key=lambda topic: not topic.endswith("/$state")):
                    self.client.publish(topic, b"", retain=True)
            except NotConnected:
                return
            if gone:
                log.info("cleared %d topics of an earlier mirror of %s", len(gone), key)
            self.mirror.left.discard(key)


def main(settings: Settings) -> None:
    from hub.web.server import connection

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.install(settings.hub.run_dir, "mirror")
    to = connection(settings)
    service = Service(Connection(to.host, to.port, to.ca, to.cert, to.key, to.username, to.password, to.keepalive_s,
                                 "hub-mirror", to.tls))
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    service.client.start()
    pulse = Pulse(settings.hub.run_dir, "mirror")
    while not stopping.wait(LOOK_S) and service.client.fault is None:
        service.look()
        pulse.beat()
    service.client.stop()
    sys.exit(0 if service.client.fault is None else f"mirror: {service.client.fault}")
