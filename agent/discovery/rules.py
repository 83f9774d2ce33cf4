"""Which device class goes with which unit and state class in Home Assistant, as far as this house needs it.

Home Assistant refuses a whole entity for a device class that does not fit, so :func:`sound` leaves out what it would
refuse, and :func:`problems` tells the plugin's author. Our own table, written from its documentation of ``sensor``,
``number``, ``binary_sensor``, ``switch``, ``button`` and ``event`` (October 2026); a test compares it with the tables
of a real installation.
"""

from __future__ import annotations

from agent.api import Property
from agent.wire.messages import PluginDeclaration

_MEASURED = frozenset({"measurement"})
_COUNTED = frozenset({"total", "total_increasing"})
_EITHER = _MEASURED | _COUNTED
_ENERGY = {"J", "kJ", "MJ", "GJ", "mWh", "Wh", "kWh", "MWh", "GWh", "TWh", "cal", "kcal", "Mcal", "Gcal"}
_DATA = {"bit", "kbit", "Mbit", "Gbit", "B", "kB", "MB", "GB", "TB", "PB", "KiB", "MiB", "GiB", "TiB", "PiB"}
_PRESSURE = {"Pa", "hPa", "kPa", "mbar", "bar", "cbar", "psi", "inHg", "mmHg"}

NEWER = frozenset({"reactive_energy", "absolute_humidity", "temperature_delta", "pm4"})
"""Device classes that Home Assistant took in after 2025.4."""
NEWER_UNITS = {"apparent_power": {"mVA", "kVA"}, "reactive_power": {"mvar", "kvar"}, "volume_flow_rate": {"L/h", "L/s"},
               "pressure": {"mPa"}}
"""Units that it took in after 2025.4."""

SENSOR: dict[str, tuple[frozenset[str | None] | None, frozenset[str]]] = {
    name: (None if units is None else frozenset(units), states)
    for name, units, states in (
        ("apparent_power", {"mVA", "VA", "kVA"}, _MEASURED),
        ("atmospheric_pressure", _PRESSURE, _MEASURED),
        ("absolute_humidity", {"g/m³", "mg/m³"}, _MEASURED),
        ("battery", {"%"}, _MEASURED),
        ("carbon_dioxide", {"ppm"}, _MEASURED),
        ("conductivity", {"S/cm", "mS/cm", "µS/cm"}, _MEASURED),
        ("current", {"mA", "A"}, _MEASURED),
        ("data_rate", {unit + "/s" for unit in ("bit", "kbit", "Mbit", "Gbit", "B", "kB", "MB", "GB", "KiB", "MiB",
                                                "GiB")}, _MEASURED),
        ("data_size", _DATA, _EITHER),
        ("date", None, frozenset()),
        ("distance", {"mm", "cm", "m", "km", "in", "ft", "yd", "mi", "nmi"}, _EITHER),
        ("duration", {"ms", "s", "min", "h", "d"}, _EITHER),
        ("energy", _ENERGY, _COUNTED),
        ("energy_storage", _ENERGY, _MEASURED),
        ("enum", None, frozenset()),
        ("frequency", {"Hz", "kHz", "MHz", "GHz"}, _MEASURED),
        ("gas", {"m³", "ft³", "CCF"}, _COUNTED),
        ("humidity", {"%"}, _MEASURED),
        ("illuminance", {"lx"}, _MEASURED),
        ("irradiance", {"W/m²"}, _MEASURED),
        ("moisture", {"%"}, _MEASURED),
        ("monetary", None, frozenset({"total"})),
        ("ph", {None}, _MEASURED),
        ("pm1", {"µg/m³"}, _MEASURED),
        ("pm25", {"µg/m³"}, _MEASURED),
        ("pm4", {"µg/m³"}, _MEASURED),
        ("pm10", {"µg/m³"}, _MEASURED),
        ("power", {"mW", "W", "kW", "MW", "GW", "TW"}, _MEASURED),
        ("power_factor", {"%", None}, _MEASURED),
        ("precipitation", {"mm", "cm", "in"}, _EITHER),
        ("precipitation_intensity", {"mm/h", "mm/d", "in/h", "in/d"}, _MEASURED),
        ("pressure", _PRESSURE | {"mPa"}, _MEASURED),
        ("reactive_energy", {"varh", "kvarh"}, _COUNTED),
        ("reactive_power", {"mvar", "var", "kvar"}, _MEASURED),
        ("signal_strength", {"dB", "dBm"}, _MEASURED),
        ("sound_pressure", {"dB", "dBA"}, _MEASURED),
        ("speed", {"mm/s", "m/s", "km/h", "mph", "kn", "ft/s", "in/s"}, _MEASURED),
        ("temperature", {"°C", "°F", "K"}, _MEASURED),
        ("temperature_delta", {"°C", "°F", "K"}, _MEASURED),
        ("timestamp", None, frozenset()),
        ("voltage", {"µV", "mV", "V", "kV", "MV"}, _MEASURED),
        ("volume", {"mL", "L", "m³", "ft³", "CCF", "gal"}, _COUNTED),
        ("volume_flow_rate", {"L/s", "L/min", "L/h", "mL/s", "m³/h", "gal/min", "ft³/min"}, _MEASURED),
        ("volume_storage", {"mL", "L", "m³", "ft³", "CCF", "gal"}, _MEASURED),
        ("water", {"L", "m³", "ft³", "CCF", "gal"}, _COUNTED),
        ("weight", {"µg", "mg", "g", "kg", "oz", "lb", "st"}, _EITHER),
        ("wind_speed", {"m/s", "km/h", "mph", "kn", "ft/s"}, _MEASURED),
    )
}
"""device class -> (units, or None when it takes none that we check; state classes)"""
WITHOUT_NUMBER = frozenset({"date", "enum", "timestamp"})

OTHERS: dict[str, frozenset[str]] = {
    "binary_sensor": frozenset({
        "battery", "battery_charging", "carbon_monoxide", "cold", "connectivity", "door", "garage_door", "gas", "heat",
        "light", "lock", "moisture", "motion", "moving", "occupancy", "opening", "plug", "power", "presence", "problem",
        "running", "safety", "smoke", "sound", "tamper", "update", "vibration", "window",
    }),
    "switch": frozenset({"outlet", "switch"}),
    "button": frozenset({"identify", "restart", "update"}),
    "event": frozenset({"button", "doorbell", "motion"}),
}


def misfit(platform: str, device_class: str | None, unit: str | None, state_class: str | None) -> str | None:
    """What Home Assistant would refuse, in words; None when it takes the combination."""
    if device_class is None:
        return None
    if platform not in ("sensor", "number"):
        if device_class in OTHERS.get(platform, ()):
            return None
        return f"{device_class!r} is not a device class of {platform}"
    if device_class not in SENSOR or (platform == "number" and device_class in WITHOUT_NUMBER):
        return f"{device_class!r} is not a device class of {platform}"
    units, states = SENSOR[device_class]
    if units is not None and unit not in units:
        known = ", ".join(sorted(str(one) for one in units))
        return f"device class {device_class!r} wants a unit of {known}, not {unit!r}"
    if platform == "sensor" and state_class is not None and state_class not in states:
        return f"device class {device_class!r} does not go with state class {state_class!r}"
    return None


def sound(
    platform: str, device_class: str | None, unit: str | None = None, state_class: str | None = None
) -> dict[str, str]:
    """``device_class`` and ``state_class`` for a component, less what Home Assistant would refuse."""
    made: dict[str, str] = {}
    if device_class and misfit(platform, device_class, unit, None) is None:
        made["device_class"] = device_class
    if platform == "sensor" and state_class and misfit(platform, made.get("device_class"), unit, state_class) is None:
        made["state_class"] = state_class
    return made


def platform_of(prop: Property) -> str:
    """Where the device class of a property is looked up."""
    if prop.event:
        return "button" if prop.settable else "event"
    if prop.datatype == "boolean":
        return "switch" if prop.settable else "binary_sensor"
    return "number" if prop.settable and prop.datatype in ("float", "integer") else "sensor"


def problems(declaration: PluginDeclaration) -> list[str]:
    """What a plugin's author should correct: combinations that are announced without their device class."""
    found = []
    for node in declaration.nodes:
        for prop in node.properties:
            wrong = misfit(platform_of(prop), prop.device_class, None if prop.unit == "#" else prop.unit,
                           prop.state_class)
            if wrong is None and prop.state_class and prop.datatype not in ("float", "integer"):
                wrong = f"state class {prop.state_class!r} is for numbers, this is {prop.datatype}"
            if wrong is not None:
                found.append(f"{declaration.instance}: property {prop.name!r}: {wrong}")
    return found
