"""Devices as they come and go, their versions, and their log lines from WARN up.

Nothing is missed between two looks: the live tree hands every line and every state over. Lines are only heard, so those
from while notify was down, or the broker, are lost; :mod:`hub.logbook.gather` says from when to when.
"""

from __future__ import annotations

import json

from agent.wire import crashes
from hub.live import LiveDevice, Tapped
from hub.logbook.book import Logbook
from hub.logbook.crashes import Crashes
from hub.logbook.model import Entry, Severity
from hub.logbook.trace import of_log_line
from hub.notify.part import Hall
from hub.store import logbook_rows as rows

LEVELS: dict[str, Severity] = {"warn": "warning", "error": "error", "fatal": "error"}
VERSIONS_EVERY_US = 5_000_000
AWAY = ("lost", "disconnected", "sleeping")


class Devices:
    def __init__(self, hall: Hall, logbook: Logbook, crashes: Crashes) -> None:
        self._hall = hall
        self._logbook = logbook
        self._crashes = crashes
        self._states: dict[str, tuple[str, int | None]] | None = None
        """device -> its state, and since when it has been away."""
        self._versions: dict[str, str] | None = None
        self._whole = False
        self._versions_us = 0

    def rolled_back(self) -> None:
        self._states = self._versions = None
        self._versions_us = 0

    # --- coming and going -----------------------------------------------------------------------------------

    def step(self, now_us: int) -> None:
        if not self._hall.tree.syncs:
            return
        if self._states is None:
            self._states = {device: _state(value) for device, value in
                            rows.remembered(self._hall.db, "state").items()}
        if not self._whole:
            for device in self._hall.tree.devices():  # what changed while nobody looked
                self.state(Tapped(device.id, "$state", device.state, now_us, True))
            self._whole = True
        if not 0 <= now_us - self._versions_us < VERSIONS_EVERY_US:
            self._versions_us = now_us
            for device in self._hall.tree.devices():
                self._version(device, now_us)

    def state(self, told: Tapped) -> None:
        if self._states is None:
            return  # before the first look, which sees it
        if told.what == "gone":
            if self._states.pop(told.device, None) is not None:
                self._line(told, "info", "removed from the broker")
                with self._hall.db.writing() as db:
                    rows.forget(db, told.device)
            return
        known = told.device in self._states
        before, away_us = self._states.get(told.device, ("", None))
        if told.text == before:
            return
        late = " (noticed late)" if told.retained and known else ""
        if told.text == "lost":
            self._line(told, "error", f"lost: it does not answer any more{late}")
        elif told.text == "disconnected":
            self._line(told, "info", f"stopped in good order{late}")
        elif told.text == "ready" and away_us is not None:
            self._line(told, "info", f"connected again after {duration(told.t_us - away_us)}{late}")
        elif told.text == "ready" and not known:
            self._line(told, "info", "seen for the first time")
        if told.text == "ready":
            away_us = None
        elif told.text in AWAY and away_us is None:
            away_us = told.t_us
        if told.text == "init" and not known:
            return  # its first ready says so
        self._states[told.device] = (told.text, away_us)
        with self._hall.db.writing() as db:
            rows.remember(db, told.device, "state", json.dumps([told.text, away_us]))

    def _line(self, told: Tapped, severity: Severity, text: str) -> None:
        self._logbook.add(Entry(told.t_us, told.device, "agent", severity, text, "start"))

    def _version(self, device: LiveDevice, now_us: int) -> None:
        if self._versions is None:
            self._versions = rows.remembered(self._hall.db, "version")
        version = (device.value("sys", "version") or "")[:60]
        before = self._versions.get(device.id)
        if not version or version == before:
            return
        if before is not None:
            self._logbook.add(Entry(now_us, device.id, "agent", "info",
                                    f"the agent's version is {version}, it was {before}", "change"))
        self._versions[device.id] = version
        with self._hall.db.writing() as db:
            rows.remember(db, device.id, "version", version)

    # --- lines ----------------------------------------------------------------------------------------------

    def log_line(self, told: Tapped, times: int) -> None:
        device = self._hall.tree.device(told.device)
        crashed = of_log_line(told.text) if told.what in ("error", "fatal") else None
        if crashed is not None:
            service, trace, place = crashed
            times *= 1 + crashes.more(told.text)  # the device left out as many like it
            version = (device.value("sys", "version") or "") if device is not None else ""
            self._crashes.add(told.device, service, version, trace, told.t_us, default=place, times=times)
            return
        service, text = split(told.text, device)
        self._logbook.add(Entry(told.t_us, told.device, service, LEVELS[told.what], text), times=times)


def split(text: str, device: LiveDevice | None) -> tuple[str, str]:
    """(plugin instance, message): ``$log`` lines of our agents begin with the instance."""
    head, colon, rest = text.partition(": ")
    nodes = device.description.nodes if device is not None and device.description else {}
    if colon and rest and (head in nodes or head == "uplink"):
        return head, rest
    return "agent", text


def duration(us: int) -> str:
    seconds = max(0, us) // 1_000_000
    for word, unit in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {word}"
    return f"{seconds} s"


def _state(value: str) -> tuple[str, int | None]:
    state, away_us = json.loads(value)
    return str(state), away_us
