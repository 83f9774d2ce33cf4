"""What explains what: mains -> internet -> broker -> hub -> device -> plugin -> property. Pure.

Only what says that something does not come is ever explained, and only by a cause that it can have had: the mains takes
no device that runs on a UPS, the internet none on this network, and nothing explains what was so long before it.
Times are microseconds since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

SLACK_US = 120_000_000
"""So long after it a cause may be found out: a line is called lost after a few bad probes, a device at once."""


class House(Struct, frozen=True):
    """What the hub knows of how things hang together."""

    on_ups: frozenset[str] = frozenset()
    """Devices that go on without the mains."""
    remote: frozenset[str] = frozenset()
    """Devices that reach the broker by the internet, and have another mains."""
    broker_elsewhere: bool = False
    """The broker is another machine, and no UPS of it is known."""
    plugins: Mapping[str, Mapping[str, str]] = {}
    """Device -> node -> the plugin instance that it belongs to."""


def causes(key: str, subject: str, house: House) -> list[str]:
    """Subjects that would explain that something of ``subject`` does not come, the nearest first."""
    raise NotImplementedError
