"""What the entries of an SML value list mean: OBIS and DLMS unit -> property.

Units: DLMS UA blue book, table of enumerated units. Server id: DIN 43863-5 (medium, maker, block, number).
"""

from __future__ import annotations

from .frames import Measured
from .obis import PROPERTY
from .properties import BY_NAME
from .sml import Entry, ValueList

#: DLMS unit code -> (unit of the property, power of ten to get there)
UNITS: dict[int, tuple[str, int]] = {
    27: ("W", 0), 28: ("VA", 0), 29: ("var", 0), 30: ("kWh", -3), 32: ("kvarh", -3), 33: ("A", 0), 35: ("V", 0),
    44: ("Hz", 0),
}
#: 15.7.0 adds import and export without a sign; meters that send it and no 16.7.0 do not measure export.
_ABSOLUTE_POWER = (15, 7, 0)
_SERVER_IDS = ((0, 0, 9), (96, 1, 0), (96, 1, 255))
_MANUFACTURER = (b"\x81\x81\xc7\x82\x03\xff", b"\x01\x00\x60\x32\x01\x01")
_PUBLIC_KEY = b"\x81\x81\xc7\x82\x05\xff"


def server_id(raw: bytes) -> str:
    """``0A 01 'DZG' 00 0282225E`` -> ``1DZG0042082910``, as printed on the meter; else hexadecimal."""
    if len(raw) == 10 and raw[2:5].isalpha() and raw[2:5].isascii() and raw[1] < 10:
        return f"{raw[1]}{raw[2:5].decode()}{raw[5]:02d}{int.from_bytes(raw[6:], 'big'):08d}"
    return raw.hex()


def scaled(value: int, power: int) -> float:
    """value x 10^power, rounded to the digits that it has."""
    return float(value * 10**power) if power >= 0 else round(value / 10**-power, -power)


def measure(entry: Entry) -> Measured | None:
    """The value of one entry; None where it has no meaning here or the unit does not fit the code."""
    group = (entry.obis[2], entry.obis[3], entry.obis[4])
    value = entry.value
    if isinstance(value, bytes):
        if entry.obis in _MANUFACTURER and value.isascii() and value.decode().isprintable():
            return Measured("manufacturer", value.decode())
        if group in _SERVER_IDS:
            return Measured("meter_id", server_id(value))
        return None
    name = PROPERTY.get(group) or ("active_power_w" if group == _ABSOLUTE_POWER else None)
    if name is None or entry.obis[0] not in (0, 1) or isinstance(value, bool):
        return None
    if name == "power_factor" and entry.unit in (None, 255):
        return Measured(name, scaled(value, entry.scaler))
    unit, power = UNITS.get(entry.unit or 0, ("?", 0))
    if unit != BY_NAME[name].unit:
        return None
    return Measured(name, scaled(value, entry.scaler + power))


def content(found: ValueList) -> tuple[list[Measured], list[str]]:
    """The values of a list in its order with what follows from them, and the codes that have no meaning here."""
    values: dict[str, Measured] = {}
    unknown = []
    for entry in found.entries:
        measured = measure(entry)
        if measured is None:
            if entry.obis != _PUBLIC_KEY:
                unknown.append(entry.code)
        elif measured.property not in values:
            values[measured.property] = measured
    by_name = {name: m.value for name, m in values.items()}
    if "meter_id" not in by_name and found.server_id:
        values["meter_id"] = Measured("meter_id", server_id(found.server_id))
    into, back = by_name.get("active_power_import_w"), by_name.get("active_power_export_w")
    if "active_power_w" not in by_name and isinstance(into, float):
        values["active_power_w"] = Measured("active_power_w", into - back if isinstance(back, float) else into)
    for way in ("import", "export"):
        tariffs = [by_name.get(f"active_energy_{way}_t{n}_kwh") for n in (1, 2, 3, 4)]
        known = [value for value in tariffs if isinstance(value, float)]
        name = f"active_energy_{way}_kwh"
        if known and name not in by_name:
            values[name] = Measured(name, round(sum(known), 4))
    return list(values.values()), unknown
