"""What the plugin reports: of the house, and of each place (a node of its own)."""

from __future__ import annotations

from agent.api import Priority, Property

from .motion import STATES

LASTING_S = 30 * 86_400.0
"""Of counters, which are told when they change."""
MOTION = Property(name="motion", datatype="boolean", title="Motion", device_class="motion")
PROPERTIES = (
    MOTION,
    Property(name="bad_lines", datatype="integer", title="Bad lines since start", minimum=0, diagnostic=True,
             optional=True, max_age_s=LASTING_S, comes_and_goes=True),
)
NODE_PROPERTIES = (
    MOTION,
    Property(name="motion_event", datatype="enum", options=("detected", "cleared"), title="Motion began or ended",
             event=True, device_class="motion", priority=Priority.NORMAL),
    Property(name="sensor_state", datatype="enum", options=STATES, title="State of the detector", diagnostic=True),
    Property(name="glitches", datatype="integer", title="Glitches since start", minimum=0, diagnostic=True,
             optional=True, max_age_s=LASTING_S, comes_and_goes=True),
)

WHY = {
    "stuck_active": "its output is active without a pause: dead, or its wire touches 3.3 V",
    "chattering": "its output chatters: a loose wire, or a supply that is too weak",
    "never_active": "it has seen nothing while the others saw much: dead, covered, or unplugged",
}
