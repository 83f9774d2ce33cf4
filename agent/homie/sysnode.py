"""The node ``sys``: the agent itself. Filled by ``uplink``, read by the hub's fleet page and by Home Assistant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.api import Priority, Property

if TYPE_CHECKING:
    from agent.homie.tree import TreeNode

SYS = "sys"
"""Reserved: no plugin instance may have this id."""
SYS_INTERVAL_S = 30.0

SYS_PROPERTIES: tuple[Property, ...] = (
    Property(
        name="uptime_s", datatype="integer", unit="s", minimum=0, title="Uptime", device_class="duration",
        state_class="measurement", diagnostic=True,
    ),
    Property(name="outbox_batches", datatype="integer", minimum=0, title="Batches waiting", state_class="measurement",
             diagnostic=True),
    Property(name="outbox_samples", datatype="integer", minimum=0, title="Samples waiting", state_class="measurement",
             diagnostic=True),
    Property(
        name="outbox_oldest_age_s", datatype="float", unit="s", minimum=0, title="Age of the oldest waiting sample",
        device_class="duration", state_class="measurement", diagnostic=True,
    ),
    Property(name="last_receipt", datatype="datetime", title="Last receipt", device_class="timestamp", diagnostic=True,
             max_age_s=float("inf")),
    Property(name="ledger", datatype="json", title="Ledger", diagnostic=True, enabled_by_default=False),
    Property(name="clock_quality", datatype="enum", options=("synced", "unsynced"), title="Clock", device_class="enum",
             diagnostic=True),
    Property(
        name="clock_offset_ms", datatype="float", unit="ms", title="Clock offset", device_class="duration",
        state_class="measurement", diagnostic=True, enabled_by_default=False, max_age_s=float("inf"),
    ),
    Property(name="version", datatype="string", title="Version", diagnostic=True, max_age_s=float("inf")),
    Property(name="address", datatype="string", title="Address", diagnostic=True, max_age_s=float("inf")),
    Property(name="command", datatype="json", event=True, title="Command", diagnostic=True, enabled_by_default=False,
             priority=Priority.ALARM),
    Property(name="services", datatype="json", title="Services", diagnostic=True, enabled_by_default=False,
             max_age_s=float("inf")),
    Property(name="canary", datatype="integer", event=True, title="Canary", minimum=0, diagnostic=True,
             enabled_by_default=False),
    Property(
        name="restart", datatype="enum", options=("agent", "host"), title="Restart", settable=True, event=True,
        device_class="restart", diagnostic=True,
    ),
)
"""``command`` is each command that was given to a plugin: node, property, value, who, result. ``ledger`` is a
``agent.wire.messages.LedgerCounts``, ``services`` a ``Services``. ``canary`` is a sample that goes the whole way once
an hour, so that the hub knows how long the way is and that it is open. ``restart`` is a command: the word says what
restarts."""


def sys_node() -> TreeNode:
    """``sys`` as a node of the tree."""
    from agent.homie.tree import LAST_UPDATE, TreeNode  # tree needs the id above

    return TreeNode(
        id=SYS,
        instance=SYS,
        use="agent",
        title="Agent",
        interval_s=SYS_INTERVAL_S,
        properties={prop.name: prop for prop in (*SYS_PROPERTIES, LAST_UPDATE)},
        found=False,
    )
