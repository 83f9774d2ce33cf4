"""One advertisement as one line of JSON: what goes from the radio to the plugin, and into a capture. Pure.

::

    {"address":"C4:7C:8D:6A:11:07","rssi_dbm":-71,"receiver":"hci0","manufacturer":{"004c":"0215..."}}

Beside advertisements there are a few words of the scanner itself (``event``), in the same stream so that a replay
sees them too: ``scanning``, ``failed`` (with ``reason``), ``lost`` (with ``count``), ``note`` (a line for the log).
"""

from __future__ import annotations

import re

import msgspec
from msgspec import Struct

#: Core specification 5.4 vol. 4 part E, 7.7.65.2: -127 to +20 dBm, 127 is "not available". 0 is what stacks say that
#: do not know, and -127 is what bleak says; a badge's -128 is "funky" (not heard).
RSSI_MIN_DBM, RSSI_MAX_DBM = -126, 20
BASE_UUID = re.compile(r"0000([0-9a-f]{4})-0000-1000-8000-00805f9b34fb\Z")
ADDRESS = re.compile(r"([0-9A-F]{2}:){5}[0-9A-F]{2}\Z")
HEX_ADDRESS = re.compile(r"[0-9A-Fa-f]{12}\Z")


class Badge(Struct, frozen=True, omit_defaults=True):
    """What a worn badge says: the beacons it hears, strongest first."""

    badge_id: str
    beacons: dict[str, int]
    """Beacon id -> dBm."""
    motion: bool | None = None
    button: bool | None = None
    battery_pct: int | None = None
    position: str | None = None
    opposite_badge_id: str | None = None


class Advert(Struct, omit_defaults=True):
    """One line of the stream. Hex is lower case without spaces."""

    address: str = ""
    rssi_dbm: int | None = None
    receiver: str = ""
    name: str | None = None
    tx_power_dbm: int | None = None
    manufacturer: dict[str, str] = {}
    """Company id (4 hex digits) -> data."""
    service: dict[str, str] = {}
    """Service UUID (4 hex digits, or the whole one) -> data."""
    badge: Badge | None = None
    """A badge's list that came as such, not as bytes (a capture of a gateway's JSON)."""
    event: str = ""
    reason: str = ""
    count: int = 0


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Advert).decode


def usable_rssi(rssi_dbm: int | None) -> bool:
    """Whether this is a strength, and none of the numbers that stand for "I do not know"."""
    return rssi_dbm is not None and rssi_dbm != 0 and RSSI_MIN_DBM <= rssi_dbm <= RSSI_MAX_DBM


def short_uuid(uuid: str) -> str:
    """``0000feaa-0000-1000-8000-00805f9b34fb`` -> ``feaa``; others as they are, in lower case."""
    uuid = uuid.lower()
    found = BASE_UUID.match(uuid)
    return found[1] if found else uuid


def is_address(text: str) -> bool:
    return ADDRESS.match(text) is not None


def tidy_address(text: str) -> str:
    """``c47c8d6a1107``, ``C4-7C-...`` -> ``C4:7C:8D:6A:11:07``; what is no address is given back as it is."""
    digits = text.strip().replace(":", "").replace("-", "")
    if not HEX_ADDRESS.match(digits):
        return text.strip()
    digits = digits.upper()
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))
