"""``[plugins.<id>]`` of a night light, and where its luminosity comes from."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from agent.api import AnyRelay, property_place

LX = (10.0, 20.0)
PERCENT = (20.0, 25.0)
"""On below, off above."""


class NightLightConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>]`` of agent.toml."""

    relay: AnyRelay
    sensor: str = ""
    """``<plugin>/<property>`` with the luminosity; of another device ``<device>/<plugin>/<property>``. Left out: the
    sun alone."""
    on_below: Annotated[float, Meta(ge=0, le=200_000)] | None = None
    """Left out: 10 lx, or 20 %."""
    off_above: Annotated[float, Meta(ge=0, le=200_000)] | None = None
    """Left out: 20 lx, or 25 %."""
    hold_s: Annotated[float, Meta(ge=0, le=3600)] = 60.0
    """So long it must be dark, or light."""
    dwell_s: Annotated[float, Meta(ge=0, le=3600)] = 300.0
    """So long it stays after it switched by itself."""
    sensor_max_age_s: Annotated[float, Meta(ge=10, le=86_400)] = 900.0
    """After this without a good value the sun decides."""
    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = None
    """Degrees, north and east positive."""
    sun_offset_min: Annotated[float, Meta(ge=-180, le=180)] = 0.0
    """The sun's night begins so long after sunset and ends so long before sunrise; less than 0: it is longer."""
    sun_margin_min: Annotated[float, Meta(ge=10, le=360)] = 60.0
    """Dark so long before sunset, or light so long before sunrise, is told."""
    forced_h: Annotated[float, Meta(gt=0, le=24)] = 12.0
    """How long ON and OFF last where no sunrise or sunset ends them."""
    interval_s: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    """How often everything is told; a change is told at once."""

    def __post_init__(self) -> None:
        if (self.latitude is None) != (self.longitude is None):
            raise ValueError(f"{'latitude' if self.latitude is None else 'longitude'}: needed with the other one")
        if not self.sensor and self.latitude is None:
            raise ValueError("sensor: give it, or latitude and longitude: else nothing says when it is dark")
        if self.sensor:
            try:
                property_place(self.sensor)
            except ValueError as error:
                raise ValueError(f"sensor: {error}") from None
        below, above = self.thresholds
        if below >= above:
            raise ValueError(f"on_below: {below:g} must be less than off_above = {above:g}, or the lamp flickers")

    @property
    def percent(self) -> bool:
        return self.sensor.endswith("_pct")

    @property
    def thresholds(self) -> tuple[float, float]:
        below, above = PERCENT if self.percent else LX
        return (below if self.on_below is None else self.on_below, above if self.off_above is None else self.off_above)
