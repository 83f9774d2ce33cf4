"""What a boiler's demand output reports."""

from __future__ import annotations

from agent.api import Property

from .settings import BoilerDemandConfig

PHASES = ("off", "waiting", "demand", "minimum_run", "overrun")


def properties(config: BoilerDemandConfig) -> tuple[Property, ...]:
    age_s, most = 3 * config.interval_s, len(config.heaters)
    return (
        Property(name="boiler", datatype="boolean", title="Boiler demand", options=("off", "on"), device_class="heat",
                 max_age_s=age_s, comes_and_goes=True),  # no value until guard has said something
        Property(name="phase", datatype="enum", options=PHASES, title="Phase", max_age_s=age_s),
        Property(name="heaters_asking", datatype="integer", title="Heaters that ask for heat", minimum=0, maximum=most,
                 state_class="measurement", max_age_s=age_s),
        Property(name="heaters_silent", datatype="integer", title="Heaters that say nothing", minimum=0, maximum=most,
                 diagnostic=True, state_class="measurement", max_age_s=age_s),
        Property(name="why", datatype="string", title="Why", max_age_s=age_s),
        Property(name="heats", datatype="boolean", title="Has shown that it heats", options=("no", "yes"),
                 settable=True, diagnostic=True, optional=True, max_age_s=age_s, comes_and_goes=True),
        Property(name="contact", datatype="boolean", title="Relay's contact by its probe", options=("open", "closed"),
                 diagnostic=True, optional=True, max_age_s=age_s, comes_and_goes=True),
        Property(name="rejected_values", datatype="integer", title="Unusable words of heaters since start", minimum=0,
                 diagnostic=True, max_age_s=age_s),
    )
