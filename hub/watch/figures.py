"""What a machine's agent tells of the machine itself: disk, memory, temperature, wear, supply, clock. Pure.

Nothing here knows a plugin by its name: whoever reports these properties is the one that looks at the machine.
"""

from __future__ import annotations

from hub.fleet.facts import SYS, DeviceFacts, number
from hub.live import LiveDevice
from hub.watch.model import Disk, Figures

MACHINE = "memory-used-percent"
DISK = ("free-bytes", "total-bytes", "fill-trend")


def figures(device: LiveDevice, of: DeviceFacts) -> Figures:
    """Left out: what nobody tells."""
    node = next((node for node, prop in device.values if prop == MACHINE), "")

    def value(prop: str, at: str = node) -> float | None:
        return number(device.value(at, prop))

    def flag(prop: str) -> bool | None:
        return {"true": True, "false": False}.get(device.value(node, prop) or "")

    names = device.description.nodes if device.description is not None else {}
    disks = []
    for at in sorted({node for node, prop in device.values if prop == DISK[0]}):
        if at in names and DISK[1] in names[at].properties:
            free, total = value(DISK[0], at), value(DISK[1], at)
            disks.append(Disk(names[at].name, _whole(free), _whole(total),
                              value("days-until-full", at), device.value(at, DISK[2]) or "unknown",
                              device.value(at, "read-only") == "true"))
    return Figures(
        tuple(disks), value(MACHINE), _whole(value("memory-available-bytes")), value("soc-temperature-c"),
        value("emmc-wear-percent"), flag("under-voltage"), flag("under-voltage-since-boot"), of.clock,
        of.ahead_us / 1e6, value("clock-offset-ms", SYS), value("uptime-s"))


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
