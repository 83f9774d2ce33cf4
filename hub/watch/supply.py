"""Is the mains there, is the internet there: whatever reports these properties says it (row 37). Pure.

While mains are lost, and for a while after they are back, nobody is restarted from here (B63): a machine on a battery
that goes down now may not come up again, and a house that comes up all at once trips over itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from hub.live import LiveDevice
from hub.store.errors import StoreError
from hub.store.reader import Reader
from hub.watch.model import Outage, Supply

POWER, LINE, HELD = "mains-present", "internet-reached", "restarts-held"
OUTAGES = 5
_FLAG = {"true": True, "false": False}


def supplies_of(devices: Iterable[LiveDevice], reader: Reader | None = None) -> tuple[Supply, ...]:
    """What all plugins say, mains first. With ``reader`` also since when, and the last outages."""
    found = []
    for device in devices:
        for node, prop in device.values:
            if prop in (POWER, LINE):
                found.append(_supply(device, node, "power" if prop == POWER else "line", reader))
    return tuple(sorted(found, key=lambda one: (one.what != "power", one.good is not False, one.device, one.node)))


def held_by(devices: Iterable[LiveDevice]) -> str:
    """``<device>/<node>`` that holds restarts back now, or ''."""
    for device in devices:
        for node, prop in device.values:
            if prop == POWER and _held(device, node):
                return f"{device.id}/{node}"
    return ""


def _held(device: LiveDevice, node: str) -> bool:
    return device.value(node, POWER) == "false" or device.value(node, HELD) == "true"


def _supply(device: LiveDevice, node: str, what: Literal["power", "line"], reader: Reader | None) -> Supply:
    good = _FLAG.get(device.value(node, POWER if what == "power" else LINE) or "")
    name = device.description.nodes[node].name if device.description and node in device.description.nodes else node
    outages: tuple[Outage, ...] = ()
    since_us = None
    if reader is not None:
        outages, since_us = _history(device.id, node, what, good, reader)
    fault = device.value(node, "fault") or device.value(node, "ups-status") or ""
    return Supply(what, device.id, node, name, good, since_us, what == "power" and _held(device, node), outages,
                  "" if fault in ("none", "ok") else fault[:80])


def _history(device: str, node: str, what: str, good: bool | None,
             reader: Reader) -> tuple[tuple[Outage, ...], int | None]:
    event = "mains_event" if what == "power" else "internet_event"
    try:
        ended = reader.newest(node, "outage_s", OUTAGES, device)
        changes = reader.newest(node, event, 1, device)
    except StoreError:
        return (), None
    outages = tuple(Outage(sample.t_us, float(sample.value)) for _, sample in ended
                    if isinstance(sample.value, int | float))
    if changes and good is not None and changes[0][1].value == ("returned" if good else "lost"):
        return outages, changes[0][1].t_us
    return outages, None


