"""The machine is restarted for good reasons, seldom, and not without writing it down: B62, with real files and a real
command in the place of systemctl."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.clock import boot_id
from agent.guard.hardware import STARVE, HardwareWatchdog
from agent.supervision import machine as module
from agent.supervision.machine import BUDGET_ALERT, ORDERLY_S, Machine
from agent.supervision.notices import Notices
from agent.supervision.reboots import BUDGET, FILE, Reboot, Reboots

HOUR_US = 3_600_000_000
NOW_US = 1_790_000_000_000_000


class Desk:
    """One machine with a systemctl that writes down what it was asked, and a clock of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **plan: Any) -> None:
        self.folder = folder
        self.asked = folder / "asked"
        script = folder / "systemctl"
        script.write_text(f'#!/bin/sh\necho "$@" >> {self.asked}\n[ ! -e {folder}/refuses ]\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("HUTKEEPER_REBOOT_COMMAND", f"{script} reboot")
        self.now_s, self.wall_us = 0.0, NOW_US
        self.notices = Notices(folder)
        self.plan = {"machine": {"reboot": "always", "data_dir": str(folder), "clock": "trust"} | plan}
        self.machine = self.started()

    def started(self) -> Machine:
        """A new watchdog."""
        fresh = Machine(self.folder, self.notices, lambda: self.now_s)
        fresh.plan(self.plan)
        fresh._clock = self  # type: ignore[assignment]  # its wall time is moved
        self.made: dict[str, int | None] = {"us": None}
        fresh._wall_us = lambda: self.wall_us  # type: ignore[method-assign]
        return fresh

    def count(self) -> int:
        return len(self.asked.read_text().splitlines()) if self.asked.exists() else 0


def test_b62_a_check_that_fails_for_ever_makes_three_reboots_a_day(tmp_path, monkeypatch, capfd):
    desk = Desk(tmp_path, monkeypatch)
    for hour in range(72):
        desk.wall_us = NOW_US + hour * HOUR_US
        desk.machine = desk.started()  # each reboot, and each restart of the watchdog, reads the book anew
        desk.machine.restart("camera made no progress for 40 s")
        made = [one.at_us for one in msgspec.json.decode((tmp_path / FILE).read_bytes(), type=list[Reboot])]
        assert sum(1 for at in made if at is not None and at > desk.wall_us - 24 * HOUR_US) <= BUDGET
    assert desk.count() == 9
    told = capfd.readouterr().err
    assert "E_REBOOT_BUDGET camera made no progress for 40 s: this machine was restarted 3 times in 24 h" in told
    assert BUDGET_ALERT in desk.notices._raised
    desk.machine.well()
    assert BUDGET_ALERT not in desk.notices._raised


def test_b62_reboots_of_a_clock_that_knew_no_time_count_until_a_day_after_it_does(tmp_path):
    wall: list[int | None] = [None]
    book = Reboots(tmp_path / FILE, "b0", lambda: wall[0])
    for n in range(BUDGET):
        assert book.left() == BUDGET - n
        assert book.note("x") is None
    assert Reboots(tmp_path / FILE, "b1", lambda: None).left() == 0
    wall[0] = NOW_US
    assert Reboots(tmp_path / FILE, "b1", lambda: wall[0]).left() == 0
    wall[0] = NOW_US + 25 * HOUR_US
    assert Reboots(tmp_path / FILE, "b1", lambda: wall[0]).left() == BUDGET
    wall[0] = NOW_US - 1000 * HOUR_US  # set back: they lie ahead, and count
    assert Reboots(tmp_path / FILE, "b1", lambda: wall[0]).left() == 0


def test_b62_a_book_that_cannot_be_written_or_read_allows_none(tmp_path, monkeypatch, capfd):
    desk = Desk(tmp_path, monkeypatch, data_dir=str(tmp_path / "gone"))
    desk.machine.restart("x")
    assert desk.count() == 0
    assert "its book of reboots cannot be written" in capfd.readouterr().err
    (tmp_path / FILE).write_text("{half")
    desk = Desk(tmp_path, monkeypatch)
    desk.machine.restart("x")
    assert desk.count() == 0
    assert "cannot be read" in capfd.readouterr().err


def test_a_machine_on_a_desk_is_never_restarted(tmp_path, monkeypatch, capfd):
    monkeypatch.delenv(module.SERVICE, raising=False)
    desk = Desk(tmp_path, monkeypatch, reboot="auto")
    desk.machine.restart("x")
    assert desk.count() == 0 and not (tmp_path / FILE).exists()
    assert "it is not restarted by itself" in capfd.readouterr().err
    monkeypatch.setenv(module.SERVICE, "1")
    desk.machine.restart("x")
    assert desk.count() == 1


@pytest.mark.parametrize("refused", [False, True])
def test_b62_where_systemd_does_not_do_it_the_board_does(tmp_path, monkeypatch, refused):
    board = tmp_path / "board"
    board.write_bytes(b"")
    if refused:
        (tmp_path / "refuses").touch()
    desk = Desk(tmp_path, monkeypatch, hardware_watchdog=str(board), guards=True)
    guard = HardwareWatchdog(board, tmp_path)
    guard.feed()
    desk.machine.restart("uplink made no progress for 70 s")
    assert (tmp_path / STARVE).exists() is refused
    desk.now_s += ORDERLY_S
    desk.machine.tick()
    assert (tmp_path / STARVE).read_text() == boot_id()
    guard._next_s = 0.0
    guard.feed()
    guard.close()
    assert board.read_bytes() == b"\0", "no more food, and no letter that says goodbye"
    (tmp_path / STARVE).write_text("an earlier boot")
    late = HardwareWatchdog(board, tmp_path)
    late.feed()
    late.close()
    assert board.read_bytes().endswith(b"\0V")


def test_where_no_guard_feeds_the_board_the_watchdog_does(tmp_path, monkeypatch):
    board = tmp_path / "board"
    board.write_bytes(b"")
    monkeypatch.setattr(module, "FEED_LOOK_S", 0.01)
    desk = Desk(tmp_path, monkeypatch, hardware_watchdog=str(board), guards=False)
    feeder = desk.machine._feeder
    assert feeder is not None
    from tests.waiting import until

    until("fed", lambda: board.stat().st_size >= 1)
    desk.machine.plan({"machine": desk.plan["machine"] | {"guards": True}})
    assert board.read_bytes().strip(b"\0") == b"V"
    assert not feeder.is_alive()


def test_the_reason_is_told_once_in_the_next_boot(tmp_path, monkeypatch, capfd):
    desk = Desk(tmp_path, monkeypatch)
    Reboots(tmp_path / FILE, "the boot before", lambda: NOW_US).note("camera made no progress for 40 s")
    desk.started().tell()
    assert "this machine was restarted by its watchdog: camera made no progress" in capfd.readouterr().err
    desk.started().tell()
    assert capfd.readouterr().err == ""
