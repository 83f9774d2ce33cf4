"""What a machine lacks for the scanner, before anything is started: for ``hutkeeper-agent check``."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from .settings import BleConfig

BUS = Path("run/dbus/system_bus_socket")
ADAPTERS = Path("sys/class/bluetooth")


def lacks(config: BleConfig, root: Path) -> Iterator[str]:
    """One line each, with its way out. An adapter that is named by its address is not looked for: sysfs has none."""
    if find_spec("bleak") is None:
        yield "bleak is not installed: pip install 'hutkeeper[ble]'"
    if not config.bus and not _is_socket(root / BUS):
        yield f"no D-Bus at /{BUS}: sudo apt install dbus bluez, then sudo systemctl start dbus bluetooth"
    there: list[str] = []
    with suppress(OSError):  # without Bluetooth in the kernel there is no such folder
        # hci0:11 is a connection of hci0
        there = sorted(path.name for path in (root / ADAPTERS).iterdir() if ":" not in path.name)
    if not there:
        yield (f"no Bluetooth adapter in /{ADAPTERS}: plug one in; one that is built in: sudo apt install bluez, and "
               "no dtoverlay=disable-bt in config.txt")
        return
    for name in config.adapters:
        if name.startswith("hci") and name not in there:
            yield f"no adapter {name}: plug it in, or set adapters to one of {', '.join(there)}"


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.stat().st_mode)
    except OSError:
        return False
