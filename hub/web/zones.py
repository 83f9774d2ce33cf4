"""Time zones of the pages: the viewer's where the browser tells it, else the house's."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from zoneinfo import ZoneInfo


def zone_of(name: str) -> ZoneInfo | None:
    """A zone by its name (``Europe/Paris``), or None."""
    if not 0 < len(name) <= 64:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return None


def machine_zone() -> ZoneInfo:
    """This machine's."""
    found = zone_of(os.environ.get("TZ", "").lstrip(":"))
    _, here, name = os.path.realpath("/etc/localtime").partition("/zoneinfo/")
    return found or (zone_of(name) if here else None) or ZoneInfo("UTC")


def local(t_us: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(t_us / 1e6, UTC).astimezone(zone)


def field(t_us: int, zone: ZoneInfo) -> str:
    """For ``<input type=datetime-local>``."""
    return f"{local(t_us, zone):%Y-%m-%dT%H:%M}"
