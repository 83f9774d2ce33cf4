"""What stands above the base profile, and for how long: supplementary, exceptional, forced. Pure.

Exceptional beats supplementary beats base; forced beats all. Each of the three has an end, always: by the wall clock
and, at the same time, by CLOCK_BOOTTIME, whichever comes first. So a clock that is set back lengthens nothing, an
unknown clock (after boot, no network) does not stop an end from coming, and a clock set forward ends early.

After a restart the boot clock may have begun anew, and nothing says whether it has. A smaller one has; then the time
since boot is taken off what was left. A larger one is taken for the same boot. What was off with the machine is only
known to the wall clock.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from agent.api import CommandRefused

US = 1_000_000
HOUR_US = 3600 * US
MAX_FORCED_US = 12 * HOUR_US
MAX_LEVEL_US = 366 * 24 * HOUR_US
"""Supplementary and exceptional: longer is a typing error in the year."""
KEPT_EVERY_US = 60 * US
"""What is left is written down so often, so a power cut adds a minute at most."""
NAMES = ("supplementary", "exceptional", "forced")


class Override(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Exactly one of ``profile`` and ``setpoint_c`` (forced only)."""

    profile: str | None = None
    setpoint_c: float | None = None
    until_us: int | None = None
    """Wall clock; None: it was set while nobody knew the time."""
    left_us: int
    """What was left of it at ``Kept.boot_us``."""


class Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``io.kept["levels"]``."""

    base: str
    boot_us: int = 0
    supplementary: Override | None = None
    exceptional: Override | None = None
    forced: Override | None = None


class Running(Struct, frozen=True):
    """An override in this process."""

    profile: str | None
    setpoint_c: float | None
    until_us: int | None
    ends_us: int
    """CLOCK_BOOTTIME."""


class Levels:
    """Call :meth:`tick` with every look at the clock before anything else."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.changes = 0
        """Counts everything that may alter what is aimed at."""
        self._running: dict[str, Running] = {}
        self._restored: Kept | None = None
        self._boot_us = 0
        self._kept: dict[str, Any] = {}
        self._kept_at: tuple[int, int] | None = None

    def get(self, name: str) -> Running | None:
        return self._running.get(name)

    def tick(self, boot_us: int, wall_us: int | None) -> list[str]:
        """Let end what is over; the names of what ended, and why, for the log."""
        if self._restored is not None:
            self._resume(self._restored, boot_us)
            self._restored = None
        elif boot_us < self._boot_us:  # only a replay or a test can do this within one process
            gone = self._boot_us
            self._running = {
                name: Running(one.profile, one.setpoint_c, one.until_us, max(0, one.ends_us - gone))
                for name, one in self._running.items()
            }
            self.changes += 1
        self._boot_us = boot_us
        ended = []
        for name, one in list(self._running.items()):
            if one.until_us is None and wall_us is not None:  # from now on it also ends while the machine is off
                one = self._running[name] = Running(one.profile, one.setpoint_c, wall_us + one.ends_us - boot_us,
                                                    one.ends_us)
                self.changes += 1
            by_clock = wall_us is not None and one.until_us is not None and wall_us >= one.until_us
            if by_clock or boot_us >= one.ends_us:
                del self._running[name]
                self.changes += 1
                ended.append(name)
        return ended

    def put(self, name: str, override: Running | None) -> None:
        if override is None:
            self._running.pop(name, None)
        else:
            self._running[name] = override
        self.changes += 1

    def end_us(self, name: str, boot_us: int, wall_us: int | None) -> int | None:
        """By the wall clock as it goes now; None while that is not known."""
        one = self._running[name]
        if wall_us is None:
            return one.until_us
        by_boot = wall_us + one.ends_us - boot_us
        return by_boot if one.until_us is None else min(by_boot, one.until_us)

    def make(self, name: str, boot_us: int, wall_us: int | None, until_us: int | None, *, profile: str | None = None,
             setpoint_c: float | None = None, for_us: int | None = None) -> Running:
        """An override until a wall time, or for a length of time. Raises CommandRefused where it would have no end,
        one in the past, or one too far away."""
        most = MAX_FORCED_US if name == "forced" else MAX_LEVEL_US
        if for_us is None:
            if until_us is None:
                raise CommandRefused(f"{name}: until is missing: an override needs an end"
                                     + (", at most 12 h ahead" if name == "forced" else ""))
            if wall_us is None:
                raise CommandRefused(f"{name}: until cannot be judged, this device does not know the time yet; "
                                     "set setpoint_c alone, or try again once it does")
            for_us = until_us - wall_us
        if for_us <= 0:
            raise CommandRefused(f"{name}: until is in the past")
        if for_us > most:
            raise CommandRefused(f"{name}: until is {for_us / HOUR_US:.1f} h ahead, at most {most // HOUR_US} h")
        if until_us is None and wall_us is not None:
            until_us = wall_us + for_us
        return Running(profile, setpoint_c, until_us, boot_us + for_us)

    # --- kept -----------------------------------------------------------------------------------------------

    def to_kept(self) -> dict[str, Any]:
        """JSON-able; the same dict until something changes or a minute has gone."""
        at = (self.changes, self._boot_us // KEPT_EVERY_US if self._running else 0)
        if self._restored is None and at != self._kept_at:
            overrides = {
                name: Override(profile=one.profile, setpoint_c=one.setpoint_c, until_us=one.until_us,
                               left_us=max(0, one.ends_us - self._boot_us))
                for name, one in self._running.items()
            }
            kept = Kept(base=self.base, boot_us=self._boot_us if overrides else 0, **overrides)
            self._kept, self._kept_at = msgspec.to_builtins(kept), at
        elif self._restored is not None:
            self._kept = msgspec.to_builtins(self._restored)
        return self._kept

    def from_kept(self, value: Any, profiles: set[str]) -> str | None:
        """Take over what :meth:`to_kept` gave; one line where it could not be used, wholly or in part."""
        try:
            kept = msgspec.convert(value, Kept)
        except msgspec.ValidationError as error:
            return f"the kept levels cannot be read and are forgotten: {error}"
        base, lost = kept.base, []
        if base not in profiles:
            lost.append(f"base {base!r:.40}")
            base = self.base
        good: dict[str, Override] = {}
        for name in NAMES:
            one: Override | None = getattr(kept, name)
            if one is None:
                continue
            if not _sound(name, one, profiles):
                lost.append(name)
            else:
                good[name] = one
        self.base = base
        self._restored = Kept(base=base, boot_us=max(0, kept.boot_us), **good)
        return f"forgotten of the kept levels, no such profile or no end: {', '.join(lost)}" if lost else None

    def _resume(self, kept: Kept, boot_us: int) -> None:
        gone = boot_us - kept.boot_us if boot_us >= kept.boot_us else boot_us
        for name in NAMES:
            one: Override | None = getattr(kept, name)
            if one is not None and one.left_us > gone:
                self._running[name] = Running(one.profile, one.setpoint_c, one.until_us, boot_us + one.left_us - gone)
        self.changes += 1


def _sound(name: str, one: Override, profiles: set[str]) -> bool:
    most = MAX_FORCED_US if name == "forced" else MAX_LEVEL_US
    if not 0 <= one.left_us <= most or (one.profile is None) == (one.setpoint_c is None):
        return False
    if one.setpoint_c is not None:
        return name == "forced" and 5.0 <= one.setpoint_c <= 30.0
    return one.profile in profiles


def parse_until(value: object, where: str) -> int | None:
    """RFC 3339 to microseconds since 1970 UTC; ``None``, ``"None"``, ``"null"`` and ``""`` are None.

    Raises CommandRefused for anything else, also for a time without its zone."""
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "none", "null")):
        return None
    try:
        when = datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
        if when is not None and when.tzinfo is not None and len(str(value)) >= 16:
            return round(when.timestamp() * US)
    except (ValueError, OverflowError):
        pass
    raise CommandRefused(f"{where}: {value!r:.60} is no time with its zone; write it as 2026-11-26T22:00:00+01:00")


def rfc3339(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // US, UTC).isoformat().replace("+00:00", "Z")
