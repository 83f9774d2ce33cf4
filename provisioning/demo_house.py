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

ROOMS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("boiler-room", "Boiler room", ("""
[plugins.heat-pump-meter]
use = "power_meter"
protocol = "dsmr"
""", """
[plugins.water]
use = "water_meter"
line = "GPIO17"
price_per_m3 = 4.10
""", """
[plugins.mains]
""")),
    ("kitchen", "Kitchen", ("""
[plugins.oven-meter]
use = "power_meter"
protocol = "pzem"
""", """
[plugins.light]
""", """
[plugins.radio]
use = "radio_units"
port = "/dev/null"
[plugins.radio.units.kitchen]
uid = "1a2b3c4d"
title = "Kitchen"
[plugins.radio.units.bedroom]
uid = "5e6f7081"
title = "Bedroom"
""")),
    ("hallway", "Hallway", ("""
[plugins.pir]
[plugins.pir.sensors]
hall = "GPIO17"
stairs = "GPIO27"
""", """
[plugins.csi]
use = "esp32_csi"
port = "/dev/null"
""", """
[plugins.people]
use = "presence"
[plugins.people.persons.anna]
title = "Anna"
signs = [{ by = "wifi_file", path = "/run/stations", mac = "02:00:5e:10:00:31" }]
[plugins.people.persons.ben]
title = "Ben"
signs = [{ by = "wifi_file", path = "/run/stations", mac = "02:00:5e:10:00:32" }]
""", """
[plugins.ble]
process = "ble"
[plugins.ble.devices.badge-7]
badge_id = "7"
title = "Anna's badge"
[plugins.ble.devices.front-door]
ibeacon = "6f1ea7d0-51c1-4c0e-9d2b-7a3c1f0b2e44/1/3"
title = "Front door"
""")),
    ("garage", "Garage", ("""
[plugins.car-meter]
use = "power_meter"
protocol = "teleinfo"
mode = "standard"
""", """
[plugins.internet]
[plugins.internet.targets.page]
kind = "http"
address = "http://connectivity.example/generate_204"
expect_status = 204
""", """
[plugins.nodes]
use = "foreign_mqtt"
process = "nodes"
[plugins.nodes.tasmota]
[plugins.nodes.zigbee2mqtt]
""", """
[plugins.yard-camera]
use = "camera"
process = "camera"
url = "rtsp://127.0.0.1/stream2"
roi = [[0.0, 0.4], [1.0, 1.0]]
""")),
)
"""id, name, plugin tables; every plugin gets ``simulate``, and shares a process unless it names one of its own."""
GROUND_FLOOR_ONLY = ("ble", "camera", "foreign_mqtt")
"""Their simulated sources are programs of their own (a D-Bus, a video encoder, a broker): one of each is enough."""

BYTES_EACH = 160 << 20
"""Memory of one more device, measured: supervisord, watchdog, uplink, and one process for its plugins."""


class Device(NamedTuple):
    id: str
    name: str
    toml: str
    folder: str
    """Its data below the demo's folder."""


def simulated(table: str) -> str:
    """A plugin's table with what the demo adds to it."""
    head, rest = table.lstrip().split("\n", 1)
    shared = "" if "\nprocess = " in table else 'process = "all"\n'
    return f"\n{head}\nsimulate = true\n{shared}{rest}"


def is_for_all_floors(table: str) -> bool:
    return not any(f'use = "{use}"' in table or table.startswith(f"\n[plugins.{use}]") for use in GROUND_FLOOR_ONLY)


def devices(count: int, this_id: str, this_name: str, **fields: object) -> Iterator[Device]:
    """``count`` devices: this machine with its real numbers, then the rooms, floor after floor."""
    for n in range(count):
        if n == 0:
            identity, name, text = this_id, this_name, THIS_MACHINE
        else:
            floor, room = divmod(n - 1, len(ROOMS))
            identity, name, tables = ROOMS[room]
            if floor:
                identity, name = f"{identity}-{floor + 1}", f"{name} {floor + 1}"
            if identity == this_id:  # a machine that is called as our rooms are
                identity += "-demo"
            text = "".join(simulated(table) for table in tables if floor == 0 or is_for_all_floors(table))
        folder = "agent" if n == 0 else identity
        head = HEAD.format(id=identity, name=name, folder=folder, short="a" if n == 0 else f"a{n}", **fields)
        yield Device(identity, name, head + text, folder)
