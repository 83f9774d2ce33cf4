"""Messages to readings and commands to messages: which broker, which presets, what is told about all of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from agent.api import (
    CommandRefused,
    Io,
    Message,
    MessageStream,
    Plugin,
    Property,
    Reading,
    Value,
    Yielded,
    mqtt_line,
    mqtt_message,
)

from .config import MOST, ForeignMqttConfig
from .findings import BadMessage, Finding
from .presets import matching, presets
from .registry import DAY_US, Registry

READ_S = 0.5
#: How often the plugin's own numbers are told: when they changed, and at the latest.
STATUS_S = 10.0
STATUS_LATEST_S = 900.0
LOOK_S = 5.0
#: What counts since the start is no total: the ledger would tell of a reset meter at every restart.
PROPERTIES = (
    Property(name="nodes", datatype="integer", title="Nodes", state_class="measurement", diagnostic=True,
             max_age_s=3600),
    Property(name="nodes_online", datatype="integer", title="Nodes online", state_class="measurement", max_age_s=3600),
    Property(name="messages", datatype="integer", title="Messages since start", state_class="measurement",
             diagnostic=True, max_age_s=3600),
    Property(name="bad_messages", datatype="integer", title="Bad messages since start",
             state_class="measurement", diagnostic=True, max_age_s=3600),
    Property(name="refused_names", datatype="integer", title="Values without room since start",
             state_class="measurement", diagnostic=True, max_age_s=3600),
    Property(name="lost_messages", datatype="integer", title="Messages lost by being too slow since start",
             state_class="measurement", diagnostic=True, max_age_s=3600, optional=True),
    Property(name="connected", datatype="boolean", title="Connected", options=("no", "yes"),
             device_class="connectivity", max_age_s=3600, optional=True),
)


class ForeignMqtt(Plugin, name="foreign_mqtt"):
    """Nodes that already speak MQTT, as further nodes of this device."""

    title = "MQTT nodes"
    Config = ForeignMqttConfig
    properties = PROPERTIES

    def __init__(self, config: ForeignMqttConfig) -> None:
        super().__init__(config)
        self._presets = presets(config)
        self._limits = {one.name: config.silent_after_s or one.silent_after_s for one in self._presets}
        self._stream: MessageStream | None = None
        self._registry: Registry | None = None
        self._pending: deque[Yielded] = deque()
        """What a message became, until ``run`` yields it (a command reads messages too)."""
        self._messages = self._bad = self._lost = 0
        self._connected: bool | None = None
        self._full_told = False
        self._told = (0, 0, 0, 0, 0, 0)
        self._told_s = self._all_told_s = self._looked_s = float("-inf")

    # --- life -------------------------------------------------------------------------------------------------

    def run(self, io: Io) -> Iterator[Yielded]:
        self._registry = registry = Registry(
            io.instance, io.kept, interval_s=self.config.interval_s, own=len(PROPERTIES), now_s=_now_s(io),
            today=_today(io), least_age_s=self.config.silent_after_s or 0.0)
        registry.keep_only(one.name for one in self._presets)
        yield from registry.nodes()
        self._stream = self._open(io)
        try:
            while not io.stopping:
                message = self._stream.read(READ_S)
                if message is not None:
                    self._take(io, message)
                while self._pending:
                    yield self._pending.popleft()
                yield from self._look(io)
            registry.save(float("inf"))  # asked to end: the agent keeps what is so now
        finally:
            stream, self._stream = self._stream, None
            stream.close()

    def _open(self, io: Io) -> MessageStream:
        broker = self.config.broker
        filters = tuple(one for preset in self._presets for one in preset.filters(broker is not None))
        if broker is None:
            return io.mqtt(*filters)  # type: ignore[attr-defined, no-any-return]
        from .broker import BrokerSource  # paho costs 3 MB that only another broker needs

        return io.messages(lambda: BrokerSource(broker, filters))

    # --- in ---------------------------------------------------------------------------------------------------

    def _take(self, io: Io, message: Message) -> None:
        """One message; what it becomes waits in ``_pending``. Never raises."""
        if not message.topic:  # a capture of another broker's messages
            message = mqtt_message(message.data, message.t_us)
        registry = self._registry
        assert registry is not None
        t_us = message.t_us if message.t_us is not None else io.clock.boottime_us()
        if message.topic.startswith("\0"):
            self._connection(io, message.topic[1:], message.data.decode(), t_us)
            return
        self._messages += 1
        bad_before = registry.bad
        if "\ufffd" in message.topic:
            self._bad_message(io, message, "the topic is not UTF-8 text")
            return
        for preset in self._presets:
            if len(message.data) > preset.limit(message.topic):
                if any(True for _ in matching(preset, message.topic, self.config.broker is not None)):
                    self._bad_message(io, message, f"{len(message.data)} bytes")
                continue
            found: list[Finding] = []
            try:
                for finding in preset.read(message.topic, message.data):
                    found.append(finding)
            except BadMessage as error:
                self._bad_message(io, message, str(error))
            self._pending.extend(registry.take(preset.name, found, retained=message.retained, t_us=t_us))
        if registry.bad != bad_before:
            self._bad_message(io, message, registry.last_bad)
        if registry.refused and not self._full_told:
            self._full_told = True
            io.log.warning("E_TOO_MANY_METRICS %s has %d values, further ones are left out (the first by %.80r): "
                           "narrow the topics, or find who invents names", io.instance, MOST, message.topic)

    def _bad_message(self, io: Io, message: Message, why: str) -> None:
        self._bad += 1
        io.log.warning("%.100r says what cannot be read: %s (%.60r); bad messages so far: %d", message.topic, why,
                       message.data[:60], self._bad)

    def _connection(self, io: Io, what: str, text: str, t_us: int) -> None:
        """What our own connection tells (broker.py)."""
        where = self.config.broker.where if self.config.broker is not None else "?"
        if what == "lost":
            self._lost = int(text)
            return
        before, self._connected = self._connected, what == "up"
        if self._connected:
            io.log.info("connected to %s", where)
            io.degraded(None)
        else:
            if before is not False:
                io.log.warning("no connection to %s: %s; trying again", where, text)
            io.degraded(f"no connection to {where}: {text}")
            if self._registry is not None:
                self._pending.extend(self._registry.unknown(t_us))
        if before is not self._connected:
            self._pending.append(Reading("connected", self._connected, t_us))

    # --- what is told without being asked ---------------------------------------------------------------------

    def _look(self, io: Io) -> Iterator[Yielded]:
        now_s, registry = _now_s(io), self._registry
        assert registry is not None
        registry.save(now_s)
        if now_s - self._looked_s >= LOOK_S:
            self._looked_s = now_s
            registry.day(_today(io))
            for member in registry.silent(self._limits, now_s):
                io.log.warning("%.80r says nothing any more (last heard %.1f h ago): offline", member.raw,
                               (now_s - member.heard_s) / 3600)
                yield Reading("online", False, node=member.id)
        if now_s - self._told_s < STATUS_S:
            return
        members = list(registry.members)
        numbers = (len(members), sum(member.online is True for member in members), self._messages, self._bad,
                   registry.refused, self._lost)
        anew = now_s - self._all_told_s >= STATUS_LATEST_S
        if numbers == self._told and not anew:
            return
        before, self._told, self._told_s = self._told, numbers, now_s
        for prop, number, old in zip(PROPERTIES, numbers, before, strict=False):
            if (anew or number != old) and (number or not prop.optional):
                yield Reading(prop.name, number)
        if anew:
            self._all_told_s = now_s
            if self._connected is not None:
                yield Reading("connected", self._connected)

    # --- commands ---------------------------------------------------------------------------------------------

    def node_command(self, io: Io, node: str, property_name: str, value: Value) -> Value:
        """Publish, then wait until the node says that it is so. Raises CommandRefused, RetryLater."""
        found = self._registry.find(node, property_name) if self._registry is not None else None
        if found is None or self._stream is None:
            raise CommandRefused(f"{node}/{property_name}: no such property now; send it again")
        member, key, entry = found
        if member.online is False:
            raise CommandRefused(f"{member.raw} is offline, nothing was sent")
        preset = next(one for one in self._presets if one.name == member.preset)
        topic, payload = preset.command(member.raw, key, entry.prop, value)
        if any(mark in topic for mark in "+#\0"):
            raise CommandRefused(f"{member.raw}: {topic!r} is no topic to publish to; rename the node")
        self._stream.write(mqtt_line(topic, payload.encode()))
        if entry.prop.event:
            return value
        deadline_s = io.clock.monotonic_s() + self.config.answer_s
        said: Value = None
        while (left_s := deadline_s - io.clock.monotonic_s()) > 0 and not io.stopping:
            message = self._stream.read(min(READ_S, left_s))
            if message is None:
                continue
            before = len(self._pending)
            self._take(io, message)
            for item in list(self._pending)[before:]:
                if isinstance(item, Reading) and (item.node, item.property) == (node, property_name):
                    said = item.value
                    if item.quality is None and _reached(entry.prop, value, said):
                        return said
        answer = "said nothing" if said is None else f"says {said!r}"
        raise CommandRefused(f"{member.raw} did not do it in {self.config.answer_s:g} s: {topic} got {payload!r}, "
                             f"and it {answer}")

    # --- captures and the simulated house ---------------------------------------------------------------------

    @classmethod
    def capture(cls, config: Any, data: bytes) -> bytes:
        from .captures import lines

        return lines(data)

    @classmethod
    def captured(cls, config: Any, data: bytes) -> Iterable[tuple[float, bytes]] | None:
        from .captures import messages

        return messages(data)

    @classmethod
    def simulate(cls, config: Any, seed: int = 0) -> AbstractContextManager[Any]:
        from .simulate import simulated

        return simulated(config, seed)


def _reached(prop: Property, wanted: Value, said: Value) -> bool:
    if isinstance(wanted, bool) or not isinstance(wanted, int | float) or isinstance(said, bool):
        return wanted == said
    near = max((prop.step or 0) / 2, 0.2 if prop.unit == "%" else 0)  # brightness travels as 0..254
    return isinstance(said, int | float) and abs(said - wanted) <= near + 1e-6


def _now_s(io: Io) -> float:
    return io.clock.boottime_us() / 1e6


def _today(io: Io) -> int | None:
    wall_us = io.clock.wall_us()
    return None if wall_us is None else wall_us // DAY_US
