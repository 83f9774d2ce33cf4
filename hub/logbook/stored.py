"""Commands, boots and reboots as the devices recorded them: samples of the store, each one line, once.

A series' count of samples says how many are new; those that are not in the logbook yet are found by their time, the
newest first (a device that was away may bring some of long ago). What was read is committed together with the lines, so
a kill between the two is none.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from hub.logbook.book import DAY_US, Logbook
from hub.logbook.model import Entry
from hub.notify.part import Hall
from hub.store import log_samples
from hub.store import logbook_rows as rows
from hub.store.errors import StoreError
from hub.store.log_samples import Told
from hub.store.reader import Sample

log = logging.getLogger(__name__)

LOOK_US = 2_000_000
FIRST = 1_000
"""As many of each series from the time before there was a logbook."""
MOST = 20_000
REASONS = {"clean": "rebooted in good order", "power_loss": "rebooted: the power was lost", "panic":
           "rebooted: the kernel failed", "watchdog": "rebooted by its hardware watchdog: it had hung",
           "unknown": "rebooted, nothing says why"}
MAX_VALUE = 200


class Stored:
    def __init__(self, hall: Hall, logbook: Logbook) -> None:
        self._hall = hall
        self._logbook = logbook
        self._looked_us = 0
        self._seen: dict[str, tuple[int, int]] | None = None
        """``device/node/property`` -> (count, time of the newest) of what is in the logbook."""
        self._fault = ""

    def step(self, now_us: int) -> None:
        """In the transaction. A store that cannot be read is tried again; the samples wait."""
        if 0 <= now_us - self._looked_us < LOOK_US:
            return
        self._looked_us = now_us
        if self._seen is None:
            self._seen = {key: tuple(json.loads(value)) for key, value in
                          rows.remembered(self._hall.db, "samples").items()}
        try:
            if not self._hall.settings.samples_db.exists():
                return
            series = [(one, self._new(one)) for one in log_samples.told(self._hall.reader)
                      if self._seen.get(_key(one), (0, 0))[0] != one.n]
        except StoreError as error:
            if str(error) != self._fault:
                log.warning("commands and reboots wait in the store: %s", error)
            self._fault = str(error)
            return
        self._fault = ""
        for one, samples in series:
            self._take(one, samples)

    def _new(self, series: Told) -> list[Sample]:
        """Oldest first."""
        assert self._seen is not None
        n, last_us = self._seen.get(_key(series), (0, 0))
        if not 0 < n < series.n:  # never seen, or the store was set back by a restore
            found = log_samples.newest(self._hall.reader, series, 0, FIRST)
            return [one for one in reversed(found) if not self._known(series, one)]
        wanted = min(series.n - n, MOST)
        fresh: list[Sample] = []
        for since_us in (last_us - DAY_US, 0):
            found = log_samples.newest(self._hall.reader, series, since_us, MOST)
            fresh = [one for one in found if not self._known(series, one)][:wanted]
            if len(fresh) == wanted:
                break
        return fresh[::-1]

    def _known(self, series: Told, sample: Sample) -> bool:
        return rows.known(self._hall.db, f"sample:{_key(series)}:{sample.t_us}")

    def _take(self, series: Told, samples: list[Sample]) -> None:
        assert self._seen is not None
        days = self._hall.settings.retention.logbook_days
        oldest_us = self._hall.now_us() - days * DAY_US if days else 0
        for sample in samples:
            entry = entry_of(series, sample)
            if entry is not None and sample.t_us >= oldest_us:
                self._logbook.add(entry)
        last_us = max([self._seen.get(_key(series), (0, 0))[1], *(sample.t_us for sample in samples)])
        self._seen[_key(series)] = (series.n, last_us)
        with self._hall.db.writing() as db:
            rows.remember(db, _key(series), "samples", json.dumps([series.n, last_us]))

    def rolled_back(self) -> None:
        self._seen = None


def _key(series: Told) -> str:
    return f"{series.device}/{series.node}/{series.property}"


def entry_of(series: Told, sample: Sample) -> Entry | None:
    """The line of a sample; None for one that says nothing."""
    key = f"sample:{_key(series)}:{sample.t_us}"
    if series.property == "command":
        return command_of(series.device, sample, key)
    value = str(sample.value)
    if series.property == "boot":
        return Entry(sample.t_us, series.device, series.node, "info", f"the machine started at {value[:40]}", "start",
                     key=key)
    return Entry(sample.t_us, series.device, series.node, "info" if value == "clean" else "warning",
                 REASONS.get(value, f"rebooted: {value[:60]}"), "reboot", key=key)


def command_of(device: str, sample: Sample, key: str) -> Entry | None:
    """The device leaves out a value that is private: it is not here either."""
    told: Any = sample.value
    if not isinstance(told, dict):
        return None
    node, prop, result = (str(told.get(name, "?"))[:MAX_VALUE] for name in ("node", "property", "result"))
    value = told.get("value")
    said = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    said = f" = {said if len(said) <= MAX_VALUE else said[:MAX_VALUE] + '…'}" if said else ""
    done = result == "done"
    text = f"{node}/{prop}{said}: done" if done else f"{node}/{prop}{said}: refused: {result}"
    return Entry(sample.t_us, device, node, "info" if done else "warning", text, "command",
                 who=str(told.get("who", "?")), key=key)
