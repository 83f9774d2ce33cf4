"""Who stands still, on a moved clock: B57 (killed within the deadline and 5 s), and nobody else."""

from __future__ import annotations

from pathlib import Path

from agent.supervision.heartbeat import Progress, default_hang_after_s
from agent.supervision.progress import FIRST_S, TICK_S, ProgressWatch


class Machine:
    """A watch over real progress files, and the clock that both sides read."""

    def __init__(self, run_dir: Path, limit_s: float) -> None:
        self.run_dir = run_dir
        self.now = 5000.0
        self.watch = ProgressWatch(run_dir, lambda: self.now)
        self.watch.plan({"plugin-x": (("x",), limit_s), "uplink": ((), 60.0)})

    def begin(self) -> Progress:
        self.watch.state("plugin-x", "STARTING")
        progress = Progress(self.run_dir, "x", 30.0)
        self.touch(progress)
        self.watch.state("plugin-x", "RUNNING")
        return progress

    def touch(self, progress: Progress) -> None:
        progress._next = 0.0  # its own cap of a touch a second is of real seconds
        progress.touch(self.now)

    def run(self, seconds: float, progress: Progress | None = None) -> list[float]:
        """Ticks for so long; with ``progress`` the plugin moves every 10 s. Returns the ages of what was hung."""
        hung: list[float] = []
        for n in range(int(seconds / TICK_S)):
            self.now += TICK_S
            if progress is not None and n % 2 == 0:
                self.touch(progress)
            hung += [item.silent_s for item in self.watch.tick()]
        return hung


def test_B57_a_plugin_that_stands_still_is_found_within_its_deadline_and_5_s(tmp_path: Path) -> None:
    for limit_s in (20.0, 30.0, 300.0):
        folder = tmp_path / f"{limit_s}"
        machine = Machine(folder, limit_s)
        progress = machine.begin()
        assert machine.run(3600, progress) == []
        machine.touch(progress)
        assert machine.run(limit_s) == [], "not before its deadline"
        (age_s,) = machine.run(5)
        assert limit_s < age_s <= limit_s + 5


def test_B57_a_process_that_never_moves_is_found_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 30.0)
    machine.watch.state("plugin-x", "STARTING")
    machine.watch.state("plugin-x", "RUNNING")
    assert machine.run(FIRST_S - 5) == []
    assert len(machine.run(15)) == 1


def test_a_pause_of_the_whole_machine_kills_nobody(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 15.0)
    progress = machine.begin()
    machine.run(60, progress)
    machine.now += 100_000
    assert machine.watch.tick() == []
    assert machine.run(600, progress) == []


def test_a_program_that_is_stopped_is_not_expected_to_move(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 15.0)
    machine.begin()
    machine.watch.state("plugin-x", "STOPPED")
    assert machine.run(3600) == []


def test_a_restart_gives_new_time_and_the_end_of_a_hang_is_told_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path, 15.0)
    progress = machine.begin()
    machine.run(30, progress)
    assert len(machine.run(25)) == 1
    progress = machine.begin()
    machine.run(20, progress)
    assert list(machine.watch.moved_again()) == ["x"]
    assert list(machine.watch.moved_again()) == []


def test_the_default_deadline_is_three_intervals_and_never_hasty() -> None:
    assert default_hang_after_s(60.0) == 180.0
    assert default_hang_after_s(0.1) == 30.0
