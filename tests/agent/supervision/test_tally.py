"""What the watchdog counts of each program, over its own restarts."""

from __future__ import annotations

import json
from pathlib import Path

from agent.supervision.tally import FILE, Tally
from agent.uplink import services


def told(run_dir: Path) -> dict[str, services.ServiceState]:
    return services.gather(run_dir, lambda boottime_us: boottime_us + 1_000_000_000).services


def test_starts_ends_and_states_are_counted_once(tmp_path: Path) -> None:
    now = [5_000_000]
    tally = Tally(tmp_path, lambda: now[0])
    tally.state("plugin-meter", "STARTING")
    tally.seen("plugin-meter", "STARTING", 71)  # the look of every minute, between two events
    tally.state("plugin-meter", "RUNNING", 71)
    tally.seen("plugin-meter", "RUNNING", 71)
    tally.write()
    one = told(tmp_path)["plugin-meter"]
    assert (one.state, one.restarts, one.last_end, one.pid, one.since_us) == ("running", 0, "", 71, 1_005_000_000)
    now[0] = 9_000_000
    tally.exited("plugin-meter", -9)
    tally.state("plugin-meter", "EXITED", 71)
    tally.state("plugin-meter", "STARTING")
    tally.state("plugin-meter", "RUNNING", 72)
    tally.write()
    one = told(tmp_path)["plugin-meter"]
    assert (one.restarts, one.last_end, one.pid, one.since_us) == (1, "killed by SIGKILL", 72, 1_009_000_000)
    tally.exited("plugin-meter", 2)
    tally.state("plugin-meter", "FATAL")
    tally.write()
    assert (told(tmp_path)["plugin-meter"].state, told(tmp_path)["plugin-meter"].last_end) == ("fatal", "exit code 2")


def test_a_new_watchdog_goes_on_counting_and_a_new_supervisord_begins(tmp_path: Path) -> None:
    first = Tally(tmp_path)
    for pid in (1, 2, 3):
        first.state("uplink", "STARTING")
        first.state("uplink", "RUNNING", pid)
    first.write()
    second = Tally(tmp_path)
    second.seen("uplink", "RUNNING", 4)  # it was started while nobody listened
    second.write()
    assert told(tmp_path)["uplink"].restarts == 3
    file = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(file | {"supervisor": -1}))
    third = Tally(tmp_path)
    third.seen("uplink", "RUNNING", 5)
    third.write()
    assert told(tmp_path)["uplink"].restarts == 0
    third.keep_only(["watchdog"])
    third.write()
    assert told(tmp_path) == {}


def test_the_file_changes_only_when_something_happened(tmp_path: Path) -> None:
    tally = Tally(tmp_path)
    tally.state("uplink", "RUNNING", 7)
    tally.write()
    before = services.stamp(tmp_path)
    tally.state("uplink", "RUNNING", 7)
    tally.write()
    assert services.stamp(tmp_path) == before != 0
    for bad in (b"", b"[1]", b'{"supervisor": 1, "programs": {"x": 3}}', b"\xff"):
        (tmp_path / FILE).write_bytes(bad)
        assert told(tmp_path) == {}
        Tally(tmp_path).write()
