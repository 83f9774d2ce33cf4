"""Everything that the pages stand on, put together once per process, and the fleet as the pages see it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

from flask import g
from msgspec import Struct

from agent.wire.messages import HubState
from hub.command.rate import Rate
from hub.fleet.answers import House, Problem, problems
from hub.fleet.causes import house_of, rooted
from hub.fleet.facts import DeviceFacts, facts, from_history
from hub.live import Feed, LiveClient, LiveDevice, LiveTree
from hub.live.tree import MAX_DEVICES
from hub.notify import asks
from hub.settings import Settings
from hub.store.alerts_db import AlertsReader
from hub.store.errors import StoreError
from hub.store.watch_rows import Canary, canaries
from hub.web.accounts import Accounts
from hub.web.history import History
from hub.web.limits import LoginLimits
from hub.web.notes import Notes
from hub.web.sse import Streams
from hub.web.texts import Texts
from hub.web.zones import machine_zone

CANARIES_US = 5_000_000
COMMAND_S = 8.0
"""As long as a person waits for the answer to a command; it is void after it."""


class Fleet(Struct, frozen=True):
    devices: tuple[DeviceFacts, ...]
    """In order of name."""
    problems: tuple[Problem, ...]
    differences: dict[str, int]


class Hut:
    """One web process."""

    def __init__(
        self, settings: Settings, *, accounts: Accounts, tree: LiveTree, feed: Feed, client: LiveClient,
        history: History, texts: Texts | None = None, streams: Streams | None = None,
        limits: LoginLimits | None = None, rate: Rate | None = None,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self.settings = settings
        self.accounts = accounts
        self.tree = tree
        self.feed = feed
        self.client = client
        self.history = history
        self.alerts = AlertsReader(settings.alerts_db)
        self.texts = texts or Texts()
        self.streams = streams or Streams(feed)
        self.limits = limits or LoginLimits()
        self.rate = rate or Rate()
        self.notes = Notes()
        self.command_s = COMMAND_S
        self.now_us = now_us
        self._canaries: dict[str, Canary] = {}
        self._canaries_us = 0
        self._attacks: dict[str, int] = {}
        self._kept: dict[str, tuple[LiveDevice, int, DeviceFacts]] = {}

    def ask(self, name: str, args: dict[str, Any] | None = None) -> Any:
        """Have notify do it, which alone writes alerts.db; who asks is the caller. Raises Refused and Away, which
        the application answers as 409 and 503 with their line."""
        return asks.ask(self.settings.hub.run_dir, name, args, who=g.caller.name)

    def canary(self, device_id: str) -> Canary | None:
        """The last canary of a device, as notify kept it; a few seconds old at most."""
        now_us = self.now_us()
        if not 0 <= now_us - self._canaries_us < CANARIES_US:
            self._canaries_us = now_us
            try:
                self._canaries = canaries(self.alerts)
            except StoreError:
                self._canaries = {}
        return self._canaries.get(device_id)

    def attack(self, what: str) -> bool:
        """Note a login attack; True when it is new in this hour."""
        now = self.now_us()
        new = now - self._attacks.get(what, 0) > 3_600_000_000
        if len(self._attacks) < 1000:
            self._attacks[what] = now
        return new

    def house(self) -> House:
        up, since_us = self.client.connected
        hub, hub_since_us = self.tree.hub_state
        return House(up, since_us, hub, hub_since_us, self.history.overview().error, self.rival())

    def own_term(self) -> int | None:
        """Of this hub, from its store."""
        own = self.history.own_term()
        return own[0] if own is not None else None

    def rival(self) -> HubState | None:
        """Another hub that rules on the broker (B13): its term is above the one in our store."""
        hub, _ = self.tree.hub_state
        if hub is None or (own := self.history.own_term()) is None:
            return None
        # our ingest writes a term before it publishes it, so what is higher than the store's is not ours
        return hub if (hub.term, hub.generation) > own else None

    @property
    def zone(self) -> ZoneInfo:
        """The house's time zone, as in ``[energy] timezone``; else this machine's."""
        name = self.settings.energy.timezone
        return ZoneInfo(name) if name else machine_zone()

    def fleet(self) -> Fleet:
        """All devices and all that is wrong, now."""
        now = self.now_us()
        overview = self.history.overview()
        known = {device.id: self._facts(device, now) for device in self.tree.devices()}
        removed = self.accounts.db.removed_devices()
        for row in overview.devices.values():
            if row.device not in known and row.device not in removed:
                known[row.device] = from_history(row.device, row.name, row.last_us, row.agent_version)
        devices = tuple(sorted(known.values(), key=lambda device: (device.name.lower(), device.id)))
        return Fleet(devices, tuple(self.problems(devices)), overview.differences)

    def _facts(self, device: LiveDevice, now_us: int) -> DeviceFacts:
        """Made anew when the device changed or a second passed: fifty open pages of 500 devices ask all the time."""
        kept = self._kept.get(device.id)
        if kept is None or kept[0] is not device or not 0 <= now_us - kept[1] < 1_000_000:
            kept = self._kept[device.id] = (device, now_us, facts(device, now_us))
            if len(self._kept) > MAX_DEVICES * 2:
                self._kept.clear()
        return kept[2]

    def problems(self, devices: tuple[DeviceFacts, ...]) -> list[Problem]:
        overview = self.history.overview()
        events = [row.text for row in overview.events if not row.device]
        events += self._attack_lines()
        found = problems(devices, self.house(), overview.differences, events, self.texts, self.now_us())
        return rooted(found, house_of(devices, self.settings), self.now_us())

    def _attack_lines(self) -> list[str]:
        from agent.wire import faults

        recent = self.now_us() - 3_600_000_000
        return [faults.line("E_LOGIN_ATTACK", at, what=what) for what, at in self._attacks.items() if at > recent]
