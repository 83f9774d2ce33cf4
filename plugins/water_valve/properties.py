"""What a water valve reports."""

from __future__ import annotations

from agent.api import Priority, Property

from .valve import MOST_FORCED_MIN

POSITIONS = ("open", "closing", "closed", "opening", "stuck", "unknown")


def properties(interval_s: float) -> tuple[Property, ...]:
    age_s = 3 * interval_s
    return (
        Property(name="valve", datatype="boolean", title="Valve", options=("closed", "open"), settable=True,
                 priority=Priority.ALARM, max_age_s=age_s, comes_and_goes=True),  # no value while nobody knows
        Property(name="position", datatype="enum", options=POSITIONS, title="Position", device_class="enum",
                 max_age_s=age_s),
        Property(name="force_open_min", datatype="integer", unit="min", title="Open in spite of a leak, for", minimum=0,
                 maximum=MOST_FORCED_MIN, step=1, settable=True, max_age_s=max(age_s, 180.0)),
        Property(name="stuck", datatype="boolean", title="Valve stuck", device_class="problem", options=("no", "yes"),
                 max_age_s=age_s),
        Property(name="why", datatype="string", title="Why", max_age_s=age_s),
        Property(name="meter_silent", datatype="boolean", title="Water meter silent", device_class="problem",
                 options=("no", "yes"), diagnostic=True, max_age_s=age_s),
        Property(name="contact", datatype="boolean", title="Relay's contact by its probe", options=("open", "closed"),
                 diagnostic=True, optional=True, max_age_s=age_s, comes_and_goes=True),
        Property(name="rejected_values", datatype="integer", title="Unusable words of the meter since start",
                 minimum=0, diagnostic=True, max_age_s=age_s),
    )
