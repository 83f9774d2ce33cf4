"""The values of the tree on their way out: newest wins, at most five a second, repeated only where it matters.

A value goes out at once when its property was silent for 0.2 s, else it waits for the end of that time and the
newest one goes. An unchanged value is repeated only as a heartbeat for controllers that let measurements expire.
``last-update`` of the node follows, at most once a second, and is left out while this machine's clock is unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from agent.api import Clock, Property, Value, homie_id
from agent.homie.ages import expire_s, max_age_s
from agent.homie.tree import OURS, TreeNode
from agent.homie.values import BadValue, Illegal, parse_set, payload, utc_us
from agent.wire import topics

EVERY_US = 200_000
LAST_UPDATE_EVERY_US = 1_000_000
GOOD_ENOUGH = (None, "good", "uncertain", "estimated")


class Slot:
    """One property: what is wanted on its topic and what is there."""

    __slots__ = (
        "bad", "complained_us", "heartbeat_us", "live", "max_age_us", "node", "pending", "prop", "queued", "sent",
        "sent_us", "stray", "target", "topic", "value", "value_us", "wanted",
    )

    def __init__(self, device: str, node: TreeNode, prop: Property, sys: bool) -> None:
        self.node = node
        self.prop = prop
        self.topic = topics.homie(device, node.id, homie_id(prop.name))
        self.wanted: bytes | None = None
        self.value: Value = None
        self.sent: bytes | None = None
        self.sent_us = -EVERY_US
        self.value_us: int | None = None
        """CLOCK_BOOTTIME of the newest good value."""
        self.bad: str | None = None
        """Quality of the newest reading when it was not good."""
        self.complained_us: int | None = None
        self.live = False
        """In the published description; before that nothing goes out."""
        self.queued = False
        self.target: bytes | None = None
        """``$target`` as published; settable, retained properties only."""
        self.stray = False
        """A value of another datatype stands on the topic: the declaration changed."""
        self.pending = False
        """A command is on its way: the target leads, the value follows."""
        expire = expire_s(node, prop)
        self.heartbeat_us = int(expire * 0.3e6) if expire else None  # less than a third: with every reading
        watched = not (prop.event or (prop.settable and prop.max_age_s is None) or prop.name in OURS or sys)
        age = max_age_s(node, prop)
        self.max_age_us = int(age * 1e6) if watched and age < float("inf") else None

    @property
    def has_target(self) -> bool:
        return self.prop.settable and not self.prop.event


class NodeClock:
    """``last-update`` of one node."""

    __slots__ = ("newest_us", "queued", "sent_us", "slot")

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.newest_us: int | None = None
        self.sent_us = -LAST_UPDATE_EVERY_US
        self.queued = False


Send = Callable[[str, bytes, int, bool], None]
"""(topic, payload, qos, retain)"""


class Values:
    """All slots of the device. ``send`` may be called at any time; it does nothing while there is no connection."""

    def __init__(self, device: str, clock: Clock, send: Send, complain: Callable[[str], None]) -> None:
        self._device = device
        self._clock = clock
        self._send = send
        self._complain = complain
        self.slots: dict[tuple[str, str], Slot] = {}
        self.clocks: dict[str, NodeClock] = {}
        self._queue: list[Slot] = []
        self._clock_queue: list[NodeClock] = []
        self.sending = False

    def set_nodes(self, nodes: Iterable[TreeNode], sys: str) -> None:
        """The nodes there are now; a property whose declaration did not change keeps its value."""
        slots: dict[tuple[str, str], Slot] = {}
        clocks: dict[str, NodeClock] = {}
        for node in nodes:
            for name, prop in node.properties.items():
                slot = Slot(self._device, node, prop, node.id == sys)
                old = self.slots.get((node.id, name))
                if old is not None and old.prop == prop and old.node.interval_s == node.interval_s:
                    old.node = node
                    slot = old
                elif old is not None:
                    slot.stray = old.stray or old.sent is not None
                slots[node.id, name] = slot
            made = NodeClock(slots[node.id, "last_update"])
            before = self.clocks.get(node.id)
            if before is not None:
                made.newest_us, made.sent_us = before.newest_us, before.sent_us
            clocks[node.id] = made
        self._queue = [slot for slot in self._queue if slots.get((slot.node.id, slot.prop.name)) is slot]
        self._clock_queue = []
        self.slots, self.clocks = slots, clocks

    def take(self, node: str, name: str, value: Value, t_us: int, quality: str | None, now_us: int) -> Slot | None:
        """A new reading. Returns its slot, or None when nobody declared it."""
        slot = self.slots.get((node, name))
        if slot is None:
            return None
        if quality in GOOD_ENOUGH and value is not None:
            try:
                data = payload(slot.prop, value)
            except BadValue as error:
                self._refuse(slot, error.quality, f"{node}/{name}: {error}", now_us)
                return slot
        else:
            self._refuse(slot, quality or "bad", "", now_us)
            return slot
        if slot.value_us is not None and t_us < slot.value_us:
            return slot  # an older reading never overwrites a newer one
        slot.bad = None
        slot.value = value
        slot.value_us = t_us
        slot.wanted = data
        if slot.live and self.sending:
            if slot.prop.event:
                self._send(slot.topic, data, 0, False)
            elif now_us - slot.sent_us >= EVERY_US:
                self._out(slot, now_us)
            elif not slot.queued:
                slot.queued = True
                self._queue.append(slot)
        if name not in OURS:
            self._touch(node, t_us, now_us)
        return slot

    def _refuse(self, slot: Slot, quality: str, text: str, now_us: int) -> None:
        slot.bad = quality
        if text and (slot.complained_us is None or now_us - slot.complained_us > 60_000_000):
            slot.complained_us = now_us
            self._complain(f"{text}; it is recorded as {quality} and not shown")

    def _out(self, slot: Slot, now_us: int) -> None:
        """Publish if it differs from what is there, or if the heartbeat is due."""
        data = slot.wanted
        if data is None:
            return
        if data == slot.sent and (slot.heartbeat_us is None or now_us - slot.sent_us < slot.heartbeat_us):
            return
        if slot.has_target and not slot.pending and slot.target != data:
            self.set_target(slot, data)
        self._send(slot.topic, data, 1, True)
        slot.sent = data
        slot.sent_us = now_us

    def set_target(self, slot: Slot, data: bytes) -> None:
        """``$target``, before the value follows (Homie 5, "Target attribute")."""
        slot.target = data
        if slot.live and self.sending:
            self._send(slot.topic + "/$target", data, 1, True)

    def _touch(self, node: str, t_us: int, now_us: int) -> None:
        clock = self.clocks[node]
        if clock.newest_us is None or t_us > clock.newest_us:
            clock.newest_us = t_us
        if not self.sending or not clock.slot.live:
            return
        if now_us - clock.sent_us >= LAST_UPDATE_EVERY_US:
            self._last_update(clock, now_us)
        elif not clock.queued:
            clock.queued = True
            self._clock_queue.append(clock)

    def _last_update(self, clock: NodeClock, now_us: int) -> None:
        wall_us = self._clock.wall_us()
        if clock.newest_us is None or wall_us is None:
            return
        data = utc_us(clock.newest_us + wall_us - self._clock.boottime_us()).encode()
        clock.sent_us = now_us
        clock.slot.sent = data
        self._send(clock.slot.topic, data, 1, True)

    def flush(self, now_us: int) -> int | None:
        """Send what has waited long enough; returns when the next one is due."""
        due: int | None = None
        if self._queue:
            waiting = []
            for slot in self._queue:
                if now_us - slot.sent_us >= EVERY_US:
                    slot.queued = False
                    if slot.live and self.sending:
                        self._out(slot, now_us)
                else:
                    waiting.append(slot)
                    due = min(due or slot.sent_us + EVERY_US, slot.sent_us + EVERY_US)
            self._queue = waiting
        if self._clock_queue:
            clocks = []
            for clock in self._clock_queue:
                if now_us - clock.sent_us >= LAST_UPDATE_EVERY_US:
                    clock.queued = False
                    if self.sending:
                        self._last_update(clock, now_us)
                else:
                    clocks.append(clock)
                    at = clock.sent_us + LAST_UPDATE_EVERY_US
                    due = min(due or at, at)
            self._clock_queue = clocks
        return due

    def publish_all(self, live: set[tuple[str, str]], now_us: int, again: bool) -> None:
        """Everything that ``live`` names goes on its topic: all of it (``again``), or what was not there yet."""
        self.sending = True
        for key, slot in self.slots.items():
            fresh = key in live and not slot.live
            slot.live = key in live
            if slot.live and (again or fresh) and not slot.prop.event:
                slot.sent = None
                if again and slot.has_target and slot.target is not None:
                    self.set_target(slot, slot.target)
                if slot.stray and slot.wanted is None:
                    self._send(slot.topic, b"", 1, True)
                slot.stray = False
                self._out(slot, now_us)
        for clock in self.clocks.values():
            if clock.slot.live and (again or clock.slot.sent is None):
                self._last_update(clock, now_us)

    def unfit(self, seen: dict[str, bytes]) -> list[str]:
        """Topics whose retained value, of an earlier run, is not legal for the property as it is declared now."""
        found = []
        for slot in self.slots.values():
            data = seen.get(slot.topic)
            if data is None or slot.sent is not None or slot.prop.event:
                continue
            try:
                parse_set(slot.prop, data)
            except Illegal:
                found.append(slot.topic)
        return found

    def pause(self) -> None:
        """The connection is gone: values are taken in and kept, nothing is queued."""
        self.sending = False
        for slot in self._queue:
            slot.queued = False
        self._queue.clear()
        for clock in self._clock_queue:
            clock.queued = False
        self._clock_queue.clear()
