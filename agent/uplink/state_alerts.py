"""``$alert/<id>``: raised by plugins, by a plugin's health and by age; retained while they hold, then deleted.

One root cause, one alert: of a node whose values are all stale only the node is named, and of a plugin that has
failed only its health.
"""

from __future__ import annotations

import re

from agent.api import homie_id
from agent.bus import Health
from agent.uplink.state_values import Send, Slot, Values
from agent.wire import topics

CHECK_EVERY_US = 1_000_000
_NOT_ID = re.compile(r"[^a-z0-9-]+")


def alert_id(text: str) -> str:
    """Any words as a Homie id: ``Port gone!`` becomes ``port-gone``."""
    return _NOT_ID.sub("-", text.lower()).strip("-") or "alert"


def _ago(age_us: int) -> str:
    seconds = age_us // 1_000_000
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"


class Alerts:
    def __init__(self, device: str, values: Values, send: Send) -> None:
        self._device = device
        self._values = values
        self._send = send
        self.active: dict[str, tuple[str, str]] = {}
        """alert id -> (instance, text)"""
        self._failed: set[str] = set()
        self._stale: set[str] = set()
        self._checked_us: int | None = None

    def topic(self, id_: str) -> str:
        return topics.homie(self._device, "$alert", id_)

    def put(self, instance: str, id_: str, text: str | None) -> None:
        """Raise (text) or resolve (None); the same again is not repeated."""
        id_ = alert_id(id_)
        if text is None:
            if self.active.pop(id_, None) is not None:
                self._send(self.topic(id_), b"", 1, True)
            return
        text = text or id_
        if self.active.get(id_) != (instance, text):
            same_text = self.active.get(id_, ("", None))[1] == text
            self.active[id_] = (instance, text)
            if not same_text:
                self._send(self.topic(id_), text.encode(), 1, True)

    def on_health(self, health: Health) -> None:
        bad = health.state in ("degraded", "failed")
        (self._failed.add if health.state in ("failed", "disabled") else self._failed.discard)(health.instance)
        text = f"{health.instance} is {health.state}: {health.reason or 'no reason given'}" if bad else None
        self.put(health.instance, f"health-{health.instance}", text)

    def forget(self, instance: str) -> None:
        """A plugin is gone or starts anew: its alerts are over."""
        self._failed.discard(instance)
        for id_ in [id_ for id_, (owner, _) in self.active.items() if owner == instance]:
            self.put(instance, id_, None)
            self._stale.discard(id_)

    def publish_all(self) -> None:
        """After a connect: the broker may have lost them."""
        for id_, (_, text) in self.active.items():
            self._send(self.topic(id_), text.encode(), 1, True)

    def topics(self) -> set[str]:
        return {self.topic(id_) for id_ in self.active}

    def tick(self, now_us: int) -> int | None:
        """Look for values that are too old, at most once a second; returns when the next one will be."""
        if self._checked_us is not None and now_us - self._checked_us < CHECK_EVERY_US:
            return self._checked_us + CHECK_EVERY_US
        self._checked_us = now_us
        due: int | None = None
        watched: dict[str, list[Slot]] = {}
        stale: dict[str, list[Slot]] = {}
        for slot in self._values.slots.values():
            if slot.max_age_us is None or slot.value_us is None or not slot.live or slot.prop.comes_and_goes:
                continue
            watched.setdefault(slot.node.id, []).append(slot)
            until = slot.value_us + slot.max_age_us
            if now_us > until:
                stale.setdefault(slot.node.id, []).append(slot)
            else:
                due = until + 1 if due is None else min(due, until + 1)
        raised: dict[str, tuple[str, str]] = {}
        for node, slots in stale.items():
            instance = slots[0].node.instance
            if instance in self._failed:
                continue
            if len(slots) == len(watched[node]) > 1:
                newest = max(slot.value_us or 0 for slot in slots)
                raised[f"stale-{node}"] = (instance, f"{node}: no good value for {_ago(now_us - newest)}")
                continue
            for slot in slots:
                why = f" (newest reading: {slot.bad})" if slot.bad else ""
                age = _ago(now_us - (slot.value_us or 0))
                raised[f"stale-{node}-{homie_id(slot.prop.name)}"] = (
                    instance, f"{node}/{slot.prop.name}: no good value for {age}{why}")
        for id_ in self._stale - set(raised):
            self.put("", id_, None)
        for id_, (instance, text) in raised.items():
            if id_ not in self._stale:  # the age in the text stays that of the moment it was raised
                self.put(instance, id_, text)
        self._stale = set(raised)
        return due
