"""What is wrong with the hub itself, as conditions: broker, ingest, store, ledger, login attacks, its grave events."""

from __future__ import annotations

import os
from collections.abc import Iterable

from msgspec.structs import replace

from hub.alerts.devices import Devices, condition
from hub.alerts.model import Condition
from hub.fleet import answers
from hub.fleet.answers import Problem
from hub.fleet.facts import from_history
from hub.ingest import status
from hub.ingest.status import Status
from hub.notify.part import Hall, Part
from hub.store import web_look
from hub.store.alerts_db import AlertsReader
from hub.store.errors import StoreError
from hub.web.history import History, Overview
from hub.web.texts import Texts

SLOW_US = 10_000_000
"""How often the store is asked."""
RESTART_US = 10_000_000
"""A part that is back so soon was started anew, and nobody needs to know."""
STALE_US = 30_000_000
"""Ingest writes its status every 10 s."""
ATTACK_US = 3_600_000_000
LEVELS = ("E_DB_FULL", "E_SECOND_HUB", "W_INGEST_LAG")
"""Ingest says at every moment whether these are so; their event in the store is history."""


class HubSide(Part):
    def __init__(self, hall: Hall, devices: Devices, history: History | None = None) -> None:
        super().__init__(hall)
        self._devices = devices
        self._history = history or History(hall.settings.samples_db, now_us=hall.now_us)
        self._web = AlertsReader(hall.settings.web_db)
        self._texts = Texts()
        self._asked_us: int | None = None
        self._overview = Overview({}, {}, (), "")
        self._attacks: list[tuple[str, int, str]] = []
        self._first_us: dict[str, int] = {}

    def conditions(self, now_us: int) -> Iterable[Condition]:
        self._ask(now_us)
        found: dict[str, Condition] = {}
        wrong = list(self._problems(now_us))
        keys = {problem.key for problem in wrong}
        self._first_us = {key: self._first_us.get(key, now_us) for key in keys}
        for problem in wrong:
            first_us = self._first_us[problem.key]
            if problem.key != "hub:ingest" or now_us - first_us >= RESTART_US:
                found.setdefault(problem.key, condition(problem, problem.since_us or first_us))
        return found.values()

    def jumped(self, by_us: int, now_us: int) -> None:
        self._first_us = {key: first_us + by_us for key, first_us in self._first_us.items()}

    def close(self) -> None:
        self._history.close()
        self._web.close()

    def _ask(self, now_us: int) -> None:
        if self._asked_us is not None and 0 <= now_us - self._asked_us < SLOW_US:
            return
        self._asked_us = now_us
        self._overview = self._history.overview()
        self._devices.differences = self._overview.differences
        try:
            removed = web_look.removed(self._web)
            self._attacks = web_look.attacks(self._web, now_us - ATTACK_US)
        except StoreError:
            return  # the pages say what is wrong with their file; what was known stays
        self._devices.known = {row.device: from_history(row.device, row.name, row.last_us, row.agent_version)
                               for row in self._overview.devices.values() if row.device not in removed}

    def _problems(self, now_us: int) -> Iterable[Problem]:
        up, since_us = self.hall.client.connected
        if not up and since_us is not None and now_us - since_us >= RESTART_US:
            yield answers.broker_down(self._texts, since_us)
        yield from self._ingest(up, now_us)
        if self._overview.error:
            yield answers.store_damaged(self._overview.error)
        for row in self._overview.events:
            if not row.device and row.code not in LEVELS:
                yield answers.of_hub(row.text)
        for what, t_us, line in self._attacks:
            if t_us > now_us - ATTACK_US:
                problem = answers.of_hub(line)
                yield replace(problem, key=f"{problem.key}:{what}"[:200])

    def _ingest(self, broker_up: bool, now_us: int) -> Iterable[Problem]:
        said = _read(self.hall, now_us)
        if said is None:
            yield answers.ingest_down(self._texts, None)
            return
        stands = [answers.of_hub(line) for line in said.faults.values()]
        yield from stands
        if said.state not in ("ready", "starting", "full", "second"):
            yield answers.ingest_down(self._texts, None)
        elif broker_up and self.hall.tree.whole and not stands:
            hub, hub_since_us = self.hall.tree.hub_state
            if hub is None or hub.state not in ("ready", "full"):  # full: its own line says more
                yield answers.ingest_down(self._texts, hub_since_us)


def _read(hall: Hall, now_us: int) -> Status | None:
    """What ingest said lately; None: it says nothing."""
    run_dir = hall.settings.hub.run_dir
    try:
        written_us = os.stat(run_dir / status.FILE).st_mtime_ns // 1000
    except OSError:
        return None
    return status.read(run_dir) if now_us - written_us < STALE_US else None
