"""The watchdog on a moved clock, over real progress files: from a hung plugin to the machine (B57, B61 to B63)."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from agent.supervision import machine as machine_module
from agent.supervision.ladder import MACHINE_AFTER_S, UPLINK_AFTER_S
from agent.supervision.notices import Notices
from agent.supervision.reboots import FILE
from agent.supervision.watchdog import Watchdog

TICK_S = 5.0


class Bench:
    """One device on a clock of ours: supervisord is this class, the plugin's files are real."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.now, self.wall = 10_000.0, 1_790_000_000.0
        (folder / "progress").mkdir()
        script = folder / "systemctl"
        script.write_text(f"#!/bin/sh\necho asked >> {folder}/asked\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("HUTKEEPER_REBOOT_COMMAND", str(script))
        (folder / "supervision.json").write_text(json.dumps({
            "programs": {"plugin-camera": {"instances": ["camera"], "hang_after_s": 30},
                         "uplink": {"instances": ["uplink"], "hang_after_s": 60}},
            "machine": {"reboot": "always", "data_dir": str(folder), "clock": "trust", "guards": True}}))
        self.calls: list[tuple[Any, ...]] = []
        self.monkeypatch = monkeypatch
        self.watchdog = self.a_watchdog()
        self.works = {"camera": True, "uplink": True}
        for program in ("plugin-camera", "uplink"):
            self.start(program)

    def a_watchdog(self) -> Watchdog:
        watchdog = Watchdog(self.folder, self.folder / "agent.toml", Notices(self.folder), self.folder,
                            monotonic_s=lambda: self.now, wall_s=lambda: self.wall)
        self.monkeypatch.setattr(watchdog, "_call", self._call)
        return watchdog

    def _call(self, method: str, *args: Any) -> Any:
        self.calls.append((method, *args))
        if method == "supervisor.reloadConfig":
            return [([], [], ["plugin-camera"])]
        if method == "supervisor.getAllProcessInfo":
            return [{"name": name, "statename": "RUNNING", "pid": 7} for name in ("plugin-camera", "uplink")]
        if method == "supervisor.signalProcess":
            self.watchdog.event("REMOTE_COMMUNICATION", f"type:exit\n{args[0]} -9")
            self.watchdog.event("PROCESS_STATE_EXITED", f"processname:{args[0]} expected:0")
            self.start(args[0])
        return None

    def start(self, program: str) -> None:
        self.watchdog.event("PROCESS_STATE_STARTING", f"processname:{program}")
        self.touch(program.removeprefix("plugin-"))
        self.watchdog.event("PROCESS_STATE_RUNNING", f"processname:{program}")

    def touch(self, instance: str) -> None:
        path = self.folder / "progress" / instance
        path.touch()
        os.utime(path, ns=(int(self.now * 1e9),) * 2)

    def run(self, seconds: float) -> None:
        for _ in range(int(seconds / TICK_S)):
            self.now += TICK_S
            self.wall += TICK_S
            for name, works in self.works.items():
                if works:
                    self.touch(name)
            self.watchdog.event("TICK_5", "when:1")

    def asked(self) -> int:
        path = self.folder / "asked"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def kills(self, program: str, word: str) -> int:
        return self.calls.count(("supervisor.signalProcess", program, word))


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(tmp_path, monkeypatch)


def test_b57_b62_a_plugin_that_stands_still_for_ever(bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    bench.works["camera"] = False
    bench.run(UPLINK_AFTER_S - 60)
    assert bench.kills("plugin-camera", "KILL") >= 3 and bench.kills("uplink", "TERM") == 0
    bench.run(240)
    assert bench.kills("uplink", "TERM") == 1 and bench.asked() == 0
    bench.run(MACHINE_AFTER_S)
    assert bench.asked() == 1
    told = capfd.readouterr().err
    assert "WARNING watchdog: uplink is restarted: camera made no progress for" in told
    assert "WARNING watchdog: this machine is restarted by its watchdog: camera made no progress for" in told
    assert json.loads((bench.folder / FILE).read_bytes())[0]["why"].startswith("camera made no progress for")
    bench.run(5 * 3600)  # room for fifteen
    assert bench.asked() == 3
    assert "E_REBOOT_BUDGET camera made no progress" in capfd.readouterr().err


def test_what_is_removed_from_agent_toml_is_accused_of_nothing_any_more(
        bench: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    bench.works["camera"] = False
    for _ in range(24):
        bench.run(TICK_S)
        if "E_PLUGIN_HUNG plugin camera" in capfd.readouterr().err:
            break
    else:
        pytest.fail("it was not accused in 120 s")
    plan = json.loads((bench.folder / "supervision.json").read_text())
    del plan["programs"]["plugin-camera"]
    (bench.folder / "supervision.json").write_text(json.dumps(plan))
    bench.watchdog.apply()
    assert "hung-camera: over" in capfd.readouterr().err


def test_an_uplink_that_stands_still_is_killed(bench: Bench) -> None:
    bench.works["uplink"] = False
    bench.run(80)
    assert bench.kills("uplink", "KILL") == 1
    bench.works["uplink"] = True
    bench.run(3600)
    assert bench.kills("uplink", "KILL") == 1 and bench.asked() == 0


def test_b61_hours_of_work_with_no_hub_at_all_restart_nothing(bench: Bench) -> None:
    bench.run(4 * 3600)
    assert {call for call in bench.calls if "signal" in call[0]} == set() and bench.asked() == 0


def test_b63_while_the_mains_is_away_nothing_is_killed_or_restarted(bench: Bench) -> None:
    held = bench.folder / "restarts_held"
    bench.works["camera"] = False
    for _ in range(4 * 60):
        held.touch()
        os.utime(held, (bench.wall, bench.wall))
        bench.run(60)
    assert bench.kills("plugin-camera", "KILL") == 0 and bench.kills("uplink", "TERM") == 0
    held.unlink()
    bench.run(UPLINK_AFTER_S - 60)
    assert bench.kills("plugin-camera", "KILL") >= 1 and bench.kills("uplink", "TERM") == 0
    assert bench.asked() == 0


def test_b62_a_machine_on_a_desk_stays_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(machine_module.SERVICE, raising=False)
    bench.watchdog.machine._how = "auto"
    bench.works["camera"] = False
    bench.run(3 * MACHINE_AFTER_S)
    assert bench.asked() == 0 and not (bench.folder / FILE).exists()


def test_b56_b57_a_watchdog_that_is_killed_leaves_no_alert_for_ever(bench: Bench) -> None:
    """Uplink shows what the dead one raised, and nobody else would ever take it back."""
    for _ in range(3):
        bench.watchdog.event("REMOTE_COMMUNICATION", "type:exit\nplugin-camera 1")
        bench.watchdog.event("PROCESS_STATE_EXITED", "processname:plugin-camera expected:0")
        bench.start("plugin-camera")
    bench.works["camera"] = False
    bench.run(100)
    assert sorted(bench.watchdog.notices.raised) == ["crashloop-camera", "hung-camera"]
    bench.watchdog = bench.a_watchdog()
    assert sorted(bench.watchdog.notices.raised) == ["crashloop-camera", "hung-camera"]
    bench.works["camera"] = True
    bench.run(30)
    assert bench.watchdog.notices.raised == ("crashloop-camera",)
    bench.watchdog = bench.a_watchdog()
    bench.run(400)
    assert bench.watchdog.notices.raised == ()
    bench.watchdog.notices.fault("hung-camera", "E_PLUGIN_HUNG", instance="camera", age_s=40)
    plan = json.loads((bench.folder / "supervision.json").read_text())
    del plan["programs"]["plugin-camera"]  # taken out of agent.toml while nobody looked
    (bench.folder / "supervision.json").write_text(json.dumps(plan))
    assert bench.a_watchdog().notices.raised == ()
