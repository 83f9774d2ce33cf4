"""Exceptions that nobody caught, anywhere in the house: one line and one alert for each fault, with its trace and its
counts by machine and version. After QUIET_US without it the alert ends; if it comes back, that is a new line."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from agent.wire import private
from hub.alerts.model import Condition
from hub.logbook.book import Logbook, word
from hub.logbook.model import Entry
from hub.logbook.trace import Fault, fault
from hub.notify.part import Hall
from hub.store import logbook_rows as rows
from hub.store.logbook_rows import Crash, CrashCount

QUIET_US = 3_600_000_000
MAX_TRACE = 16_000
MAX_FAULTS = 500
"""Different ones at a time: a fault whose type is made up anew each time does not fill the card."""


class Crashes:
    def __init__(self, hall: Hall, logbook: Logbook) -> None:
        self._hall = hall
        self._logbook = logbook

    def add(self, machine: str, service: str, of_version: str, trace: str, t_us: int, *, default: str = "",
            times: int = 1) -> str:
        """Its fingerprint. Raises StoreError."""
        t_us = min(t_us, self._hall.now_us())
        machine, service = word(machine), word(service)
        trace = without_numbers(trace)[-MAX_TRACE:]
        found = fault(trace, default or service)
        with self._hall.db.writing() as db:
            known = rows.crash(self._hall.db, found.fingerprint)
            if known is None and len(rows.crashes(self._hall.db, t_us - QUIET_US, MAX_FAULTS)) >= MAX_FAULTS:
                found = Fault("0" * 12, "Exception", "too many different ones within an hour", "")
                known = rows.crash(self._hall.db, found.fingerprint)
            if known is not None and 0 <= t_us - known.last_us <= QUIET_US:
                episode_us, n = known.episode_us, known.line
                self._logbook.again(n, t_us, times=times)
            else:
                episode_us = t_us
                n = self._line(machine, service, found, trace, t_us, times)
            rows.put_crash(db, Crash(
                found.fingerprint, found.type, found.place, found.message[:500], trace,
                known.first_us if known else t_us, max(t_us, known.last_us if known else 0), episode_us,
                (known.count if known else 0) + times, n))
            rows.count_crash(db, found.fingerprint, CrashCount(machine, service, of_version[:40], times, t_us, t_us))
        return found.fingerprint

    def _line(self, machine: str, service: str, found: Fault, trace: str, t_us: int, times: int) -> int:
        place = f", in {found.place}" if found.place else ""
        message = f": {found.message.splitlines()[0][:300]}" if found.message else ""
        n = self._logbook.add(Entry(
            t_us, machine, service, "error", f"program fault: {found.type}{message}{place}", "crash",
            key=f"crash:{found.fingerprint}:{t_us}", detail=trace, link=f"/crashes/{found.fingerprint}"), times=times)
        return n or 0

    def conditions(self, now_us: int) -> Iterator[Condition]:
        """Each fault that happened lately, once, on however many devices."""
        for one in rows.crashes(self._hall.db, now_us - QUIET_US):
            counts = rows.crash_counts(self._hall.db, one.fingerprint)
            places = {(count.machine, count.service) for count in counts}
            machine, service = min(places) if places else ("?", "?")
            if len({machine for machine, _ in places}) > 1:
                machine = "*"
            where = f"{service} on several machines" if machine == "*" else f"{service} of {machine}"
            # never "hub" itself: a page that failed explains no device that is silent
            yield Condition(
                f"crash:{one.fingerprint}", f"plugin:{machine}/{service}", "error",
                f"program fault in {where}: {one.type}", one.episode_us,
                kept="the program goes on or is started again, measured values wait in the spool",
                do=f"read the trace on the hub's page /crashes/{one.fingerprint} and report it")


def without_numbers(trace: str) -> str:
    """A message of an exception may hold a telephone number or a secret; its frames hold program text only."""
    return private.in_trace("\n".join(line if line[:1].isspace() or not line else private.without(line, None)
                     for line in trace.splitlines()))


def own_version() -> str:
    try:
        return version("hutkeeper")
    except PackageNotFoundError:  # run from a folder of sources
        return "source"
