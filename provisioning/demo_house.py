"""The devices of the demo: a house that anybody knows, each device one agent.toml, each sensor a simulated source.

A simulated source speaks real bytes at the real boundary (a pty, a socket, a private D-Bus), so what runs is the code
of production. The plugins of one device share a process here, which a board in a cellar would not need; what switches
something has its own and a guard, here as everywhere.
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
{lanes}
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
""", """
[plugins.boiler]
use = "boiler_demand"
relay = { driver = "plain", line = "GPIO22" }
heaters = ["kitchen{floor}/heating"]
""", """
[plugins.main-valve]
use = "water_valve"
relay = { driver = "latching", set_line = "GPIO23", reset_line = "GPIO24", probe_line = "GPIO25" }
water = "water"
""")),
    ("kitchen", "Kitchen", ("""
[plugins.oven-meter]
use = "power_meter"
protocol = "pzem"
""", """
[plugins.light]
""", """
[plugins.heating]
use = "relay_heater"
relay = { driver = "plain", line = "GPIO17", probe_line = "GPIO27" }
[plugins.heating.sensors.main]
source = "w1:28-0316a2799fff"
""", """
[plugins.lamp]
use = "night_light"
relay = { driver = "latching", set_line = "GPIO23", reset_line = "GPIO24", probe_line = "GPIO22" }
sensor = "light/illuminance_lx"
latitude = 48.86
longitude = 2.35
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
[plugins.voice]
use = "announcer"
process = "voice"
listen = ["schedule"]
""", """
[plugins.schedule]
presence = "people"
[[plugins.schedule.time]]
days = ["everyday", "holiday"]
slices = ["00:00-24:00"]
marks_min = [0, 15, 30, 45]
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
[plugins.modem]
process = "modem"
port = "/dev/null"
allow = ["+33600000001"]
notify_to = ["+33600000001"]
""", """
[plugins.hub-watch]             # the demo's own hub, by its receipts
use = "hub_watch"
simulate = false
to = ["+33600000001"]
""", """
[plugins.yard-camera]
use = "camera"
process = "camera"
url = "rtsp://127.0.0.1/stream2"
roi = [[0.0, 0.4], [1.0, 1.0]]
""")),
)
"""id, name, plugin tables; every plugin gets ``simulate`` and shares a process, unless its table says otherwise."""
LANES = {"kitchen": 'publish_live = ["heating/heat_demand", "heating/room_temperature_c"]\n',
         "boiler-room": 'inputs = ["kitchen{floor}/heating/heat_demand", '
                        '"kitchen{floor}/heating/room_temperature_c"]\n'}
"""What one device tells another: the heater upstairs, the boiler in the cellar."""
GROUND_FLOOR_ONLY = ("ble", "camera", "foreign_mqtt", "announcer", "modem", "hub_watch", "night_light", "water_valve")
"""Their simulated sources are programs of their own (a D-Bus, a video encoder, a broker), or each has two processes
(its own and a guard): one of each is enough."""

BYTES_EACH = 190 << 20
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
    source = "" if "\nsimulate = " in table else "simulate = true\n"
    return f"\n{head}\n{source}{shared}{rest}"


def is_for_all_floors(table: str) -> bool:
    return not any(f'use = "{use}"' in table or table.startswith(f"\n[plugins.{use}]") for use in GROUND_FLOOR_ONLY)


def on_floor(text: str, floor: int) -> str:
    """The rooms of this floor by their ids."""
    return text.replace("{floor}", f"-{floor + 1}" if floor else "")


def devices(count: int, this_id: str, this_name: str, **fields: object) -> Iterator[Device]:
    """``count`` devices: this machine with its real numbers, then the rooms, floor after floor."""
    for n in range(count):
        lanes = ""
        if n == 0:
            identity, name, text = this_id, this_name, THIS_MACHINE
        else:
            floor, room = divmod(n - 1, len(ROOMS))
            identity, name, tables = ROOMS[room]
            lanes = on_floor(LANES.get(identity, ""), floor)
            if floor:
                identity, name = f"{identity}-{floor + 1}", f"{name} {floor + 1}"
            if identity == this_id:  # a machine that is called as our rooms are
                identity += "-demo"
            text = "".join(on_floor(simulated(table), floor) for table in tables
                           if floor == 0 or is_for_all_floors(table))
        folder = "agent" if n == 0 else identity
        head = HEAD.format(id=identity, name=name, folder=folder, short="a" if n == 0 else f"a{n}", lanes=lanes,
                           **fields)
        yield Device(identity, name, head + text, folder)
