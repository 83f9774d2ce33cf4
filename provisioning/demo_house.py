"""The devices of the demo: a house that anybody knows, each device one agent.toml, each sensor a simulated source.

A simulated source speaks real bytes at the real boundary (a pty, a socket, a private D-Bus), so what runs is the code
of production. The plugins of one device share a process here, which a board in a cellar would not need.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

HEAD = """\
# The demo's device {id}, written anew at every `make demo`.
[device]
id = "{id}"
name = "{name}"
data_dir = "{data}/{folder}"
run_dir = "{run}/{short}"
clock = "trust"                 # one machine, one clock: nothing to wait for

[mqtt]
host = "127.0.0.1"
port = {mqtt_port}
"""

THIS_MACHINE = """
[plugins.host]                  # the real numbers of this machine
interval_s = 5.0

[plugins.main-meter]            # a simulated Téléinfo meter on a real pty
use = "power_meter"
protocol = "teleinfo"
port = "/dev/null"              # the simulator puts its pty here
simulate = true
"""

ROOMS: tuple[tuple[str, str, str], ...] = (
    ("boiler-room", "Boiler room", """
[plugins.heat-pump-meter]
use = "power_meter"
protocol = "dsmr"
"""),
    ("kitchen", "Kitchen", """
[plugins.oven-meter]
use = "power_meter"
protocol = "pzem"
"""),
    ("hallway", "Hallway", """
[plugins.floor-meter]
use = "power_meter"
protocol = "sml"
"""),
    ("garage", "Garage", """
[plugins.car-meter]
use = "power_meter"
protocol = "teleinfo"
mode = "standard"
"""),
)
"""id, name, plugins; every table gets ``simulate`` and the shared process."""

BYTES_EACH = 160 << 20
"""Memory of one more device, measured: supervisord, watchdog, uplink, and one process for its plugins."""


class Device(NamedTuple):
    id: str
    name: str
    toml: str
    folder: str
    """Its data below the demo's folder."""


def simulated(tables: str) -> str:
    """Plugin tables with what the demo adds to each."""
    out: list[str] = []
    for line in tables.splitlines():
        out.append(line)
        if line.startswith("[plugins."):
            out += ["simulate = true", 'process = "all"']
    return "\n".join(out) + "\n"


def devices(count: int, this_id: str, this_name: str, **fields: object) -> Iterator[Device]:
    """``count`` devices: this machine with its real numbers, then the rooms, floor after floor."""
    for n in range(count):
        if n == 0:
            identity, name, tables = this_id, this_name, THIS_MACHINE
        else:
            floor, room = divmod(n - 1, len(ROOMS))
            identity, name, tables = ROOMS[room]
            if floor:
                identity, name = f"{identity}-{floor + 1}", f"{name} {floor + 1}"
            if identity == this_id:  # a machine that is called as our rooms are
                identity += "-demo"
            tables = simulated(tables)
        folder = "agent" if n == 0 else identity
        head = HEAD.format(id=identity, name=name, folder=folder, short="a" if n == 0 else f"a{n}", **fields)
        yield Device(identity, name, head + tables, folder)
