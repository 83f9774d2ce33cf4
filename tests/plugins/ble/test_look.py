"""What ``hutkeeper-agent check`` says of a machine without a radio, or with another one."""

from __future__ import annotations

import socket
from pathlib import Path

from agent import check
from plugins.ble.plugin import Ble
from plugins.ble.settings import BleConfig


def test_a_machine_with_nothing_is_told_what_to_install(tmp_path: Path) -> None:
    bus, adapter = Ble.look(BleConfig(), tmp_path)
    assert bus == ("no D-Bus at /run/dbus/system_bus_socket: sudo apt install dbus bluez, then sudo systemctl start "
                   "dbus bluetooth")
    assert adapter.startswith("no Bluetooth adapter in /sys/class/bluetooth: plug one in; ")
    assert "apt install bluez" in adapter


def test_a_machine_with_bus_and_adapter_lacks_only_what_is_named_and_not_there(tmp_path: Path) -> None:
    for name in ("hci1", "hci1:64"):
        (tmp_path / "sys/class/bluetooth" / name).mkdir(parents=True)
    (tmp_path / "run/dbus").mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(str(tmp_path / "run/dbus/system_bus_socket"))
        assert list(Ble.look(BleConfig(adapters=("hci1", "00:1A:7D:DA:71:13")), tmp_path)) == []
        assert list(Ble.look(BleConfig(), tmp_path)) == [
            "no adapter hci0: plug it in, or set adapters to one of hci1"]
    (tmp_path / "run/dbus/system_bus_socket").unlink()
    (tmp_path / "run/dbus/system_bus_socket").touch()
    assert "no D-Bus" in next(iter(Ble.look(BleConfig(adapters=("hci1",)), tmp_path))), "a file is no bus"


def test_check_says_it(tmp_path: Path) -> None:
    (tmp_path / "agent.toml").write_text('[device]\nid = "bench"\ndata_dir = "data"\nrun_dir = "run"\n'
                                         '[plugins.ble]\nuse = "ble"\nadapters = ["hci97"]\n')
    found = [one.message for one in check.check(tmp_path / "agent.toml") if one.subject == "plugins.ble"]
    assert any("Bluetooth adapter" in text or "no adapter hci97" in text for text in found), found
    assert check.check(tmp_path / "agent.toml", hardware=False)[-1].level != "problem"
