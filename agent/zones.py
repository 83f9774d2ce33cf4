"""Time zones by name, and the one of this machine."""

from __future__ import annotations

from datetime import UTC, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError


def zone_of(name: str, root: Path = Path("/")) -> tzinfo:
    """``""``: the one of this machine, UTC where it has none. Raises ValueError in the words of agent.toml."""
    if name:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f'timezone: "{name[:60]}" is no zone here, expected one as "Europe/Paris" (on a machine '
                             "without zones: pip install tzdata)") from None
    try:
        with (root / "etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file)
    except (OSError, ValueError):
        return UTC
