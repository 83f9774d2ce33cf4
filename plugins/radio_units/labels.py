"""From a unit's three-letter labels to properties with the field's words and units, and back for what is written."""

from __future__ import annotations

from typing import NamedTuple

from agent.api import Property, Value
from firmware_bridges.muta import POWER_MW, Kind, Unit, ValueField

POWERS = tuple(f"{power:g} mW" for power in POWER_MW)
SUFFIXES = {Unit.NONE: ("", None), Unit.CELSIUS: ("_c", "°C"), Unit.VOLT: ("_v", "V"), Unit.PERCENT: ("_pct", "%"),
            Unit.MINUTE: ("_min", "min"), Unit.SECOND: ("_s", "s"), Unit.HOUR: ("_h", "h"), Unit.DAY: ("_d", "d"),
            Unit.MILLIWATT: ("_mw", "mW")}
WORDS = {"Tmp": "temperature", "Hum": "humidity", "Lit": "luminosity", "Pwr": "tx_power", "UpF": "update_period",
         "Pir": "motion", "Bat": "battery"}


class Known(NamedTuple):
    """A label as its unit sends it: what is told about it, and the dress of its next value."""

    field: ValueField
    prop: Property


def is_battery(field: ValueField) -> bool:
    """``Vb`` and one more character, in volts."""
    return field.label.startswith("Vb") and field.unit is Unit.VOLT


def is_temperature(field: ValueField) -> bool:
    return field.unit is Unit.CELSIUS


def is_power(field: ValueField) -> bool:
    return field.label == "Pwr" and field.unit is Unit.NONE and field.kind is Kind.UINT8


def property_of(field: ValueField, taken: set[str], max_age_s: float) -> Property:
    """``taken``: names that other labels of the same unit have. A unit that falls silent is one alert, of the plugin's
    own, and not one more for each of its values."""
    suffix, unit = SUFFIXES[field.unit]
    word = WORDS.get(field.label) or ("battery" if is_battery(field) else field.label.lower())
    title = word.replace("_", " ").capitalize()
    name = word + suffix
    if name in taken:
        name, title = f"{word}_{field.label.encode().hex()}{suffix}", f"{title} {field.label}"
    if is_power(field):
        return Property(name=name, datatype="enum", options=POWERS, title="Transmit power", max_age_s=max_age_s,
                        settable=field.writable, diagnostic=True, comes_and_goes=True)
    if field.kind is Kind.BOOL:
        return Property(name=name, datatype="boolean", title=title, settable=field.writable, max_age_s=max_age_s,
                        device_class="motion" if word == "motion" else None, comes_and_goes=True)
    device_class: str | None = None
    low, high = _limits(field)
    diagnostic = False
    if word == "temperature" and is_temperature(field):
        device_class, low, high = "temperature", -50.0, 80.0
    elif word == "humidity" and field.unit is Unit.PERCENT:
        device_class, low, high = "humidity", 1.0, 100.0
    elif word == "battery":
        device_class = "voltage" if field.unit is Unit.VOLT else "battery" if field.unit is Unit.PERCENT else None
        low, high, diagnostic = (0.5, 6.0, True) if field.unit is Unit.VOLT else (low, high, True)
    elif word == "update_period":
        device_class, low, diagnostic = "duration", 1, True
    if field.unit is Unit.PERCENT:
        high = min(high, 100)
    whole = field.kind in (Kind.UINT8, Kind.UINT16)
    return Property(
        name=name, datatype="integer" if whole and device_class != "temperature" else "float", unit=unit, title=title,
        minimum=low, maximum=high, step=1 if whole else 0.01, settable=field.writable, device_class=device_class,
        state_class=None if diagnostic and word != "battery" else "measurement", max_age_s=max_age_s,
        diagnostic=diagnostic, comes_and_goes=True)


def _limits(field: ValueField) -> tuple[float, float]:
    """What the kind can hold."""
    if field.kind is Kind.FIXED16:
        return (-128.0, 127.99) if field.signed else (0.0, 255.99)
    top = 1 << (8 if field.kind is Kind.UINT8 else 16)
    return (-top // 2, top // 2 - 1) if field.signed else (0, top - 1)


def told(field: ValueField, prop: Property) -> tuple[Value, str | None]:
    """The value as the property says it, and its quality."""
    if prop.options and prop.datatype == "enum":
        number = int(field.value)
        return (POWERS[number], None) if number < len(POWERS) else (None, "out_of_range")
    if prop.datatype == "float":
        return float(field.value), None
    return field.value, None


def wanted(known: Known, value: Value) -> float | int | bool:
    """What a command's value is on the air. Raises ValueError."""
    if is_power(known.field):
        if value not in POWERS:
            raise ValueError(f"one of {', '.join(POWERS)}")
        return POWERS.index(str(value))
    if known.field.kind is Kind.BOOL:
        if not isinstance(value, bool):
            raise ValueError("true or false")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number")
    low, high = known.prop.minimum, known.prop.maximum
    if (low is not None and value < low) or (high is not None and value > high):
        raise ValueError(f"{low:g} to {high:g}")
    return value
