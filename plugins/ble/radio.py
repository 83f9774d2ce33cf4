"""The receivers' health: a ladder for each, its state as a reading, at most a few lines an hour, and the alert."""

from __future__ import annotations

from collections.abc import Iterator

from agent.api import Io, MessageStream, Reading

from .adverts import Advert
from .ladder import Budget, Ladder
from .properties import word
from .settings import BleConfig

LINES_PER_H = 8
"""With the alerts at most ten."""
HOLD_S = 300.0
"""An alert is over once the receiver has worked for so long: one that comes and goes raises it once."""
ANEW_S = 600.0
"""Down for so long: the whole source is made anew, with a new thread and new connections."""
DOWN = ("E_BLE_DOWN {adapter}: {reason}; kept: everything else goes on, the scan is tried again; "
        "do: hutkeeper-agent status, bluetoothctl show, dmesg")


class Radio:
    """All receivers of one instance."""

    def __init__(self, config: BleConfig, io: Io) -> None:
        self._io = io
        now_s = io.clock.boottime_us() / 1e6
        self._first = config.adapters[0]
        self._ladders = {name: Ladder(config.quiet_s, config.power_cycle, now_s) for name in config.adapters}
        self._properties = {name: "scanner" if name == self._first else f"scanner_{word(name)}"
                            for name in config.adapters}
        self._told: dict[str, str] = {}
        self._alert_s: dict[str, float] = {}
        """When a receiver with a standing alert came back, infinity while it is down."""
        self._budget = Budget(LINES_PER_H)
        self._down: dict[str, str] = {}
        """Receivers with a standing alert, and why: the plugin's health while there is one."""
        self._anew_s = now_s + ANEW_S

    def event(self, line: Advert, t_s: float) -> Iterator[Reading]:
        """A word of the scanner itself."""
        ladder = self._ladders.get(line.receiver)
        if ladder is None:
            return
        if line.event == "scanning":
            ladder.scanning(t_s)
        elif line.event == "failed":
            ladder.failed(line.reason or "the scan ended", t_s)
            yield from self._tell(line.receiver, ladder, t_s)

    def heard(self, receiver: str, t_s: float) -> Iterator[Reading]:
        """``receiver`` is not ours in a capture from elsewhere: then it stands for the first."""
        name = receiver if receiver in self._ladders else self._first
        ladder = self._ladders[name]
        since_s = ladder.since_s
        if ladder.heard(t_s) or name not in self._told:
            yield from self._tell(name, ladder, t_s, silent_s=t_s - since_s)

    def look(self, stream: MessageStream, now_s: float) -> Iterator[Reading]:
        """Orders what is due."""
        for name, ladder in self._ladders.items():
            step = ladder.look(now_s)
            if step is not None:
                stream.write(f"{step} {name}".encode())
                yield from self._tell(name, ladder, now_s)
            if now_s - self._alert_s.get(name, now_s) >= HOLD_S:
                del self._alert_s[name]
                self._io.alert(_alert_id(name), None)
                self._degrade(name, None)

    def anew(self, now_s: float) -> bool:
        """Whether all receivers have been down for so long that the source itself is doubted."""
        if any(ladder.state != "down" for ladder in self._ladders.values()):
            self._anew_s = now_s + ANEW_S
        elif now_s >= self._anew_s:
            self._anew_s = now_s + ANEW_S
            return True
        return False

    def states(self) -> Iterator[Reading]:
        """The sign of life of those that have one."""
        for name, state in self._told.items():
            yield Reading(self._properties[name], state)

    def _tell(self, name: str, ladder: Ladder, t_s: float, silent_s: float = 0.0) -> Iterator[Reading]:
        before, state = self._told.get(name), ladder.state
        if state == before:
            return
        self._told[name] = state
        yield Reading(self._properties[name], state, t_us=round(t_s * 1e6))
        if state == "stalled":
            self._line("warning", f"{name}: {_short(ladder.reason, name)}; the scan is restarted", t_s)
        elif state == "down":
            if name not in self._alert_s:
                reason = _short(ladder.reason, name)
                self._io.alert(_alert_id(name), DOWN.format(adapter=name, reason=reason))
                self._degrade(name, reason)
            self._alert_s[name] = float("inf")
        elif before is not None:
            self._line("info", f"{name}: hears again after {silent_s:.0f} s", t_s)
        if state == "up" and name in self._alert_s:
            self._alert_s[name] = t_s
        elif name in self._alert_s:
            self._alert_s[name] = float("inf")

    def _degrade(self, name: str, reason: str | None) -> None:
        """In step with the alerts, so that it does not come and go either."""
        if reason is None:
            self._down.pop(name, None)
        else:
            self._down[name] = reason
        self._io.degraded("; ".join(f"{name}: {reason}" for name, reason in self._down.items()) or None)

    def _line(self, level: str, text: str, t_s: float) -> None:
        if self._budget.take(t_s):
            (self._io.log.info if level == "info" else self._io.log.warning)(text)


def _alert_id(name: str) -> str:
    return f"ble-{word(name)}-down".replace("_", "-")


def _short(reason: str, name: str) -> str:
    return reason.removeprefix(f"{name}: ").removeprefix(f"{name} ")
