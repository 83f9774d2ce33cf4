"""OBIS codes -> properties, for DSMR and SML alike. Source: IEC 62056-6-1 (value groups C.D.E), EDIS; BDEW code list.

C: 1 import, 2 export, 3/4 reactive, 9/10 apparent, 13 power factor, 14 frequency, 15 sum of amounts, 16 import minus
export; 21.., 41.., 61.. the same per phase; 31/51/71 current, 32/52/72 voltage, 36/56/76 net power of a phase.
D: 7 instantaneous, 8 counter.
"""

from __future__ import annotations

from .properties import PHASES

#: (C, D, E) -> property. Values are in the property's unit after scaling by their own unit (kW -> W, Wh -> kWh).
PROPERTY: dict[tuple[int, int, int], str] = {
    (1, 7, 0): "active_power_import_w", (2, 7, 0): "active_power_export_w", (16, 7, 0): "active_power_w",
    (3, 7, 0): "reactive_power_import_var", (4, 7, 0): "reactive_power_export_var",
    (9, 7, 0): "apparent_power_va", (10, 7, 0): "apparent_power_export_va",
    (13, 7, 0): "power_factor", (14, 7, 0): "frequency_hz",
    (1, 4, 0): "active_power_demand_w", (1, 6, 0): "active_power_demand_max_w",
    (1, 8, 0): "active_energy_import_kwh", (2, 8, 0): "active_energy_export_kwh",
    (3, 8, 0): "reactive_energy_import_kvarh", (4, 8, 0): "reactive_energy_export_kvarh",
    **{(4 + q, 8, 0): f"reactive_energy_q{q}_kvarh" for q in (1, 2, 3, 4)},
    **{(1, 8, t): f"active_energy_import_t{t}_kwh" for t in (1, 2, 3, 4)},
    **{(2, 8, t): f"active_energy_export_t{t}_kwh" for t in (1, 2, 3, 4)},
}
for _number, _phase in enumerate(PHASES):
    _c = 20 * _number
    PROPERTY |= {
        (21 + _c, 7, 0): f"active_power_import_{_phase}_w", (22 + _c, 7, 0): f"active_power_export_{_phase}_w",
        (36 + _c, 7, 0): f"active_power_{_phase}_w", (29 + _c, 7, 0): f"apparent_power_{_phase}_va",
        (31 + _c, 7, 0): f"phase_current_{_phase}_a", (32 + _c, 7, 0): f"voltage_{_phase}_v",
    }

#: unit as it is written -> (unit of the property, factor)
SCALE: dict[str, tuple[str, float]] = {
    "kW": ("W", 1000), "W": ("W", 1), "kWh": ("kWh", 1), "Wh": ("kWh", 0.001), "V": ("V", 1), "A": ("A", 1),
    "kVA": ("VA", 1000), "VA": ("VA", 1), "kvar": ("var", 1000), "kVAr": ("var", 1000), "var": ("var", 1),
    "kvarh": ("kvarh", 1), "kVArh": ("kvarh", 1), "varh": ("kvarh", 0.001), "Hz": ("Hz", 1), "": ("", 1),
    "m3": ("m³", 1), "dm3": ("m³", 0.001), "GJ": ("GJ", 1), "MJ": ("GJ", 0.001),
}


def scaled(digits: str, unit: str) -> tuple[float, str] | None:
    """``("00.244", "kW")`` -> (244.0, "W"), rounded to what the digits say; None for a unit we do not know."""
    row = SCALE.get(unit)
    if row is None:
        return None
    decimals = len(digits.partition(".")[2])
    to, factor = row
    # Not float * 1000: 0.07 * 1000 is 70.00000000000001.
    shift = {1000: -3, 0.001: 3}.get(factor, 0)
    return round(float(digits) * factor, max(0, decimals + shift)), to
