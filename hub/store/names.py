"""Series and what is declared about them."""

from __future__ import annotations

import sqlite3
from typing import Any

from agent.api import title_of
from agent.wire.messages import Reported
from hub.store import values
from hub.store.batch import SERIES
from hub.store.state import DeviceState, SeriesState

MAX_TEXT = 200


def new_series(db: sqlite3.Connection, device: DeviceState, name: str, column: list[Any],
               cap: int) -> SeriesState | None:
    """A series seen for the first time, or None when its name or its number is refused (B40)."""
    match = SERIES.match(name)
    if match is None or len(device.series) >= cap:
        return None
    kinds = {values.datatype_of(value) for value in column} - {None}
    datatype = "float" if kinds == {"integer", "float"} else kinds.pop() if len(kinds) == 1 else None
    return _insert(db, device, match[1], match[2], datatype)


def _insert(db: sqlite3.Connection, device: DeviceState, node: str, name: str, datatype: str | None) -> SeriesState:
    made = db.execute("INSERT INTO series (device_id, node, property, datatype) VALUES (?, ?, ?, ?)",
                      (device.id, node, name, datatype))
    series = SeriesState(int(made.lastrowid or 0), device.device, datatype)
    device.series[f"{node}/{name}"] = series
    return series


def declare(db: sqlite3.Connection, device: DeviceState, reported: Reported, cap: int) -> None:
    """Units, titles and kinds from the device's own declaration; a series may be declared before its first sample."""
    db.execute("UPDATE devices SET name = ?, agent_version = ? WHERE id = ?",
               (reported.name[:MAX_TEXT], reported.agent_version[:MAX_TEXT], device.id))
    for plugin in reported.plugins.values():
        for node in plugin.nodes:
            for prop in node.properties:
                name = f"{node.id}/{prop.name}"
                series = device.series.get(name)
                if series is None:
                    match = SERIES.match(name)
                    if prop.optional or match is None or len(device.series) >= cap:
                        continue
                    series = _insert(db, device, match[1], match[2], prop.datatype)
                series.datatype = prop.datatype
                db.execute(
                    "UPDATE series SET unit = ?, title = ?, datatype = ?, state_class = ?, device_class = ?, "
                    "max_age_s = ?, event = ?, diagnostic = ? WHERE id = ?",
                    (prop.unit and prop.unit[:MAX_TEXT], title_of(prop)[:MAX_TEXT], prop.datatype, prop.state_class,
                     prop.device_class and prop.device_class[:MAX_TEXT],
                     prop.max_age_s if prop.max_age_s is not None else 3 * plugin.interval_s,
                     int(prop.event), int(prop.diagnostic), series.id))
