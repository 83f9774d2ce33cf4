"""The state plane of one device: its Homie 5 tree and its announcement to Home Assistant, kept true on the broker.

Everything here runs on uplink's main thread: uplink calls an ``on_...`` method for each message of the local bus and
of MQTT, and :meth:`State.tick` when it says so; :class:`State` answers with publishes through :class:`Publisher`.

What a user can rely on, for device ``bc-power`` (MQTT.md B3, DESIGN.md section 3):

* ``homie/5/bc-power/$state`` is ``ready`` while the device is connected, ``init`` for a moment while its description
  changes (new nodes are collected, at most one such round a minute), ``disconnected`` after a clean end, else ``lost``.
* Values are retained, at most one every 0.2 s; ``<node>/last-update`` says how old they are (not the time of arrival),
  and is missing as long as this machine does not know the time.
* ``$alert/stale-<node>-<property>`` stands while a value is older than its max age, ``$alert/stale-<node>`` when all
  of a node are, ``$alert/health-<plugin>`` while a plugin is degraded or failed.
* Commands go to ``<node>/<property>/set``, not retained; a refusal is a line on ``$log/warn``.
* What is left on the broker of earlier nodes, plugins or a former device id is cleared after each connect.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct

from agent.api import Clock, Property
from agent.bus import Alert, Answer, Command, Health, LogLine, Now
from agent.homie.sysnode import SYS, sys_node
from agent.homie.tree import Tree, cleared, nodes_of, problems
from agent.uplink.state_alerts import Alerts
from agent.uplink.state_commands import Commands
from agent.uplink.state_memory import Memory
from agent.uplink.state_values import Values
from agent.wire import topics
from agent.wire.messages import PluginDeclaration

log = logging.getLogger(__name__)

COLLECT_US = 1_000_000
"""A plugin that finds three meters names them one after another: one round for all."""
ROUND_EVERY_US = 60_000_000
FIRST_ROUND_US = 5_000_000
"""After the first connect: wait at most this long for the plugins that agent.toml names."""
HEAL_EVERY_US = 10_000_000
LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warn", "WARN": "warn", "ERROR": "error", "CRITICAL": "fatal",
          "FATAL": "fatal"}


class Publisher(Protocol):
    """MQTT as seen from here. None of these may block or raise; a publish without a connection may be dropped."""

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None: ...

    def subscribe(self, topic: str) -> None:
        """QoS 1, "retain as published" off, so that a retained flag means: this stood there before."""
        ...

    def unsubscribe(self, topic: str) -> None: ...


class DeviceInfo(Struct, frozen=True, kw_only=True):
    """What the announcement says of the device; ``configuration_url`` is its page on the hub, if there is one."""

    id: str
    name: str = ""
    version: str = ""
    suggested_area: str = ""
    configuration_url: str = ""


def will(device: str) -> tuple[str, bytes]:
    """Topic and payload of the MQTT will (retained, QoS 1)."""
    return topics.state(device), b"lost"


class State:
    """See the module. ``instances``: the plugins of agent.toml; ``send_command(instance, command)`` hands a command to
    a plugin (or to uplink itself for instance ``sys``) and returns False when it is not there. Uplink's own values come
    as ``Now("sys", [("sys", "uptime_s", ...)])``."""

    def __init__(
        self,
        device: DeviceInfo,
        publisher: Publisher,
        send_command: Callable[[str, Command], object],
        clock: Clock,
        *,
        instances: Iterable[str] = (),
        data_dir: Path | None = None,
    ) -> None:
        self.device = device
        self._mqtt = publisher
        self._clock = clock
        self.connected = False
        self.tree = Tree(device.id, device.name)
        self.memory = Memory(data_dir, device.id)
        self._instances = set(instances)
        self._declared: dict[str, PluginDeclaration] = {}
        self._runs: dict[str, str] = {}
        self._shown: set[str] = set()
        """Retained topics of the tree that controllers know."""
        self._values = Values(device.id, clock, self._send, self._warn)
        self._commands = Commands(device.id, self._values, self._send, send_command, self._warn)
        self._alerts = Alerts(device.id, self._values, self._send)
        self._round_due_us: int | None = None
        self._last_round_us: int | None = None
        self._healed_us: int | None = None
        self._values.set_nodes([sys_node()], SYS)

    # --- connection -----------------------------------------------------------------------------------------

    def will(self) -> tuple[str, bytes]:
        return will(self.device.id)

    def on_connect(self) -> None:
        """After CONNACK, also after every reconnect: the broker may have lost everything in between."""
        now_us = self._clock.boottime_us()
        self.connected = True
        self._values.pause()
        self._publish_state(b"init")
        self._mqtt.subscribe(topics.state(self.device.id))
        self._round_due_us = now_us if self._complete() else now_us + FIRST_ROUND_US
        self.tick(now_us)

    def on_disconnect(self) -> None:
        self.connected = False
        self._values.pause()

    def stop(self) -> None:
        """Before a clean end; the caller then waits for the publish and disconnects."""
        if self.connected:
            self._publish_state(b"disconnected")
        self.memory.save()

    def _complete(self) -> bool:
        """Everything that agent.toml names has said what it can report, or we waited for it once already."""
        return self._last_round_us is not None or self._instances <= set(self._declared)

    def _send(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        if self.connected:
            self._mqtt.publish(topic, payload, qos=qos, retain=retain)

    def _publish_state(self, word: bytes) -> None:
        self._send(topics.state(self.device.id), word, 1, True)

    # --- from the local bus ---------------------------------------------------------------------------------

    def on_plugins(self, instances: Iterable[str]) -> None:
        """The plugins of a (re)loaded agent.toml: what is gone leaves the tree, its history stays on the hub."""
        self._instances = set(instances)
        for instance in set(self._declared) - self._instances:
            gone = self._declared.pop(instance)
            self._runs.pop(instance, None)
            self.memory.forget_plugin(instance, [node.id for node in gone.nodes])
            self.tree.remove_plugin(instance)
            self._alerts.forget(instance)
            self._changed()

    def on_hello(self, declaration: PluginDeclaration, run: str = "") -> None:
        """What a plugin can report, at its start and whenever it found something. ``run`` names the process."""
        instance = declaration.instance
        if run and self._runs.get(instance) not in (None, run):
            self._alerts.forget(instance)  # its alerts died with the process; what still holds is raised again
        self._runs[instance] = run
        full = self.memory.with_found(declaration, self._clock.wall_us())
        if self._declared.get(instance) == full:
            return
        for line in problems(full):
            self._warn(line)
        self._declared[instance] = full
        self._instances.add(instance)
        self._changed(instance)

    def _changed(self, instance: str | None = None) -> None:
        """Take declarations into tree and slots, and see that controllers hear of it."""
        for name in [instance] if instance else list(self._declared):
            self.tree.set_plugin(self._declared[name], lambda node, prop: self.memory.seen_optional(node, prop.name))
        nodes = [sys_node()]
        for declaration in self._declared.values():
            # also the optional properties that are not shown yet: their first value is what makes them shown
            nodes += [node for node in nodes_of(declaration) if node.id in self.tree.nodes]
        self._values.set_nodes(nodes, SYS)
        self._want_round()

    def _want_round(self) -> None:
        now_us = self._clock.boottime_us()
        if not self.connected:
            return  # on_connect shows it
        if self._last_round_us is None:
            if self._instances <= set(self._declared):
                self._round_due_us = now_us
            return
        due = max(now_us + COLLECT_US, self._last_round_us + ROUND_EVERY_US)
        # The rounds right after the start are not held back: there the late plugins say Hello.
        if now_us - self._started_us < ROUND_EVERY_US:
            due = now_us + COLLECT_US
        self._round_due_us = min(self._round_due_us or due, due)

    _started_us = 0

    def on_now(self, now: Now) -> None:
        now_us = self._clock.boottime_us()
        for node, name, value, t_us, quality in now.values:
            slot = self._values.take(node, name, value, t_us, quality, now_us)
            if slot is not None and not slot.live and slot.prop.optional and slot.wanted is not None:
                self._first_value(slot.node.instance, slot.node.id, slot.prop)

    def _first_value(self, instance: str, node: str, prop: Property) -> None:
        if not self.memory.seen_optional(node, prop.name):
            self.memory.see_optional(node, prop.name)
            self._changed(instance)

    def on_health(self, health: Health) -> None:
        now_us = self._clock.boottime_us()
        self._values.take(health.instance, "health", health.state, now_us, None, now_us)
        self._values.take(health.instance, "errors", health.errors, now_us, None, now_us)
        self._alerts.on_health(health)

    def on_alert(self, alert: Alert) -> None:
        self._alerts.put(alert.instance, alert.id, alert.text)

    def on_log(self, line: LogLine) -> None:
        """``$log/<level>``: for who listens now; the hub's logbook has its own way."""
        level = LEVELS.get(line.level.upper(), "warn")
        self._send(topics.homie(self.device.id, "$log", level), f"{line.instance}: {line.message}".encode(), 0, False)

    def on_answer(self, answer: Answer) -> bool:
        """True when the answer belonged to a ``/set``."""
        return self._commands.on_answer(answer, self._clock.boottime_us())

    def _warn(self, text: str) -> None:
        log.warning("%s", text)
        self._send(topics.homie(self.device.id, "$log", "warn"), text.encode(), 0, False)

    # --- from MQTT ------------------------------------------------------------------------------------------

    def on_message(self, topic: str, payload: bytes, retained: bool) -> bool:
        """A message of one of the subscriptions made here. True when it was one."""
        now_us = self._clock.boottime_us()
        parts = topic.split("/")
        if parts[:3] == ["homie", "5", self.device.id]:
            if len(parts) == 6 and parts[5] == "set":
                self._commands.on_set(self.tree, parts[3], parts[4], payload, retained, now_us)
            elif parts[3:] == ["$state"]:
                self._heal(payload, now_us)
            return True
        return False

    def _heal(self, word: bytes, now_us: int) -> None:
        """The will of a former connection may come late: then we are shown as lost while we live."""
        ours = word in (b"init", b"ready", b"disconnected")
        if ours or not self.connected or self._last_round_us is None:
            return
        if self._healed_us is None or now_us - self._healed_us > HEAL_EVERY_US:
            self._healed_us = now_us
            self._publish_state(b"ready")

    # --- time -----------------------------------------------------------------------------------------------

    def tick(self, now_us: int) -> int | None:
        """Do what is due. Returns the CLOCK_BOOTTIME (us) when it wants to be called again at the latest."""
        due: list[int | None] = [self._commands.expire(now_us)]
        if self.connected and self._round_due_us is not None and now_us >= self._round_due_us:
            self._round(now_us)
        due += [self._round_due_us if self.connected else None, self._values.flush(now_us), self._alerts.tick(now_us)]
        return min((at for at in due if at is not None), default=None)

    def _round(self, now_us: int) -> None:
        """init, description, values, subscriptions, ready: the only order in which a description may change."""
        first_of_connection = not self._values.sending
        self._round_due_us = None
        if self._last_round_us is None:
            self._started_us = now_us
        self._last_round_us = now_us
        if not first_of_connection:
            self._publish_state(b"init")
        self._send(topics.description(self.device.id), self._description(), 1, True)
        live = {(node.id, name) for node in self.tree.nodes.values() for name in node.properties}
        self._values.publish_all(live, now_us, again=first_of_connection)
        shown = self.tree.retained_topics()
        for topic in cleared(self._shown, shown):
            self._send(topic, b"", 1, True)
        self._shown = shown
        if first_of_connection:
            self._alerts.publish_all()
            self._mqtt.subscribe(self._commands.subscription())
        self._publish_state(b"ready")
        self.memory.save()

    def _description(self) -> bytes:
        described = self.tree.description()
        text = json.dumps(described, ensure_ascii=False, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        described["version"] = self.memory.version_of(digest, self._clock.wall_us())
        return msgspec.json.encode(described)
