"""Boot time, wall time, and when the one is known from the other."""

from __future__ import annotations

import glob
import os
import subprocess
import sys
import sysconfig
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.clock import FLOOR_US, ClockState, Sources, SystemClock, boot_id, boottime_us, kernel_synchronised
from agent.wire.records import ClockInfo

DAY_US = 86_400_000_000


class Machine:
    """A machine whose clocks the test moves."""

    def __init__(self, wall_us: int, synchronised: bool = False, boot_us: int = 5_000_000) -> None:
        self.boot_us, self.offset_us, self.synchronised = boot_us, wall_us - boot_us, synchronised

    def state(self, mode: str = "auto") -> ClockState:
        return ClockState(mode, Sources(lambda: "b" * 32, self.tick, lambda: self.boot_us + self.offset_us,
                                        lambda: self.synchronised))

    def tick(self) -> int:
        self.boot_us += 1  # time passes between two looks
        return self.boot_us


def test_the_real_clocks_of_this_machine() -> None:
    assert len(boot_id()) == 32 and int(boot_id(), 16) >= 0
    first = boottime_us()
    assert boottime_us() >= first > 0
    assert isinstance(kernel_synchronised(), bool)
    clock = SystemClock(ClockState("trust"))
    wall = clock.wall_us()
    assert wall is not None and abs(wall - time.time_ns() // 1000) < 1_000_000


def test_sleep_ends_at_once_when_stopping() -> None:
    stop = threading.Event()
    clock = SystemClock(ClockState("trust"), stop)
    assert clock.sleep(0.001) is True
    stop.set()
    assert clock.sleep(3600.0) is False


def test_B25_boot_at_1970_then_jump_gives_one_offset_for_the_whole_boot() -> None:
    machine = Machine(wall_us=12_000_000)  # 12 s after 1970
    clock = machine.state()
    assert clock.offset().offset_us is None
    machine.offset_us = FLOOR_US + 300 * DAY_US
    machine.synchronised = True
    known = clock.offset()
    assert known.quality == "synced" and known.offset_us is not None
    assert abs(known.offset_us - machine.offset_us) < 10
    stamp_before_sync = 1_000_000
    assert abs((clock.wall_us(stamp_before_sync) or 0) - (machine.offset_us + stamp_before_sync)) < 1_000_000


def test_B26_boot_never_synced_is_flagged_and_placed_by_its_sending() -> None:
    machine = Machine(wall_us=FLOOR_US + DAY_US)  # a plausible clock that nobody vouches for
    info = machine.state().offset()
    assert info.offset_us is None and info.quality == "unsynced"
    assert info.sent_us is not None and 0 <= machine.boot_us - info.sent_us <= 10


def test_B25_a_kernel_that_claims_1970_is_right_is_not_believed() -> None:
    machine = Machine(wall_us=60_000_000, synchronised=True)
    assert machine.state().offset().offset_us is None
    assert machine.state("trust").offset().offset_us is None


@pytest.mark.parametrize("back_us", [3600 * 1_000_000, 14 * DAY_US])
def test_B27_clock_back_moves_the_offset_and_never_the_stamps(back_us: int) -> None:
    machine = Machine(wall_us=FLOOR_US + 100 * DAY_US, synchronised=True)
    clock = machine.state()
    first = clock.offset()
    stamp = machine.boot_us
    machine.offset_us -= back_us
    second = clock.offset()
    assert first.offset_us is not None and second.offset_us is not None
    assert abs(first.offset_us - second.offset_us - back_us) < 10
    assert machine.boot_us - stamp < 100 and clock.steps == 1
    clock.offset()
    assert clock.steps == 1, "one step is counted once"


def test_noise_of_two_readings_does_not_move_the_offset() -> None:
    machine = Machine(wall_us=FLOOR_US + DAY_US, synchronised=True)
    clock = machine.state()
    first = clock.offset()
    machine.offset_us += 400
    assert clock.offset() == first and clock.steps == 0


def test_a_lost_network_does_not_unlearn_the_offset() -> None:
    machine = Machine(wall_us=FLOOR_US + DAY_US, synchronised=True)
    clock = machine.state()
    known = clock.offset()
    machine.synchronised = False
    assert clock.offset() == known


def test_B31_past_2038() -> None:
    later = int(datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC).timestamp()) * 1_000_000
    machine = Machine(wall_us=later - 2_000_000, synchronised=True)
    clock = machine.state()
    machine.boot_us += 5_000_000
    wall = clock.wall_us()
    assert wall is not None and wall > 2**31 * 1_000_000
    assert isinstance(clock.offset(), ClockInfo) and clock.steps == 0


FAKETIME = glob.glob(f"{sysconfig.get_paths()['purelib']}/**/libfaketime.so.1", recursive=True)
CHILD = """
import sys
from agent.clock import ClockState, Sources
clock = ClockState(sources=Sources(synchronised=lambda: True))
for line in sys.stdin:
    info = clock.offset()
    print(info.offset_us, clock.steps, clock.sources.boottime_us(), flush=True)
"""


@pytest.mark.skipif(not FAKETIME, reason="libfaketime is not installed: pip install libfaketime")
def test_B25_B27_with_a_faked_wall_clock_of_a_real_process(tmp_path: Path) -> None:
    """The library behind faketime(1) moves the real clock_gettime of a real process; boot time goes on."""
    setting = tmp_path / "faketime"
    setting.write_text("@2020-01-01 00:00:00\n")
    env = {**os.environ, "LD_PRELOAD": FAKETIME[0], "FAKETIME_TIMESTAMP_FILE": str(setting), "FAKETIME_NO_CACHE": "1",
           "FAKETIME_DONT_FAKE_MONOTONIC": "1", "TZ": "UTC"}
    with subprocess.Popen([sys.executable, "-c", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                          env=env, cwd=Path(__file__).parents[2]) as child:
        assert child.stdin and child.stdout

        def ask() -> tuple[str, int, int]:
            assert child.stdin and child.stdout
            child.stdin.write("?\n")
            child.stdin.flush()
            offset, steps, boot = child.stdout.readline().split()
            return offset, int(steps), int(boot)

        assert ask()[0] == "None"  # before the floor
        setting.write_text("+0\n")
        true, steps, boot = ask()
        now = time.clock_gettime_ns(time.CLOCK_REALTIME) // 1000
        assert abs(int(true) + boot - now) < 1_000_000 and steps == 0
        setting.write_text("-1h\n")
        back, steps, later = ask()
        assert abs(int(true) - int(back) - 3_600_000_000) < 1_000_000 and steps == 1
        assert later - boot < 60_000_000
        child.stdin.close()
