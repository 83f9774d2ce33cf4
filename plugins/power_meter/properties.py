"""Every property that a meter of any protocol can report: name, unit, classes, limits. One table, no logic.

All but the link's own are optional: they are announced once the meter in front of us has sent them. ``max_age_s`` is
set here and not left to the interval: a DSMR 4 meter speaks every 10 s, a Téléinfo one every 2 s.
"""

from __future__ import annotations

from agent.api import Priority, Property, StateClass

PHASES = ("l1", "l2", "l3")
#: What ``tariff`` can say; ``active_energy_import_<tariff>_kwh`` is its counter.
TARIFFS = (
    "base", "off_peak", "peak", "normal", "mobile_peak",
    "blue_off_peak", "blue_peak", "white_off_peak", "white_peak", "red_off_peak", "red_peak",
    "t1", "t2", "t3", "t4", "t5", "t6", "t7", "t8", "t9", "t10",
)
COLOURS = ("unknown", "blue", "white", "red")
#: No household connection moves more in an hour (3 x 80 A x 230 V is 55 kW); the counter ledger's limit.
GRID_MAX_KWH_PER_H = 100.0
LIVE_S = 60.0
SLOW_S = 900.0


def _measured(
    name: str, unit: str | None, device_class: str | None, title: str = "", *,
    low: float | None = None, high: float | None = None, max_age_s: float = LIVE_S,
) -> Property:
    return Property(
        name=name, datatype="float", unit=unit, title=title, minimum=low, maximum=high, device_class=device_class,
        state_class="measurement", max_age_s=max_age_s, optional=True,
    )


def counter(
    name: str, unit: str, device_class: str | None, title: str = "", *, per_h: float | None = None,
    max_age_s: float = SLOW_S, state_class: StateClass = "total_increasing",
) -> Property:
    return Property(
        name=name, datatype="float", unit=unit, title=title, device_class=device_class, state_class=state_class,
        max_age_s=max_age_s, priority=Priority.COUNTER, optional=True, max_rate_per_h=per_h,
    )


def _energy(name: str, title: str) -> Property:
    return counter(name, "kWh", "energy", title, per_h=GRID_MAX_KWH_PER_H)


def _text(name: str, title: str, *, max_age_s: float = SLOW_S) -> Property:
    return Property(name=name, datatype="string", title=title, optional=True, diagnostic=True, max_age_s=max_age_s)


def _whole(name: str, title: str, unit: str | None = None, *, diagnostic: bool = True) -> Property:
    return Property(
        name=name, datatype="integer", title=title, unit=unit, optional=True, diagnostic=diagnostic, max_age_s=SLOW_S
    )


def _live() -> list[Property]:
    rows = [
        _measured("active_power_w", "W", "power", "Active power (import positive)"),
        _measured("active_power_import_w", "W", "power", "Active power import"),
        _measured("active_power_export_w", "W", "power", "Active power export"),
        _measured("apparent_power_va", "VA", "apparent_power", "Apparent power"),
        _measured("apparent_power_export_va", "VA", "apparent_power", "Apparent power export"),
        _measured("reactive_power_import_var", "var", "reactive_power", "Reactive power import"),
        _measured("reactive_power_export_var", "var", "reactive_power", "Reactive power export"),
        _measured("frequency_hz", "Hz", "frequency", "Grid frequency", low=0, high=70),
        _measured("power_factor", None, "power_factor", "Power factor", low=-1, high=1),
        _measured("active_power_demand_w", "W", "power", "Average demand of the running quarter hour"),
        _measured("active_power_demand_max_w", "W", "power", "Highest quarter hour of this month", max_age_s=SLOW_S),
        _measured("active_power_load_curve_w", "W", "power", "Last point of the load curve", max_age_s=7200),
        _measured("active_power_load_curve_export_w", "W", "power", "Last point of the export curve", max_age_s=7200),
        _measured("active_power_max_w", "W", "power", "Highest active power of the day before", max_age_s=SLOW_S),
    ]
    for number, phase in enumerate(PHASES, 1):
        at = f"L{number}"
        rows += [
            _measured(f"active_power_{phase}_w", "W", "power", f"Active power {at} (import positive)"),
            _measured(f"active_power_import_{phase}_w", "W", "power", f"Active power import {at}"),
            _measured(f"active_power_export_{phase}_w", "W", "power", f"Active power export {at}"),
            _measured(f"apparent_power_{phase}_va", "VA", "apparent_power", f"Apparent power {at}"),
            _measured(f"voltage_{phase}_v", "V", "voltage", f"Voltage {at}", low=0, high=500),
            _measured(f"voltage_average_{phase}_v", "V", "voltage", f"Average voltage {at}", low=0, high=500,
                      max_age_s=7200),
            _measured(f"phase_current_{phase}_a", "A", "current", f"Current {at}"),
            _measured(f"phase_current_max_{phase}_a", "A", "current", f"Highest current {at}", max_age_s=SLOW_S),
            _measured(f"over_subscription_{phase}_a", "A", "current", f"Current above the contract {at}"),
        ]
        for day, words in (("", "today"), ("_yesterday", "yesterday")):
            rows.append(_measured(f"apparent_power_max{day}_{phase}_va", "VA", "apparent_power",
                                  f"Highest apparent power {at}, {words}", max_age_s=SLOW_S))
    for day, words in (("", "today"), ("_yesterday", "yesterday")):
        rows += [
            _measured(f"apparent_power_max{day}_va", "VA", "apparent_power", f"Highest apparent power, {words}",
                      max_age_s=SLOW_S),
            _measured(f"apparent_power_export_max{day}_va", "VA", "apparent_power",
                      f"Highest apparent power export, {words}", max_age_s=SLOW_S),
        ]
    return rows


def _counters() -> list[Property]:
    rows = [_energy("active_energy_import_kwh", "Energy import"), _energy("active_energy_export_kwh", "Energy export")]
    rows += [_energy(f"active_energy_import_{t}_kwh", f"Energy import {t.replace('_', ' ')}") for t in TARIFFS]
    rows += [_energy(f"active_energy_export_{t}_kwh", f"Energy export {t}") for t in ("t1", "t2", "t3", "t4")]
    rows += [_energy(f"active_energy_import_d{n}_kwh", f"Energy import, grid tariff {n}") for n in range(1, 5)]
    for way in ("import", "export", "q1", "q2", "q3", "q4"):
        rows.append(counter(f"reactive_energy_{way}_kvarh", "kvarh", None, f"Reactive energy {way}",
                            per_h=GRID_MAX_KWH_PER_H))
    return rows


def _contract() -> list[Property]:
    rows = [
        Property(name="tariff", datatype="enum", options=TARIFFS, title="Tariff now", optional=True, max_age_s=SLOW_S),
        Property(name="tariff_tomorrow", datatype="enum", options=COLOURS, title="Tempo colour of tomorrow",
                 optional=True, max_age_s=SLOW_S),
        Property(name="tariff_today", datatype="enum", options=COLOURS, title="Tempo colour of today",
                 optional=True, max_age_s=SLOW_S),
        Property(name="overload", datatype="boolean", options=("no", "yes"), title="Overload alarm", optional=True,
                 device_class="problem", max_age_s=LIVE_S),
        _measured("subscribed_current_a", "A", "current", "Subscribed current", max_age_s=SLOW_S),
        _measured("reference_power_kva", "kVA", None, "Subscribed power", max_age_s=SLOW_S),
        _measured("cutoff_power_kva", "kVA", None, "Power at which the meter cuts off", max_age_s=SLOW_S),
        _measured("power_limit_w", "W", "power", "Power limit", max_age_s=SLOW_S),
        _measured("current_limit_a", "A", "current", "Current limit", max_age_s=SLOW_S),
        _whole("ejp_notice_min", "Minutes until an EJP period", "min", diagnostic=False),
        _whole("switch_position", "Position of the meter's switch"),
        _whole("relays", "Relays of the meter, a bit each"),
        _whole("tariff_index", "Number of the running tariff"),
        _whole("day_index", "Number of today in the supplier's calendar"),
        _whole("day_index_tomorrow", "Number of tomorrow in the supplier's calendar"),
        _text("tariff_label", "Running tariff, supplier's word"),
        _text("contract", "Contract, supplier's word"),
        _text("schedule_group", "Off-peak schedule group"),
        _text("day_profile_tomorrow", "Periods of tomorrow"),
        _text("peak_day_profile", "Periods of the next peak day"),
        _text("message", "Message of the supplier"),
        _text("message_short", "Short message of the supplier"),
        _text("mobile_peak_start", "Start of the announced mobile peaks"),
        _text("mobile_peak_end", "End of the announced mobile peaks"),
        _text("status_register", "Status register (hexadecimal)"),
        _text("delivery_point", "Delivery point"),
        _text("meter_id", "Serial number of the meter"),
        _text("manufacturer", "Manufacturer's mark"),
        _text("meter_model", "Identification line"),
        _text("protocol_version", "Version that the meter speaks"),
        Property(name="meter_time", datatype="datetime", title="Clock of the meter", optional=True, diagnostic=True,
                 max_age_s=LIVE_S, enabled_by_default=False),
        _whole("seconds_index", "Seconds that the meter has run", "s"),
    ]
    for name, title in (
        ("power_failures", "Power failures"), ("long_power_failures", "Long power failures"),
        *((f"voltage_sags_{p}", f"Voltage sags {p.upper()}") for p in PHASES),
        *((f"voltage_swells_{p}", f"Voltage swells {p.upper()}") for p in PHASES),
    ):
        rows.append(Property(name=name, datatype="integer", title=title, state_class="total_increasing", optional=True,
                             diagnostic=True, max_age_s=SLOW_S))
    return rows


LINK: tuple[Property, ...] = (
    Property(name="link_quality_pct", datatype="float", unit="%", title="Link quality", minimum=0, maximum=100,
             state_class="measurement", diagnostic=True, max_age_s=180),
    # no total: it begins anew at every start, and a restart is no reset meter
    Property(name="bad_frames", datatype="integer", title="Bad frames since start", diagnostic=True, max_age_s=180),
    # told once, when it is found: it does not get old
    Property(name="protocol", datatype="string", title="Protocol and speed", diagnostic=True, optional=True,
             comes_and_goes=True),
)

PROPERTIES: tuple[Property, ...] = (*_live(), *_counters(), *_contract(), *LINK)
BY_NAME: dict[str, Property] = {row.name: row for row in PROPERTIES}
#: The registers that only grow: a wrong one would be booked as consumption, so plausibility treats them strictest.
COUNTERS = frozenset(row.name for row in PROPERTIES if row.state_class == "total_increasing")

#: M-Bus children of a P1 meter by device type (EN 13757-3 table 6): node word, title, counter.
MBUS_KINDS: dict[int, tuple[str, str, Property]] = {
    2: ("electricity", "Electricity meter", counter("active_energy_import_kwh", "kWh", "energy", "Energy import",
                                                    per_h=GRID_MAX_KWH_PER_H, max_age_s=7200)),
    3: ("gas", "Gas meter", counter("gas_volume_m3", "m³", "gas", "Gas volume", per_h=40, max_age_s=7200)),
    4: ("heat", "Heat meter", counter("heat_energy_gj", "GJ", "energy", "Heat", per_h=1, max_age_s=7200)),
    6: ("warm-water", "Warm water meter", counter("water_volume_m3", "m³", "water", "Water volume", per_h=20,
                                                  max_age_s=7200)),
    7: ("water", "Water meter", counter("water_volume_m3", "m³", "water", "Water volume", per_h=20, max_age_s=7200)),
    12: ("cooling", "Cooling meter", counter("heat_energy_gj", "GJ", "energy", "Cold", per_h=1, max_age_s=7200)),
}


def child_properties(kind: int) -> tuple[Property, ...]:
    """The properties of an M-Bus child's node."""
    return (MBUS_KINDS[kind][2],
            Property(name="meter_id", datatype="string", title="Serial number", diagnostic=True, optional=True,
                     max_age_s=7200),
            Property(name="measured_at", datatype="datetime", title="Time of the reading", diagnostic=True,
                     optional=True, max_age_s=7200))
