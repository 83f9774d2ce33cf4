"""The bill of one meter out of the store: what the page, the API and the command share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta

from hub.energy.bill import Bill, Per, bill, meter_of
from hub.energy.prices import Energy
from hub.store.hours import Hour, Step
from hub.store.reader import Reader, Sample
from hub.store.upkeep import COUNTER_EVENT

MAX_DAYS = 3700


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
    steps: dict[str, list[Step]] = {}
    try:
        energy.begin_us(start - timedelta(days=1)), energy.begin_us(end + timedelta(days=1))
    except (ValueError, OverflowError):
        raise BadDays(f"{start} to {end}: beyond the calendar") from None
    if events is not None:
        for sample in _all(reader, events):
            _note(steps, sample)

    def growth(series_id: int, start_us: int, end_us: int) -> list[Hour]:
        return reader.growth(series_id, start_us, end_us, steps.get(names[series_id], ()))

    return bill(device, node, meter, energy, start, end, per, growth, reader.means)


def meters(reader: Reader, device: str | None) -> list[tuple[str, str]]:
    """(device, node) of everything that counts energy."""
    nodes: dict[tuple[str, str], list[object]] = {}
    for row in reader.series(device):
        nodes.setdefault((row.device, row.node), []).append(row)
    return [key for key, rows in sorted(nodes.items()) if meter_of(rows) is not None]  # type: ignore[arg-type]


def _all(reader: Reader, series_id: int) -> Iterator[Sample]:
    """Of a series that has few: what somebody set before the range matters too, where the meter was silent since."""
    start_us = 0
    while page := reader.samples(series_id, start_us, 1 << 62):
        yield from page
        start_us = page[-1].t_us + 1


def _note(steps: dict[str, list[Step]], sample: Sample) -> None:
    """A manual reading sets the counter."""
    event = sample.value
    if isinstance(event, dict) and event.get("kind") == "reconciled":
        name, step = event.get("property"), event.get("difference")
        if isinstance(name, str) and isinstance(step, int | float):
            steps.setdefault(name, []).append((sample.t_us, step))
