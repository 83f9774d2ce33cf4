"""The simulated relay moves as a real one does: by current for long enough, and stays where it is without."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from agent.api import LatchingRelay, PlainRelay, SimRelay
from agent.guard.drive import Driver
from agent.guard.pins import append_level, edges, last_level, open_pins

MS = 1000


def latching(folder: Path, **more) -> LatchingRelay:
    line = lambda name: f"sim:{folder / name}"  # noqa: E731
    return LatchingRelay(set_line=line("set"), reset_line=line("reset"), probe_line=line("probe"), **more)


def write(path: Path, *history: tuple[int, int]) -> None:
    """Edges: (CLOCK_MONOTONIC in microseconds, level)."""
    with path.open("a") as file:
        file.writelines(f"{t_us} {level}\n" for t_us, level in history)


@pytest.mark.parametrize(("pulse_ms", "moves"), [(4, False), (10, True), (100, True)])
def test_a_coil_needs_its_time(tmp_path, pulse_ms, moves):
    relay = SimRelay(latching(tmp_path))
    begin = time.monotonic_ns() // 1000
    write(tmp_path / "set", (begin, 0), (begin + 50 * MS, 1), (begin + 50 * MS + pulse_ms * MS, 0))
    assert relay.step(begin + 200 * MS) is moves
    assert last_level(tmp_path / "probe") is moves
    assert relay.longest_us == pulse_ms * MS


def test_it_stays_without_current_and_moves_back_by_the_other_coil(tmp_path):
    relay = SimRelay(latching(tmp_path))
    t = time.monotonic_ns() // 1000
    write(tmp_path / "set", (t, 1), (t + 30 * MS, 0))
    assert relay.step(t + 10**9)
    write(tmp_path / "reset", (t + 2 * 10**9, 1))
    assert relay.step(t + 2 * 10**9 + 5 * MS)
    assert not relay.step(t + 2 * 10**9 + 10 * MS), "while the pulse still goes on"
    assert relay.moves == 2


def test_both_coils_at_once_move_nothing(tmp_path):
    relay = SimRelay(latching(tmp_path))
    t = time.monotonic_ns() // 1000
    for name in ("set", "reset"):
        write(tmp_path / name, (t, 1), (t + 50 * MS, 0))
    assert not relay.step(t + 100 * MS) and relay.moves == 0


def test_the_real_driver_moves_it_and_reads_its_probe(tmp_path):
    for more in ({}, {"active_low": True, "probe_active_low": True}):
        folder = tmp_path / str(len(more))
        relay = latching(folder, pulse_ms=20, **more)
        with SimRelay(relay) as simulated:
            driver = Driver(relay, open_pins(relay))
            for wanted in (True, False, True):
                driver.put(wanted)
                for _ in range(200):
                    if driver.contact() is wanted:
                        break
                    time.sleep(0.01)
                assert driver.contact() is wanted and simulated.contact is wanted
            assert 15 * MS < simulated.longest_us < 500 * MS


def test_welded_by_hand_and_over_a_restart(tmp_path):
    setting = latching(tmp_path)
    relay = SimRelay(setting)
    relay.by_hand(True)
    assert relay.contact and last_level(tmp_path / "probe")
    again = SimRelay(setting)
    assert again.contact, "its contact outlives the process"
    again.stuck = True
    t = time.monotonic_ns() // 1000
    write(tmp_path / "reset", (t, 1), (t + 50 * MS, 0))
    assert again.step(t + 60 * MS)
    again.stuck = None
    assert again.step(t + 70 * MS), "what is over moves nothing"


def test_a_pulse_while_nobody_simulated_counts_and_an_older_one_does_not(tmp_path):
    setting = latching(tmp_path)
    t = time.monotonic_ns() // 1000 - 10_000 * MS
    write(tmp_path / "set", (t, 1), (t + 50 * MS, 0))
    relay = SimRelay(setting)  # the probe's file is new: nothing is known of the time before
    assert relay.step()
    relay.by_hand(False)
    again = SimRelay(setting)
    assert not again.step()
    append_level(tmp_path / "set", True)
    time.sleep(0.02)
    append_level(tmp_path / "set", False)
    assert SimRelay(setting).step()


def test_a_plain_relay_follows_its_line(tmp_path):
    setting = PlainRelay(line=f"sim:{tmp_path / 'line'}", probe_line=f"sim:{tmp_path / 'probe'}")
    relay = SimRelay(setting)
    append_level(tmp_path / "line", True)
    assert relay.step()
    append_level(tmp_path / "line", False)
    assert not relay.step()
    assert [level for _, level in edges(tmp_path / "probe")] == [False, True, False]


def test_real_lines_move_nothing():
    with SimRelay(PlainRelay(line="GPIO17", probe_line="GPIO18")) as relay:
        assert not relay.step() and relay.moves == 0


def test_a_history_that_was_cut_is_read_on(tmp_path):
    relay = SimRelay(latching(tmp_path))
    t = time.monotonic_ns() // 1000
    write(tmp_path / "set", (t, 1), (t + 50 * MS, 0))
    assert relay.step(t + 60 * MS)
    scratch = tmp_path / "short"
    write(scratch, (t + 50 * MS, 0))
    scratch.replace(tmp_path / "set")
    assert relay.step(t + 70 * MS)
    write(tmp_path / "reset", (t + 80 * MS, 1), (t + 120 * MS, 0))
    assert not relay.step(t + 200 * MS)
