"""What the plugin reports: told on change, and every minute."""

from __future__ import annotations

from agent.api import Priority, Property

from .events import WEB
from .verdict import OWN, STATES

MAX_AGE_S = 300.0

PROPERTIES = (
    Property(name="hub_alive", datatype="boolean", title="Hub", device_class="connectivity", max_age_s=MAX_AGE_S),
    Property(name="state", datatype="enum", options=STATES, title="State of the hub", max_age_s=MAX_AGE_S),
    Property(name="silent_s", datatype="float", unit="s", title="Since its last sign of life", device_class="duration",
             state_class="measurement", minimum=0, max_age_s=MAX_AGE_S),
    Property(name="web", datatype="enum", options=WEB, title="Its page", diagnostic=True, optional=True,
             max_age_s=MAX_AGE_S),
    Property(name="latency_ms", datatype="float", unit="ms", title="Latency of its page", device_class="duration",
             state_class="measurement", minimum=0, diagnostic=True, optional=True, comes_and_goes=True),
    Property(name="own_fault", datatype="enum", options=OWN, title="What is wrong here", diagnostic=True,
             max_age_s=MAX_AGE_S),
    Property(name="hub_event", datatype="enum", options=("lost", "returned"), title="Hub lost or back", event=True,
             priority=Priority.ALARM),
    Property(name="outage_s", datatype="float", unit="s", title="Length of the outage that ended", event=True,
             minimum=0, priority=Priority.ALARM),
    Property(name="message", datatype="string", title="What people are told", event=True, priority=Priority.ALARM),
    Property(name="messages_waiting", datatype="integer", title="SMS that the modem has not taken", minimum=0,
             max_age_s=MAX_AGE_S),
)
