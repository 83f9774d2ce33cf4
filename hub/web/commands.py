"""What was commanded at the devices, whoever did it: each device keeps the record ``sys/command`` of every command that
reached a plugin, also those of plain MQTT clients, which no page and no audit row of this hub knows."""

from __future__ import annotations

import json
from typing import Any

from msgspec import Struct

from hub.store.errors import StoreError
from hub.store.reader import Reader

MAX_SHOWN = 160


class Commanded(Struct, frozen=True):
    t_us: int
    device: str
    what: str
    """node/property"""
    value: str
    """'' where it was kept private: a text message, a key."""
    who: str
    result: str

    @property
    def done(self) -> bool:
        return self.result == "done"


def last_commands(reader: Reader, limit: int, device: str | None = None) -> list[Commanded]:
    """Newest first; none when the store cannot be read."""
    try:
        rows = reader.newest("sys", "command", limit, device)
    except StoreError:
        return []
    return [_commanded(of, sample.t_us, sample.value) for of, sample in rows if isinstance(sample.value, dict)]


def _commanded(device: str, t_us: int, told: dict[str, Any]) -> Commanded:
    value = told.get("value")
    text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Commanded(t_us, device, f"{told.get('node', '?')}/{told.get('property', '?')}"[:MAX_SHOWN],
                     text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…", str(told.get("who", "?"))[:MAX_SHOWN],
                     str(told.get("result", "?"))[:2 * MAX_SHOWN])
