"""What is aimed at now, why, and what comes next. Pure: clocks and the word on presence come in as arguments.

Forced beats exceptional beats supplementary beats holiday beats base. Nobody at home lowers the last three, never
raises them. ``off`` beats all and leaves the frost floor, which nothing goes below.

While the wall clock is not known (after boot, without a network) nobody can say what the calendars want: the aim is
eco, never comfort; a forced override runs on by the boot clock.
"""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from agent.api import Value

from .aim import Aim, Plan, clock_text, why
from .away import Away
from .calendar import inside_at, parse, shown_us
from .levels import HOUR_US, NAMES, Levels, rfc3339
from .orders import Orders
from .schedule import ProfileConfig, ProgrammeConfig, Schedule, changed, end_of, fingerprint

__all__ = ["Aim", "ProfileConfig", "Programme", "ProgrammeConfig"]

US = 1_000_000
STEPS = 200
"""Changes of calendar that are looked through for the next change of temperature."""


class Programme:
    """``kept``: what :meth:`to_kept` gave before the restart; anything else is forgotten with a line in ``notes``."""

    def __init__(self, config: ProgrammeConfig, kept: Any = None, *, sensors: set[str] | None = None) -> None:
        """``sensors``: the names that ``main_sensor_calendar`` may use; None: any."""
        self.config = config
        self.zone: tzinfo | None = config.zone()
        self.notes: list[str] = []
        """Lines for the log; the caller empties it."""
        self.sensors = sensors or set()
        self.overrides = Levels(config.base or next(iter(config.profiles)))
        self.timetable = Schedule(config.profiles, config.holidays, config.main_sensor_calendar)
        self.off = False
        self.pristine = True
        """Nothing was restored and no command was carried out."""
        self._edited = False
        self._away = Away(round(config.away_after_s * US))
        self._night = parse([[config.night]] * 7) if config.night else None
        self._version = 0
        self._next_key: tuple[object, ...] = ()
        self._next: tuple[int, float] | None = None
        self._next_good_us = 0
        self.restore(kept)
        self._orders = Orders(self)

    # --- what is aimed at -----------------------------------------------------------------------------------

    def aim(self, now_boot_us: int, wall_us: int | None, home: bool | None) -> Aim:
        self.overrides.tick(now_boot_us, wall_us)
        self._away.hear(home, now_boot_us)
        if wall_us is None:
            return self._aim_blind()
        ends = self.ends(now_boot_us, wall_us)
        plan = self._plan(wall_us, ends)
        coming = self._coming(now_boot_us, wall_us, ends)
        profile = self.timetable.profiles[plan.profile]
        return Aim(
            setpoint_c=plan.setpoint_c, profile=plan.profile, level=plan.level, comfort=plan.comfort,
            until_us=ends.get(plan.level), delta_plus_c=profile.delta_plus_c, delta_minus_c=profile.delta_minus_c,
            sensor=self.timetable.sensor_at(wall_us, self.zone) or self.config.main_sensor,
            why=self._why(plan, now_boot_us, wall_us, ends, coming),
            next_us=coming[0] if coming else None, next_setpoint_c=coming[1] if coming else None,
        )

    def ends(self, boot_us: int, wall_us: int) -> dict[str, int]:
        """Override in force or below it -> its end by the wall clock as it goes now."""
        ends = {}
        for name in NAMES:
            if self.overrides.get(name) is not None:
                ends[name] = self.overrides.end_us(name, boot_us, wall_us) or wall_us
        return ends

    def _plan(self, wall_us: int, ends: dict[str, int], *, forced: bool = True, away: bool | None = None) -> Plan:
        """``ends`` as of now, ``wall_us`` now or later; without ``forced``: as if there were no forced override."""
        away = self._away.away if away is None else away
        level, profile, setpoint = "base", self.overrides.base, None
        holiday = self.timetable.holiday_at(wall_us, self.zone)
        if holiday:
            level, profile = "holiday", holiday.profile
        for name, end in ends.items():  # the strongest comes last
            if wall_us < end and (forced or name != "forced"):
                one = self.overrides.get(name)
                assert one is not None
                level, profile, setpoint = name, one.profile or profile, one.setpoint_c
        if self.off:
            return Plan(self.config.frost_floor_c, profile, "off", False)
        table = self.timetable.profiles[profile]
        if setpoint is not None:
            return Plan(self._floored(setpoint), profile, level, setpoint > table.eco_c)
        comfort = self.timetable.comfort_at(profile, wall_us, self.zone)
        plan = Plan(self._floored(table.comfort_c if comfort else table.eco_c), profile, level, comfort)
        if away and level in ("base", "holiday", "supplementary"):
            lower = self._away_plan(profile, wall_us)
            return lower if lower.setpoint_c < plan.setpoint_c else plan
        return plan

    def _away_plan(self, profile: str, wall_us: int) -> Plan:
        name = self.config.away_profile
        comfort = bool(name) and self.timetable.comfort_at(name, wall_us, self.zone)
        table = self.timetable.profiles[name or profile]
        return Plan(self._floored(table.comfort_c if comfort else table.eco_c), name or profile, "away", False)

    def _aim_blind(self) -> Aim:
        """Without a wall clock: eco of whatever is coldest of what may hold."""
        forced = self.overrides.get("forced")
        level, profile, setpoint = "base", self.overrides.base, None
        tables = self.timetable.profiles
        for name in ("supplementary", "exceptional"):
            one = self.overrides.get(name)
            if one is not None and one.profile and tables[one.profile].eco_c < tables[profile].eco_c:
                level, profile = name, one.profile
        why = f"the time is not known yet: eco of {profile}"
        if forced is not None:
            level, profile, setpoint = "forced", forced.profile or profile, forced.setpoint_c
            why = (f"the time is not known yet: forced to {setpoint:.1f} °C, ends by itself" if setpoint is not None
                   else f"the time is not known yet: eco of {profile}, forced")
        table = tables[profile]
        comfort = setpoint is not None and setpoint > table.eco_c
        aim_c = table.eco_c if setpoint is None else setpoint
        if self.off:
            level, comfort, aim_c = "off", False, self.config.frost_floor_c
            why = f"switched off: only the frost floor of {aim_c:.1f} °C"
        return Aim(setpoint_c=self._floored(aim_c), profile=profile, level=level, comfort=comfort,
                   delta_plus_c=table.delta_plus_c, delta_minus_c=table.delta_minus_c,
                   sensor=self.config.main_sensor, why=why)

    def _floored(self, setpoint_c: float) -> float:
        return max(setpoint_c, self.config.frost_floor_c)

    # --- what comes next ------------------------------------------------------------------------------------

    def _coming(self, boot_us: int, wall_us: int, ends: dict[str, int]) -> tuple[int, float] | None:
        """:meth:`coming`, looked up again only when it may have changed."""
        offset_s = (wall_us - boot_us) // US
        key = (self.overrides.changes, self._version, self.off, self._away.away, offset_s,
               (shown_us(wall_us, self.zone) - wall_us) // US)
        if key != self._next_key or not self._next_good_us - HOUR_US <= wall_us < self._next_good_us:
            self._next_key, self._next = key, self.coming(wall_us, ends)
            self._next_good_us = min(wall_us + HOUR_US, self._next[0] if self._next else wall_us + HOUR_US)
        return self._next

    def coming(self, wall_us: int, ends: dict[str, int], *, forced: bool = True) -> tuple[int, float] | None:
        """The next moment at which another temperature is aimed at, and that temperature."""
        now_c = self._plan(wall_us, ends, forced=forced).setpoint_c
        at = wall_us
        for _ in range(STEPS):
            plan = self._plan(at, ends, forced=forced)
            points = self.timetable.holiday_edges(at, self.zone)
            points += [end for name, end in ends.items() if end > at and (forced or name != "forced")]
            home = self._plan(at, ends, forced=forced, away=False)
            for name in {plan.profile, home.profile, self.config.away_profile or plan.profile}:
                change = self.timetable.change_after(name, at, self.zone)
                if change is not None:
                    points.append(change)
            if not points:
                return None
            at = min(points)
            then_c = self._plan(at, ends, forced=forced).setpoint_c
            if then_c != now_c:
                return at, then_c
        return None

    def _why(self, plan: Plan, boot_us: int, wall_us: int, ends: dict[str, int], coming: tuple[int, float] | None
             ) -> str:
        one = self.overrides.get(plan.level) if plan.level in ends else None
        since = self._away.since_us
        end = ends.get(plan.level) or (coming[0] if coming else None)
        if plan.level == "holiday":
            holiday = self.timetable.holiday_at(wall_us, self.zone)
            end = end_of(holiday, self.zone) if holiday else end
        return why(plan, wall_us, self.zone, until_us=end, forced_c=one.setpoint_c if one else None,
                   since_us=None if since is None else wall_us - boot_us + since)

    def forgotten(self, aim: Aim, wall_us: int | None) -> str | None:
        """A line where an override holds comfort in the night; None: all is well, or the time is not known."""
        if wall_us is None or self._night is None or not aim.comfort or aim.until_us is None:
            return None
        if not inside_at(self._night, wall_us, self.zone):
            return None
        return (f"{aim.setpoint_c:.1f} °C in the night, {aim.level} until "
                f"{clock_text(aim.until_us, wall_us, self.zone)}: if that is forgotten, set mode to auto")

    # --- commands and state ---------------------------------------------------------------------------------

    @property
    def mode(self) -> str:
        """off, auto, forced"""
        return "off" if self.off else "forced" if self.overrides.get("forced") else "auto"

    def command(self, property_name: str, value: Value, now_boot_us: int, wall_us: int | None) -> Value:
        """The value now true. Raises CommandRefused: one line; then nothing has changed."""
        self.overrides.tick(now_boot_us, wall_us)
        now = self._orders.carry_out(property_name, value, now_boot_us, wall_us)
        self.pristine = False
        return now

    def replace_schedule(self, value: Any) -> None:
        """Raises ValueError."""
        self.timetable = changed(self.timetable, value, self.sensors)
        self._edited = True
        self._version += 1

    def schedule(self) -> dict[str, Any]:
        return self.timetable.as_json()

    def levels(self, now_boot_us: int, wall_us: int | None) -> dict[str, Any]:
        found: dict[str, Any] = {"base": {"profile": self.overrides.base}}
        for name in NAMES:
            one = self.overrides.get(name)
            if one is None:
                found[name] = None
                continue
            end = self.overrides.end_us(name, now_boot_us, wall_us)
            what = {"setpoint_c": one.setpoint_c} if one.profile is None else {"profile": one.profile}
            found[name] = {**what, "until": None if end is None else rfc3339(end)}
        return found

    def to_kept(self) -> dict[str, Any]:
        """Small and JSON-able."""
        kept: dict[str, Any] = {"v": 1, "levels": self.overrides.to_kept(), "off": self.off, "away": self._away.away}
        if self._edited:
            kept["schedule"], kept["config"] = self.schedule(), fingerprint(self.config)
        return kept

    def keep(self, kept: dict[str, Any]) -> None:
        """With every turn, for ``io.kept``: take over what came late (the local bus was not there at the start), and
        write what is to survive."""
        if self.pristine:
            self.restore(kept.get("programme"))
        if not self.pristine and kept.get("programme") != (state := self.to_kept()):
            kept["programme"] = state

    def restore(self, kept: Any) -> None:
        if not kept:
            return
        self.pristine = False
        if not isinstance(kept, dict) or kept.get("v") != 1:
            self.notes.append(f"the kept programme is none of this version, started from agent.toml: {kept!r:.80}")
            return
        note = self.overrides.from_kept(kept.get("levels"), set(self.config.profiles))
        if note:
            self.notes.append(note)
        self.off = kept.get("off") is True
        self._away.away = kept.get("away") is True
        if "schedule" not in kept:
            return
        if kept.get("config") != fingerprint(self.config):
            self.notes.append("agent.toml's schedule was edited since a command changed it: agent.toml holds")
            return
        try:
            self.replace_schedule(kept["schedule"])
        except ValueError as error:
            self.notes.append(f"the kept schedule cannot be read, agent.toml's holds: {error}")
