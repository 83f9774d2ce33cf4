"""kWh, cost and standby of one meter by day or month. Pure: series and hours in, rows out.

Registers: a meter with a counter for each tariff (``active_energy_import_peak_kwh``) is billed by those, one with a
total alone by the total (register ``total``). Standby is the mean power of the quietest hour, over several days
the middle one of them: what runs when nobody does anything. A price that is missing makes the cost unknown (None),
never zero.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from typing import Literal

from msgspec import Struct

from hub.energy.prices import Energy, Tariff, in_force
from hub.store.hours import Hour
from hub.store.reader import SeriesRow

TOTAL = "total"
_IMPORT = re.compile(r"active_energy_import(?:_(?!d\d)([a-z0-9_]+))?_kwh\Z")  # d1..d4 count for the grid's bill
_EXPORT = re.compile(r"active_energy_export(?:_([a-z0-9_]+))?_kwh\Z")
POWERS = ("active_power_import_w", "active_power_w", "apparent_power_va")
"""Whose quietest hour is the standby, the first that there is."""
Per = Literal["day", "month"]
MIN_STANDBY_HOURS = 6
"""A day of which less was seen does not say what its quietest hour was."""


class Row(Struct, frozen=True, kw_only=True):
    """One day or month (its first day)."""

    start: date
    import_kwh: float | None = None
    """None: nothing was counted in this time."""
    export_kwh: float | None = None
    by_register: dict[str, float] = {}
    import_cost: float | None = None
    export_credit: float | None = None
    standing_cost: float | None = None
    cost: float | None = None
    """Import and standing charge less export; None where a price is missing."""
    standby: float | None = None
    """Mean of the quietest hour, in :attr:`Bill.standby_unit`."""
    estimated: bool = False
    """Part of it is spread over a time in which the meter was not heard."""


class Bill(Struct, frozen=True, kw_only=True):
    device: str
    node: str
    currency: str
    per: Per
    standby_unit: str
    rows: list[Row]
    """The oldest first; a time without any sample is left out."""
    total: Row
    unpriced: list[str]
    """Registers that counted on a day without a price for them."""
    priced_from: date | None
    """The first tariff's day where the range begins before it: those days have no cost."""
    start: date
    end: date
    """The days asked for, [start, end)."""


class Meter(Struct, frozen=True):
    """The series of one node that matter here."""

    imports: dict[str, SeriesRow]
    total: SeriesRow | None
    exports: list[SeriesRow]
    power: SeriesRow | None


def counts_energy(name: str) -> bool:
    """Whether a property's name is one that :func:`meter_of` takes."""
    return _IMPORT.match(name) is not None or _EXPORT.match(name) is not None


def meter_of(series: Iterable[SeriesRow]) -> Meter | None:
    """Of all series of a node; None: it counts no energy."""
    imports: dict[str, SeriesRow] = {}
    exports: dict[str, SeriesRow] = {}
    by_name = {row.property: row for row in series if row.samples}
    for name, row in by_name.items():
        if (found := _IMPORT.match(name)) is not None:
            imports[found[1] or TOTAL] = row
        elif (found := _EXPORT.match(name)) is not None:
            exports[found[1] or TOTAL] = row
    if not imports and not exports:
        return None  # also where only a grid tariff (d1 to d4) is counted
    total = imports.pop(TOTAL, None)
    if not imports and total is not None:
        imports = {TOTAL: total}
    given = [exports[TOTAL]] if TOTAL in exports else list(exports.values())
    power = next((by_name[name] for name in POWERS if name in by_name), None)
    return Meter(imports, total, given, power)


class _Day:
    def __init__(self) -> None:
        self.registers: dict[str, float] = {}
        self.total: float | None = None
        self.export: float | None = None
        self.powers: list[float] = []
        self.estimated = False


def bill(device: str, node: str, meter: Meter, energy: Energy, start: date, end: date, per: Per,
         growth: Callable[[int, int, int], list[Hour]], means: Callable[[int, int, int], list[Hour]]) -> Bill:
    """Local days [start, end). ``growth`` and ``means``: (series id, start_us, end_us) -> hours."""
    span = energy.begin_us(start), energy.begin_us(end)
    days: dict[date, _Day] = {}

    def hours(read: Callable[[int, int, int], list[Hour]], row: SeriesRow) -> Iterable[tuple[_Day, float]]:
        for hour in read(row.id, *span):
            day = days.setdefault(energy.day_of(hour.t_us), _Day())
            day.estimated |= hour.estimated
            yield day, hour.value

    for register, row in meter.imports.items():
        for day, grown in hours(growth, row):
            day.registers[register] = day.registers.get(register, 0.0) + grown
    if meter.total is not None and TOTAL not in meter.imports:
        for day, grown in hours(growth, meter.total):
            day.total = (day.total or 0.0) + grown
    for row in meter.exports:
        for day, grown in hours(growth, row):
            day.export = (day.export or 0.0) + grown
    if meter.power is not None:
        # an hour that fed in shows what the sun left over, not what the house takes
        fed = {hour.t_us for row in meter.exports for hour in growth(row.id, *span) if hour.value > 0}
        for hour in means(meter.power.id, *span):
            if hour.t_us not in fed:
                days.setdefault(energy.day_of(hour.t_us), _Day()).powers.append(hour.value)
    tariffs = energy.tariffs_of(device, node)
    unpriced: set[str] = set()
    rows = [_row(at, day, in_force(tariffs, at), unpriced) for at, day in sorted(days.items())]
    first = tariffs[0].since if tariffs else None
    total = _sum(start, rows)
    if per == "month":
        months: dict[date, list[Row]] = {}
        for one in rows:
            months.setdefault(one.start.replace(day=1), []).append(one)
        rows = [_sum(at, some) for at, some in sorted(months.items())]
    unit = (meter.power.unit if meter.power is not None else None) or "W"
    return Bill(device=device, node=node, currency=energy.currency, per=per, standby_unit=unit, rows=rows, total=total,
                unpriced=sorted(unpriced), priced_from=first if first is not None and first > start else None,
                start=start, end=end)


def _row(at: date, day: _Day, tariff: Tariff | None, unpriced: set[str]) -> Row:
    if not day.registers and day.total is not None:
        day.registers = {TOTAL: day.total}  # a contract without tariffs, on this day
    counted = sum(day.registers.values()) if day.registers else None
    imported = day.total if day.total is not None else counted
    import_cost = export_credit = standing = cost = None
    if tariff is not None:
        prices = {register: tariff.import_price(register) for register in day.registers}
        missing = {register for register, price in prices.items() if price is None and day.registers[register] > 0}
        unpriced |= missing
        if not missing and counted is not None:
            import_cost = sum(kwh * (prices[register] or 0.0) for register, kwh in day.registers.items())
        export_credit = None if day.export is None else day.export * tariff.export_per_kwh
        standing = tariff.standing_per_day
        cost = None if import_cost is None else import_cost + standing - (export_credit or 0.0)
    standby = min(day.powers) if len(day.powers) >= MIN_STANDBY_HOURS else None
    return Row(start=at, import_kwh=imported, export_kwh=day.export, by_register=day.registers, import_cost=import_cost,
               export_credit=export_credit, standing_cost=standing, cost=cost, standby=standby,
               estimated=day.estimated)


def _sum(at: date, rows: list[Row]) -> Row:
    """Costs only where every day has one: half a month's cost is not the month's."""

    def add(name: str, whole: bool = False) -> float | None:
        values = [getattr(row, name) for row in rows]
        known = [value for value in values if value is not None]
        return sum(known) if known and not (whole and len(known) < len(values)) else None

    registers: dict[str, float] = {}
    for row in rows:
        for register, kwh in row.by_register.items():
            registers[register] = registers.get(register, 0.0) + kwh
    standby = [row.standby for row in rows if row.standby is not None]
    return Row(start=at, import_kwh=add("import_kwh"), export_kwh=add("export_kwh"), by_register=registers,
               import_cost=add("import_cost", True), export_credit=add("export_credit"),
               standing_cost=add("standing_cost", True), cost=add("cost", True),
               standby=sorted(standby)[len(standby) // 2] if standby else None,
               estimated=any(row.estimated for row in rows))


def csv_lines(one: Bill) -> Iterable[str]:
    """A header, then a line a row; registers as columns of their own."""
    registers = sorted({name for row in one.rows for name in row.by_register} - {TOTAL})
    head = ["start", "import_kwh", *(f"import_{name}_kwh" for name in registers), "export_kwh",
            f"import_cost_{one.currency}", f"export_credit_{one.currency}", f"standing_cost_{one.currency}",
            f"cost_{one.currency}", f"standby_{one.standby_unit.lower()}", "estimated"]
    yield ",".join(head) + "\r\n"
    for row in one.rows:
        values = [row.import_kwh, *(row.by_register.get(name) for name in registers), row.export_kwh, row.import_cost,
                  row.export_credit, row.standing_cost, row.cost, row.standby]
        cells = ["" if value is None else f"{value:.3f}" for value in values]
        yield ",".join([row.start.isoformat(), *cells, "yes" if row.estimated else "no"]) + "\r\n"


def last(per: Per, today: date) -> tuple[date, date]:
    """What is shown unasked: 31 days, or 13 months; up to and with today."""
    if per == "day":
        return today - timedelta(days=30), today + timedelta(days=1)
    return today.replace(year=today.year - 1, day=1), today + timedelta(days=1)
