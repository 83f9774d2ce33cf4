"""``[plugins.<id>]`` of agent.toml."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct


class PirConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>]`` of agent.toml."""

    sensors: dict[str, str] = {}
    """Name of a place -> its input line (``GPIO17``, ``gpiochip0/17``), or with ``port`` the word that the board
    prints (``PIR1``)."""
    port: str | None = None
    """A serial port on which a board prints the words."""
    baudrate: Annotated[int, Meta(ge=300, le=921_600)] = 9600
    pull: Literal["none", "up", "down"] = "down"
    """Of the pins: ``down`` keeps a cut wire quiet; ``up`` with ``active_low`` for open collectors."""
    active_low: bool = False
    debounce_s: Annotated[float, Meta(ge=0, le=10)] = 0.05
    """A level that lasts less is a glitch."""
    hold_s: Annotated[float, Meta(ge=0, le=3600)] = 30.0
    """Motion ends so long after the detector's last active moment."""
    stuck_after_s: Annotated[float, Meta(ge=0)] = 1800.0
    """Active for so long without a pause: its output says nothing; 0: not looked at."""
    quiet_after: Annotated[int, Meta(ge=0)] = 1000
    """So many detections of the others and none of its own: it is dead; 0: not looked at."""
    interval_s: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    """How often the state is told again."""

    def __post_init__(self) -> None:
        for name in self.sensors:
            if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?", name):
                raise ValueError(f"sensors: {name!r} is no name for a place: a-z, 0-9 and -, at most 30")
        twice = [line for line in self.sensors.values() if list(self.sensors.values()).count(line) > 1]
        if twice:
            raise ValueError(f"sensors: {twice[0]!r} is there twice, each detector has a line of its own")
        if self.port is not None:
            bad = [word for word in self.sensors.values() if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,23}", word)]
            if bad:
                raise ValueError(f"sensors: {bad[0]!r} is no word that a board prints: letters, then digits, _ and -")
