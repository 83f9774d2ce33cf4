"""What the plugin reports."""

from __future__ import annotations

from typing import Any

import msgspec

from agent.api import Priority, Property

MAX_AGE_S = 180.0
"""Told every minute, and at once when it changes."""


def _flag(name: str, title: str, device_class: str | None, **more: Any) -> Property:
    return Property(name=name, datatype="boolean", title=title, device_class=device_class, max_age_s=MAX_AGE_S, **more)


def _measured(name: str, unit: str, title: str, device_class: str | None, low: float, high: float | None) -> Property:
    return Property(name=name, datatype="float", unit=unit, title=title, device_class=device_class, minimum=low,
                    maximum=high, state_class="measurement", optional=True, max_age_s=MAX_AGE_S)


PROPERTIES = (
    _flag("mains_present", "Mains", "power", priority=Priority.ALARM),
    Property(name="mains_event", datatype="enum", options=("lost", "returned"), title="Mains lost or back", event=True,
             priority=Priority.ALARM),
    Property(name="outage_s", datatype="float", unit="s", title="Length of the outage that ended", event=True,
             minimum=0, priority=Priority.ALARM),
    _flag("restarts_held", "Restarts held back", None, diagnostic=True),
    Property(name="dips", datatype="integer", title="Dips since start", minimum=0, diagnostic=True, optional=True,
             max_age_s=MAX_AGE_S),
    Property(name="ups_status", datatype="string", title="UPS status", diagnostic=True, optional=True,
             max_age_s=MAX_AGE_S),
    _measured("battery_charge_pct", "%", "Battery charge", "battery", 0, 100),
    _measured("battery_runtime_s", "s", "Battery lasts", "duration", 0, 10_000_000),
    _measured("battery_voltage_v", "V", "Battery voltage", "voltage", 0, 1000),
    _measured("input_voltage_v", "V", "Input voltage", "voltage", 0, 600),
    _measured("ups_load_pct", "%", "UPS load", None, 0, 300),
    _flag("battery_low", "Battery low", "battery", optional=True, priority=Priority.ALARM),
    _flag("battery_replace", "Battery to be replaced", "problem", optional=True),
    _flag("overload", "UPS overloaded", "problem", optional=True),
    Property(name="bad_lines", datatype="integer", title="Bad lines since start", minimum=0, diagnostic=True,
             optional=True, max_age_s=MAX_AGE_S),
)


def properties(interval_s: float) -> tuple[Property, ...]:
    """The same for a UPS that is asked every ``interval_s``: nothing is told more often."""
    return tuple(prop if prop.max_age_s is None else msgspec.structs.replace(
        prop, max_age_s=max(prop.max_age_s, 3 * interval_s)) for prop in PROPERTIES)
