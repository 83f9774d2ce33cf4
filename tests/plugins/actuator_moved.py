"""A plugin on a moved clock with everything real below it: the guard's keeper and lease, its driver, the pin files and
a simulated relay behind them. Only the second process is missing, and the waiting."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from agent.api import AnyRelay, Duty, LatchingRelay, PlainRelay, Plugin, Reading, RelayState
from agent.guard.drive import Driver
from agent.guard.keeper import Keeper
from agent.guard.lease import Ask
from agent.guard.pins import open_pins
from agent.replay.world import ReplayIo, VirtualClock
from agent.simrelay import SimRelay
from agent.testing.fakes import Lines, io_over

US = 1_000_000


def latching(folder: Path, probe: bool = True) -> LatchingRelay:
    line = lambda name: f"sim:{folder / name}"  # noqa: E731
    return LatchingRelay(set_line=line("set"), reset_line=line("reset"), pulse_ms=20,
                         probe_line=line("probe") if probe else "")


def plain(folder: Path) -> PlainRelay:
    return PlainRelay(line=f"sim:{folder / 'line'}", probe_line=f"sim:{folder / 'probe'}")


class MovedRelay:
    """:class:`agent.api.Relay` on the moved clock. ``at``: what happens at which second, looked at in every tick."""

    def __init__(self, clock: VirtualClock, duty: Duty, relay: AnyRelay, contact: SimRelay, told: bool | None,
                 at: dict[float, Callable[[], None]]) -> None:
        self._clock = clock
        self._contact = contact
        self._at = dict(sorted(at.items()))

        def sleep(seconds: float) -> None:
            time.sleep(seconds)  # the pulse is a real one: the relay measures it
            contact.step()

        self.keeper = Keeper("it", duty, clock.boottime_us(), told=told,
                             open_driver=lambda: Driver(relay, open_pins(relay), sleep))
        self.keeper.look(clock.boottime_us())

    @property
    def state(self) -> RelayState:
        for second in [one for one in self._at if one * US <= self._clock.now_us]:
            self._at.pop(second)()
        self._contact.step()
        return self.keeper.look(self._clock.boottime_us())

    def ask(self, on: bool, **more: Any) -> RelayState:
        _ = self.state
        return self.keeper.ask(Ask(on=on, **more), self._clock.boottime_us())

    def close(self) -> None:
        return


class Life:
    """One life of a plugin over a transcript; ``kept`` and the pin files go on into the next."""

    def __init__(self, kind: type[Plugin], config: Any, lines: list[tuple[float, str]], *,
                 kept: dict[str, Any] | None = None, told: bool | None = None, contact: bool = False,
                 at: dict[float, Callable[[Life], None]] | None = None) -> None:
        self.log = Lines()
        self.readings: list[Reading] = []
        self.alerts: list[tuple[str, str | None]] = []
        self.contact = SimRelay(config.relay, contact)
        wire = "".join(f"< {t:.3f} {text}\n" for t, text in sorted(lines)).encode()
        with io_over(wire, self.log) as io:
            self.io: ReplayIo = io
            io.kept.update(kept or {})
            plugin = kind(config)
            io.command = lambda name, value: plugin.command(io, name, value)
            io.alert = lambda alert_id, text: self.alerts.append((alert_id, text))  # type: ignore[method-assign]
            hooks: dict[float, Callable[[], None]] = {t: (lambda do=do: do(self)) for t, do in (at or {}).items()}
            self.relay = MovedRelay(io.clock, kind.duty(config), config.relay, self.contact, told, hooks)
            io.relay = lambda: self.relay  # type: ignore[method-assign,assign,return-value]
            for reading in plugin.run(io):
                assert isinstance(reading, Reading)
                self.readings.append(reading)
        self.kept: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(io.kept))

    def told(self, name: str) -> list[tuple[float, Any]]:
        """When it changed to what: (second, value)."""
        changes: list[tuple[float, Any]] = []
        for one in self.readings:
            if one.property == name and (not changes or changes[-1][1] != one.value):
                changes.append(((one.t_us or 0) / US, one.value))
        return changes

    def at(self, name: str, second: float) -> Any:
        """What was last said of it until then."""
        return next((one.value for one in reversed(self.readings)
                     if one.property == name and (one.t_us or 0) <= second * US), None)
