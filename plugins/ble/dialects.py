"""Lines of others as advertisements: gateways' JSON (Theengs, ESPresense, the badge gateway's POST), by their keys."""

from __future__ import annotations

import json
import math
from typing import Any

from .adverts import Advert, Badge, is_address, short_uuid, tidy_address

ADDRESSES = ("address", "mac", "addr", "id", "beacon", "tag")
STRENGTHS = ("rssi_dbm", "rssi", "badge_strength", "strength")
RECEIVERS = ("receiver", "pi_id", "scanner", "gateway", "host", "adapter")
SECONDS = ("t", "ts", "time", "timestamp", "t_s")
MAX_BEACONS = 64


class NoAdvert(ValueError):
    """A line that is no advertisement, in one line."""


def from_line(data: bytes) -> Advert:
    """One line of JSON in any of the dialects. Raises NoAdvert."""
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError):
        raise NoAdvert(f"no line of JSON: {data[:60]!r}") from None
    if not isinstance(raw, dict):
        raise NoAdvert(f"expected a JSON object with address and rssi_dbm, got {data[:60]!r}")
    return from_fields(raw)


def from_fields(raw: dict[str, Any]) -> Advert:
    """Raises NoAdvert."""
    said = Advert(receiver=_text(raw, RECEIVERS), rssi_dbm=dbm_of(_first(raw, STRENGTHS)), manufacturer={}, service={})
    if "badge_id" in raw or isinstance(raw.get("beacons"), dict):
        said.badge = _badge(raw)
        said.address = f"badge:{said.badge.badge_id}"
    else:
        said.address = tidy_address(_text(raw, ADDRESSES))
    if not said.address:
        raise NoAdvert(f"neither address nor badge_id in it, but {', '.join(map(str, raw))[:80] or 'nothing'}")
    name = raw.get("name")
    said.name = name if isinstance(name, str) and name else None
    if said.name is None and said.badge is None and not is_address(said.address):
        said.name = said.address
    made = raw.get("manufacturer", raw.get("manufacturerdata"))
    if isinstance(made, dict):
        said.manufacturer = {str(key).lower(): str(value) for key, value in made.items()}
    elif isinstance(made, str) and len(made) >= 4:  # company id first, its low byte first
        said.manufacturer = {(made[2:4] + made[:2]).lower(): made[4:]}
    served = raw.get("service", raw.get("servicedata"))
    if isinstance(served, dict):
        said.service = {short_uuid(str(key)): str(value) for key, value in served.items()}
    elif isinstance(served, str) and isinstance(raw.get("servicedatauuid"), str):
        said.service = {short_uuid(raw["servicedatauuid"].removeprefix("0x")): served}
    return said


def _badge(raw: dict[str, Any]) -> Badge:
    """The POST of a badge gateway: ``badge_id``, ``beacons`` {id: dBm or null}, ``position``, ``motion``, ..."""
    beacons = raw.get("beacons")
    if not isinstance(beacons, dict) or len(beacons) > MAX_BEACONS:
        raise NoAdvert(f"beacons: expected a table of at most {MAX_BEACONS} beacons with their dBm")
    heard: dict[str, int] = {}
    for beacon, strength in beacons.items():
        if strength is None:
            continue  # known to the badge and not heard
        dbm = dbm_of(strength)
        if dbm is None:
            raise NoAdvert(f"beacon {beacon[:40]}: {str(strength)[:40]!r} is no strength")
        heard[beacon] = dbm
    motion, position, opposite = raw.get("motion"), raw.get("position"), raw.get("opposite_badge_id")
    return Badge(str(raw.get("badge_id", "badge"))[:64], heard,
                 motion=bool(motion) if isinstance(motion, bool | int) else None,
                 position=str(position)[:64] if position not in (None, "") else None,
                 opposite_badge_id=str(opposite)[:64] if opposite not in (None, "") else None)


def _first(raw: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((raw[name] for name in names if name in raw), None)


def _text(raw: dict[str, Any], names: tuple[str, ...]) -> str:
    value = _first(raw, names)
    return str(value)[:64] if isinstance(value, str | int) and not isinstance(value, bool) else ""


def dbm_of(value: Any) -> int | None:
    """A strength as a whole number (a mean of several packets is rounded), None where it is none."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return round(value) if abs(value) < 1000 else None


def seconds(value: Any) -> float | None:
    """A stamp in seconds, milli-, micro- or nanoseconds by its size (all since 1970), or small ones as they are."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    if not math.isfinite(number) or number < 0:
        return None
    for above, per_s in ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3)):
        if number >= above:
            return number / per_s
    return number
