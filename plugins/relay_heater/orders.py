"""Commands to the programme: looked at whole, then carried out; a refused one has changed nothing. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from agent.api import CommandRefused, Value

from .levels import HOUR_US, MAX_FORCED_US, NAMES, Running, parse_until, rfc3339
from .schedule import ALIASES

if TYPE_CHECKING:
    from .programme import Programme

FORCES = {"force_confort": "comfort_c", "force_comfort": "comfort_c", "force_eco": "eco_c"}
"""Profiles of the older system that were overrides without an end; here they are forced, with one."""
LOWEST_C, HIGHEST_C = 5.0, 30.0


class Orders:
    def __init__(self, programme: Programme) -> None:
        self._programme = programme
        self._carry: dict[str, Callable[[Any, int, int | None], Value]] = {
            "setpoint_c": self._setpoint, "mode": self._mode, "profile": self._profile, "until": self._until,
            "levels": self._levels, "schedule": self._schedule,
        }

    def carry_out(self, name: str, value: Value, boot_us: int, wall_us: int | None) -> Value:
        carry = self._carry.get(name)
        if carry is None:
            raise CommandRefused(f"{name} takes no commands; {', '.join(self._carry)} do")
        return carry(value, boot_us, wall_us)

    def _setpoint(self, value: Any, boot_us: int, wall_us: int | None) -> Value:
        setpoint = self._temperature("setpoint_c", value)
        self._refuse_when_off("setpoint_c")
        self._force(boot_us, wall_us, self._default_us(boot_us, wall_us), setpoint_c=setpoint)
        return setpoint

    def _mode(self, value: Any, boot_us: int, wall_us: int | None) -> Value:
        programme = self._programme
        if value not in ("off", "auto", "forced"):
            raise CommandRefused(f"mode: {value!r:.60}: off, auto or forced")
        if value == "forced":
            programme.off = False
            if programme.overrides.get("forced") is None:
                self._force_named("comfort_c", boot_us, wall_us)
        else:
            programme.off = value == "off"
            programme.overrides.put("forced", None)
        return programme.mode

    def _profile(self, value: Any, boot_us: int, wall_us: int | None) -> Value:
        programme = self._programme
        key = FORCES.get(value) if isinstance(value, str) and value not in programme.config.profiles else None
        if key:
            self._refuse_when_off("profile")
            self._force_named(key, boot_us, wall_us)
        else:
            programme.overrides.base = self._known("profile", value)
            programme.overrides.changes += 1
        return programme.aim(boot_us, wall_us, None).profile

    def _until(self, value: Any, boot_us: int, wall_us: int | None) -> Value:
        programme = self._programme
        until_us = parse_until(value, "until")
        name = next((name for name in reversed(NAMES) if programme.overrides.get(name)), None)
        if name is None or programme.off:
            raise CommandRefused("until: nothing that has an end is in force; set setpoint_c or levels first")
        one = programme.overrides.get(name)
        assert one is not None
        if until_us is None:
            programme.overrides.put(name, None)
            return None
        programme.overrides.put(name, programme.overrides.make(
            name, boot_us, wall_us, until_us, profile=one.profile, setpoint_c=one.setpoint_c))
        return rfc3339(until_us)

    def _levels(self, value: Any, boot_us: int, wall_us: int | None) -> Value:
        programme = self._programme
        if not isinstance(value, dict) or not value or not value.keys() <= {"base", *NAMES}:
            raise CommandRefused(f"levels: an object with one or more of base, {', '.join(NAMES)} is needed")
        base = self._known("levels.base", self._fields("base", value["base"])["profile"]) if "base" in value else ""
        put: dict[str, Running | None] = {
            name: self._level(name, value[name], boot_us, wall_us) for name in NAMES if name in value}
        if put.get("forced"):
            self._refuse_when_off("levels.forced")
        if base:
            programme.overrides.base = base
            programme.overrides.changes += 1
        for name, override in put.items():
            programme.overrides.put(name, override)
        return programme.levels(boot_us, wall_us)

    def _level(self, name: str, value: Any, boot_us: int, wall_us: int | None) -> Running | None:
        if value is None or _is_none(value):
            return None
        fields = self._fields(name, value)
        if _is_none(fields.get("profile")):
            return None
        until_us = parse_until(fields.get("until"), f"levels.{name}.until")
        if ("profile" in fields) == ("setpoint_c" in fields):
            raise CommandRefused(f"levels.{name}: either profile or setpoint_c is needed")
        setpoint = self._temperature(f"levels.{name}.setpoint_c", fields["setpoint_c"]) if "setpoint_c" in fields \
            else None
        profile = self._known(f"levels.{name}", fields["profile"]) if "profile" in fields else None
        return self._programme.overrides.make(name, boot_us, wall_us, until_us, profile=profile, setpoint_c=setpoint)

    def _fields(self, name: str, value: Any) -> dict[str, Any]:
        allowed = {"base": {"profile"}, "forced": {"profile", "setpoint_c", "until"}}.get(name, {"profile", "until"})
        if isinstance(value, str) and name == "base":
            value = {"profile": value}
        if not isinstance(value, dict) or not value.keys() <= allowed or (name == "base" and not value):
            raise CommandRefused(f"levels.{name}: an object with {', '.join(sorted(allowed))} is needed, "
                                 f"not {value!r:.80}")
        return value

    def _schedule(self, value: Any, boot_us: int, wall_us: int | None) -> Value:
        try:
            self._programme.replace_schedule(value)
        except ValueError as error:
            raise CommandRefused(f"schedule: {error}") from None
        return self._programme.schedule()

    # --- shared ---------------------------------------------------------------------------------------------

    def _default_us(self, boot_us: int, wall_us: int | None) -> int:
        """How long a forced temperature lasts when nobody said: to the next change of the schedule, at most 12 h."""
        programme = self._programme
        if wall_us is None:
            return round(programme.config.forced_default_h * HOUR_US)
        coming = programme.coming(wall_us, programme.ends(boot_us, wall_us), forced=False)
        return min(MAX_FORCED_US, coming[0] - wall_us if coming else MAX_FORCED_US)

    def _force_named(self, key: str, boot_us: int, wall_us: int | None) -> None:
        """At comfort or eco of the profile in force, for the configured time."""
        programme = self._programme
        programme.overrides.put("forced", None)
        profile = programme.aim(boot_us, wall_us, None).profile
        setpoint = getattr(programme.timetable.profiles[profile], key)
        self._force(boot_us, wall_us, round(programme.config.forced_default_h * HOUR_US), setpoint_c=setpoint)

    def _force(self, boot_us: int, wall_us: int | None, for_us: int, *, setpoint_c: float) -> None:
        levels = self._programme.overrides
        levels.put("forced", levels.make("forced", boot_us, wall_us, None, setpoint_c=setpoint_c, for_us=for_us))

    def _temperature(self, where: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise CommandRefused(f"{where}: {value!r:.60} is no temperature")
        if not LOWEST_C <= value <= HIGHEST_C:
            raise CommandRefused(f"{where}: {value:g} °C: {LOWEST_C:g} to {HIGHEST_C:g}")
        return max(round(float(value), 1), self._programme.config.frost_floor_c)

    def _known(self, where: str, value: Any) -> str:
        profiles = self._programme.config.profiles
        if isinstance(value, str):
            name = value if value in profiles else ALIASES.get(value, value)
            if name in profiles:
                return name
            if value in FORCES:
                raise CommandRefused(f"{where}: {value} is a forced override and needs an end: set profile to "
                                     f"{value}, or levels.forced with until")
        raise CommandRefused(f"{where}: there is no profile {value!r:.40}; there are {', '.join(profiles)}")

    def _refuse_when_off(self, where: str) -> None:
        if self._programme.off:
            raise CommandRefused(f"{where}: the heating is off; set mode to auto first")


def _is_none(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() in ("none", "null")
