"""The real bleak against a simulated BlueZ on a private D-Bus: every packet, every fault, and back again."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, pairwise
from pathlib import Path

import pytest

from agent.api import ConfigError
from plugins.ble import bluez, ladder
from plugins.ble import plugin as plugin_module
from plugins.ble.adverts import Advert, decode
from plugins.ble.bluez import BluezSource
from plugins.ble.settings import BleConfig
from plugins.ble.simulate import SimulatedRadio, simulated_radio
from tests.plugins.ble.running import NAMED, TAG, AtWork, running, send
from tests.waiting import until

SERIES = [-60, -61, -63, -63, -70, -71, -69, -80, -60]
IBEACON = {0x004C: b"\x02\x15" + bytes(range(16)) + b"\0\1\0\2\xc5"}
DONGLE = "00:1A:7D:DA:71:0A"


@pytest.fixture
def radio() -> Iterator[SimulatedRadio]:
    with simulated_radio() as one:
        yield one


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ladder's own times are shown on a moved clock (test_ladder.py); here only its steps count."""
    for name, seconds in (("STEP_S", 0.3), ("SOON_S", 0.05), ("FAILED_RETRY_S", 0.1), ("SILENT_RETRY_S", 0.3)):
        monkeypatch.setattr(ladder, name, seconds)
    monkeypatch.setattr(bluez, "OFF_S", 0.01)
    monkeypatch.setattr(plugin_module, "READ_S", 0.02)
    monkeypatch.setattr(plugin_module, "LOOK_S", 0.01)


def lines(source: BluezSource, wanted: int, event: str = "") -> list[Advert]:
    """The first so many advertisements (or ``event`` lines)."""
    found: list[Advert] = []

    def more() -> bool:
        found.extend(line for item in source.receive() if (line := decode(getattr(item, "data", item))).event == event)
        return len(found) >= wanted

    until(f"{wanted} lines {event!r}", more, every_s=0.01, found=lambda: found)
    return found


def config(radio: SimulatedRadio, **more: object) -> BleConfig:
    usual = {"devices": NAMED, "bus": radio.bluez.address, "rssi_interval_s": 0.0, "interval_s": 0.2}
    return BleConfig(**usual | more)


async def burst(radio: SimulatedRadio, packets: int) -> None:
    """As fast as the bus takes them."""
    for number in range(packets):
        radio.bluez.advert("hci0", TAG, -40 - number % 50, manufacturer=IBEACON)
        if number % 50 == 49:
            await radio.bluez.drained()


def scanning(radio: SimulatedRadio, adapter: str = "hci0") -> bool:
    there = radio.bluez.adapters.get(adapter)
    return bool(there and (there.scanning or there.monitors))


def heard_again(radio: SimulatedRadio, plugin: AtWork, adapter: str = "hci0") -> None:
    """Packets come through that were sent after this call, and the scanner says so."""
    before = len(plugin.values("rssi_dbm", "tag"))
    strengths = cycle(range(-40, -99, -1))

    def tried() -> bool:
        send(radio, [next(strengths)], adapter, manufacturer=IBEACON)
        return len(plugin.values("rssi_dbm", "tag")) > before and plugin.values("scanner")[-1:] == ["up"]

    plugin.until("heard again", tried)


# --- every packet ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gate", ["any filter", "rssi"])
def test_every_packet_comes_with_its_own_strength(gate: str) -> None:
    """Under both behaviours of BlueZ (before and after it asked for a filter that names RSSI)."""
    with simulated_radio(gate=gate) as radio:
        source = BluezSource(("hci0",), bus=radio.bluez.address)
        try:
            lines(source, 1, "scanning")
            send(radio, SERIES, manufacturer=IBEACON)
            found = lines(source, len(SERIES))
        finally:
            source.close()
    assert [one.rssi_dbm for one in found] == SERIES
    assert {one.address for one in found} == {TAG}
    assert {one.receiver for one in found} == {"hci0"}
    assert found[0].manufacturer == {"004c": (b"\x02\x15" + bytes(range(16)) + b"\0\1\0\2\xc5").hex()}


def test_without_the_filter_bluez_holds_strengths_back() -> None:
    """The simulated BlueZ has the gate that the filter is for: bleak's default scan gets 4 of 9 packets."""
    from bleak import BleakScanner

    async def scan(radio: SimulatedRadio) -> list[int]:
        found: list[int] = []
        async with BleakScanner(lambda device, said: found.append(said.rssi)):
            for rssi in SERIES:
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_one(radio, rssi), radio._loop))
            deadline = time.monotonic() + 20
            while len(found) < 4 and time.monotonic() < deadline:
                await asyncio.sleep(0.02)
            await asyncio.sleep(0.2)  # and no fifth one
        return found

    async def _one(radio: SimulatedRadio, rssi: int) -> None:
        radio.bluez.advert("hci0", TAG, rssi, manufacturer=IBEACON)

    with simulated_radio(gate="rssi") as radio:
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = radio.bluez.address
        with ThreadPoolExecutor(1) as thread:  # a browser in this process may hold the main thread's loop
            assert thread.submit(asyncio.run, scan(radio)).result(60) == [-60, -70, -80, -60]


def test_a_passive_scan_hears_what_its_patterns_say(radio: SimulatedRadio) -> None:
    patterns = BleConfig(patterns=("0:ff:4c000215",)).or_patterns()
    source = BluezSource(("hci0",), patterns, bus=radio.bluez.address)
    try:
        lines(source, 1, "scanning")
        until("the monitor is active", lambda: scanning(radio))
        assert not radio.bluez.adapters["hci0"].scanning  # no StartDiscovery: nothing is sent on the air
        send(radio, [-50], address="AA:00:00:00:00:01", manufacturer={0xFFFF: b"HB"})
        send(radio, [-60, -70], manufacturer=IBEACON)
        assert [(one.address, one.rssi_dbm) for one in lines(source, 2)] == [(TAG, -60), (TAG, -70)]
    finally:
        source.close()


def test_a_monitor_beside_the_active_scan(radio: SimulatedRadio) -> None:
    """It is open, and nothing comes twice by it."""
    source = BluezSource(("hci0",), every_packet=True, bus=radio.bluez.address)
    adapter = radio.bluez.adapters["hci0"]
    try:
        until("monitor and scan", lambda: adapter.monitors and adapter.scanning)
        send(radio, SERIES, manufacturer=IBEACON)
        assert [one.rssi_dbm for one in lines(source, len(SERIES))] == SERIES
        send(radio, [-44])
        assert [one.rssi_dbm for one in lines(source, 1)] == [-44]
    finally:
        source.close()
    until("both are closed", lambda: not adapter.monitors and not adapter.scanning)


def test_no_monitor_is_a_line_and_the_scan_goes_on() -> None:
    with simulated_radio(passive=False) as radio, running(config(radio, every_packet=True)) as plugin:
        heard_again(radio, plugin)
        assert [text for text in plugin.lines.of("warning") if "start bluetoothd with --experimental" in text]


def test_bluez_without_passive_scan_is_told_in_one_line() -> None:
    with simulated_radio(passive=False) as radio:
        source = BluezSource(("hci0",), ((0, 0xFF, b"L\0"),), bus=radio.bluez.address)
        try:
            assert "start bluetoothd with --experimental" in lines(source, 1, "failed")[0].reason
        finally:
            source.close()


def test_a_thousand_adverts_a_second_are_all_counted(radio: SimulatedRadio) -> None:
    """Row 1, short form (tests/plugins/ble/figures.py has the long one): 2,000 at once, none is lost."""
    with running(config(radio)) as plugin:
        plugin.until("scan", lambda: scanning(radio))
        radio.call(burst(radio, 2000))
        plugin.until("2000 readings", lambda: len(plugin.values("rssi_dbm", "tag")) >= 2000)
        assert plugin.values("rssi_dbm", "tag") == [-40 - n % 50 for n in range(2000)]
        assert plugin.values("lost_adverts")[-1:] in ([], [0])


# --- faults ---------------------------------------------------------------------------------------------------


def test_b55_bluetoothd_is_restarted(radio: SimulatedRadio, quick: None) -> None:
    """bleak itself goes silent without an error."""
    with running(config(radio)) as plugin:
        heard_again(radio, plugin)
        radio.call(radio.bluez.stop())
        plugin.until("stalled", lambda: "stalled" in plugin.values("scanner"))
        radio.call(radio.bluez.start())
        heard_again(radio, plugin)
    assert any("bluetoothd ended; the scan is restarted" in line for line in plugin.lines.of("warning"))


@pytest.mark.parametrize("cure", ["restart", "power"])
def test_b55_the_adapter_hangs(radio: SimulatedRadio, quick: None, cure: str) -> None:
    """Silence is all there is to see. In what order and how soon the steps come is shown in test_ladder.py."""
    with running(config(radio, quiet_s=0.4)) as plugin:
        heard_again(radio, plugin)
        adapter = radio.bluez.adapters["hci0"]
        adapter.hung = cure
        plugin.until("cured", lambda: adapter.hung is None)
        assert adapter.power_cycles >= (cure == "power")
        heard_again(radio, plugin)


def test_b55_an_adapter_that_stays_silent_is_an_alert(radio: SimulatedRadio, quick: None) -> None:
    with running(config(radio, quiet_s=0.3)) as plugin:
        heard_again(radio, plugin)
        radio.bluez.adapters["hci0"].hung = "never"
        plugin.until("down", lambda: plugin.values("scanner")[-1:] == ["down"])
        plugin.until("alert", lambda: plugin.alerts and plugin.state.state == "degraded")
        radio.bluez.adapters["hci0"].hung = None
        heard_again(radio, plugin)
    assert (plugin.alerts["ble-hci0-down"] or "").startswith("E_BLE_DOWN hci0: no advertisement for ")


def test_b55_an_adapter_that_was_switched_off_is_switched_on(radio: SimulatedRadio, quick: None) -> None:
    with running(config(radio)) as plugin:
        heard_again(radio, plugin)
        radio.call(lambda: radio.bluez.power("hci0", False))
        plugin.until("stalled", lambda: "stalled" in plugin.values("scanner"))
        heard_again(radio, plugin)
    assert any("hci0: was switched off" in line for line in plugin.lines.of("warning"))


def test_an_adapter_of_others_is_not_switched(radio: SimulatedRadio, quick: None) -> None:
    with running(config(radio, power_cycle=False)) as plugin:
        heard_again(radio, plugin)
        radio.call(lambda: radio.bluez.power("hci0", False))
        plugin.until("alert", lambda: plugin.alerts)
        assert not radio.bluez.adapters["hci0"].powered
    assert "switched off: bluetoothctl power on" in (plugin.alerts["ble-hci0-down"] or "")


def test_b54_unplugged_and_back_under_another_number(quick: None) -> None:
    """By the controller's address; no descriptor is left open by any of the tries."""
    with simulated_radio((DONGLE,)) as radio, running(config(radio, adapters=(DONGLE,))) as plugin:
        heard_again(radio, plugin)
        gc.collect()
        before = len(os.listdir("/proc/self/fd"))
        names = ["hci0", "hci1", "hci2", "hci3"]
        for old, new in pairwise(names):
            radio.call(lambda old=old: radio.bluez.unplug(old))
            plugin.until("stalled", lambda: plugin.values("scanner")[-1:] != ["up"])
            radio.call(lambda new=new: radio.bluez.plug(new, DONGLE))
            plugin.until("scan", lambda new=new: scanning(radio, new))
            heard_again(radio, plugin, new)
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert any(f"{DONGLE}: was unplugged" in line for line in plugin.lines.of("warning"))


def test_b41_no_adapter_no_bluetoothd_no_dbus(quick: None, tmp_path: Path) -> None:
    """Each is named, with the next step; the plugin goes on and stays stoppable."""
    with simulated_radio(()) as radio:
        with running(config(radio)) as plugin:
            plugin.until("alert", lambda: plugin.alerts)
        assert "no adapter hci0, BlueZ has none at all: plug it in" in (plugin.alerts["ble-hci0-down"] or "")
        radio.call(radio.bluez.stop())
        with running(config(radio)) as plugin:
            plugin.until("alert", lambda: plugin.alerts)
        assert "bluetoothd does not run: systemctl start bluetooth" in (plugin.alerts["ble-hci0-down"] or "")
    with running(BleConfig(bus=f"unix:path={tmp_path}/nobody")) as plugin:
        plugin.until("alert", lambda: plugin.alerts)
    assert "is dbus installed and running?" in (plugin.alerts["ble-hci0-down"] or "")


def test_the_bus_daemon_dies_and_comes_back(radio: SimulatedRadio, quick: None) -> None:
    with running(config(radio)) as plugin:
        heard_again(radio, plugin)
        radio.bus.stop()
        plugin.until("stalled", lambda: "stalled" in plugin.values("scanner"))
        radio.call(radio.bluez.stop())
        radio.bus.start()
        radio.call(radio.bluez.start())
        heard_again(radio, plugin)


def test_b57_a_bluetoothd_that_answers_nothing_does_not_hold_up_the_end(radio: SimulatedRadio) -> None:
    with running(config(radio)) as plugin:
        heard_again(radio, plugin)
        radio.bluez.mute = True
        plugin.worker.stop()
        plugin.worker.join(20)
        assert not plugin.worker.is_alive()


def test_several_adapters_share_one_connection_and_leave_none(radio: SimulatedRadio) -> None:
    """They begin at the same moment."""
    names = ("hci0", "hci1", "hci2")
    for number, name in enumerate(names[1:], 1):
        radio.call(lambda name=name, number=number: radio.bluez.plug(name, f"00:1A:7D:DA:72:{number:02X}"))
    gc.collect()
    before = sockets()
    source = BluezSource(names, bus=radio.bluez.address)
    try:
        lines(source, 3, "scanning")
        assert sockets() - before == 2 + 2  # bleak's and ours, and the loop's own pair
    finally:
        source.close()
    gc.collect()
    assert sockets() == before


def test_two_adapters_two_strengths(quick: None) -> None:
    """Per receiver; one of them falling out does not touch the other."""
    with simulated_radio(("hci0", "hci1")) as radio, running(config(radio, adapters=("hci0", "hci1"))) as plugin:
        plugin.until("both scan", lambda: scanning(radio, "hci0") and scanning(radio, "hci1"))
        send(radio, [-50], "hci0")
        send(radio, [-75], "hci1")
        plugin.until("both", lambda: plugin.values("rssi_hci1_dbm", "tag") == [-75])
        assert plugin.values("rssi_dbm", "tag") == [-50]
        radio.call(lambda: radio.bluez.unplug("hci1"))
        plugin.until("hci1 down", lambda: "down" in plugin.values("scanner_hci1"))
        send(radio, [-52], "hci0")
        plugin.until("hci0 hears", lambda: plugin.values("rssi_dbm", "tag") == [-50, -52])
        assert set(plugin.values("scanner")) == {"up"}
        assert set(plugin.alerts) == {"ble-hci1-down"}


def test_the_list_comes_on_request_alone(radio: SimulatedRadio) -> None:
    from agent.bus import Command
    from agent.runner.worker import boottime_us

    with running(config(radio)) as plugin:
        plugin.until("scan", lambda: scanning(radio))
        send(radio, [-50])
        send(radio, [-40], address="5A:00:00:00:00:01", local_name="Anna's phone", manufacturer={0x4C: b"\x10\x05"})
        plugin.until("both", lambda: plugin.values("unknown_advertisers")[-1:] == [1])
        assert plugin.values("advertiser_list") == []
        plugin.worker.command(Command("1", "ble", "list_advertisers", True, boottime_us() + 10_000_000))
        (listed,) = plugin.until("list", lambda: plugin.values("advertiser_list"))
        assert list(plugin.nodes) == ["tag"]
        assert set(plugin.worker.kept) == {"pseudonym_key"}
    stranger, tag = listed["advertisers"]
    assert listed["total"] == 2
    assert tag["device"] == "tag"
    assert stranger["pseudonym"].startswith("p-")
    assert stranger["company"] == "004c"
    assert "5A:00" not in str(listed)
    assert "Anna" not in str(listed)


# --- the simulated radio itself -------------------------------------------------------------------------------


def test_a_killed_process_leaves_no_bus_daemon_behind(tmp_path: Path) -> None:
    code = ("import time\nfrom plugins.ble.simulate import simulated_radio\n"
            "with simulated_radio() as radio:\n    print(radio.bluez.address, flush=True)\n    time.sleep(60)\n")
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True,
                               cwd=Path(__file__).parents[3])
    assert process.stdout is not None
    folder = process.stdout.readline().strip().removeprefix("unix:path=").rpartition("/")[0]
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    process.stdout.close()

    def daemons() -> list[str]:
        return [line for line in Path("/proc").glob("[0-9]*/cmdline") if folder.encode() in _bytes(line)]

    until("no daemon", lambda: not daemons(), found=daemons)


def sockets() -> int:
    return sum(_link(entry).startswith("socket:") for entry in Path("/proc/self/fd").iterdir())


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_no_dbus_daemon_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ConfigError, match="apt install dbus-daemon"), simulated_radio():
        pass


def test_the_simulated_house_is_heard_whole() -> None:
    """What ``simulate = true`` shows: badges with their lists, beacons of both kinds, strangers as a number."""
    from plugins.ble.plugin import Ble

    with Ble.simulate(BleConfig(interval_s=0.2, rssi_interval_s=0.0)) as simulated, running(simulated) as plugin:
        wanted = {"badge-7": "beacons", "badge-8": "beacons", "front-door": "ibeacon", "cellar": "eddystone_uid"}
        for node, name in wanted.items():
            plugin.until(f"{node} {name}", lambda node=node, name=name: plugin.values(name, node))
            plugin.until(f"{node} strength", lambda node=node: plugin.values("rssi_dbm", node))
        plugin.until("strangers", lambda: plugin.values("unknown_advertisers")[-1:] == [12])
        assert set(plugin.nodes) == set(wanted)
