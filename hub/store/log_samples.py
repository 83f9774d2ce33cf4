"""Samples that become lines of the logbook: commands, boots and their reasons. Read from samples.db."""

from __future__ import annotations

from msgspec import Struct

from hub.store import values
from hub.store.reader import Reader, Sample

DAY_US = 86_400_000_000


class Told(Struct, frozen=True):
    """A series whose samples the logbook wants."""

    id: int
    device: str
    node: str
    property: str
    n: int
    """How many samples it ever had."""
    boolean: bool


def told(reader: Reader) -> list[Told]:
    """Raises StoreError."""
    with reader.snapshot() as db:
        found = db.execute(
            "SELECT s.id, d.device, s.node, s.property, st.n, s.datatype FROM series s JOIN devices d ON d.id = "
            "s.device_id JOIN series_state st ON st.series_id = s.id WHERE replace(s.property, '_', '-') IN ("
            "'command', 'boot', 'reboot-reason') AND coalesce(s.event, 1) AND st.n > 0 ORDER BY s.id").fetchall()
    return [Told(id_, device, node, prop, n, datatype == "boolean") for id_, device, node, prop, n, datatype in found
            if (prop == "command") == (node == "sys")]


def newest(reader: Reader, series: Told, since_us: int, limit: int) -> list[Sample]:
    """Newest first, from ``since_us`` on. Raises StoreError."""
    with reader.snapshot() as db:
        found = db.execute("SELECT t_us, value, quality FROM samples WHERE series_id = ? AND t_us >= ? ORDER BY t_us "
                           "DESC LIMIT ?", (series.id, since_us, limit)).fetchall()
    return [Sample(t, values.loaded(value, series.boolean), quality) for t, value, quality in found]
