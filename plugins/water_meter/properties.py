"""The table of everything that the plugin reports."""

from __future__ import annotations

from agent.api import Priority, Property

KINDS = ("unknown", "none", "drip", "running", "burst", "vacation")

PROPERTIES: tuple[Property, ...] = (
    Property(name="index_l", datatype="float", unit="L", title="Water index", minimum=0, device_class="water",
             state_class="total_increasing", max_age_s=180, priority=Priority.COUNTER),
    Property(name="flow_l_h", datatype="float", unit="L/h", title="Water flow", minimum=0,
             device_class="volume_flow_rate", state_class="measurement", max_age_s=180),
    Property(name="leak", datatype="enum", options=KINDS, title="Leak", device_class="enum", max_age_s=900,
             priority=Priority.ALARM),
    Property(name="leak_volume_l", datatype="float", unit="L", title="Volume of this leak", minimum=0, max_age_s=900),
    Property(name="leak_cost", datatype="float", unit="EUR", title="Cost of this leak", minimum=0, max_age_s=900,
             optional=True),
    Property(name="base_flow_l_h", datatype="float", unit="L/h", title="Most that flows without a pause", minimum=0,
             state_class="measurement", max_age_s=900, comes_and_goes=True),  # not known for an hour after each quiet
    Property(name="quiet_age_h", datatype="float", unit="h", title="Time since the last quiet hour", minimum=0,
             state_class="measurement", max_age_s=900, comes_and_goes=True),  # nor this after a hole in the watch
    Property(name="vacation", datatype="boolean", settable=True, title="Vacation: nobody uses water", max_age_s=900),
    Property(name="watering", datatype="boolean", settable=True, title="Running water is meant, for two hours",
             max_age_s=900),
    Property(name="reverse_volume_l", datatype="float", unit="L", title="Flowed backwards since start", minimum=0,
             diagnostic=True, optional=True, max_age_s=900),
    Property(name="rejected_edges", datatype="integer", title="Edges that were no pulse since start", minimum=0,
             diagnostic=True, max_age_s=900),
    Property(name="bad_inputs", datatype="integer", title="Unreadable inputs since start", minimum=0, diagnostic=True,
             max_age_s=900),
)
