"""What a night light reports."""

from __future__ import annotations

from agent.api import Property

from .modes import WORDS
from .settings import NightLightConfig

SOURCES = ("sensor", "sun", "person", "none")


def properties(config: NightLightConfig) -> tuple[Property, ...]:
    age_s = 3 * config.interval_s
    unit, device_class, most = ("%", None, 100) if config.percent else ("lx", "illuminance", 200_000)
    return (
        Property(name="lamp", datatype="boolean", title="Lamp", options=("off", "on"), device_class="light",
                 max_age_s=age_s, comes_and_goes=True),  # no value until guard has said something
        Property(name="mode", datatype="enum", options=WORDS, title="Mode", settable=True, max_age_s=age_s),
        Property(name="until", datatype="datetime", title="Forced until", settable=True, optional=True,
                 device_class="timestamp", max_age_s=age_s, comes_and_goes=True),
        Property(name="why", datatype="string", title="Why", max_age_s=age_s),
        Property(name="source", datatype="enum", options=SOURCES, title="Decided by", diagnostic=True,
                 max_age_s=age_s),
        Property(name="ambient_light", datatype="float", unit=unit, title="Light without the lamp's own",
                 device_class=device_class, state_class="measurement", minimum=0, maximum=most, optional=True,
                 max_age_s=config.sensor_max_age_s, comes_and_goes=True),
        Property(name="contact", datatype="boolean", title="Relay's contact by its probe", options=("open", "closed"),
                 diagnostic=True, optional=True, max_age_s=age_s, comes_and_goes=True),
        Property(name="sun_disagrees", datatype="boolean", title="Sensor and sun disagree", device_class="problem",
                 options=("no", "yes"), diagnostic=True, optional=True, max_age_s=age_s, comes_and_goes=True),
        Property(name="rejected_values", datatype="integer", title="Values that were no luminosity, since start",
                 minimum=0, diagnostic=True, max_age_s=age_s),
    )
