"""The plugin on a real pty, a real socket and captures: links, what is told, what goes wrong."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from agent.api import CommandRefused, ConfigError, Message, Node, Reading
from agent.bus import Answer, Command
from agent.replay.engine import Replay
from agent.runner.io import RunnerIo
from agent.runner.logs import CappedLog
from agent.runner.worker import Worker, Yield, boottime_us
from agent.testing.fakes import FakePty, Lines, io_over
from firmware_bridges.esp32_csi import CsiRow, write_row
from plugins.esp32_csi.plugin import Esp32Csi, Esp32CsiConfig
from plugins.esp32_csi.simulate import SENDER, Room, simulated
from plugins.esp32_csi.udp import UdpSource
from tests.plugins.esp32_csi import recordings, throughput

HALL = {SENDER: "hall"}
with_recordings = pytest.mark.skipif(not recordings.HERE, reason=recordings.MISSING)


def transcript(entries: list[tuple[float, bytes]]) -> bytes:
    lines = [f"< {t_s:.4f} " + (f"hex:{data.hex(' ')}" if data else "") for t_s, data in entries]
    return ("# made by a test\n" + "\n".join(lines) + "\n").encode()


def walk(seconds: float, walks: Callable[[float], bool], rate_hz: float = 100.0, room: Room | None = None,
         change: Callable[[float, CsiRow], None] | None = None) -> list[tuple[float, bytes]]:
    entries = []
    for t_s, row in (room or Room(1)).rows(rate_hz, seconds, walks):
        if change is not None:
            change(t_s, row)
        entries.append((t_s, write_row(row)))
    return entries


def replay(capture: bytes, **settings: Any) -> list[dict[str, Any]]:
    run = Replay(Esp32Csi, Esp32CsiConfig(**{"links": HALL, "interval_s": 1, **settings}), capture)
    found = list(run.records())
    assert run.whole
    assert not [record for record in found if "bug:" in record.get("message", "")]
    return found


def values(records: list[dict[str, Any]], name: str, node: str | None = "hall") -> list[Any]:
    return [record["value"] for record in records
            if record.get("property") == name and record.get("node") == node]


@contextmanager
def working(config: Esp32CsiConfig) -> Iterator[tuple[Worker, Lines]]:
    """On the runner's real worker and Io."""
    lines = Lines()
    log = CappedLog(lines)
    worker = Worker("csi", lambda: Esp32Csi(config), Esp32Csi(config), config.interval_s, threading.Event().set, log)
    worker.io = RunnerIo(worker, log, lambda: None, Path("/nonexistent"))
    worker.start()
    try:
        yield worker, lines
    finally:
        worker.stop()
        worker.join(20)
        assert not worker.is_alive()


def wait_for(worker: Worker, wanted: Callable[[Any], bool], seconds: float = 30.0) -> list[Any]:
    """Everything yielded until ``wanted`` holds for one of them."""
    seen: list[Any] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        while worker.items:
            item = worker.items.popleft()
            seen.append(item.what if isinstance(item, Yield) else item)
            if wanted(seen[-1]):
                return seen
        time.sleep(0.02)
    raise AssertionError(f"did not come; seen {seen[-5:]}")


def is_reading(name: str, value: Any = ..., node: str | None = "hall") -> Callable[[Any], bool]:
    return lambda item: (isinstance(item, Reading) and item.property == name and item.node == node
                         and (value is ... or item.value == value))


# --- what it tells ----------------------------------------------------------------------------------------------


def test_a_walk_is_told_with_its_times_and_everything_about_the_link() -> None:
    got = replay(transcript(walk(16, lambda t: 8 <= t < 12)))
    changes, last = [], None
    for record in got:
        if record.get("property") == "motion" and record["value"] != last:
            last = record["value"]
            changes.append((last, record["t"]))
    assert [value for value, _ in changes] == [False, True, False]
    assert 8.0 < changes[1][1] < 9.5 and 14.5 < changes[2][1] < 16.0, "ends with the hold of 3 s"
    assert set(values(got, "rate_hz")) <= {99.0, 100.0, 101.0} and set(values(got, "channel")) == {11}
    assert set(values(got, "rssi_dbm")) <= {-48, -47, -46} and values(got, "calibration")[-1] == "ready"
    assert values(got, "corrupt_line_ratio", None)[-1] == 0.0 and values(got, "links", None)[-1] == 1


@with_recordings
def test_a_real_recording_from_power_up_is_replayed_at_its_own_pace() -> None:
    data = (recordings.DATA / "csi_scene" / "empty_01_full_log.txt").read_bytes()
    got = replay(data, links={}, interval_s=2)
    assert values(got, "other_lines", None)[-1] > 100 and values(got, "corrupt_lines", None)[-1] == 0
    assert got[-1]["t"] > 12, "as long as the recording, not as its bytes on a line"
    rates = values(got, "rate_hz", "10b41dcc60e0")
    assert rates and all(5 < rate < 25 for rate in rates)


@with_recordings
@pytest.mark.parametrize("name", recordings.MOTION["held_back"])
def test_held_back_takes_as_lines_through_the_whole_plugin(name: str) -> None:
    """The firmware's own lines made of them: quiet to the end of the quiet take, motion within 1.5 s of the other."""
    entries = [(t_s, write_row(row)) for t_s, row in recordings.motion_rows("held_back", name)]
    got = replay(transcript(entries))
    told = [(record["t"], record["value"]) for record in got if record.get("property") == "motion"]
    assert {value for t, value in told if t < 10} == {False}
    assert {value for t, value in told if t > 11.5} == {True}
    assert values(got, "recalibrations")[-1] == 0 and values(got, "corrupt_lines", None)[-1] == 0


def test_captures_of_any_dress_and_garbage_end_in_a_line_each() -> None:
    for capture in (b"\x00" * 5000, b"PK\x03\x04" + bytes(range(256)) * 9, b"CSI_DATA," * 3000, b"\xff", b"[" * 20_000):
        got = replay(capture)
        assert all("property" in record or record["log"] in ("warning", "error") for record in got)
        assert "bytes and no row in them" in got[-1]["message"]


def test_polar_frames_become_a_link_of_their_own_name() -> None:
    frames = [(i / 10, write_row(row, "polar").strip()) for i, (_, row) in
              enumerate(Room(3).rows(10, 12, lambda t: t >= 6))]
    got = replay(transcript(frames), links={"polar": "door"}, hold_s=0)
    motion = [(record["t"], record["value"]) for record in got if record.get("property") == "motion"]
    assert {value for t, value in motion if t < 6} == {False} and any(value for t, value in motion if t > 7)
    assert values(got, "rssi_dbm", "door") == []


# --- links ------------------------------------------------------------------------------------------------------


def test_a_flipped_bit_in_an_address_makes_no_link_and_nobody_makes_thousands() -> None:
    entries = walk(6, lambda t: False)
    for i in range(0, len(entries), 5):
        t_s, line = entries[i]
        entries[i] = (t_s, line.replace(SENDER.encode(), b"1a:00:00:00:%02x:%02x" % (i % 251, i % 241)))
    got = replay(transcript(entries), links={})
    nodes = {record["node"] for record in got if "node" in record}
    assert nodes == {"1a0000000000"}


def test_senders_beyond_the_most_and_beside_the_list_are_counted() -> None:
    entries = [(t_s + n / 1000, write_row(row).replace(SENDER.encode(), b"1a:00:00:00:00:%02x" % n))
               for t_s, row in Room(1).rows(25, 4, lambda t: False) for n in range(6)]
    got = replay(transcript(entries), links={}, max_links=2)
    assert len({record["node"] for record in got if "node" in record}) == 2
    assert values(got, "ignored_rows", None)[-1] > 200
    got = replay(transcript(entries), links={"1A-00-00-00-00-03": "attic"})
    assert {record["node"] for record in got if "node" in record} == {"attic"}
    got = replay(transcript(entries), links={"1a:00:00:00:00:77": "attic"})
    assert any("none of the senders in links" in record.get("message", "") for record in got)


@pytest.mark.parametrize("links, told", [
    ({"hall": "hall"}, "no MAC address"), ({SENDER: "Big Hall"}, "no name"),
    ({SENDER: "a", "1a:00:00:00:00:01": "a"}, "same name"),
])
def test_a_wrong_list_of_links_is_refused(links: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Esp32Csi(Esp32CsiConfig(links=links))


# --- recalibration ----------------------------------------------------------------------------------------------


def recalibrated(entries: list[tuple[float, bytes]]) -> tuple[int, list[str]]:
    got = replay(transcript(entries))
    return values(got, "recalibrations")[-1], values(got, "calibration")


def test_row_10_another_channel_is_learned_anew() -> None:
    def change(t_s: float, row: CsiRow) -> None:
        row.channel = 11 if t_s < 8 else 6

    count, states = recalibrated(walk(16, lambda t: False, change=change))
    assert count == 1 and states[5] == "ready" and "learning" in states[8:12] and states[-1] == "ready"


def test_row_10_another_gain_is_learned_anew_with_and_without_a_gain_column() -> None:
    def reported(t_s: float, row: CsiRow) -> None:
        row.agc_gain = 30 if t_s < 8 else 40

    def unreported(t_s: float, row: CsiRow) -> None:
        if t_s >= 8:
            row.values = [value * 2 for value in row.values]

    assert recalibrated(walk(11, lambda t: False, room=Room(1, "esp_csi_c6"), change=reported))[0] == 1
    assert recalibrated(walk(11, lambda t: False, change=unreported))[0] == 1
    assert recalibrated(walk(9, lambda t: 4 <= t < 8))[0] == 0, "a person is no change of gain"


def test_packets_of_other_lengths_between_do_not_disturb() -> None:
    """Legacy and HT packets of one sender: the legacy field comes first in both."""
    def change(t_s: float, row: CsiRow) -> None:
        if round(t_s * 100) % 3 == 0:
            row.values = row.values * 3

    count, states = recalibrated(walk(10, lambda t: False, change=change))
    assert count == 0 and states[-1] == "ready"


def test_a_row_that_the_firmware_printed_twice_counts_once() -> None:
    doubled = [entry for entry in walk(6, lambda t: False) for _ in (1, 2)]
    got = replay(transcript(doubled))
    assert set(values(got, "motion")) == {False} and max(values(got, "rate_hz")) < 102


def test_calibrate_is_carried_out_kept_and_restored() -> None:
    kind = Esp32Csi(Esp32CsiConfig(links=HALL, interval_s=1))
    with io_over(transcript(walk(20, lambda t: True))) as io:
        taught = False
        seen = []
        with pytest.raises(CommandRefused, match="no link"):
            kind.command(io, "calibrate", True)
        for item in kind.run(io):
            seen.append(item)
            if not taught and isinstance(item, Reading) and (item.t_us or 0) > 3e6 and item.node == "hall":
                taught = kind.node_command(io, "hall", "calibrate", True) is True
        kept = dict(io.kept)
        kind.node_command(io, "hall", "calibrate", False)
        assert io.kept["taught"] == {}, "false forgets"
    before = [item.value for item in seen if is_reading("motion")(item) and (item.t_us or 0) < 3e6]
    after = [item.value for item in seen if is_reading("motion")(item) and (item.t_us or 0) > 18e6]
    assert before[-1] is True and after and after[-1] is False, "what is taught as quiet is quiet"
    assert "teaching" in [item.value for item in seen if is_reading("calibration")(item)]
    assert kept["taught"][SENDER]["channel"] == 11
    with io_over(transcript(walk(6, lambda t: True))) as io:
        io.kept.update(kept)
        again = [item.value for item in Esp32Csi(kind.config).run(io) if is_reading("motion")(item)]
    assert again and again[-1] is False
    with pytest.raises(CommandRefused):
        kind.node_command(io, "cellar", "calibrate", True)
    with pytest.raises(CommandRefused):
        kind.command(io, "motion", True)


# --- policy -----------------------------------------------------------------------------------------------------


def test_channel_state_is_stored_only_if_the_policy_says_so_and_no_faster() -> None:
    capture = transcript(walk(5, lambda t: False))
    assert values(replay(capture), "csi") == []
    rows = values(replay(capture, raw="amplitudes", raw_hz=2), "csi")
    assert 9 <= len(rows) <= 11 and len(rows[0]["amplitudes"]) == 52 and rows[0]["channel"] == 11
    assert len(values(replay(capture, raw="values", raw_hz=1), "csi")[0]["values"]) == 128


# --- when it goes wrong -----------------------------------------------------------------------------------------


def test_a_sender_that_is_gone_is_told_within_three_intervals_and_its_return_too_B41() -> None:
    entries = walk(4, lambda t: False)
    late = [(t_s + 20, line) for t_s, line in walk(4, lambda t: False)]
    got = replay(transcript(entries + late))
    gone = [r for r in got if r.get("property") == "motion" and r.get("quality") == "sensor_error"]
    assert len(gone) == 1 and gone[0]["value"] is None and 4 < gone[0]["t"] <= 7.5
    assert values(got, "links", None)[10] == 0 and values(got, "links", None)[-1] == 1
    assert 0.0 in values(got, "rate_hz") and got[-1]["t"] > 23
    assert [r["value"] for r in got if r.get("property") == "motion"][-1] is False


def test_a_receiver_that_repeats_itself_is_frozen_and_says_nothing_of_motion_B42() -> None:
    frozen = Room(1).row(0, 0, 0)
    entries = walk(3, lambda t: False)
    for i in range(300):
        frozen.device_us = 3_000_000 + i * 10_000
        entries.append((3 + i / 100, write_row(frozen)))
    entries += [(6 + t_s, line) for t_s, line in walk(3, lambda t: False, room=Room(2))]
    got = replay(transcript(entries))
    alert = [r for r in got if "very same values" in r.get("message", "")]
    lost = [r for r in got if r.get("property") == "motion" and r["value"] is None]
    assert len(alert) == 1 and len(lost) == 1 and 3.4 < lost[0]["t"] < 3.7
    assert not [r for r in got if r.get("property") == "motion" and r["value"] is not None and 3.6 < r["t"] < 6.5]
    assert values(got, "motion")[-1] is False, "and goes on when the values change again"


def test_a_silent_or_unreadable_line_says_what_to_look_at_B41_B53() -> None:
    silent = replay(transcript([(0.0, b""), (40.0, b"")]))
    assert any("silent for 30 s at 921600 baud: check power" in r.get("message", "") for r in silent)
    garbled = replay(transcript([(i / 2, b"\x80\xf8\x00\xfe" * 20) for i in range(90)]))
    assert any("bytes and no row" in r.get("message", "") and "baudrate" in r["message"] for r in garbled)


def test_the_part_of_corrupt_lines_is_told_and_makes_it_degraded_B53() -> None:
    entries = walk(6, lambda t: False)
    bad = [(t_s, line[:250] + b"\n" if i % 4 == 0 and t_s > 2 else line) for i, (t_s, line) in enumerate(entries)]
    got = replay(transcript(bad))
    ratios = values(got, "corrupt_line_ratio", None)
    assert ratios[0] == 0.0 and ratios[-1] == pytest.approx(0.25, abs=0.02)
    assert any("25% of the lines are corrupt" in r.get("message", "") for r in got)
    assert set(values(got, "motion")) == {False}, "three quarters of the rows are enough"


def test_chip_restarts_and_wrapping_clocks_are_no_motion() -> None:
    def change(t_s: float, row: CsiRow) -> None:
        ticks = 0xFFFFFFFF - 3_000_000 + round(t_s * 1e6) if t_s < 6 else round(t_s * 1e6) - 5_900_000
        row.device_us = ticks & 0xFFFFFFFF

    got = replay(transcript(walk(12, lambda t: False, change=change)))
    assert set(values(got, "motion")) == {False} and len(values(got, "motion")) >= 10


@pytest.mark.parametrize("per_s", [0, 1000], ids=["stands", "counts milliseconds"])
def test_a_clock_of_the_chip_that_lies_costs_neither_verdicts_nor_memory(per_s: int) -> None:
    def change(t_s: float, row: CsiRow) -> None:
        row.device_us = round(t_s * per_s)

    plugin = Esp32Csi(Esp32CsiConfig(links=HALL, interval_s=1))
    most = 0
    told = []
    with io_over(transcript(walk(16, lambda t: 8 <= t < 12, change=change))) as io:
        for reading in plugin.run(io):
            most = max(most, *(len(link.detector._rows) for link in plugin._links.values()))
            told += [reading.value] if getattr(reading, "property", "") == "motion" else []
    assert True in told and told[-1] is False
    assert most < 400


def test_unplugged_and_plugged_in_again_under_another_name_B54(tmp_path: Path) -> None:
    lines = [line for _, line in walk(1.0, lambda t: False)]
    with FakePty(tmp_path, "csi") as device, working(
            Esp32CsiConfig(port=str(tmp_path / "csi"), links=HALL, interval_s=1)) as (worker, told):
        def talk() -> None:
            for line in lines:
                device.write(line)
                time.sleep(0.012)

        def talk_until_heard() -> None:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and not any(
                    isinstance(item, Yield) and is_reading("rate_hz")(item.what) for item in list(worker.items)):
                talk()
            wait_for(worker, is_reading("rate_hz"), 1)

        talk_until_heard()
        device.unplug()
        deadline = time.monotonic() + 30
        while not any("went away" in text or "no such port" in text for _, text in told.lines):
            assert time.monotonic() < deadline, told.lines
            time.sleep(0.02)
        other = (tmp_path / "first").open("wb")  # something else may have taken the old number
        device.plug()
        worker.items.clear()
        talk_until_heard()
        other.close()


def test_it_stops_at_once_while_rows_stream_in_B57(tmp_path: Path) -> None:
    with simulated(Esp32CsiConfig(links=HALL, interval_s=1)) as config:
        with working(config) as (worker, _):
            wait_for(worker, is_reading("rate_hz"))
            assert worker.is_alive()
        assert not worker.is_alive()


@pytest.mark.parametrize("transport", ["serial", "udp"])
def test_the_simulated_receiver_through_the_real_worker(transport: Any) -> None:
    asked = Esp32CsiConfig(transport=transport, links=HALL, interval_s=1, chip="esp32c6")
    with simulated(asked, seed=3) as config, working(config) as (worker, told):
        seen = wait_for(worker, is_reading("motion", False))
        seen += wait_for(worker, is_reading("corrupt_line_ratio", node=None))
        worker.command(Command("c-1", "csi-hall", "calibrate", True, boottime_us() + 10_000_000))
        answers = wait_for(worker, lambda item: isinstance(item, Answer))
        assert answers[-1].ok, answers[-1]
        wait_for(worker, is_reading("calibration", "teaching"))
    assert any(isinstance(item, Node) and item.id == "hall" for item in seen)
    assert told.of("error") == []


def test_udp_datagrams_of_two_receivers_are_not_mixed() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    source = UdpSource("127.0.0.1", port)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind(("127.0.0.2", 0))
        for _, line in walk(0.05, lambda t: False):
            sender.sendto(line * 2, ("127.0.0.1", port))
    messages = source.receive()
    source.close()
    assert len(messages) == 5 and {message.topic for message in messages} == {"127.0.0.2"}
    kind = Esp32Csi(Esp32CsiConfig(transport="udp", links=HALL, interval_s=1))
    lines = Lines()
    with io_over(b"x", lines) as io:
        stream = iter([Message(line, round(t_s * 1e6), peer) for t_s, line in walk(2, lambda t: False)
                       for peer in ("10.0.0.1", "10.0.0.2")])

        class Two:
            def read(self, timeout_s: float) -> Message | None:
                return next(stream, None)

        for _ in range(400):
            list(kind._datagram(io, Two()))  # type: ignore[arg-type]
    assert kind._line.ignored == 200 and len(lines.of("warning")) == 1
    assert "give each receiver its own udp_port" in lines.of("warning")[0]


def test_a_taken_udp_port_says_so() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        config = Esp32CsiConfig(transport="udp", udp_address="127.0.0.1", udp_port=other.getsockname()[1])
        with working(config) as (_, told):
            deadline = time.monotonic() + 30
            while not told.of("warning") and time.monotonic() < deadline:
                time.sleep(0.02)
        assert any("another program listens there" in text for _, text in told.lines), told.lines


# --- cost -------------------------------------------------------------------------------------------------------


def test_row_9_five_hundred_rows_of_a_kilobyte_a_second_without_loss() -> None:
    """Short form of ``figures speed``: paced at 600 rows/s of 1.2 kB over a real pty, and not one is missing."""
    got = throughput.live("serial", 600, 1.0)
    assert got.line_bytes > 1000 and got.lost == 0


def test_a_listing_of_plugins_does_not_import_numpy() -> None:
    code = "import sys, plugins.esp32_csi.plugin as p; p.Esp32Csi(p.Esp32CsiConfig()); sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], check=False).returncode == 0


def test_without_numpy_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("plugins.esp32_csi.link", "plugins.esp32_csi.motion", "plugins.esp32_csi.arrays"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "numpy", None)
    with io_over(b"x") as io, pytest.raises(ConfigError, match=r"pip install hutkeeper\[csi\]"):
        next(iter(Esp32Csi(Esp32CsiConfig()).run(io)))
