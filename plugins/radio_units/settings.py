"""``[plugins.<id>]`` of agent.toml."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct


class UnitConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>.units.<unit>]``: a unit that may be in the network."""

    uid: Annotated[str, Meta(pattern="^[0-9a-fA-F]{8}$")]
    title: str = ""
    defaults: dict[Annotated[str, Meta(pattern="^[A-Za-z][A-Za-z0-9]{2}$")], float | bool] = {}
    """Writable values by label that it is given when it registers: ``{ UpF = 5 }``."""
    address: Annotated[str, Meta(pattern="^[0-9a-fA-F]{4}$")] | None = None
    """Its short address where that is known beforehand: to replay a part of a session."""


class RadioUnitsConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """``[plugins.<id>]`` of agent.toml."""

    port: str = "/dev/ttyACM0"
    """Better a name that stays: /dev/serial/by-id/...; the USB operator itself is a /dev/hidraw<N>."""
    link: Literal["serial", "hidraw"] = "serial"
    baudrate: Annotated[int, Meta(ge=1200, le=3_000_000)] = 115_200
    units: dict[str, UnitConfig] = {}
    stale_after_s: Annotated[float, Meta(ge=30, le=86_400)] = 900.0
    battery_low_v: Annotated[float, Meta(ge=0, le=6)] = 2.0
    accept_unknown: bool = False
    """Let in everybody: for a look at a capture or a new network, not for a house."""
    gateway_uid: Annotated[str, Meta(pattern="^[0-9a-fA-F]{8}$")] | None = None
    """Left out, any operator is taken."""
    session_key: Annotated[str, Meta(pattern="^[0-9a-fA-F]{4}$")] | None = None
    """Left out, two random bytes a session, as the network wants it."""
    swap_written_bytes: bool = False
    """For firmware that takes two-byte values high byte first although it sends them low byte first."""

    def __post_init__(self) -> None:
        uids: set[str] = set()
        for unit_id, unit in self.units.items():
            if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", unit_id) or len(unit_id) > 30:
                raise ValueError(f"units: {unit_id!r}: a unit's id is a-z, 0-9 and -, at most 30 characters")
            if unit.uid.lower() in uids:
                raise ValueError(f"units: {unit_id}.uid: {unit.uid} is another unit's already")
            uids.add(unit.uid.lower())
