"""An actuator held to its lease in the same process: ``replay`` (no pins, a virtual clock) and tests of one plugin.

The judging and moving code is the guard's own; what is missing is the second process, and with it the safety."""

from __future__ import annotations

from collections.abc import Callable

from agent.api import AnyRelay, Clock, Duty, RelayState
from agent.guard.drive import Driver
from agent.guard.keeper import Keeper
from agent.guard.lease import Ask
from agent.guard.pins import open_pins


class InlineRelay:
    """:class:`agent.api.Relay`. ``relay``: its pins, simulated ones as a rule; None: it moves nothing."""

    def __init__(self, name: str, duty: Duty, clock: Clock, relay: AnyRelay | None = None) -> None:
        self._clock = clock
        open_driver: Callable[[], Driver] | None = None
        if relay is not None:
            wired = relay
            open_driver = lambda: Driver(wired, open_pins(wired))  # noqa: E731
        self._keeper = Keeper(name, duty, clock.boottime_us(), open_driver=open_driver)
        self._keeper.look(clock.boottime_us())

    def ask(self, on: bool, *, sample_us: int | None = None, sample_max_age_s: float = 0.0, frost: bool = False,
            heats: bool = False, insist: bool = False, why: str = "") -> RelayState:
        return self._keeper.ask(Ask(on=on, sample_us=sample_us, sample_max_age_s=sample_max_age_s, frost=frost,
                                    heats=heats, insist=insist, why=why), self._clock.boottime_us())

    @property
    def state(self) -> RelayState:
        return self._keeper.look(self._clock.boottime_us())

    def close(self) -> None:
        now_us = self._clock.boottime_us()
        self._keeper.gone(now_us)
        self._keeper.off(now_us)
        self._keeper.close()
