"""What the plugin and every unit always report; the rest a unit brings itself (``labels.py``)."""

from __future__ import annotations

from agent.api import Property

LASTING_S = 30 * 86_400.0
"""Of what is told when it changes and stays true until then: whether a unit still lives is ``heard``, and an alert."""

PROPERTIES = (
    Property(name="units_heard", datatype="integer", title="Units heard", state_class="measurement", max_age_s=900),
    Property(name="units_silent", datatype="integer", title="Units silent", state_class="measurement", max_age_s=900),
    Property(name="refused_units", datatype="integer", title="Unknown units refused since start", diagnostic=True,
             optional=True, max_age_s=LASTING_S, comes_and_goes=True),
    Property(name="bad_frames", datatype="integer", title="Damaged frames since start", diagnostic=True,
             state_class="measurement", max_age_s=900),
    Property(name="link_quality_pct", datatype="float", unit="%", title="Link quality", minimum=0, maximum=100,
             diagnostic=True, state_class="measurement", max_age_s=900),
)

UNIT_PROPERTIES = (
    Property(name="heard", datatype="boolean", title="Heard", device_class="connectivity",
             options=("silent", "heard"), diagnostic=True, max_age_s=LASTING_S, comes_and_goes=True),
    Property(name="battery_low", datatype="boolean", title="Battery low", device_class="battery", options=("ok", "low"),
             optional=True, max_age_s=LASTING_S, comes_and_goes=True),
    Property(name="pending_writes", datatype="json", title="Values not yet taken", diagnostic=True, optional=True,
             max_age_s=LASTING_S, comes_and_goes=True),
    Property(name="link_rssi", datatype="integer", title="Signal in the unit's power test", minimum=0, maximum=255,
             diagnostic=True, optional=True, state_class="measurement", max_age_s=LASTING_S,
             comes_and_goes=True),
)
