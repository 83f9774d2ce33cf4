"""What is aimed at in one moment, and that in words. Pure."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import NamedTuple

from msgspec import Struct

US = 1_000_000


class Aim(Struct, frozen=True, kw_only=True):
    """For one moment; times are microseconds since 1970 UTC."""

    setpoint_c: float
    profile: str
    level: str
    """base, supplementary, exceptional, forced, holiday, away, off"""
    comfort: bool
    until_us: int | None = None
    """End of the override that is in force."""
    delta_plus_c: float
    delta_minus_c: float
    sensor: str
    """The sensor that counts now."""
    why: str
    """Half a sentence."""
    next_us: int | None = None
    """When another temperature will be aimed at, as far as the calendars and the ends of overrides say."""
    next_setpoint_c: float | None = None


class Plan(NamedTuple):
    """What holds at a moment of known wall time."""

    setpoint_c: float
    profile: str
    level: str
    comfort: bool


def why(plan: Plan, now_us: int, zone: tzinfo | None, *, until_us: int | None, forced_c: float | None,
        since_us: int | None) -> str:
    """Half a sentence. ``until_us``: when it ends or changes; ``forced_c``: it is forced to a temperature;
    ``since_us``: since when nobody is at home."""
    until = "" if until_us is None else f" until {clock_text(until_us, now_us, zone)}"
    what = f"{'comfort' if plan.comfort else 'eco'} of {plan.profile}"
    if plan.level == "off":
        return f"switched off: only the frost floor of {plan.setpoint_c:.1f} °C"
    if plan.level == "away":
        since = "" if since_us is None else f" since {clock_text(since_us, now_us, zone)}"
        return f"nobody at home{since}: {what}"
    if forced_c is not None:
        return f"forced to {plan.setpoint_c:.1f} °C{until}"
    return f"{what}{until}" if plan.level == "base" else f"{what}, {plan.level}{until}"


def clock_text(at_us: int, now_us: int, zone: tzinfo | None) -> str:
    """``22:00``, or with its day when that is not within 20 hours (a time that could be today's or tomorrow's)."""
    near = abs(at_us - now_us) < 20 * 3600 * US
    return datetime.fromtimestamp(at_us // US, zone).strftime("%H:%M" if near else "%Y-%m-%d %H:%M")
