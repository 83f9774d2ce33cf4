"""The state plane of one device: its Homie 5 tree and its announcement to Home Assistant, kept true on the broker.

Everything here runs on uplink's main thread: uplink calls an ``on_...`` method for each message of the local bus and
of MQTT, and :meth:`State.tick` when it says so; :class:`State` answers with publishes through :class:`Publisher`.

What a user can rely on, for device ``bc-power`` (MQTT.md B3, DESIGN.md section 3):

* ``homie/5/bc-power/$state`` is ``ready`` while the device is connected, ``init`` for seconds while its description
  changes (at most once a minute, see :mod:`agent.uplink.state_rounds`), ``disconnected`` after a clean end, else
  ``lost``.
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
from collections import deque
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from agent.api import Clock
from agent.bus import Alert, Answer, Command, Health, LogLine, Now
from agent.discovery import DeviceInfo
from agent.homie.sysnode import SYS, sys_node
from agent.homie.tree import Tree, cleared, nodes_of, problems
from agent.uplink.state_alerts import Alerts
from agent.uplink.state_commands import Commands, Done, Order
from agent.uplink.state_discovery import Announcer
from agent.uplink.state_memory import Memory
from agent.uplink.state_rounds import Rounds
from agent.uplink.state_sweep import LIVING, Sweep, former_topics, leftovers
from agent.uplink.state_values import Values
from agent.wire import topics
from agent.wire.messages import PluginDeclaration

log = logging.getLogger(__name__)

HEAL_EVERY_US = 10_000_000
MAX_UNSAID = 50
REMEMBER_EVERY_US = 6 * 3600 * 1_000_000
"""How often identity.json learns which found nodes are alive."""
LEVELS = {"DEBUG": "debug", "INFO": "info", "WARNING": "warn", "ERROR": "error", "CRITICAL": "fatal"}


class Publisher(Protocol):
    """MQTT as seen from here. None of these may block or raise; a publish without a connection may be dropped."""

    def publish(self, topic: str, payload: bytes, *, qos: int, retain: bool) -> None: ...

    def subscribe(self, topic: str, *, commands: bool = False) -> None:
        """QoS 1, "retain as published" only for ``commands``: elsewhere a retained flag means that it stood there
        before, and there that it would come again."""
        ...

    def unsubscribe(self, topic: str) -> None: ...


def will(device: str) -> tuple[str, bytes]:
    """Topic and payload of the MQTT will (retained, QoS 1)."""
    return topics.state(device), b"lost"


def _is_due(at_us: int | None, now_us: int) -> bool:
    return at_us is not None and now_us >= at_us


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
        if self._instances:
            self.memory.keep_only(self._instances)
        self._declared: dict[str, PluginDeclaration] = {}
        self._runs: dict[str, str] = {}
        self._shown: set[str] = set()
        """Retained topics of the tree that controllers know."""
        self._left: set[str] = set()
        """Topics of plugins that had not said Hello when the broker was looked through."""
        self._health: dict[str, Health] = {}
        self.on_order: Callable[[Order], None] = lambda order: None
        """Told of every command that is over, whoever gave it."""
        self._unsaid: deque[tuple[str, bytes]] = deque(maxlen=MAX_UNSAID)
        """Log lines that found no broker."""
        self._values = Values(device.id, clock, self._send, self._warn)
        self._commands = Commands(device.id, self._values, self._send, send_command, self._warn,
                                  lambda order: self.on_order(order))
        self._alerts = Alerts(device.id, self._values, self._send)
        self._announcer = Announcer(device, self.memory.kept.install, self._send)
        self._sweep: Sweep | None = None
        self._swept = False
        """The broker was looked through in this connection."""
        self._rounds = Rounds(self._instances)
        self._described: set[str] = set()
        """Plugins that the published description has."""
        self._said = b""
        """The ``$state`` that we published last."""
        self._healed_us: int | None = None
        self._heal_due_us: int | None = None
        self._remembered_us = clock.boottime_us()
        self._values.set_nodes([sys_node()], SYS)

    # --- connection -----------------------------------------------------------------------------------------

    def will(self) -> tuple[str, bytes]:
        return will(self.device.id)

    def on_connect(self) -> None:
        """After CONNACK, also after every reconnect: the broker may have lost everything in between."""
        now_us = self._clock.boottime_us()
        self.connected = True
        self._pause()
        self._publish_state(b"init")
        # Ours, but not only ours: a late will says we are lost, and a description of an earlier card has its version.
        self._mqtt.subscribe(topics.state(self.device.id))
        self._mqtt.subscribe(topics.description(self.device.id))
        self._rounds.connected(now_us)
        while self._unsaid:
            self._send(*self._unsaid.popleft(), 0, False)
        self.tick(now_us)

    def on_disconnect(self) -> None:
        self.connected = False
        self._pause()

    def _pause(self) -> None:
        self._rounds.disconnected()
        self._heal_due_us = None
        self._values.pause()
        self._announcer.pause()
        self._sweep = None
        self._swept = False

    def stop(self) -> None:
        """Before a clean end; the caller then waits for the publish and disconnects."""
        if self.connected:
            self._publish_state(b"disconnected")
        self._remember(self._clock.boottime_us())

    def remove(self) -> None:
        """Take the whole device off the broker: ``$state`` first, so that it ceases to exist before it falls apart."""
        held = [topics.description(self.device.id), *sorted(self._shown), *sorted(self._alerts.topics())]
        for topic in [topics.state(self.device.id), *held, *self._announcer.topics()]:
            self._send(topic, b"", 1, True)
        self.on_disconnect()  # nothing more is published, not even in answer to our own deletions

    def _send(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        if self.connected:
            self._mqtt.publish(topic, payload, qos=qos, retain=retain)

    def _publish_state(self, word: bytes) -> None:
        self._said = word
        self._heal_due_us = None
        self._send(topics.state(self.device.id), word, 1, True)

    # --- from the local bus ---------------------------------------------------------------------------------

    def on_plugins(self, instances: Iterable[str]) -> None:
        """The plugins of a (re)loaded agent.toml: what is gone leaves the tree, its history stays on the hub."""
        before, self._instances = self._instances, set(instances)
        self._rounds.listed(self._instances - before - set(self._declared))
        for instance in before - self._instances:
            self._rounds.gone(instance)
        for instance in set(self._declared) - self._instances:
            gone = self._declared.pop(instance)
            self._runs.pop(instance, None)
            self._described.discard(instance)
            self.memory.forget_plugin(instance, [node.id for node in gone.nodes])
            self.tree.remove_plugin(instance)
            self._health.pop(instance, None)
            self._alerts.forget(instance)
            self._changed(None, soon=True)

    def on_hello(self, declaration: PluginDeclaration, run: str = "") -> None:
        """What a plugin can report, at its start and whenever it found something. ``run`` names the process."""
        instance = declaration.instance
        if run and self._runs.get(instance) not in (None, run):
            self._alerts.forget(instance)  # its alerts died with the process; what still holds is raised again
        self._runs[instance] = run
        self._remember(self._clock.boottime_us())
        full = self.memory.with_found(declaration, self._clock.wall_us())
        if self._declared.get(instance) == full:
            return
        for line in problems(full):
            self._warn(line)
        if instance not in self._declared:
            self._rounds.came(instance)
        self._declared[instance] = full
        self._instances.add(instance)
        self._changed(instance)
        if instance in self._health:
            self.on_health(self._health[instance])

    def _changed(self, instance: str | None, soon: bool = False) -> None:
        """Take declarations into tree and slots, and see that controllers hear of it (:meth:`Rounds.news`)."""
        for name in [instance] if instance else list(self._declared):
            self.tree.set_plugin(self._declared[name], lambda node, prop: self.memory.seen_optional(node, prop.name))
        nodes = [sys_node()]
        for declaration in self._declared.values():
            # also the optional properties that are not shown yet: their first value is what makes them shown
            nodes += [node for node in nodes_of(declaration) if node.id in self.tree.nodes]
        self._values.set_nodes(nodes, SYS)
        self._rounds.news(self._clock.boottime_us(), self.connected, soon)

    def on_now(self, now: Now) -> None:
        now_us = self._clock.boottime_us()
        for node, name, value, t_us, quality in now.values:
            slot = self._values.take(node, name, value, t_us, quality, now_us)
            if slot is None or slot.live or slot.wanted is None or not slot.prop.optional:
                continue
            if not self.memory.seen_optional(node, name):
                self.memory.see_optional(node, name)
                self._changed(slot.node.instance)

    def on_health(self, health: Health) -> None:
        now_us = self._clock.boottime_us()
        self._health[health.instance] = health
        self._values.take(health.instance, "health", health.state, now_us, None, now_us)
        self._values.take(health.instance, "errors", health.errors, now_us, None, now_us)
        self._alerts.on_health(health)

    def on_alert(self, alert: Alert) -> None:
        self._alerts.put(alert.instance, alert.id, alert.text)

    def on_log(self, line: LogLine) -> None:
        """``$log/<level>``: for who listens now; the hub's logbook has its own way."""
        level = LEVELS.get(line.level.upper(), "warn")
        topic, payload = topics.homie(self.device.id, "$log", level), f"{line.instance}: {line.message}".encode()
        if self.connected:
            self._send(topic, payload, 0, False)
        else:
            self._unsaid.append((topic, payload))

    def on_answer(self, answer: Answer) -> bool:
        """True when the answer belonged to a ``/set``."""
        return self._commands.on_answer(answer, self._clock.boottime_us())

    def order(self, node: str, property_id: str, data: bytes, who: str, done: Done) -> None:
        """The request ``set``."""
        self._commands.order(self.tree, node, property_id, data, who, self._clock.boottime_us(), done)

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
                return True
            if self._sweep is not None and retained:
                self._sweep.take(topic, payload, now_us)
            if parts[3:] == ["$state"]:
                self._heal(payload, now_us)
            elif parts[3:] == ["$description"] and retained:
                self._former_description(payload)
            return True
        if topic == self._announcer.subscription():
            self._announcer.on_status(payload, retained, now_us)
            return True
        return self._sweep is not None and retained and self._sweep.take(topic, payload, now_us)

    def _heal(self, word: bytes, now_us: int) -> None:
        """The will of a former connection may come late: then we are shown as lost while we live."""
        if word in (b"init", b"ready", b"disconnected") or not self.connected:
            return
        # Not at once again: two devices with one id must not shout at each other.
        self._heal_due_us = now_us if self._healed_us is None else max(now_us, self._healed_us + HEAL_EVERY_US)
        self._heal_if_due(now_us)

    def _heal_if_due(self, now_us: int) -> None:
        if self.connected and self._heal_due_us is not None and now_us >= self._heal_due_us:
            self._healed_us = now_us
            self._publish_state(self._said)

    def _former_description(self, payload: bytes) -> None:
        """The one that stood there before: its version must be outrun even when identity.json was lost."""
        try:
            version = json.loads(payload)["version"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return
        if isinstance(version, int) and self.memory.kept.version < version < 1 << 62:
            self.memory.outrun(version)
            if self._values.sending:
                self._rounds.news(self._clock.boottime_us(), self.connected)

    # --- time -----------------------------------------------------------------------------------------------

    def tick(self, now_us: int) -> int | None:
        """Do what is due. Returns the CLOCK_BOOTTIME (us) when it wants to be called again at the latest."""
        due: list[int | None] = [self._commands.expire(now_us)]
        if now_us - self._remembered_us > REMEMBER_EVERY_US:
            self._remember(now_us)
        self._heal_if_due(now_us)
        if self.connected and _is_due(self._rounds.describe_due_us, now_us):
            self._describe(now_us)
        if _is_due(self._rounds.ready_due_us, now_us):
            self._ready(now_us)
        due += [self._heal_due_us, self._rounds.describe_due_us, self._rounds.ready_due_us]
        if not self._rounds.in_init:  # what is announced is what was described in a round that has ended
            if _is_due(self._announcer.compare_due_us, now_us):
                self._announcer.compare_due_us = None
                self._start_sweep(now_us)
            if self._sweep is not None and now_us >= self._sweep.due_us:
                self._finish_sweep(self._sweep)
            due += [self._announcer.compare_due_us, self._sweep.due_us if self._sweep else None]
        due += [self._values.flush(now_us), self._alerts.tick(now_us)]
        return min((at for at in due if at is not None), default=None)

    def _remember(self, now_us: int) -> None:
        self._remembered_us = now_us
        wall_us = self._clock.wall_us()
        if wall_us is not None:
            newest = {node: one.newest_us for node, one in self._values.clocks.items()}
            self.memory.seen({node: now_us - at for node, at in newest.items() if at is not None}, wall_us)
        self.memory.save()

    def _describe(self, now_us: int) -> None:
        """init, description, values, subscriptions: the only order in which a description may change. Once more in
        the same ``init`` for what comes while it lasts."""
        first_of_connection = not self._values.sending
        if self._rounds.describe(now_us):
            self._publish_state(b"init")
        self._described = set(self._declared)
        self._send(topics.description(self.device.id), self._description(), 1, True)
        live = {(node.id, name) for node in self.tree.nodes.values() for name in node.properties}
        self._values.publish_all(live, now_us, again=first_of_connection)
        shown = self.tree.retained_topics()
        for topic in cleared(self._shown, shown):
            self._send(topic, b"", 1, True)
        self._shown = shown
        if first_of_connection:
            self._alerts.publish_all()
            self._mqtt.subscribe(self._commands.subscription(), commands=True)

    def _ready(self, now_us: int) -> None:
        """The end of a round: what was found is described, and only now announced."""
        self._rounds.ready(now_us)
        self._publish_state(b"ready")
        self._announcer.set_nodes(self.tree.nodes.values(), self._silent())
        self._clear_left(self._left)
        if not self._swept:
            self._swept = True
            self._mqtt.subscribe(self._announcer.subscription())
            self._start_sweep(now_us)
        self.memory.save()

    def _start_sweep(self, now_us: int) -> None:
        if self._sweep is None and self._values.sending:
            self._sweep = Sweep(self.device.id, self.memory.kept.former, now_us)
            for one in self._sweep.subscriptions:
                self._mqtt.subscribe(one)

    def _finish_sweep(self, sweep: Sweep) -> None:
        """Everything that stood on the broker has been seen: empty what is left over, announce what is missing."""
        self._sweep = None
        for one in sweep.subscriptions:
            self._mqtt.unsubscribe(one)
        seen = sweep.seen[self.device.id]
        self._clear_left(seen)
        for topic in self._values.unfit(seen):
            self._send(topic, b"", 1, True)
        configs = {one: data for one, data in seen.items() if one.startswith(topics.DISCOVERY)}
        self._announcer.compare(configs, self._silent())
        for former in sweep.former:
            self._clear_former(former, sweep.seen[former])
        self.memory.save()

    def _silent(self) -> set[str]:
        """Plugins of agent.toml whose nodes are not described yet: they have not said Hello, or wait for a round."""
        return self._instances - self._described

    def _clear_left(self, seen: Collection[str]) -> None:
        """Empty what stands there without a reason; what may belong to a silent plugin waits for its Hello."""
        expected = self._shown | self._alerts.topics()
        expected |= {topics.state(self.device.id), topics.description(self.device.id)}
        gone = leftovers(seen, expected, self._silent())
        for topic in gone:
            self._send(topic, b"", 1, True)
        if gone:
            log.info("cleared %d retained topics without an owner, the first is %s", len(gone), gone[0])
        self._left = {one for one in seen if not one.startswith(topics.DISCOVERY)} - expected - set(gone)

    def _clear_former(self, former: str, seen: dict[str, bytes]) -> None:
        """A renamed device cleans up after itself, unless somebody else lives under the old id by now."""
        if not seen:
            return  # nothing there, or the broker's ACL does not let us look: the hub clears it then
        if seen.get(topics.state(former)) not in LIVING:
            for topic in former_topics(former, seen):
                self._send(topic, b"", 1, True)
            log.info("cleared the %d retained topics of this device's former id %s", len(seen), former)
        self.memory.kept.former.remove(former)

    def _description(self) -> bytes:
        described = self.tree.description()
        text = json.dumps(described, ensure_ascii=False, sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        described["version"] = self.memory.version_of(digest, self._clock.wall_us())
        return msgspec.json.encode(described)
