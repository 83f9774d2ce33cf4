"""What is inside an advertisement: iBeacon, Eddystone UID, URL, TLM and the badge's list of beacons. Pure.

Sources: Apple, "Proximity Beacon Specification" R1; Google, "Eddystone Protocol Specification" (eddystone-uid,
eddystone-url, eddystone-tlm/tlm-plain.md); the badge's layout is ours and stands in README.md.
"""

from __future__ import annotations

import struct
from typing import Any

from msgspec import Struct

from .adverts import RSSI_MAX_DBM, Advert, Badge

APPLE = "004c"
EDDYSTONE = "feaa"
BADGE_MAGIC = b"HB"
BADGE_HEAD = struct.Struct(">2sBBBBH")
BADGE_BEACON = struct.Struct(">Hb")
NOT_HEARD_DBM = -128
URL_SCHEMES = ("http://www.", "https://www.", "http://", "https://")
URL_ENDS = (".com/", ".org/", ".edu/", ".net/", ".info/", ".biz/", ".gov/",
            ".com", ".org", ".edu", ".net", ".info", ".biz", ".gov")


class BadPayload(ValueError):
    """A payload that claims to be of a kind and is not, in one line."""


class Decoded(Struct, omit_defaults=True):
    """Everything that one advertisement said. ``values`` are readings by property name."""

    ibeacon: str | None = None
    """``uuid/major/minor``."""
    eddystone_uid: str | None = None
    """20 digits of the namespace and 12 of the instance."""
    badge: Badge | None = None
    badge_id: str | None = None
    """Whose list it is, even where the list is not believed."""
    bad: str | None = None
    """What could not be read, in one line; the rest is right all the same."""
    values: dict[str, Any] = {}


def decode(advert: Advert, badge_company: str, strongest: int) -> Decoded:
    """All of it. ``badge_company``: whose manufacturer data holds badge lists. Never raises."""
    out = Decoded(values={})
    for read in (_manufacturer, _service):
        try:
            read(advert, badge_company, out)
        except BadPayload as error:
            out.bad = str(error)
    said = out.badge or advert.badge
    if said is not None:
        out.badge_id = said.badge_id
        try:
            out.badge = checked(said, strongest)
        except BadPayload as error:
            out.badge, out.bad = None, str(error)
    return out


def _manufacturer(advert: Advert, badge_company: str, out: Decoded) -> None:
    if advert.tx_power_dbm is not None and -127 <= advert.tx_power_dbm <= 20:
        out.values["tx_power_dbm"] = advert.tx_power_dbm
    for company, text in advert.manufacturer.items():
        data = _bytes(text, company)
        if company == APPLE and data[:2] == b"\x02\x15":
            _ibeacon(data, out)
        elif company == badge_company and data[:2] == BADGE_MAGIC:
            out.badge = badge(data)
        else:
            out.values["manufacturer_data"] = f"{company}:{data.hex()}"


def _service(advert: Advert, badge_company: str, out: Decoded) -> None:
    frame = advert.service.get(EDDYSTONE)
    if frame is not None:
        _eddystone(_bytes(frame, EDDYSTONE), out)


def _bytes(text: str, where: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise BadPayload(f"data of {where} is no hex: {text[:40]!r}") from None


def _ibeacon(data: bytes, out: Decoded) -> None:
    """02 15, UUID (16), major, minor (big-endian), power at 1 m (signed)."""
    if len(data) != 23:
        raise BadPayload(f"iBeacon of {len(data)} bytes, expected 23")
    digits = data[2:18].hex()
    uuid = "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    major, minor, power = struct.unpack(">HHb", data[18:])
    out.ibeacon = f"{uuid}/{major}/{minor}"
    out.values["ibeacon"] = out.ibeacon
    out.values["power_at_1m_dbm"] = power


def _eddystone(data: bytes, out: Decoded) -> None:
    kind = data[:1]
    if kind == b"\x00":
        if len(data) not in (18, 20):  # two reserved bytes, which some beacons leave out
            raise BadPayload(f"Eddystone UID of {len(data)} bytes, expected 18 or 20")
        out.eddystone_uid = data[2:18].hex()
        out.values["eddystone_uid"] = out.eddystone_uid
        out.values["power_at_0m_dbm"] = struct.unpack_from(">b", data, 1)[0]
    elif kind == b"\x10":
        out.values["eddystone_url"] = _url(data)
    elif kind == b"\x20":
        _telemetry(data, out)
    elif kind != b"\x30":  # 0x30 is EID: it names nobody without the owner's key
        raise BadPayload(f"Eddystone frame type {data[:1].hex() or 'missing'} is unknown")


def _url(data: bytes) -> str:
    if len(data) < 4 or data[2] >= len(URL_SCHEMES):
        raise BadPayload(f"Eddystone URL that has no known start: {data[:8].hex()}")
    text = URL_SCHEMES[data[2]]
    for byte in data[3:]:
        if byte < len(URL_ENDS):
            text += URL_ENDS[byte]
        elif 0x20 < byte < 0x7F:
            text += chr(byte)
        else:
            raise BadPayload(f"Eddystone URL with the reserved byte {byte:02x}")
    return text


def _telemetry(data: bytes, out: Decoded) -> None:
    """20, version 0, battery mV (0: none), temperature 8.8 (8000: none), adverts, uptime in 0.1 s."""
    if data[1:2] == b"\x01":
        return  # encrypted TLM: unreadable without the owner's key, and no fault
    if len(data) != 14 or data[1] != 0:
        raise BadPayload(f"Eddystone TLM of {len(data)} bytes, version {data[1:2].hex() or 'missing'}, "
                         "expected 14 and 00")
    millivolt, temperature, adverts, tenths = struct.unpack(">HhII", data[2:])
    if millivolt:
        out.values["battery_voltage_v"] = millivolt / 1000
    if temperature != -0x8000:
        out.values["temperature_c"] = round(temperature / 256, 2)
    out.values["sent_adverts"] = adverts
    out.values["beacon_uptime_s"] = round(tenths / 10)


def badge(data: bytes) -> Badge:
    """The badge's list out of its manufacturer data (layout in README.md). Raises BadPayload."""
    if len(data) < BADGE_HEAD.size:
        raise BadPayload(f"badge list of {len(data)} bytes, its head alone has {BADGE_HEAD.size}")
    _, kind, flags, battery, _sequence, number = BADGE_HEAD.unpack_from(data)
    version, count = kind >> 4, kind & 15
    if version != 1:
        raise BadPayload(f"badge list of version {version}, this program reads 1")
    if len(data) != BADGE_HEAD.size + count * BADGE_BEACON.size:
        raise BadPayload(f"badge list of {len(data)} bytes cannot hold {count} beacons")
    beacons = {str(beacon): rssi for beacon, rssi in BADGE_BEACON.iter_unpack(data[BADGE_HEAD.size :])}
    return Badge(str(number), beacons, motion=bool(flags & 1), button=bool(flags & 2),
                 battery_pct=battery if battery <= 100 else None)


def encode_badge(said: Badge, sequence: int = 0) -> bytes:
    """The manufacturer data of a badge: for the simulated one, and for whoever writes firmware."""
    flags = int(bool(said.motion)) | int(bool(said.button)) << 1
    battery = 255 if said.battery_pct is None else said.battery_pct
    head = BADGE_HEAD.pack(BADGE_MAGIC, 0x10 | len(said.beacons), flags, battery, sequence & 255, int(said.badge_id))
    return head + b"".join(BADGE_BEACON.pack(int(beacon), rssi) for beacon, rssi in said.beacons.items())


def checked(said: Badge, strongest: int) -> Badge:
    """Beacons that were not heard (-128) left out, the others strongest first, at most so many. An empty list is an
    answer: the badge hears nothing. Raises BadPayload where a strength cannot be one."""
    heard = {beacon: rssi for beacon, rssi in said.beacons.items() if rssi != NOT_HEARD_DBM}
    for beacon, rssi in heard.items():
        if rssi == 0 or not -127 <= rssi <= RSSI_MAX_DBM:
            raise BadPayload(f"badge {said.badge_id[:40]}: beacon {beacon[:40]} at {rssi} dBm")
    first = sorted(heard.items(), key=lambda item: (-item[1], item[0]))[:strongest]
    return Badge(said.badge_id, dict(first), said.motion, said.button, said.battery_pct, said.position,
                 said.opposite_badge_id)
