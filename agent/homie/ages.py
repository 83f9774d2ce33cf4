"""How long a value is true without being told again."""

from __future__ import annotations

from agent.api import Property
from agent.homie.tree import OURS, TreeNode

INTERVALS_UNTIL_STALE = 3.0
MIN_EXPIRE_S = 15.0
"""A reconnect or a restart of the agent must not make every fast sensor unavailable."""


def max_age_s(node: TreeNode, prop: Property) -> float:
    """After this a value is stale: declared, else three intervals (``agent.api.Property``)."""
    return prop.max_age_s if prop.max_age_s is not None else INTERVALS_UNTIL_STALE * node.interval_s


def expire_s(node: TreeNode, prop: Property) -> float | None:
    """When Home Assistant takes a measurement for unavailable; None for what keeps its truth without repetition."""
    if prop.event or prop.settable or prop.datatype not in ("float", "integer") or prop.name in OURS:
        return None
    age = max(MIN_EXPIRE_S, max_age_s(node, prop))
    return age if age < float("inf") else None
