"""The bill of one meter out of the store: what the page, the API and the command share."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from hub.energy.bill import Bill, Per, bill, meter_of
from hub.energy.prices import Energy
from hub.store.hours import Hour
from hub.store.reader import Reader
from hub.store.rollup import HOUR_US

MAX_DAYS = 3700
COUNTER_EVENT = "counter_event"


class NoMeter(LookupError):
    """The node counts no energy, or is not there."""


class BadDays(ValueError):
    """The days asked for are no range."""


def report(reader: Reader, energy: Energy, device: str, node: str, start: date, end: date, per: Per) -> Bill:
    """Local days [start, end). Raises NoMeter, BadDays, StoreError."""
    if not start < end or (end - start).days > MAX_DAYS:
        raise BadDays(f"{start} to {end}: the end comes after the start, and at most ten years after it")
    series = [row for row in reader.series(device) if row.node == node]
    meter = meter_of(series)
    if meter is None:
        raise NoMeter(f"{device}/{node} has no energy counter yet (active_energy_import_kwh)")
    names = {row.id: row.property for row in series}
    events = next((row.id for row in series if row.property == COUNTER_EVENT), None)
    span = energy.begin_us(start), energy.begin_us(end)
    steps: dict[str, dict[int, float]] = {}
    for sample in reader.samples(events, *span) if events is not None else ():
        _note(steps, sample.value, sample.t_us)

    def growth(series_id: int, start_us: int, end_us: int) -> list[Hour]:
        return _without(steps.get(names[series_id], {}), reader.growth(series_id, start_us, end_us))

    return bill(device, node, meter, energy, start, end, per, growth, reader.means)


def meters(reader: Reader, device: str | None) -> list[tuple[str, str]]:
    """(device, node) of everything that counts energy."""
    nodes: dict[tuple[str, str], list[object]] = {}
    for row in reader.series(device):
        nodes.setdefault((row.device, row.node), []).append(row)
    return [key for key, rows in sorted(nodes.items()) if meter_of(rows) is not None]  # type: ignore[arg-type]


def _note(steps: dict[str, dict[int, float]], event: object, t_us: int) -> None:
    """A manual reading sets the counter: that step was not consumed."""
    if isinstance(event, dict) and event.get("kind") == "reconciled":
        name, step = event.get("property"), event.get("difference")
        if isinstance(name, str) and isinstance(step, int | float) and step > 0:
            hour = t_us - t_us % HOUR_US
            of = steps.setdefault(name, {})
            of[hour] = of.get(hour, 0.0) + step


def _without(steps: dict[int, float], hours: Iterable[Hour]) -> list[Hour]:
    return [hour._replace(value=max(0.0, hour.value - steps.get(hour.t_us, 0.0))) for hour in hours]
