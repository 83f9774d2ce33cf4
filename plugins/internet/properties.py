"""What the plugin reports: of the connection, and of each target (a node of its own)."""

from __future__ import annotations

from agent.api import Node, Priority, Property

from .verdict import FAULTS

LASTING_S = 30 * 86_400.0
"""Of what is told when it changes and stays true until then."""


def _latency(title: str) -> Property:
    return Property(name="latency_ms", datatype="float", unit="ms", title=title, device_class="duration",
                    state_class="measurement", minimum=0, optional=True, comes_and_goes=True)


def _loss() -> Property:
    return Property(name="loss_pct", datatype="float", unit="%", title="Loss", state_class="measurement", minimum=0,
                    maximum=100)


PROPERTIES = (
    Property(name="internet_reached", datatype="boolean", title="Internet", device_class="connectivity"),
    Property(name="gateway_reached", datatype="boolean", title="Router", device_class="connectivity", optional=True,
             comes_and_goes=True),
    Property(name="captive_portal", datatype="boolean", title="Login page in between", device_class="problem"),
    Property(name="fault", datatype="enum", options=FAULTS, title="Where to look"),
    _latency("Latency of the nearest target"),
    _loss(),
    Property(name="internet_event", datatype="enum", options=("lost", "returned"), title="Internet lost or back",
             event=True, priority=Priority.ALARM),
    Property(name="outage_s", datatype="float", unit="s", title="Length of the outage that ended", event=True,
             minimum=0, priority=Priority.ALARM),
    Property(name="bad_outcomes", datatype="integer", title="Unreadable outcomes since start", minimum=0,
             diagnostic=True, optional=True, max_age_s=LASTING_S, comes_and_goes=True),
)


def target_node(name: str, kind: str, address: str) -> Node:
    """The node of one target."""
    return Node(id=name, title=f"{name} ({kind} {address})", properties=(
        Property(name="reached", datatype="boolean", title="Reached", device_class="connectivity", diagnostic=True),
        _latency("Latency"),
        _loss(),
        Property(name="answer", datatype="string", title="Answer", diagnostic=True),
    ))
