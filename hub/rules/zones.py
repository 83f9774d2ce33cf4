"""The house's time zone, for "between"."""

from __future__ import annotations

from datetime import tzinfo

from agent.api import zone_of
from hub.settings import Settings


def house_zone(settings: Settings) -> tzinfo:
    """As in ``[energy] timezone``; else this machine's."""
    zone: tzinfo = zone_of(settings.energy.timezone)
    return zone
