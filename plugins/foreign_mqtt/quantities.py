"""Names and units as ours, whatever the project calls them: ``Temperature`` in °F becomes ``temperature_c``. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from agent.api import Property, StateClass

LASTING_S = 30 * 86400.0
"""What is told only when it changes (a switch, a door) stays true for long; ``online`` says whether the node lives."""
TAKEN = frozenset({"health", "errors", "last_update", "counter_event", "online"})
"""Names that the agent or this plugin fills in; a foreign value of that name gets ``reported_`` in front."""
MAX_NAME = 63


class Quantity(NamedTuple):
    name: str
    unit: str | None
    device_class: str | None = None
    state_class: StateClass | None = "measurement"
    minimum: float | None = None
    maximum: float | None = None
    diagnostic: bool = False


LOWEST_C, HIGHEST_C = -55.0, 150.0
#: Word (as sanitised) -> what we make of it. Ranges are those of the sensors, so that what lies is seen (B43).
QUANTITIES: dict[str, Quantity] = {
    "temperature": Quantity("temperature_c", "°C", "temperature", "measurement", LOWEST_C, HIGHEST_C),
    "dew_point": Quantity("dew_point_c", "°C", "temperature", "measurement", LOWEST_C, HIGHEST_C),
    "humidity": Quantity("humidity_pct", "%", "humidity", "measurement", 0, 100),
    "soil_moisture": Quantity("soil_moisture_pct", "%", "moisture", "measurement", 0, 100),
    "pressure": Quantity("pressure_hpa", "hPa", "atmospheric_pressure", "measurement", 300, 1200),
    "sea_pressure": Quantity("sea_pressure_hpa", "hPa", "atmospheric_pressure", "measurement", 300, 1200),
    "illuminance": Quantity("illuminance_lx", "lx", "illuminance", "measurement", 0, 200_000),
    "battery": Quantity("battery_pct", "%", "battery", "measurement", 0, 100, True),
    "battery_level": Quantity("battery_pct", "%", "battery", "measurement", 0, 100, True),
    "voltage": Quantity("voltage_v", "V", "voltage", "measurement", 0, 1000),
    "current": Quantity("current_a", "A", "current", "measurement", -1000, 1000),
    "power": Quantity("active_power_w", "W", "power", "measurement", -100_000, 100_000),
    "apparent_power": Quantity("apparent_power_va", "VA", "apparent_power", "measurement", 0, 100_000),
    "reactive_power": Quantity("reactive_power_var", "var", "reactive_power", "measurement", -100_000, 100_000),
    "power_factor": Quantity("power_factor", None, "power_factor", "measurement", -1, 1),
    "frequency": Quantity("frequency_hz", "Hz", "frequency", "measurement", 0, 1000),
    "energy": Quantity("active_energy_import_kwh", "kWh", "energy", "total_increasing", 0),
    "produced_energy": Quantity("active_energy_export_kwh", "kWh", "energy", "total_increasing", 0),
    "energy_today": Quantity("energy_today_kwh", "kWh", "energy", "total", 0),
    "energy_yesterday": Quantity("energy_yesterday_kwh", "kWh", "energy", "total", 0),
    "co2": Quantity("co2_ppm", "ppm", "carbon_dioxide", "measurement", 0, 100_000),
    "eco2": Quantity("eco2_ppm", "ppm", "carbon_dioxide", "measurement", 0, 100_000),
    "pm1": Quantity("pm1_ug_m3", "µg/m³", "pm1", "measurement", 0, 10_000),
    "pm25": Quantity("pm25_ug_m3", "µg/m³", "pm25", "measurement", 0, 10_000),
    "pm10": Quantity("pm10_ug_m3", "µg/m³", "pm10", "measurement", 0, 10_000),
    "distance": Quantity("distance_cm", "cm", "distance", "measurement", 0, 100_000),
    "rssi": Quantity("rssi_dbm", "dBm", "signal_strength", "measurement", -150, 30, True),
    "wifi_signal": Quantity("rssi_dbm", "dBm", "signal_strength", "measurement", -150, 30, True),
    "uptime": Quantity("uptime_s", "s", "duration", "measurement", 0, None, True),
    "brightness": Quantity("brightness_pct", "%", None, "measurement", 0, 100),
}
#: unit -> the one we use, factor, offset: ours = theirs * factor + offset
CONVERSIONS: dict[str, tuple[str, float, float]] = {
    "°F": ("°C", 5 / 9, -160 / 9), "ºC": ("°C", 1, 0), "C": ("°C", 1, 0), "F": ("°C", 5 / 9, -160 / 9),
    "mV": ("V", 1e-3, 0), "mA": ("A", 1e-3, 0), "kW": ("W", 1e3, 0), "Wh": ("kWh", 1e-3, 0), "MWh": ("kWh", 1e3, 0),
    "mbar": ("hPa", 1, 0), "Pa": ("hPa", 1e-2, 0), "kPa": ("hPa", 10, 0), "mmHg": ("hPa", 1.33322387415, 0),
    "inHg": ("hPa", 33.8638866667, 0), "lux": ("lx", 1, 0), "μg/m³": ("µg/m³", 1, 0), "ug/m3": ("µg/m³", 1, 0),
    "m": ("cm", 100, 0), "mm": ("cm", 0.1, 0), "ms": ("s", 1e-3, 0), "min": ("s", 60, 0), "h": ("s", 3600, 0),
    "d": ("s", 86400, 0),
}
SUFFIXES: dict[str, str] = {
    "°C": "c", "°F": "f", "K": "k", "%": "pct", "W": "w", "kW": "kw", "kWh": "kwh", "Wh": "wh", "V": "v", "mV": "mv",
    "A": "a", "mA": "ma", "VA": "va", "var": "var", "Hz": "hz", "lx": "lx", "hPa": "hpa", "Pa": "pa", "kPa": "kpa",
    "bar": "bar", "mbar": "mbar", "dBm": "dbm", "dB": "db", "ppm": "ppm", "ppb": "ppb", "µg/m³": "ug_m3",
    "mg/m³": "mg_m3", "m³": "m3", "L": "l", "mL": "ml", "m³/h": "m3_h", "L/h": "l_h", "L/min": "l_min", "m/s": "m_s",
    "km/h": "km_h", "mm": "mm", "cm": "cm", "m": "m", "km": "km", "s": "s", "ms": "ms", "min": "min", "h": "h",
    "d": "d", "g": "g", "kg": "kg", "W/m²": "w_m2", "mm/h": "mm_h", "°": "deg", "µS/cm": "us_cm", "mired": "mired",
}
#: What a unit alone tells. (Where the name says nothing.)
CLASSES: dict[str, str] = {
    "°C": "temperature", "W": "power", "V": "voltage", "A": "current", "Hz": "frequency", "lx": "illuminance",
    "hPa": "atmospheric_pressure", "dBm": "signal_strength", "VA": "apparent_power", "µg/m³": "",
}
#: Words for true and false -> name, labels, device class, whether true and false change places.
SWITCHES: dict[str, tuple[str, tuple[str, str], str | None, bool]] = {
    "contact": ("open", ("closed", "open"), "opening", True),  # true: the two halves touch
    "occupancy": ("motion", ("clear", "motion"), "motion", False),
    "motion": ("motion", ("clear", "motion"), "motion", False),
    "presence": ("presence", ("clear", "present"), "occupancy", False),
    "water_leak": ("water_leak", ("dry", "wet"), "moisture", False),
    "smoke": ("smoke", ("clear", "smoke"), "smoke", False),
    "gas": ("gas", ("clear", "gas"), "gas", False),
    "carbon_monoxide": ("carbon_monoxide", ("clear", "gas"), "carbon_monoxide", False),
    "tamper": ("tamper", ("clear", "tampered"), "tamper", False),
    "vibration": ("vibration", ("still", "vibration"), "vibration", False),
    "battery_low": ("battery_low", ("good", "low"), "battery", False),
}


class Measure(NamedTuple):
    """A declared property and how its numbers become ours."""

    prop: Property
    factor: float = 1.0
    offset: float = 0.0

    def ours(self, value: float) -> float:
        if self.factor == 1 and self.offset == 0:
            return value
        return round(value * self.factor + self.offset, 6)

    def theirs(self, value: float) -> float:
        return round((value - self.offset) / self.factor, 6)


def word(text: str) -> str:
    """``ApparentPower``, ``PM2.5``, ``soil-moisture`` -> ``apparent_power``, ``pm2_5``, ``soil_moisture``, or ""."""
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text[:200])
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")[:MAX_NAME].rstrip("_")


def named(base: str, unit: str | None) -> str:
    """The word with its unit behind it, once."""
    suffix = SUFFIXES.get(unit or "", "")
    if suffix and base != suffix and not base.endswith("_" + suffix):
        base = base[: MAX_NAME - len(suffix) - 1].rstrip("_") + "_" + suffix
    return "reported_" + base[: MAX_NAME - 9] if base in TAKEN else base


@lru_cache(maxsize=2048)
def measure(name: str, unit: str | None = None, max_age_s: float = LASTING_S) -> Measure:
    """A number called ``name``. ``unit`` None: the project's words have known units; "": it has none that we know."""
    base = word(name) or "value"
    found = QUANTITIES.get(base)
    prefix = ""
    if found is None:
        at = base.find("_")
        while at >= 0 and found is None:  # the longest end of the name that is a quantity
            prefix, found = base[: at + 1], QUANTITIES.get(base[at + 1 :])
            at = base.find("_", at + 1)
    if unit is None and found is not None:
        unit = found.unit or ""
    factor, offset = 1.0, 0.0
    if found is not None and unit != (found.unit or "") and unit in CONVERSIONS:
        ours, by, plus = CONVERSIONS[unit]
        if ours == found.unit:
            unit, factor, offset = ours, by, plus
    if found is not None and unit == (found.unit or ""):
        full = prefix + found.name
        return Measure(Property(
            name=named(full if len(full) <= MAX_NAME else base, found.unit), datatype="float", unit=found.unit,
            minimum=found.minimum, maximum=found.maximum, device_class=found.device_class,
            state_class=found.state_class, diagnostic=found.diagnostic, max_age_s=max_age_s),
            factor, offset)
    if unit in ("°F", "F", "ºC", "lux", "μg/m³", "ug/m3", "mbar"):  # other spellings, and what nobody here reads
        unit, factor, offset = CONVERSIONS[unit]
    return Measure(Property(
        name=named(base, unit), datatype="float", unit=unit or None, device_class=CLASSES.get(unit or "") or None,
        state_class="total" if unit == "kWh" else "measurement", max_age_s=max_age_s), factor, offset)


@lru_cache(maxsize=1024)
def truth(name: str, *, settable: bool = False, max_age_s: float = LASTING_S) -> tuple[Property, bool]:
    """A boolean called ``name``, and whether true and false change places. A settable one can be switched."""
    base = word(name) or "value"
    our_name, labels, device_class, inverted = SWITCHES.get(base, (base, (), None, False))
    if settable:
        our_name, labels, device_class, inverted = base, ("off", "on"), None, False
    return Property(name=named(our_name, None), datatype="boolean", options=labels, device_class=device_class,
                    settable=settable, max_age_s=max_age_s), inverted


@lru_cache(maxsize=1024)
def text(name: str, *, event: bool = False, max_age_s: float = LASTING_S) -> Property:
    return Property(name=named(word(name) or "value", None), datatype="string", event=event, max_age_s=max_age_s)


def changed(prop: Property, **values: Any) -> Property:
    return msgspec.structs.replace(prop, **values)
