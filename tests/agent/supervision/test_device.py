"""The real supervisord with real plugin processes of every bad habit, all at once on one device."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from tests.agent.supervision.device import Device
from tests.waiting import until

HANG_AFTER_S = 20
MEMORY_MB = 128


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    with Device(tmp_path_factory.mktemp("device")) as device:
        device.write(sections(device))
        device.start()
        until("supervisord", device.states)
        yield device


def sections(device: Device, note: str = "first", extra: str = "") -> str:
    return "".join((
        device.stand_in("good", "good"),
        device.stand_in("edited", "good", note=note),
        device.stand_in("crasher", "crash"),
        device.stand_in("sleeper", "hang", after_s=1.0, hang_after_s=HANG_AFTER_S),
        device.stand_in("hoarder", "leak", memory_mb=MEMORY_MB),
        device.stand_in("shouter", "flood"),
        device.stand_in("idle", "good", enabled=False),
        extra,
    ))


def pid_of(device: Device, name: str) -> int:
    return until(f"{name} running", lambda: device.states().get(f"plugin-{name}", ("", 0))[1])


def test_every_enabled_plugin_has_a_process_of_its_own(device: Device) -> None:
    states = until("all programs", lambda: device.states() or None)
    assert set(states) == {"watchdog", "uplink", *(f"plugin-{name}" for name in (
        "good", "edited", "crasher", "sleeper", "hoarder", "shouter"))}
    until("the good ones run", lambda: all(
        device.states().get(f"plugin-{name}", ("",))[0] == "RUNNING" for name in ("good", "edited")))


def test_supervisord_listens_on_a_unix_socket_of_its_user_alone(device: Device) -> None:
    pid = device.supervisord()
    assert not [item for item in psutil.Process(pid).net_connections("inet") if item.status == "LISTEN"]
    assert (device.run_dir / "supervisor.sock").stat().st_mode & 0o077 == 0


def test_B56_a_crash_loop_is_spaced_out_and_told_and_others_do_not_notice(device: Device) -> None:
    good = pid_of(device, "good")
    starts = until("four starts", lambda: len(device.diary("crasher")) >= 4 and device.diary("crasher"), 60)
    gaps = [after - before for (_, before, _), (_, after, _) in pairwise(starts)]
    assert all(gap > n for n, gap in enumerate(gaps[:3])), gaps  # later and later, and what a start takes
    assert "E_PLUGIN_CRASHLOOP plugin crasher ended 3 times: exit code 3" in device.log("watchdog")
    assert pid_of(device, "good") == good and len(device.diary("good")) == 1


def test_B24_a_flood_in_c_stays_below_the_cap_of_its_log(device: Device) -> None:
    folder = device.folder / "data/log"
    until("the flood", lambda: list(folder.glob("plugin-shouter.log.1")))
    pid_of(device, "shouter")
    assert until("a look between two rotations", lambda: _size(folder)) < 3 << 20
    assert device.states()["plugin-good"][0] == "RUNNING"


def _size(folder: Path) -> int:
    """0: a file was rotated away while we looked."""
    try:
        return sum(file.stat().st_size for file in folder.glob("plugin-shouter.log*"))
    except FileNotFoundError:
        return 0


def test_B80_an_edited_section_restarts_its_plugin_alone(device: Device) -> None:
    good, edited = pid_of(device, "good"), pid_of(device, "edited")
    device.write(sections(device, note="second", extra=device.stand_in("added", "good")))
    until("the edited plugin anew", lambda: [note for _, _, note in device.diary("edited")] == ["first", "second"])
    until("the added plugin", lambda: device.diary("added"))
    assert pid_of(device, "good") == good
    assert not psutil.pid_exists(edited)


def test_B80_a_refused_agent_toml_changes_nothing_is_told_and_forgiven(device: Device) -> None:
    good = pid_of(device, "good")
    before = device.diary("edited")
    device.write(sections(device, note="third").replace('habit = "crash"', 'habbit = "crash"'))
    until("the error", lambda: "plugins.crasher.habbit: unknown key, did you mean habit?" in device.log("watchdog"))
    assert "E_CONFIG" in device.log("watchdog")
    os.kill(pid_of(device, "edited"), signal.SIGKILL)
    until("the restarted plugin", lambda: len(device.diary("edited")) == len(before) + 1)
    assert device.diary("edited")[-1][2] == "second", "the last good agent.toml goes on, also for a new process"
    assert pid_of(device, "good") == good
    device.write(sections(device, note="fourth"))
    until("the good one", lambda: device.diary("edited")[-1][2] == "fourth")
    until("the plugin gone that was taken out", lambda: "plugin-added" not in device.states() and device.states())
    assert pid_of(device, "good") == good
    until("the alert is over", lambda: "config: over" in device.log("watchdog"))


def test_B57_a_hanging_plugin_is_killed_and_started_again(device: Device) -> None:
    until("a second life of the sleeper", lambda: len({pid for pid, _, _ in device.diary("sleeper")}) >= 2, 60)
    told = re.search(r"E_PLUGIN_HUNG plugin sleeper made no progress for (\d+) s", device.log("watchdog"))
    assert told and HANG_AFTER_S < int(told[1]) <= HANG_AFTER_S + 5


def test_B57_a_leak_meets_its_limit_and_not_the_machines(device: Device) -> None:
    until("MemoryError", lambda: "MemoryError" in device.log("plugin-hoarder"), 60)
    pid = device.states()["plugin-hoarder"][1]
    if pid:
        assert psutil.Process(pid).memory_info().rss < (MEMORY_MB + 64) << 20


def test_a_killed_watchdog_comes_back_and_finds_what_is_to_do(device: Device) -> None:
    pid = device.states()["watchdog"][1]
    os.kill(pid, signal.SIGKILL)
    until("a new watchdog", lambda: device.states().get("watchdog", ("", 0))[1] not in (0, pid))
    count = len(device.diary("crasher"))
    until("the crasher's next start", lambda: len(device.diary("crasher")) > count, 60)


def test_the_end_leaves_no_process(device: Device) -> None:
    assert device.stop(signal.SIGINT) == 0
    until("no process left", lambda: not device.processes(), 5)
    assert not Path(f"/proc/{pid_in(device)}").exists()


def pid_in(device: Device) -> int:
    """The last pid in the good plugin's diary."""
    return device.diary("good")[-1][0]
