"""One relay held to its lease: moves it when the verdict changes, looks at the probe, repeats a safe OFF that failed.

Everything but the lease that can be judged without a process: the driver, the clock and the told state come in by the
constructor, so the same code runs in the guard process, in tests and in ``replay`` (with no driver).
"""

from __future__ import annotations

from collections.abc import Callable

from agent.api import Duty, RelayState
from agent.guard.drive import Driver
from agent.guard.lease import Ask, Lease, Verdict
from agent.guard.pins import PinError
from agent.wire import faults

PROBE_US = 1_000_000
"""How often the probe is looked at."""
REPEAT_US = 10_000_000
"""A safe OFF that the probe denies is pulsed again this often for a minute, then once a minute."""
REPEATS = 6
SLOW_REPEAT_US = 60_000_000
TRIES = 3
"""How often a ``hold`` actuator (and a heater's ON) is put again before it is left and told."""
HAND_US = 6_000_000
"""A ``hold`` actuator whose probe disagrees so long after its last move was moved by hand."""
REOPEN_US = 5_000_000


class Keeper:
    """``open_driver`` opens the pins (raising PinError) and is called again until they are there."""

    def __init__(self, name: str, duty: Duty, now_us: int, *, open_driver: Callable[[], Driver] | None,
                 told: bool | None = None, remember: Callable[[bool], None] = lambda on: None) -> None:
        self._name = name
        self._duty = duty
        self._open = open_driver
        self._driver: Driver | None = None
        self._told = told
        self._remember = remember
        self._lease = Lease(duty, now_us, told)
        self._is: bool | None = None
        """What the relay was last told; None: not yet, or it failed."""
        self._why = ""
        self._since_us = now_us
        self._contact: bool | None = None
        self._looked_us = now_us - PROBE_US
        self._tries = 0
        self._next_us = now_us
        """When a failed opening, write or probe is tried again."""
        self._trouble = ""
        self._stuck = ""
        self.due_us: int | None = now_us

    def ask(self, ask: Ask, now_us: int) -> RelayState:
        return self._do(self._lease.ask(ask, now_us), now_us)

    def gone(self, now_us: int) -> RelayState:
        return self._do(self._lease.gone(now_us), now_us)

    def look(self, now_us: int) -> RelayState:
        """Call at :attr:`due_us` at the latest, and about every second where there is a probe."""
        return self._do(self._lease.look(now_us), now_us)

    @property
    def holds(self) -> bool:
        """A ``hold`` actuator that is ON: its pin is opened so."""
        return self._duty.kind == "hold" and self._lease.told

    def off(self, now_us: int) -> None:
        """The end of the process: a heater is OFF, anything else stays."""
        if self._duty.kind == "heat":
            for _ in range(2):  # a pin that failed is opened anew once more
                if self._is is not False:
                    self._next_us = now_us
                    self._do(Verdict(False, "the guard ends", None), now_us)
            self._do(Verdict(False, "the guard ends", None), now_us)

    def close(self) -> None:
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    # --- doing ----------------------------------------------------------------------------------------------

    def _do(self, verdict: Verdict, now_us: int) -> RelayState:
        if self._open is not None and self._driver is None and now_us >= self._next_us:
            self._opening(now_us)
            if self._duty.kind == "hold":
                verdict = self._lease.look(now_us)  # the probe may have told where it was left
        if verdict.on != self._is or self._why != verdict.why:
            self._why = verdict.why
        if verdict.on != self._is and (self._driver is not None or self._open is None):
            changed = self._is is not None
            if self._put(verdict.on, now_us):
                self._tries = 0
                if changed:
                    self._since_us = now_us
                if self._duty.kind == "hold":
                    self._remember(verdict.on)
        self._probe(verdict.on, now_us)
        waits = [one for one in (verdict.due_us, self._next_us if self._trouble else None) if one is not None]
        self.due_us = min(waits, default=None)
        return self.state(now_us)

    def state(self, now_us: int) -> RelayState:
        return RelayState(on=self._is, contact=self._contact, why=self._why, fault=self._trouble or self._stuck,
                          since_us=self._since_us, heard_us=now_us)

    def _opening(self, now_us: int) -> None:
        assert self._open is not None
        try:
            self._driver = self._open()
        except PinError as error:
            self._fail(str(error), now_us)
            return
        self._trouble, self._is = "", None
        if self._duty.kind == "hold" and self._told is None:
            self._start_from_the_probe(now_us)

    def _start_from_the_probe(self, now_us: int) -> None:
        """Nobody remembers where it was told to be: it stays where it is."""
        assert self._driver is not None
        try:
            contact = self._driver.contact()
        except PinError as error:
            self._fail(str(error), now_us)
            return
        if contact is not None:
            self._is = self._told = contact
            self._lease = Lease(self._duty, now_us, contact)

    def _put(self, on: bool, now_us: int) -> bool:
        try:
            if self._driver is not None:
                self._driver.put(on)
        except PinError as error:
            self._fail(str(error), now_us)
            return False
        self._trouble, self._is, self._looked_us = "", on, now_us - PROBE_US
        return True

    def _fail(self, reason: str, now_us: int) -> None:
        """The pins are opened anew: whatever they did is unknown."""
        self._trouble = reason if reason.startswith(("E_", "W_")) else faults.line(
            "E_GPIO", line=self._name, reason=reason, do="check the wiring; hutkeeper-agent check")
        self._is = self._contact = None
        self.close()
        self._next_us = now_us + REOPEN_US

    # --- the probe ------------------------------------------------------------------------------------------

    def _probe(self, on: bool, now_us: int) -> None:
        if self._driver is None or not self._driver.has_probe or now_us - self._looked_us < PROBE_US:
            return
        self._looked_us = now_us
        try:
            self._contact = self._driver.contact()
        except PinError as error:
            self._fail(str(error), now_us)
            return
        if self._contact == on or self._is is None:
            self._stuck, self._tries = "", 0
            return
        self._denied(on, now_us)

    def _denied(self, on: bool, now_us: int) -> None:
        """The contact is not where it was told to be."""
        safety = self._duty.kind == "heat" and not on
        if self._duty.kind == "hold" and self._tries == 0 and now_us - self._since_us > HAND_US:
            self._is = not on  # long after our own pulse: a hand did it, and that is a person's right
            self._since_us, self._why = now_us, self._lease.moved(not on, now_us).why
            self._remember(not on)
            return
        if self._tries < TRIES or (safety and now_us >= self._next_us):
            self._tries += 1
            self._next_us = now_us + (REPEAT_US if self._tries < REPEATS else SLOW_REPEAT_US)
            if not self._put(on, now_us):
                return
        if self._tries >= 2 and not self._stuck:
            code = "E_RELAY_DEAD" if on else "E_RELAY_STUCK"
            self._stuck = faults.line(code, relay=self._name, evidence="its probe")
