"""``[plugins.<id>]`` of a boiler's demand output."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from agent.api import AnyRelay, Place, plugin_place, property_place, topics_of

Heater = tuple[str | None, str]
"""Device (None: this one) and plugin."""


def heater(text: str) -> Heater:
    """Raises ValueError."""
    device, node, _ = plugin_place(text)
    return device, node


class BoilerDemandConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>]`` of agent.toml."""

    relay: AnyRelay
    heaters: Annotated[tuple[str, ...], Meta(min_length=1, max_length=100)]
    """``<heater>`` of this device, ``<device>/<heater>`` of another one: what has a ``heat_demand``."""
    demand_max_age_s: Annotated[float, Meta(ge=10, le=600)] = 180.0
    """A demand that was told longer ago is none."""
    min_on_s: Annotated[float, Meta(ge=0, le=3600)] = 180.0
    """So long it runs at least, as long as any heater still speaks."""
    min_off_s: Annotated[float, Meta(ge=0, le=3600)] = 180.0
    """So long it rests at least, also after a restart."""
    max_starts_per_h: Annotated[int, Meta(ge=1, le=20)] = 6
    overrun_s: Annotated[float, Meta(ge=0, le=900)] = 0.0
    """So long it runs on after the last demand: for a relay that drives a pump. 0 for a burner."""
    min_heaters: Annotated[int, Meta(ge=1, le=100)] = 1
    """So many must ask before it starts."""
    supply: str = ""
    """A supply temperature, ``<plugin>/<property>`` or ``<device>/<plugin>/<property>``: shows that it heats."""
    supply_rise_c: Annotated[float, Meta(gt=0, le=50)] = 5.0
    supply_hot_c: Annotated[float, Meta(ge=20, le=100)] = 40.0
    """As warm as this, it has shown that it heats."""
    room_rise_c: Annotated[float, Meta(gt=0, le=5)] = 0.3
    """The same for a heater's room, where it tells its ``room_temperature_c``."""
    no_response_min: Annotated[float, Meta(ge=5, le=240)] = 30.0
    """ON for so long and nothing became warmer: told."""
    interval_s: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    """How often everything is told; a change is told at once."""

    def __post_init__(self) -> None:
        for text in self.heaters:
            try:
                heater(text)
            except ValueError as error:
                raise ValueError(f"heaters: {error}") from None
        if len(set(self.heaters)) != len(self.heaters):
            raise ValueError("heaters: one is named twice")
        if self.min_heaters > len(self.heaters):
            raise ValueError(f"min_heaters: {self.min_heaters} of {len(self.heaters)} heaters would never be")
        if self.supply:
            try:
                property_place(self.supply)
            except ValueError as error:
                raise ValueError(f"supply: {error}") from None

    @property
    def places(self) -> dict[Heater, str]:
        return {heater(text): text for text in self.heaters}

    @property
    def supply_place(self) -> Place | None:
        return property_place(self.supply) if self.supply else None

    @property
    def topics(self) -> list[str]:
        """Of the bus."""
        return list(topics_of([*(Place(*one) for one in self.places), self.supply_place]))
