"""Judging by progress: what a device tells becomes states, and states become conditions."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest

from agent.wire import topics
from agent.wire.messages import ServiceState
from hub import settings as hub_settings
from hub.ingest import status
from hub.settings import Settings
from hub.store.watch_rows import Canary, DiskPoint
from hub.supervision import LIVES, Life
from hub.watch import hub_side, judge, pulse
from hub.watch.canaries import judge as timed
from hub.watch.forecast import days_until_full, per_day
from hub.watch.model import Machine
from hub.watch.report import device_machine
from hub.watch.supply import POWER, held_by, supplies_of
from hub.web.machines import as_json
from tests.hub.watch.lab import NOW_US, S, Trees, running


def machine(**of: object) -> Machine:
    trees = Trees()
    trees.device(**of)  # type: ignore[arg-type]
    device = trees.tree.device("attic")
    assert device is not None
    return device_machine(device, NOW_US)


def states(of: Machine) -> dict[str, str]:
    return {one.name: one.state for one in of.services}


def test_all_that_moves_is_ok() -> None:
    one = machine()
    assert states(one) == dict.fromkeys(("guard-heater", "uplink", "watchdog", "heater", "host"), "ok")
    assert one.state == "ok" and one.progress_us == NOW_US - 2 * S
    by = {service.name: service for service in one.services}
    assert by["guard-heater"].progress_us == NOW_US - 10 * S - 400_000
    assert (by["host"].restarts, by["host"].last_end) == (2, "killed by SIGKILL")
    assert (by["heater"].restart, by["guard-heater"].restart, by["uplink"].restart) == (
        "plugin:heater", "guard:heater", "uplink")
    figures = one.figures
    assert (figures.disks[0].days_until_full, figures.memory_used_percent, figures.wear_percent) == (9.4, 41.5, 10.0)
    assert figures.under_voltage is False and figures.under_voltage_since_boot is True
    assert list(judge.services(one)) == []


def test_running_is_no_progress() -> None:
    """supervisord says RUNNING for all of these."""
    still = ServiceState("running", NOW_US - 3600 * S, still_s=40.0, limit_s=15.0, pid=13)
    assert states(machine(services=running(NOW_US, guard_heater=still)))["guard-heater"] == "failed"
    assert states(machine(ago_s=120))["heater"] == "failed"
    assert machine(ago_s=120).state == "failed"  # connected and silent
    assert states(machine(sys__outbox_oldest_age_s="95"))["uplink"] == "slow"
    assert states(machine(receipt_s=3600))["uplink"] == "failed"
    assert states(machine(heater__health="degraded"))["heater"] == "slow"
    assert states(machine(told_s=700))["guard-heater"] == "unknown"  # the watchdog says nothing any more
    assert states(machine(told_s=700))["watchdog"] == "unknown"
    assert states(machine(sys__services="{broken"))["uplink"] == "ok"


def test_what_does_not_run_is_told_with_its_end() -> None:
    fatal = ServiceState("fatal", NOW_US - 60 * S, 5, "exit code 3", plugins=("heater",))
    one = machine(services=running(NOW_US, plugin_heater=fatal, watchdog=ServiceState("stopped", NOW_US - 9 * S)))
    assert (states(one)["heater"], states(one)["watchdog"], one.state) == ("failed", "stopped", "slow")
    assert "exit code 3" in next(service.words for service in one.services if service.name == "heater")
    (found,) = judge.services(one)  # the plugin's own failure is told by its device
    assert found.key == "service:attic/watchdog" and found.subject == "device:attic" and found.of_absence
    guard = machine(services=running(NOW_US, guard_heater=ServiceState("fatal", NOW_US - S)))
    (found,) = judge.services(guard)
    assert found.severity == "critical" and "without its guard an actuator is off" in found.kept


@pytest.mark.parametrize("state", ["lost", "disconnected"])
def test_of_a_device_that_is_away_nothing_more_is_said(state: str) -> None:
    one = machine(state=state, services=running(NOW_US, watchdog=ServiceState("fatal", NOW_US)))
    assert one.state == "away" and set(states(one).values()) == {"away"} and not list(judge.services(one))


def test_canaries_and_clocks() -> None:
    trees = Trees()
    trees.device()
    device = trees.tree.device("attic")
    assert timed(device, NOW_US - 400_000, NOW_US) == (400_000, "timed")
    assert timed(device, NOW_US + 500_000, NOW_US) == (0, "timed")  # clocks are never quite the same
    assert timed(device, NOW_US + 60 * S, NOW_US) == (None, "skewed")
    trees.device(sys__clock_quality="unsynced")
    assert timed(trees.tree.device("attic"), NOW_US - 1, NOW_US) == (None, "unsynced")


def test_an_overdue_canary_is_a_condition_and_one_of_an_absent_device_is_not() -> None:
    hour = 3600 * S
    here = NOW_US - 10 * hour
    last = msgspec.structs.replace(machine(), canary=Canary("attic", NOW_US - hour, NOW_US, 5, "timed", 5, 5, 0))
    assert not list(judge.canary(last, here, NOW_US))
    assert not list(judge.canary(last, here, NOW_US + 19 * 60 * S))
    (found,) = judge.canary(last, here, NOW_US + 21 * 60 * S)
    assert found.key == "canary:attic" and found.of_absence and found.severity == "error"
    assert not list(judge.canary(last, None, NOW_US + 10 * hour))  # away: that is the alert
    assert not list(judge.canary(last, NOW_US + 9 * hour, NOW_US + 10 * hour))  # back for an hour
    assert list(judge.canary(machine(), here, NOW_US))  # it has never sung


# --- the hub itself -------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "hub.toml").write_text('[hub]\ndata_dir = "d"\nrun_dir = "r"\n')
    loaded = hub_settings.load(tmp_path / "hub.toml")
    for folder in (loaded.hub.data_dir, loaded.hub.run_dir):
        folder.mkdir()
    return loaded


def beat(settings: Settings, part: str, ago_s: float = 0.0) -> None:
    pulse.Pulse(settings.hub.run_dir, part).beat()
    at = int((time.monotonic() - ago_s) * 1e9)
    os.utime(settings.hub.run_dir / "pulse" / part, ns=(at, at))


def test_parts_of_the_hub_by_their_pulse(settings: Settings) -> None:
    now_us = time.time_ns() // 1000
    for part in ("broker", "ingest", "web"):
        beat(settings, part)
    one = hub_side.hub_machine(settings, now_us)
    assert states(one) == {"broker": "ok", "ingest": "ok", "notify": "stopped", "web": "ok"} and one.state == "slow"
    beat(settings, "notify")
    beat(settings, "ingest", 31)
    assert states(hub_side.hub_machine(settings, now_us))["ingest"] == "failed"
    beat(settings, "ingest")
    told = status.Status(state="full", connected=True, faults={"E_DB_FULL": "E_DB_FULL the disk is full"})
    status.write(settings.hub.run_dir, told)
    (service,) = [one for one in hub_side.hub_machine(settings, now_us).services if one.name == "ingest"]
    assert (service.state, service.words) == ("failed", "E_DB_FULL the disk is full")
    assert judge.trouble([], hub_side.hub_machine(settings, now_us)) == "ingest: its disk is full"
    lives = {part: Life(os.getpid(), now_us - 60 * S) for part in ("broker", "notify", "web")}
    lives["ingest"] = Life(0, now_us - 60 * S, 4, "exit code 3", now_us - S)
    (settings.hub.run_dir / LIVES).write_bytes(msgspec.json.encode(lives))
    (service,) = [one for one in hub_side.hub_machine(settings, now_us).services if one.name == "ingest"]
    assert (service.state, service.restarts, service.words) == ("failed", 4, "does not run, exit code 3")


def test_conditions_of_the_hub_stand_for_a_while_before_they_are_said(settings: Settings) -> None:
    now_us = time.time_ns() // 1000
    for part in ("broker", "notify", "ingest"):
        beat(settings, part)
    beat(settings, "web", 31)
    one = hub_side.hub_machine(settings, now_us)
    since = judge.Since()

    def said(at_us: int, echo_s: float = 1.0) -> dict[str, str]:
        found = judge.hub(one, at_us, echo_s=echo_s, connected=True)
        return {condition.key: condition.severity for condition in since.held(found, at_us)
                if condition.key != "hub:disk"}

    assert said(now_us) == {} and said(now_us + 14 * S) == {}
    assert said(now_us + 16 * S) == {"hub:web": "error"}
    assert said(now_us + 17 * S, 50) == {"hub:web": "error"}
    assert said(now_us + 33 * S, 66) == {"hub:web": "error", "hub:broker": "error"}


def test_the_hubs_disk_is_told_before_it_is_full(settings: Settings) -> None:
    gib = 1 << 30
    day = 86_400 * S
    filling = [DiskPoint(n * 3600 * S, 100 * gib - n * gib // 2, 5 * gib + n * gib // 2) for n in range(48)]
    assert days_until_full(filling, 60 * gib) == pytest.approx(5.0, abs=0.01)
    assert per_day(filling, "used_bytes") == pytest.approx(12 * gib)
    backup = [*filling[:20], DiskPoint(filling[20].t_us, gib, gib), *filling[21:]]
    assert days_until_full(backup, 60 * gib) == pytest.approx(5.0, rel=0.1)  # one outlier is no trend
    assert days_until_full(filling[:4], gib) is None and days_until_full(filling[:5], gib) is None  # too early to say
    assert days_until_full([DiskPoint(n * day, 100 * gib, 5 * gib) for n in range(10)], gib) is None
    one = hub_side.hub_machine(settings, 1)
    (disk,) = one.figures.disks
    for free, severity, said in ((0.5, "warning", "full in 4 days"), (0.02, "critical", "(2 %)")):
        full = msgspec.structs.replace(disk, free_bytes=int(free * 100 * gib), total_bytes=100 * gib)
        sick = msgspec.structs.replace(one, figures=msgspec.structs.replace(one.figures, disks=(full,)))
        (found,) = [condition for condition in judge.hub(sick, NOW_US, echo_s=0, connected=True, points=filling)
                    if condition.key == "hub:disk"]
        assert judge.trouble([found], sick) == (found.title if severity == "critical" else "")
        assert found.severity == severity and said in found.title and "grow by 12.0 GiB a day" in found.title
    well = msgspec.structs.replace(disk, free_bytes=90 * gib, total_bytes=100 * gib)
    fine = msgspec.structs.replace(one, figures=msgspec.structs.replace(one.figures, disks=(well,)))
    assert not [condition for condition in judge.hub(fine, NOW_US, echo_s=0, connected=True, points=filling)
                if condition.key == "hub:disk"]


# --- mains and internet ---------------------------------------------------------------------------------------------


def test_B63_mains_lost_and_just_back_hold_restarts() -> None:
    trees = Trees()
    trees.device("cellar", supply=True)
    assert held_by(trees.tree.devices()) == ""
    trees.send(f"{topics.homie('cellar')}/power/{POWER}", "false")
    assert held_by(trees.tree.devices()) == "cellar/power"
    trees.send(f"{topics.homie('cellar')}/power/{POWER}", "true")
    trees.send(f"{topics.homie('cellar')}/power/restarts-held", "true")
    assert held_by(trees.tree.devices()) == "cellar/power"
    power, line = supplies_of(trees.tree.devices())
    assert (power.what, power.good, power.held, power.name) == ("power", True, True, "Mains and UPS")
    assert (line.what, line.good, line.held) == ("line", True, False)


def test_the_report_as_json_is_by_machine() -> None:
    from hub.watch.model import Report

    told = as_json(Report(NOW_US, (machine(),), ()))
    assert set(told) == {"attic"} and told["attic"]["services"]["host"]["restarts"] == 2
    assert told["attic"]["figures"]["disks"][0]["trend"] == "filling"


def test_mains_since_when_and_the_last_outages_from_the_store(tmp_path: Path) -> None:
    from hub.store.reader import Reader
    from hub.store.writer import Writer
    from tests.hub.store import lab as store_lab

    trees = Trees()
    trees.device("cellar", supply=False)
    hour = 3600 * S
    boot = 10 * hour
    with Writer(tmp_path / "samples.db") as writer:
        writer.commit([store_lab.batch(1, {
            "power/mains_event": [(boot, "lost"), (boot + hour, "returned"), (boot + 5 * hour, "lost")],
            "power/outage_s": [(boot + hour, 3600.0)],
            "power/internet_event": [(boot, "lost"), (boot + 60 * S, "returned")],
        }, device="cellar")])
    reader = Reader(tmp_path / "samples.db")
    power, line = supplies_of(trees.tree.devices(), reader)
    at = store_lab.BOOT_AT + boot
    assert (power.good, power.held, power.since_us) == (False, True, at + 5 * hour)
    assert [(outage.end_us, outage.length_s) for outage in power.outages] == [(at + hour, 3600.0)]
    assert (line.good, line.held, line.since_us) == (True, False, at + 60 * S)
    trees.send(f"{topics.homie('cellar')}/power/{POWER}", "true")  # back, and its event is still on its way
    assert supplies_of(trees.tree.devices(), reader)[0].since_us is None
    reader.close()
    (tmp_path / "samples.db").write_bytes(b"no database")
    assert supplies_of(trees.tree.devices(), Reader(tmp_path / "samples.db"))[0].good is True
