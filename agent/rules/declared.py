"""What is known of a series before a sample of it comes."""

from __future__ import annotations

import builtins
from collections.abc import Iterator

from msgspec import Struct

from agent.api import title_of
from agent.wire.messages import Reported

INTERVALS_UNTIL_STALE = 3.0
OWN = ("health", "last_update")
"""Of each node, made by the agent; their silence is the plugin's."""


class Declared(Struct, frozen=True):
    """One property of one device."""

    device: str
    node: str
    property: str
    """Its plain name, with ``_``."""
    title: str = ""
    unit: str = ""
    datatype: str = ""
    device_class: str = ""
    options: tuple[str, ...] = ()
    counter: bool = False
    """It only grows (``total_increasing``)."""
    event: bool = False
    """Momentary: it has no "now"."""
    max_age_s: float | None = None
    """None: silence says nothing."""
    expected: bool = False
    """It should come even if none has come yet."""
    comes_and_goes: bool = False
    """Its silence is no fault."""
    diagnostic: bool = False
    plugin: str = ""
    """The plugin's instance."""

    @builtins.property
    def key(self) -> tuple[str, str, str]:
        return self.device, self.node, self.property

    @builtins.property
    def subject(self) -> str:
        return f"{self.device}/{self.node}/{self.property}"

    @builtins.property
    def name(self) -> str:
        """For people."""
        return f"{self.title or self.property} ({self.subject})"


def of_reported(device: str, reported: Reported) -> Iterator[Declared]:
    """All that a device declares, with the age after which a value is stale (three intervals where it gives none)."""
    for plugin in reported.plugins.values():
        for node in plugin.nodes:
            for prop in node.properties:
                age = prop.max_age_s if prop.max_age_s is not None else INTERVALS_UNTIL_STALE * plugin.interval_s
                silent = prop.event or (prop.settable and prop.max_age_s is None) or prop.name in OWN
                silent = silent or age == float("inf")
                yield Declared(
                    device, node.id, prop.name.replace("-", "_"), title_of(prop), prop.unit or "", prop.datatype,
                    prop.device_class or "", prop.options, prop.state_class == "total_increasing", prop.event,
                    None if silent else age, not silent and not prop.optional and not prop.comes_and_goes,
                    prop.comes_and_goes, prop.diagnostic, plugin.instance)


