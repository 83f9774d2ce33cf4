"""The status report: machines and their services, judged by progress. Times are microseconds since 1970 UTC."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from hub.store.watch_rows import Canary

State = Literal["ok", "slow", "failed", "stopped", "starting", "away", "unknown"]
"""ok: it makes progress. slow: it does less than it should. failed: it makes none. stopped: it was stopped or does not
run. away: its machine cannot be heard. unknown: nothing says."""
KINDS = ("hub", "device")


class Service(Struct, frozen=True, omit_defaults=True):
    """One program, or one plugin of one."""

    name: str
    """``uplink``, ``watchdog``, ``guard-<id>``, a plugin instance, or a part of the hub."""
    kind: str
    """plugin, guard, agent (uplink, watchdog) or hub"""
    state: State
    since_us: int | None = None
    """Since when it runs, or is as it is."""
    progress_us: int | None = None
    """When it last did what it is there for: a sample, a receipt, a tick."""
    restarts: int | None = None
    """Since its supervisor started; None: nobody counts."""
    last_end: str = ""
    """How it ended the last time."""
    words: str = ""
    """Its last words: what is wrong, in one line."""
    fault: str = ""
    """Ingest's own word for it: full, second."""
    log: str = ""
    """Under which name its log is read; '' where there is none."""
    restart: str = ""
    """What the request ``restart`` calls it; '' where it cannot be restarted from here."""


class Disk(Struct, frozen=True):
    name: str
    free_bytes: int | None
    total_bytes: int | None
    days_until_full: float | None
    trend: str
    """unknown, steady or filling"""
    read_only: bool = False


class Figures(Struct, frozen=True, omit_defaults=True):
    """Of the machine itself, as its agent tells them (row 38)."""

    disks: tuple[Disk, ...] = ()
    memory_used_percent: float | None = None
    memory_available_bytes: int | None = None
    temperature_c: float | None = None
    wear_percent: float | None = None
    under_voltage: bool | None = None
    under_voltage_since_boot: bool | None = None
    clock: str = ""
    clock_ahead_s: float = 0.0
    clock_offset_ms: float | None = None
    uptime_s: float | None = None


class Machine(Struct, frozen=True, omit_defaults=True):
    id: str
    name: str
    kind: str
    state: State
    words: str
    since_us: int | None
    progress_us: int | None
    services: tuple[Service, ...]
    figures: Figures = Figures()
    canary: Canary | None = None
    version: str = ""
    waiting_samples: int = 0
    waiting_age_s: float = 0.0


class Outage(Struct, frozen=True):
    end_us: int
    length_s: float


class Supply(Struct, frozen=True):
    """Mains or internet, as one plugin sees it (row 37)."""

    what: Literal["power", "line"]
    """power: the mains; line: the way to the internet"""
    device: str
    node: str
    name: str
    good: bool | None
    """None: not known."""
    since_us: int | None
    held: bool
    """Restarts are held back: mains are lost, or have come back only just now."""
    outages: tuple[Outage, ...] = ()
    words: str = ""


class Report(Struct, frozen=True):
    t_us: int
    machines: tuple[Machine, ...]
    supplies: tuple[Supply, ...]
    staged: int = 0

    @property
    def held(self) -> bool:
        """Nobody is restarted now."""
        return any(supply.held for supply in self.supplies)
