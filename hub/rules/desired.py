"""Rules whose home is a device: sent to it as its retained ``desired``, and what it says of them."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import msgspec

from agent.wire import topics
from agent.wire.messages import Desired
from hub.live import NotConnected
from hub.notify.part import Hall
from hub.rules.catalog import Entry
from hub.store import rules_rows

log = logging.getLogger(__name__)


class DeviceRules:
    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._kept: dict[str, tuple[int, bytes]] = {}
        self._unsent: set[str] = set()

    def begin(self) -> None:
        self._kept = rules_rows.desired(self._hall.db)
        self._unsent = set(self._kept)  # the broker may have lost them; the same again harms nobody

    def step(self, entries: Iterable[Entry]) -> None:
        """In the transaction: note what each device is to have; its version grows with every change."""
        wanted: dict[str, dict[str, str]] = {device: {} for device in self._kept}
        for entry in entries:
            if entry.rule is not None and entry.enabled and entry.rule.where != "hub":
                wanted.setdefault(entry.rule.where, {})[entry.id] = entry.toml
        for device, rules in wanted.items():
            version, body = self._kept.get(device, (0, b""))
            new = msgspec.json.encode(dict(sorted(rules.items())))
            if new != body:
                self._kept[device] = (version + 1, new)
                rules_rows.put_desired(self._hall.db, device, version + 1, new)
                self._unsent.add(device)

    def send(self) -> None:
        """Committed: publish what changed; what cannot go now goes later."""
        if not self._unsent or not self._hall.client.connected[0]:
            return
        for device in list(self._unsent):
            version, body = self._kept[device]
            desired = Desired(version, msgspec.json.decode(body, type=dict[str, str]))
            try:
                self._hall.client.publish(topics.desired(device), msgspec.json.encode(desired), retain=True)
            except NotConnected:
                return
            self._unsent.discard(device)

    def version(self, device: str) -> int:
        return self._kept.get(device, (0, b""))[0]
