"""The runner's pure parts on moved clocks: outbox, log, back-off, schedule, serial port, fan."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import bus
from agent.api import ConfigError, Node, Plugin, Property, Reading
from agent.ports import holders_of
from agent.runner.intake import Intake, check
from agent.runner.logs import CappedLog
from agent.runner.outbox import KEEP_S, WINDOW, Outbox, Sample
from agent.runner.serial_port import SerialPort, SerialTrouble
from agent.runner.worker import Worker
from agent.testing import FakePty, Lines

from .bus_end import BusEnd
from .parts import NoConfig, Streaming

# --- outbox -----------------------------------------------------------------------------------------------------


def filled(outbox: Outbox, seconds: int, start_s: float = 0.0) -> None:
    """One reading and one batch a second."""
    for second in range(seconds):
        outbox.add(Sample("x/a", 1, second, second, None), start_s + second)
        outbox.cut(b"kept" if second == 0 else None, start_s + second)


def test_what_uplink_does_not_take_is_kept_ten_minutes_then_dropped_and_counted() -> None:
    outbox = Outbox("x", "run", "boot")
    filled(outbox, int(KEEP_S) + 100)
    assert outbox.dropped == 99 and outbox.waiting == KEEP_S + 1
    first = next(iter(outbox.to_send(0.0)))
    assert first.n == 100 and first.kept == b"kept", "kept state outlives the readings it came with"


def test_an_alarm_outlives_the_ten_minutes_with_the_state_that_it_came_with() -> None:
    """An SMS that ``kept`` knows is deleted from the SIM once ``kept`` is on disk: its text must be there too."""
    outbox = Outbox("x", "run", "boot")
    for number in range(2):
        outbox.add(Sample("x/incoming", 3, 1_000 + number, {"text": f"sms {number}"}, None), 0.0)
        outbox.cut(b"older", float(number))
    filled(outbox, int(KEEP_S) + 600, start_s=2.0)
    outbox.add(Sample("x/incoming", 3, 9_000, {"text": "sms 2"}, "uncertain"), KEEP_S + 602.0)
    outbox.cut(None, KEEP_S + 602.0)
    batches = list(outbox.to_send(KEEP_S + 602.0))
    first = batches[0]
    assert first.kept == b"kept" and [part.prio for part in first.parts] == [3, 1]
    columns = first.parts[0].series["x/incoming"]
    assert columns.t == [1_000, 1_001] and [one["text"] for one in columns.v] == ["sms 0", "sms 1"]
    assert [batch.n for batch in batches] == list(range(first.n, first.n + len(batches))), "no gap"
    readings = sum(len(one.t) for batch in batches for part in batch.parts for one in part.series.values())
    while list(outbox.to_send(0.0)):  # a window at a time
        outbox.acknowledged(outbox.last, 0.0)
    assert readings <= WINDOW + 3 and outbox.waiting == 0 and outbox.empty


def test_a_flood_of_alarms_is_dropped_as_all_else() -> None:
    outbox = Outbox("x", "run", "boot")
    for t in range(int(KEEP_S) + 900):
        outbox.add(Sample("x/alarm", 3, t, "x" * 1000, None), float(t))
        outbox.cut(None, float(t))
    largest = max(len(msgspec.msgpack.encode(batch)) for batch in outbox.to_send(KEEP_S + 900.0))
    assert outbox.dropped > 800 and largest < 70_000



def test_batches_go_in_order_within_a_window_and_again_until_acknowledged() -> None:
    outbox = Outbox("x", "run", "boot")
    filled(outbox, WINDOW + 10)

    def send(now_s: float) -> list[int]:
        numbers = []
        for batch in outbox.to_send(now_s):
            outbox.sent(batch.n, now_s)
            numbers.append(batch.n)
        return numbers

    assert send(100.0) == list(range(1, WINDOW + 1))
    assert send(101.9) == [] and outbox.send_due_s() == 102.0
    assert send(102.0) == list(range(1, WINDOW + 1))
    outbox.acknowledged(WINDOW, 102.5)
    assert send(102.5) == list(range(WINDOW + 1, WINDOW + 11))
    outbox.again()
    assert send(102.6) == list(range(WINDOW + 1, WINDOW + 11))
    outbox.acknowledged(WINDOW + 10, 103.0)
    assert outbox.empty and outbox.waiting == 0 and outbox.send_due_s() is None


def test_a_batch_holds_its_priorities_apart_highest_first() -> None:
    outbox = Outbox("x", "run", "boot")
    for prio, quality in ((0, None), (3, "uncertain"), (0, "bad"), (3, None)):
        outbox.add(Sample("x/a", prio, 1, 1.0, quality), 0.0)
    outbox.cut(None, 0.0)
    parts = next(iter(outbox.to_send(0.0))).parts
    assert [(part.prio, part.series["x/a"].q) for part in parts] == [(3, ["uncertain", None]), (0, [None, "bad"])]


# --- log --------------------------------------------------------------------------------------------------------


def test_a_message_is_told_once_a_minute_with_the_number_of_those_held_back() -> None:
    lines, now = Lines(), [0.0]
    log = CappedLog(lines, monotonic_s=lambda: now[0])
    for second in range(0, 130):
        now[0] = float(second)
        log.warning("bad frame %d", second)
    log.warning("another")
    assert lines.of("warning") == [
        "bad frame 0", "bad frame 60 (59 more like this in the last 60 s)",
        "bad frame 120 (59 more like this in the last 60 s)", "another"]


def test_a_wrong_format_still_says_what_it_wanted() -> None:
    lines = Lines()
    CappedLog(lines).error("%d frames", "many")
    assert lines.of("error") == ["%d frames ('many',)"]


# --- intake -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prop, value, stored, quality", [
    (Property(name="a", datatype="float"), True, None, "bad"),
    (Property(name="a", datatype="float"), "1.0", None, "bad"),
    (Property(name="a", datatype="float"), 3, 3.0, None),
    (Property(name="a", datatype="integer"), 3.0, 3, None),
    (Property(name="a", datatype="integer"), 1 << 63, None, "out_of_range"),
    (Property(name="a", datatype="datetime"), "2026-11-22T03:00:00Z", "2026-11-22T03:00:00Z", None),
    (Property(name="a", datatype="datetime"), "yesterday", None, "bad"),
    (Property(name="a", datatype="duration"), "PT5M", "PT5M", None),
    (Property(name="a", datatype="duration"), "5 min", None, "bad"),
    (Property(name="a", datatype="json"), {"a": [1]}, {"a": [1]}, None),
    (Property(name="a", datatype="json"), {"a": float("nan")}, None, "not_finite"),
    (Property(name="a", datatype="json"), {"a": object()}, None, "bad"),
    (Property(name="a", datatype="string"), "\ud800", None, "bad"),
    (Property(name="a", datatype="string"), "x" * 20_000, None, "bad"),
], ids=lambda value: str(getattr(value, "datatype", value))[:20])
def test_values_are_what_was_declared_or_nothing(prop: Property, value: Any, stored: Any, quality: str | None) -> None:
    got, reason, _ = check(prop, value)
    assert (got, reason) == (stored, quality) and type(got) is type(stored)


def test_a_node_found_again_keeps_its_series_and_a_changed_one_is_announced() -> None:
    told: list[str] = []
    intake = Intake("x", "X", (), lambda message, *args: told.append(message % args if args else message))
    one = Node(id="gas", title="Gas", properties=(Property(name="v", datatype="float"),))
    intake.add_node(one)
    intake.nodes()
    first = intake.accept(Reading("v", 1.0, t_us=100, node="gas"), 1000)[0].sample.t_us
    intake.add_node(one)
    assert not intake.grown
    assert intake.accept(Reading("v", 1.0, t_us=100, node="gas"), 1000)[0].sample.t_us == first + 1
    intake.add_node(Node(id="gas", title="Gas", properties=(*one.properties, Property(name="w", datatype="float"))))
    assert intake.grown
    intake.add_node(Node(id="Not An Id", title="", properties=()))
    assert told == ["node 'Not An Id': an id is a-z, 0-9 and -, at most 63 characters with the instance's"]


def test_a_stamp_ahead_of_the_clock_does_not_push_later_ones_forward() -> None:
    intake = Intake("x", "X", (Property(name="v", datatype="float"),), lambda *_: None)
    assert intake.accept(Reading("v", 1.0, t_us=10**15), 1000)[0].sample.t_us == 1000
    assert intake.accept(Reading("v", 1.0), 2000)[0].sample.t_us == 2000


# --- worker -----------------------------------------------------------------------------------------------------


def worker_for(plugin: Plugin, interval_s: float = 1.0) -> Worker:
    return Worker("x", lambda: plugin, plugin, interval_s, lambda: None, CappedLog(Lines()))


def test_B56_back_off_grows_to_300_s_with_jitter_and_never_below_1() -> None:
    worker = worker_for(Streaming(NoConfig()))
    worker._attempt = 0
    delays = [worker._delay(300.0) for _ in range(40)]
    assert all(1.0 <= delay <= 300.0 for delay in delays)
    assert all(0.7 * 2**n <= delays[n] <= 1.3 * 2**n for n in range(1, 8))
    assert min(delays[10:]) >= 225.0 and len(set(delays[10:])) > 5


class Gridded(Streaming, name="gridded"):
    """Polls that take time of a clock the test moves."""

    run = Plugin.run  # type: ignore[assignment]


def test_the_schedule_keeps_its_grid_and_leaves_out_what_is_over(monkeypatch: Any) -> None:
    now = [1000.0]
    monkeypatch.setattr("agent.runner.worker.time.monotonic", lambda: now[0])
    polls: list[float] = []
    takes = iter([0.3, 0.3, 2.5, 0.3, 0.3, 0.3])
    plugin = Gridded(NoConfig())
    worker = worker_for(plugin)

    def poll(io: Any) -> list[Any]:
        polls.append(now[0])
        now[0] += next(takes)
        worker.stopping = len(polls) == 6
        return []

    def wait(seconds: float, fd: int | None = None) -> bool:
        now[0] += max(0.0, seconds) + 0.0004  # a wake-up is always a little late
        return False

    monkeypatch.setattr(plugin, "poll", poll)
    monkeypatch.setattr(worker, "wait", wait)
    worker._poll_for_ever()
    assert [round(poll, 2) for poll in polls] == [1000.0, 1001.0, 1002.0, 1005.0, 1006.0, 1007.0]


# --- serial port ------------------------------------------------------------------------------------------------


def wait(seconds: float, fd: int | None) -> bool:
    import select

    return bool(select.select([fd] if fd is not None else [], [], [], seconds)[0])


def opened(port: str) -> SerialPort:
    return SerialPort(port, wait, baudrate=9600, bytesize=8, parity="N", stopbits=1)


def test_a_port_is_read_in_bulk_and_written(tmp_path: Path) -> None:
    with FakePty(tmp_path) as device:
        port = opened(device.port)
        device.write(b"x" * 1000)
        got = b""
        while len(got) < 1000:
            got += port.read(4096, 5.0)
        assert got == b"x" * 1000 and port.read(10, 0.01) == b""
        port.write(b"ask")
        assert device.read(10, 5.0) == b"ask"
        port.reconfigure(baudrate=1200, bytesize=7, parity="E")
        device.write(b"slow")
        assert port.read(10, 5.0) == b"slow"
        with pytest.raises(ConfigError, match="meter: Not a valid baudrate: -1"):
            port.reconfigure(baudrate=-1)
        port.close()


def test_a_port_held_by_another_process_names_it(tmp_path: Path) -> None:
    with FakePty(tmp_path) as device:
        code = ("import serial,sys; s=serial.Serial(sys.argv[1], exclusive=True); print('open', flush=True); "
                "sys.stdin.read()")
        holder = subprocess.Popen([sys.executable, "-c", code, device.port], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE)
        try:
            assert holder.stdout is not None and holder.stdout.readline() == b"open\n"
            with pytest.raises(SerialTrouble, match=rf"held by python[\d.]* \(process {holder.pid}\); kept: .*stop it"):
                opened(device.port)
        finally:
            holder.communicate()
        assert holders_of(device.port) == []
        opened(device.port).close()


def test_trouble_with_a_port_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SerialTrouble, match=r"^E_SERIAL .*/none: no such port; kept: .*; do: check the cable"):
        opened(str(tmp_path / "none"))
    with FakePty(tmp_path) as device:
        port = opened(device.port)
        device.unplug()
        with pytest.raises(SerialTrouble, match="the device went away"):
            port.read(10, 5.0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a port to another user and become nobody")
def test_a_port_without_permission_names_the_group() -> None:
    code = """
import os, sys
from agent.runner.serial_port import SerialPort, SerialTrouble
master, slave = os.openpty()
name = os.ttyname(slave)
os.chown(name, 0, 5); os.chmod(name, 0o620)
import serial  # before the change of user: the environment may be root's own
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    SerialPort(name, lambda *a: False, baudrate=9600, bytesize=8, parity="N", stopbits=1)
except SerialTrouble as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "no permission" in done.stdout and "sudo usermod -aG tty nobody" in done.stdout, done.stderr


# --- fan --------------------------------------------------------------------------------------------------------


def test_readings_of_other_plugins_arrive_with_no_broker(tmp_path: Path) -> None:
    from agent.runner.fan import FanSubscription

    run_dir = Path("/tmp") / f"hkfan{os.getpid()}"
    worker = worker_for(Streaming(NoConfig()))
    try:
        with BusEnd(run_dir) as end:
            subscription = FanSubscription(run_dir, ("now/meter", "live/garage/"), worker)
            stop = threading.Event()

            def publish() -> None:
                while not stop.wait(0.05):  # a subscription takes a moment to reach the publisher
                    end.publish("now/other", bus.Now("other", [("other", "p", 9, 1, None)]))
                    end.publish("now/meter", bus.Now("meter", [("meter", "power_w", 5.0, 1, None)]))
                    end.publish("live/garage/door", bus.Remote("garage", "door", "open", True, 1.0, "uncertain"))

            thread = threading.Thread(target=publish)
            thread.start()
            heard = {}
            deadline = time.monotonic() + 20
            while len(heard) < 2 and time.monotonic() < deadline:
                item = subscription.get(1.0)
                if item is not None:
                    heard[item.device, item.property] = (item.node, item.value, item.quality)
            stop.set()
            thread.join()
            subscription.close()
        assert heard == {(None, "power_w"): ("meter", 5.0, None), ("garage", "open"): ("door", True, "uncertain")}
    finally:
        for file in run_dir.glob("*"):
            file.unlink()
        run_dir.rmdir()
