"""When a program that ended is started again: at once after a kill from outside, later and later in a crash loop.

Pure: supervisord's events go in with a time, actions come out. Sources: FAULTS B56 (back-off 1 to 300 s), B59 (what
could not be started at all is tried again within 60 s, and so is uplink: without it nobody hears why).
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable
from typing import NamedTuple

CAP_S = 300.0
SHORT_CAP_S = 60.0
STABLE_S = 300.0
"""Having run this long, a program starts with a clean record."""
HOLD_AFTER = 4
"""Deaths in a row from which on even a program that ran a while is held back."""
ALERT_AFTER = 3
KILLED = -int(signal.SIGKILL)


class Action(NamedTuple):
    """``start`` or ``stop`` a program; ``alert`` (text: number of deaths) or ``clear`` its crash-loop alert."""

    verb: str
    program: str
    deaths: int = 0
    reason: str = ""


class _Record:
    def __init__(self) -> None:
        self.deaths = 0
        self.due: float | None = None
        self.running_since: float | None = None
        self.last_exit: int | None = None
        self.reason = ""
        self.alerted = False
        self.held = False


class Rearm:
    """One policy for all programs of a device; ``monotonic_s`` is injected."""

    def __init__(self, monotonic_s: Callable[[], float], short: Callable[[str], bool] = lambda program: False) -> None:
        self._now = monotonic_s
        self._short = short
        self._records: dict[str, _Record] = {}

    def exited(self, program: str, code: int) -> None:
        """How the process ended (negative: by that signal); comes before the state it led to."""
        self._of(program).last_exit = code

    def state(self, program: str, state: str) -> list[Action]:
        """supervisord's new state of a program: RUNNING, EXITED, FATAL, ... Returns what to do now."""
        record, now = self._of(program), self._now()
        if state == "RUNNING":
            record.running_since, record.due, record.held = now, None, False
        elif state in ("EXITED", "FATAL", "UNKNOWN"):
            return self._ended(program, record, state, now)
        elif state == "STOPPED" and not record.held:
            record.due = record.running_since = None  # somebody stopped it by hand: it stays so
        return []

    def _ended(self, program: str, record: _Record, state: str, now: float) -> list[Action]:
        if record.running_since is not None and now - record.running_since >= STABLE_S:
            record.deaths = 0
        record.running_since = None
        code, record.last_exit = record.last_exit, None
        if code == KILLED:  # by the OOM killer, an operator or ourselves: not a fault of the program's start
            record.due = now if state != "EXITED" else None
            return []
        record.deaths += 1
        record.reason = _reason(code, state)
        actions: list[Action] = []
        if state != "EXITED":  # supervisord has given up: starting it is ours alone
            record.due = now + self._delay(program, record.deaths, spawned=code is not None)
        elif record.deaths >= HOLD_AFTER:  # supervisord starts it at once: stop it until its time has come
            record.held, record.due = True, now + self._delay(program, record.deaths, spawned=True)
            actions.append(Action("stop", program))
        if record.deaths >= ALERT_AFTER:
            record.alerted = True
            actions.append(Action("alert", program, record.deaths, record.reason))
        return actions

    def due(self) -> list[Action]:
        """Programs whose time has come, and alerts that are over."""
        now = self._now()
        actions: list[Action] = []
        for program, record in self._records.items():
            if record.due is not None and now >= record.due:
                record.due, record.held = None, False
                actions.append(Action("start", program))
            if record.alerted and record.running_since is not None and now - record.running_since >= STABLE_S:
                record.deaths, record.alerted = 0, False
                actions.append(Action("clear", program))
        return actions

    def next_due_s(self) -> float | None:
        """Seconds until :meth:`due` has a start to give; None: nothing waits."""
        times = [record.due for record in self._records.values() if record.due is not None]
        return max(0.0, min(times) - self._now()) if times else None

    def seen(self, program: str, state: str) -> None:
        """The state as found now and then: what an event did not tell (the listener itself was restarted)."""
        record = self._of(program)
        if state in ("FATAL", "EXITED", "UNKNOWN") and record.due is None:
            record.due = self._now()
        elif state == "RUNNING" and record.running_since is None:
            record.running_since = self._now()

    def alerted(self, program: str) -> None:
        """Its alert stands since before this process: it is cleared as if it had been raised here."""
        record = self._of(program)
        record.alerted, record.deaths = True, max(record.deaths, ALERT_AFTER)

    def failed_to_start(self, program: str) -> None:
        """A start was refused: try again after the delay that it had."""
        record = self._of(program)
        record.due = self._now() + self._delay(program, max(1, record.deaths), spawned=False)

    def forget(self, keep: Iterable[str]) -> list[Action]:
        """Only these programs exist now."""
        kept = set(keep)
        gone = [name for name in self._records if name not in kept]
        actions = [Action("clear", name) for name in gone if self._records[name].alerted]
        for name in gone:
            del self._records[name]
        return actions

    def _of(self, program: str) -> _Record:
        return self._records.setdefault(program, _Record())

    def _delay(self, program: str, deaths: int, *, spawned: bool) -> float:
        cap = CAP_S if spawned and not self._short(program) else SHORT_CAP_S
        return min(cap, 2.0 ** min(deaths - 1, 16))


def _reason(code: int | None, state: str) -> str:
    if code is None:
        return "could not be started" if state == "FATAL" else "ended"
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
