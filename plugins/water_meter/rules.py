"""The limits of the leak watch, and what it says. Pure."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct


class Rules(Struct, frozen=True, kw_only=True):
    """Limits; flows in litres an hour, of a meter with ``litres`` a pulse (or a unit of its index)."""

    litres: float = 1.0
    drip_l_h: float = 1.0
    drip_h: float = 22.0
    running_l_h: float = 60.0
    running_min: float = 40.0
    burst_l_h: float = 1800.0
    burst_s: float = 90.0
    vacation_l: float = 5.0
    still_h: float = 4.0


def rules_for(
    litres: float, *, drip_l_h: float | None = None, running_l_h: float | None = None, burst_l_h: float = 1800.0,
    **more: float
) -> Rules:
    """The limits of a meter with so much a pulse, where nothing else is wanted: no drip can be told from still water by
    fewer than a pulse an hour, no running water by fewer than one in two minutes."""
    if running_l_h is None:
        running_l_h = min(max(60.0, 30 * litres), burst_l_h / 2)
    return Rules(litres=litres, drip_l_h=max(1.0, litres) if drip_l_h is None else drip_l_h,
                 running_l_h=running_l_h, burst_l_h=burst_l_h, **more)


class Verdict(NamedTuple):
    """``kind``: unknown, none, drip, vacation, running or burst. ``unknown``: not watched for long enough (B72)."""

    kind: str
    since_s: float | None
    """When the leak began, as far as can be known."""
    volume_l: float
    """What it has cost so far: of a drip its constant part, of the others all that flowed."""
    base_flow_l_h: float | None
    """The most that can have flowed without a pause since the last quiet."""
    quiet_age_s: float | None
    """Since the last quiet; None: none seen yet."""
