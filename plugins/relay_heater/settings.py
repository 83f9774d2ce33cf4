"""``[plugins.<id>]`` of agent.toml; what is aimed at and when is in ``schedule.py``."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct, field

from agent.api import AnyRelay

from .schedule import ProgrammeConfig

MAX_AGE_S = 600.0
DEFAULT_MAIN = "main"
Seconds = Annotated[float, Meta(gt=0, le=86_400)]


class SensorConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>.sensors.<name>]``: one thermometer."""

    source: str
    """``<node>/<property>`` of this device, ``<device>/<node>/<property>`` of another one, or ``w1:<id>``."""
    interval_s: Annotated[float, Meta(ge=1, le=600)] = 60.0
    """How often it speaks."""
    max_age_s: Annotated[float, Meta(ge=1, le=MAX_AGE_S)] | None = None
    """A sample older than this decides nothing; left out: two intervals."""
    offset_c: Annotated[float, Meta(ge=-10, le=10)] = 0.0
    limit_c: Annotated[float, Meta(ge=5, le=60)] | None = None
    """At this reading the heater is off, also while another sensor counts."""
    minimum_c: float = -40.0
    maximum_c: float = 55.0
    """Outside of these it lies (85.0 is a DS18B20 that has just got power)."""

    @property
    def good_for_s(self) -> float:
        return min(MAX_AGE_S, self.max_age_s or 2 * self.interval_s)


class RelayHeaterConfig(ProgrammeConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One heater behind one relay."""

    relay: AnyRelay
    sensors: dict[str, SensorConfig] = field(default_factory=dict)
    """The one of :attr:`main_sensor`'s name counts; the others take over when it is lost, in their order."""
    control: Literal["hysteresis", "tpi"] = "hysteresis"
    tpi_cycle_s: Annotated[float, Meta(ge=600, le=3600)] = 900.0
    tpi_per_c: Annotated[float, Meta(gt=0, le=5)] = 0.6
    """Share of the power for each degree that is missing."""
    tpi_per_c_h: Annotated[float, Meta(ge=0, le=5)] = 0.2
    """And for each degree that is missing for an hour."""
    min_on_s: Annotated[float, Meta(ge=10, le=1800)] = 180.0
    min_off_s: Annotated[float, Meta(ge=10, le=1800)] = 180.0
    """Less than 180 s is for a bench, not for a heater."""
    max_starts_per_h: Annotated[int, Meta(ge=1, le=6)] = 6
    max_room_c: Annotated[float, Meta(ge=20, le=40)] = 32.0
    """Off at this reading of any sensor, whatever is aimed at."""
    fallback_c: Annotated[float, Meta(ge=5, le=25)] = 15.0
    """At most this is aimed at while the sensor that counts is lost and another one stands in."""
    frost_duty_min_per_h: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """Minutes of ON in an hour when no sensor is left; 0: off, and the alarm."""
    rise_c: Annotated[float, Meta(ge=0.3, le=2)] = 0.3
    """So much warmer it must get in half an hour of ON."""
    window_fall_c: Annotated[float, Meta(ge=0)] = 0.8
    """A fall of so much within five minutes is an open window; 0: not looked at."""
    window_pause_s: Annotated[float, Meta(ge=60, le=7200)] = 1800.0
    window_contact: str = ""
    """A boolean ``<node>/<property>`` that is true while a window is open."""
    window_contact_pause_s: Annotated[float, Meta(ge=60, le=43_200)] = 7200.0
    """The longest pause for a contact: one that sticks does not let the house freeze."""
    load: str = ""
    """``<node>/<property>`` with the power of the whole house in W."""
    load_limit_w: Annotated[float, Meta(gt=0)] | None = None
    heater_w: Annotated[float, Meta(gt=0)] = 1000.0
    """What the heater draws."""
    heater_power: str = ""
    """``<node>/<property>`` with the power of the heater's own circuit in W: the relay's truth."""
    presence: str = ""
    """``<node>/<property>``: ``home``/``away``, or a boolean; nobody at home lowers what is aimed at."""
    preheat: bool = True
    """Begin so early that it is warm when the calendar says so, once the room has been learned."""
    outdoor: str = ""
    """``<node>/<property>`` with the outdoor temperature, for the room model."""
    root: str = ""
    """Another folder in which the 1-Wire sensors' sys/ is found; left out: /."""
    interval_s: Seconds = 60.0
    """How often what did not change is told again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.main_sensor == DEFAULT_MAIN and DEFAULT_MAIN not in self.sensors and self.sensors:
            msgspec.structs.force_setattr(self, "main_sensor", next(iter(self.sensors)))
        for name in (self.main_sensor, *self.main_sensor_calendar):
            if name not in self.sensors:
                raise ValueError(f"sensors: there is no sensor {name!r:.40}, and it is to count; "
                                 f"there are {', '.join(self.sensors) or 'none'}; "
                                 f"add [plugins.<id>.sensors.{name:.40}]")
        for name, sensor in self.sensors.items():
            if not sensor.source.startswith("w1:") and sensor.source.count("/") not in (1, 2):
                raise ValueError(f"sensors.{name}.source: {sensor.source!r:.60} is none of <node>/<property>, "
                                 "<device>/<node>/<property>, w1:<id>")
            if sensor.minimum_c >= sensor.maximum_c:
                raise ValueError(f"sensors.{name}.minimum_c: must be less than maximum_c")
        for key in ("window_contact", "load", "heater_power", "presence", "outdoor"):
            value = getattr(self, key)
            if value and value.count("/") not in (1, 2):
                raise ValueError(f"{key}: {value!r:.60} is neither <node>/<property> nor <device>/<node>/<property>")
        if (self.load_limit_w is None) != (not self.load):
            raise ValueError(f"{'load_limit_w' if self.load else 'load'}: needed with the other one")
        if self.load_limit_w is not None and self.load_limit_w <= self.heater_w:
            raise ValueError(f"load_limit_w: {self.load_limit_w:g} W is not more than heater_w = {self.heater_w:g}: "
                             "the heater would never be on")
