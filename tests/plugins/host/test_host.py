"""The parts that a still picture of /proc does not show: boots over restarts, disks over weeks, a moving machine."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.api import Reading
from agent.testing import VirtualClock, io_over
from plugins.host import boots, disks, proc, sysfs
from plugins.host.plugin import Host, HostConfig

HOUR = 3600.0


def tree(root: Path, **files: str | bytes) -> Path:
    """Files below ``root``; ``__`` in a name is a slash."""
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


# --- disks ------------------------------------------------------------------------------------------------------


def history(days: float, free: Any, step_h: float = 1.0) -> disks.History:
    """``free(hours)`` sampled every ``step_h`` for so long."""
    points: disks.History = []
    for n in range(int(days * 24 / step_h)):
        disks.remember(points, n * step_h * HOUR, int(free(n * step_h)))
    return points


def test_the_forecast_finds_a_steady_leak_below_noise_rotation_and_a_big_download() -> None:
    noise = random.Random(5)

    def free(hours: float) -> float:
        leak = 40e9 - 0.05e9 * hours                     # 1.2 GB a day
        logs = 0.6e9 * ((hours % 24) / 24)               # rotated at midnight
        film = 8e9 if 50 < hours < 60 else 0             # came and went
        return leak - logs - film + noise.gauss(0, 0.1e9)

    found = disks.forecast(history(7, free), int(free(168)))
    assert found.state == "filling" and found.days is not None
    assert found.days == pytest.approx(free(168) / 1.2e9, rel=0.15)


@pytest.mark.parametrize("free", [
    lambda hours: 20e9,
    lambda hours: 20e9 + 1e6 * hours,
    lambda hours: 20e9 + (2e9 if int(hours / 7) % 2 else 0),
    lambda hours: 20e9 - (6e9 if 80 < hours < 90 else 0),
])
def test_the_forecast_is_silent_when_nothing_fills(free: Any) -> None:
    assert disks.forecast(history(7, free), int(20e9)) == ("steady", None)


def test_noise_alone_is_hardly_ever_called_filling() -> None:
    called = 0
    for seed in range(60):
        gauss = random.Random(seed).gauss
        points = history(3, lambda _, gauss=gauss: 20e9 + gauss(0, 1e9))
        called += disks.forecast(points, int(20e9)).state == "filling"
    assert called <= 2


def test_the_forecast_says_unknown_while_it_knows_too_little() -> None:
    assert disks.forecast([], 10).state == "unknown"
    assert disks.forecast(history(0.2, lambda hours: 1e9 - 1e6 * hours), 10).state == "unknown"


@given(st.lists(st.tuples(st.floats(0, 2e9), st.integers(0, 1 << 50)), max_size=400), st.integers(0, 1 << 50))
def test_any_history_gives_a_forecast_and_stays_small(points: list[tuple[float, int]], free: int) -> None:
    kept: disks.History = []
    for wall_s, value in points:
        disks.remember(kept, wall_s, value)
    assert len(kept) <= disks.MAX_POINTS
    assert [point[0] for point in kept] == sorted(point[0] for point in kept)
    found = disks.forecast(kept, free)
    assert (found.days is not None) == (found.state == "filling")
    assert found.days is None or 0 <= found.days <= disks.HORIZON_DAYS


def test_months_of_history_are_thinned_and_still_tell() -> None:
    kept = history(120, lambda hours: 30e9 - 0.2e9 * hours / 24)
    assert len(kept) <= disks.MAX_POINTS and kept[-1][0] - kept[0][0] > 60 * 86400
    found = disks.forecast(kept, int(6e9))
    assert found.days == pytest.approx(30, rel=0.05)


def test_a_clock_that_was_set_back_does_not_stop_the_history() -> None:
    kept = history(1, lambda hours: 1e9)
    assert not disks.remember(kept, 2 * HOUR + 10, 5)
    assert kept[-1][0] == 2 * HOUR, "what lies in the future is gone"
    assert disks.remember(kept, 3 * HOUR + 10, 5)


def test_which_mounts_count() -> None:
    text = ("/dev/mmcblk0p2 / ext4 rw 0 0\nproc /proc proc rw 0 0\n/dev/mmcblk0p1 /boot/firmware vfat rw 0 0\n"
            "/dev/mmcblk0p2 /srv/bind ext4 rw 0 0\n/dev/loop3 /snap/x squashfs ro 0 0\ntmpfs /run tmpfs rw 0 0\n"
            "overlay /var/lib/docker/overlay2/x/merged overlay rw 0 0\n/dev/sda1 /media/My\\040stick exfat rw 0 0\n")
    assert disks.mounts(text) == ["/", "/boot/firmware", "/media/My stick"]
    assert [disks.node_id(point) for point in disks.mounts(text)] == [
        "disk-root", "disk-boot-firmware", "disk-media-my-stick"]
    assert disks.mounts("overlay / overlay rw 0 0\n") == ["/"]


def test_usage_is_what_df_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stat = SimpleNamespace(f_blocks=1000, f_bfree=400, f_bavail=350, f_frsize=4096, f_flag=os.ST_RDONLY)
    monkeypatch.setattr(os, "statvfs", lambda path: stat)
    assert disks.usage(tmp_path) == disks.Usage(4_096_000, 1_433_600, 63.2, True)
    monkeypatch.undo()
    assert disks.usage(tmp_path / "nothing") is None
    real = disks.usage(tmp_path)
    assert real is not None and 0 <= real.used_percent <= 100 and not real.read_only


# --- boots ------------------------------------------------------------------------------------------------------

OLD, NEW = "0" * 31 + "1", "0" * 31 + "2"


def test_a_reboot_is_told_once_and_the_first_start_is_none() -> None:
    kept: dict[str, Any] = {}
    assert boots.enter(kept, OLD) is None
    assert boots.enter(kept, OLD) is None
    boots.leave(kept, OLD)
    assert boots.enter(kept, NEW) == {"stopped": True, "boot": OLD}
    assert boots.enter(kept, NEW) is None
    assert list(kept) == [boots.KEY + NEW]


def test_what_was_kept_may_come_late() -> None:
    kept: dict[str, Any] = {}
    assert boots.enter(kept, NEW) is None
    kept[boots.KEY + OLD] = {"stopped": False}  # restored when the local bus came up
    assert boots.enter(kept, NEW) == {"stopped": False, "boot": OLD}


def test_an_agent_that_was_started_again_has_not_left() -> None:
    kept: dict[str, Any] = {}
    boots.enter(kept, OLD)
    boots.leave(kept, OLD)
    boots.enter(kept, OLD)
    assert boots.enter(kept, NEW) == {"stopped": False, "boot": OLD}


@pytest.mark.parametrize(("stopped", "files", "reason"), [
    (True, {}, "clean"),
    (False, {}, "unknown"),
    (False, {"sys__fs__pstore__dmesg-ramoops-0": "Oops"}, "panic"),
    (True, {"sys__class__watchdog__watchdog0__bootstatus": "32\n"}, "watchdog"),
    (False, {"sys__class__watchdog__watchdog0__bootstatus": "0\n"}, "unknown"),
    (False, {"proc__device-tree__chosen__bootloader__rsts": b"\x00\x00\x10\x00"}, "power_loss"),
    (True, {"proc__device-tree__chosen__bootloader__rsts": b"\x00\x00\x10\x00"}, "clean"),
    (False, {"proc__device-tree__chosen__bootloader__rsts": b"\x00\x00\x00\x20"}, "unknown"),
    (False, {"proc__device-tree__chosen__power__power_reset": b"\x00\x00\x00\x02"}, "power_loss"),
    (False, {"proc__device-tree__chosen__power__power_reset": b"\x00\x00\x00\x10"}, "watchdog"),
    (False, {"proc__device-tree__chosen__bootloader__rsts": b"\x00"}, "unknown"),
])
def test_the_reason_of_a_reboot(tmp_path: Path, stopped: bool, files: dict[str, Any], reason: str) -> None:
    assert boots.reason(tree(tmp_path, **files), {"stopped": stopped}) == reason


def test_b62_a_reboot_by_the_agents_watchdog_is_told_with_its_words(tmp_path: Path) -> None:
    """Written by the watchdog's own book, as before a real reboot; another boot's entry is not this one's reason."""
    from agent.supervision.reboots import FILE, Reboots

    kept: dict[str, Any] = {}
    folder = tmp_path / "var/lib/hutkeeper/agent"
    root = tree(tmp_path, proc__sys__kernel__random__boot_id=NEW + "\n", proc__uptime="5.0 1.0\n")
    folder.mkdir(parents=True)
    Reboots(folder / FILE, "0" * 32, lambda: None).note("another story")
    Reboots(folder / FILE, OLD, lambda: None).note("camera made no progress for 40 s")
    Reboots(folder / FILE, "1" * 32, lambda: None).note("yet another")
    boots.enter(kept, OLD)
    boots.leave(kept, OLD)
    with io_over(root) as io:
        io.kept.update(kept)
        told = {item.property: item.value for item in Host(HostConfig()).run(io) if isinstance(item, Reading)}
    assert told["reboot_reason"] == "watchdog"
    assert told["reboot_detail"] == "camera made no progress for 40 s"
    assert boots.by_watchdog(folder / FILE, {"boot": NEW}) is None
    (folder / FILE).write_text('{"damaged": ')
    assert boots.by_watchdog(folder / FILE, {"boot": OLD}) is None


def test_an_old_crash_dump_is_not_this_reboots_reason(tmp_path: Path) -> None:
    tree(tmp_path, proc__stat="cpu 1 2 3 4\nbtime 2000000000\n", var__lib__systemd__pstore__1__dmesg="Oops")
    dump = tmp_path / "var/lib/systemd/pstore/1/dmesg"
    os.utime(dump, (1_999_999_000, 1_999_999_000))
    assert boots.reason(tmp_path, {"stopped": True}) == "clean"
    os.utime(dump, (2_000_000_010, 2_000_000_010))
    assert boots.reason(tmp_path, {"stopped": True}) == "panic"


def test_the_plugin_tells_boot_and_reason_and_notes_its_own_end(tmp_path: Path) -> None:
    """Two boots of one machine, as two runs of the plugin with what was kept between them."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    kept: dict[str, Any] = {}
    reasons = []
    for folder, boot in (("one", OLD), ("two", NEW)):
        root = tree(tmp_path / folder, proc__sys__kernel__random__boot_id=boot + "\n", proc__uptime="5.0 1.0\n")
        with io_over(root) as io:
            io.kept.update(kept)
            reasons.append([item.value for item in Host(HostConfig()).run(io)
                            if isinstance(item, Reading) and item.property == "reboot_reason"])
            kept = dict(io.kept)
    assert reasons == [[], ["clean"]]
    assert kept == {boots.KEY + NEW: kept[boots.KEY + NEW]}
    assert kept[boots.KEY + NEW]["stopped"] is True


# --- the whole plugin -------------------------------------------------------------------------------------------


def test_the_simulated_machine_moves_and_gives_every_kind_of_value(tmp_path: Path) -> None:
    found: list[Reading] = []
    with Host.simulate(HostConfig(), seed=3) as config, io_over(tmp_path) as io:
        host = Host(config)
        for _ in range(3):
            root = Path(config.root)
            told = host.look_at_all(io, root, boots.boot_id(root), 0.0)
            found += [item for item in told if isinstance(item, Reading)]
            io.clock.sleep(1.0)
            time.sleep(1.1)  # the machine moves in real seconds
    names = {reading.property for reading in found}
    assert {"cpu_usage_percent", "core_0_usage_percent", "memory_used_percent", "soc_temperature_c", "under_voltage",
            "received_bytes_per_s", "rssi_dbm", "ipv4_address", "uptime_s", "used_percent", "fill_trend"} <= names
    assert len({reading.value for reading in found if reading.property == "soc_temperature_c"}) > 1


def test_this_very_machine_is_read_without_an_error() -> None:
    clock = VirtualClock()
    io = SimpleNamespace(root=Path("/"), kept={}, clock=clock, instance="host", stopping=False,
                         log=SimpleNamespace(info=lambda *_: None))
    host = Host(HostConfig())
    first = list(host.look_at_all(io, Path("/"), boots.boot_id(Path("/")), 0.0))  # type: ignore[arg-type]
    names = {item.property for item in first if isinstance(item, Reading)}
    assert {"uptime_s", "memory_used_percent", "load_average_1m", "process_count", "used_percent"} <= names
    memory = next(item.value for item in first if isinstance(item, Reading) and item.property == "memory_used_percent")
    assert isinstance(memory, float) and 0 < memory < 100


def test_cpu_counters_that_go_back_or_stand_give_no_value() -> None:
    before = proc.CpuTime(1000, 100)
    assert proc.usage_percent(before, before) is None
    assert proc.usage_percent(before, proc.CpuTime(900, 50)) is None
    assert proc.usage_percent(before, proc.CpuTime(1100, 90)) is None
    assert proc.usage_percent(before, proc.CpuTime(1100, 125)) == 25.0


@given(st.text(max_size=300))
def test_any_text_in_proc_is_read_or_passed_over(text: str) -> None:
    proc.cpu_times(text), proc.meminfo(text), proc.traffic(text), proc.wifi_rssi_dbm(text)
    list(proc.ipv6_addresses(text)), list(proc.ipv4_addresses(text, text)), proc.first_floats(text, 2)
    disks.mounts(text)


def test_sensors_of_the_same_name_get_names_of_their_own(tmp_path: Path) -> None:
    for n in range(3):
        chip = f"class__hwmon__hwmon{n}__"
        tree(tmp_path, **{chip + "name": "drivetemp\n", chip + "temp1_input": "30000"})
    _, others = sysfs.temperatures(tmp_path)
    assert [sensor.name for sensor in others] == ["drivetemp_1_c", "drivetemp_1_2_c", "drivetemp_1_3_c"]
