"""``[plugins.<id>]`` of a water valve."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct

from agent.api import AnyRelay, Place, plugin_place, zone_of

Leak = Literal["drip", "running", "burst", "vacation"]
LEAKS = ("none", "drip", "running", "burst", "vacation", "unknown")
"""What a water meter may say of a leak."""


class WaterValveConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>]`` of agent.toml."""

    relay: AnyRelay
    water: str = "water"
    """The water meter's plugin: ``<plugin>``, or ``<device>/<plugin>`` of another device."""
    close_on: Annotated[tuple[Leak, ...], Meta(min_length=1)] = ("burst",)
    """Leaks that close it."""
    normally: Literal["open", "closed"] = "open"
    """Where the valve is while the relay is off."""
    travel_s: Annotated[float, Meta(ge=0, le=300)] = 15.0
    """How long it takes from end to end."""
    end_line: str | None = None
    """An input that is active while the valve is fully closed: GPIO5, gpiochip0/5, or sim:<socket>."""
    end_active_low: bool = True
    """A switch from the pin to ground is closed when the pin is low."""
    end_pull: Literal["none", "up", "down"] = "up"
    meter_max_age_s: Annotated[float, Meta(ge=30, le=86_400)] = 900.0
    """A leak reported longer ago counts no more; a meter silent for so long is told."""
    stuck_l: Annotated[float, Meta(gt=0, le=1000)] = 5.0
    """So much through a closed valve, and it is stuck."""
    exercise_days: Annotated[float, Meta(ge=0, le=365)] = 0.0
    """It is closed and opened again once in so many days, so that it does not seize; 0: never."""
    exercise_hours: tuple[Annotated[int, Meta(ge=7, le=20)], Annotated[int, Meta(ge=8, le=21)]] = (10, 16)
    """Only between these hours of the day: nobody wants it at night."""
    timezone: str = ""
    """As Europe/Paris; left out: the machine's."""
    interval_s: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    """How often everything is told; a change is told at once."""

    def __post_init__(self) -> None:
        try:
            plugin_place(self.water)
        except ValueError as error:
            raise ValueError(f"water: {error}") from None
        if self.exercise_hours[0] >= self.exercise_hours[1]:
            raise ValueError(f"exercise_hours: {list(self.exercise_hours)}: expected the earlier hour first")
        zone_of(self.timezone)

    def local(self, wall_us: int | None) -> datetime | None:
        """In the zone of ``timezone``, else the machine's."""
        if wall_us is None:
            return None
        return datetime.fromtimestamp(wall_us / 1e6).astimezone(zone_of(self.timezone) if self.timezone else None)

    @property
    def meter(self) -> Place:
        return plugin_place(self.water)
