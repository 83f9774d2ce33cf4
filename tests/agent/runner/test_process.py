"""A plugin process on the real bus: what arrives at uplink, how often, and what happens when either side goes."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent import bus
from agent.api import Io, Node, Property, Reading, RetryLater
from agent.runner.worker import boottime_us
from agent.testing.fakes import FakePty

from .bus_end import BusEnd
from .parts import Async, ConfigError, Polled, Running, Streaming, settings_for

STREAMING = '[plugins.x]\nuse = "streaming"\n'


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: Any) -> None:
    """The same waits, shorter: a batch is cut after a fifth of its second, a back-off begins at a fifth."""
    monkeypatch.setattr("agent.runner.outbox.MAX_WAIT_S", 0.2)
    monkeypatch.setattr("agent.runner.outbox.REPEAT_S", 0.4)
    monkeypatch.setattr("agent.runner.worker.FIRST_DELAY_S", 0.2)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="hk", dir="/tmp") as made:  # unix sockets need a short path
        yield Path(made)


def streaming(body: Any) -> None:
    Streaming.body = staticmethod(body)  # type: ignore[assignment]


def forever(readings: list[Any]) -> Any:
    """A run that gives these and then waits to be stopped."""

    def body(io: Io) -> Iterator[Any]:
        yield from readings
        while io.clock.sleep(60):
            pass

    return body


def test_readings_arrive_in_order_with_strictly_growing_stamps(monkeypatch: Any, folder: Path) -> None:
    now = boottime_us()
    streaming(forever([Reading("count", n, t_us=now) for n in range(500)]))
    settings = settings_for(folder, STREAMING)
    with BusEnd(folder / "run") as end, Running(monkeypatch, settings, "x"):
        end.until("all samples", lambda: len(end.samples("x/count")) == 500)
        samples = end.samples("x/count")
        assert [value for _, value, _ in samples] == list(range(500))
        assert all(b[0] > a[0] for a, b in pairwise(samples))
        assert [batch.n for batch in end.batches] == list(range(1, len(end.batches) + 1))
        assert max(len(c.t) for b in end.batches for p in b.parts for c in p.series.values()) <= 200


def test_the_declaration_grows_with_what_is_found(monkeypatch: Any, folder: Path) -> None:
    gas = Node(id="gas", title="Gas meter", properties=(Property(name="volume_m3", datatype="float", unit="m³"),))
    streaming(forever([Reading("tariff", "base"), gas, Reading("volume_m3", 1.5, node="gas")]))
    settings = settings_for(folder, STREAMING)
    with BusEnd(folder / "run") as end, Running(monkeypatch, settings, "x"):
        end.until("sample of the node", lambda: end.samples("x-gas/volume_m3"))
        hellos = end.of(bus.Hello)
        first, last = hellos[0].declaration, hellos[-1].declaration
        assert "tariff" not in [prop.name for prop in first.nodes[0].properties]
        assert "tariff" in [prop.name for prop in last.nodes[0].properties]
        assert "counter_event" in [prop.name for prop in first.nodes[0].properties]
        assert [node.id for node in last.nodes] == ["x", "x-gas"]
        # whoever reads in order knows a node before its first sample
        kinds = [m for m in end.messages if isinstance(m, bus.Batch) or (isinstance(m, bus.Hello) and m is hellos[-1])]
        assert kinds.index(hellos[-1]) < next(
            i for i, m in enumerate(kinds) if isinstance(m, bus.Batch) and "x-gas/volume_m3" in m.parts[0].series)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 10**400], ids=["nan", "inf", "-inf", "1e400"])
def test_B36_a_value_that_is_no_number_is_kept_as_bad_with_its_reason(
        monkeypatch: Any, folder: Path, value: float) -> None:
    streaming(forever([Reading("level", value), Reading("level", -0.0), Reading("level", 5e-324)]))
    settings = settings_for(folder, STREAMING)
    with BusEnd(folder / "run") as end, Running(monkeypatch, settings, "x"):
        end.until("samples", lambda: len(end.samples("x/level")) == 3)
        got = [(v, q) for _, v, q in end.samples("x/level")]
        assert got == [(None, "not_finite"), (0.0, None), (5e-324, None)]
        assert math.copysign(1, got[1][0]) == 1
        lines = end.until("log line", lambda: end.of(bus.LogLine))
        assert "W_VALUE_NOT_FINITE" in lines[0].message and "x/level" in lines[0].message


def test_what_is_not_as_declared_is_refused_and_told_once(monkeypatch: Any, folder: Path) -> None:
    wrong = [Reading("level", 101.0), Reading("on", 1), Reading("mode", "turbo"), Reading("count", 1.5),
             Reading("nonsense", 1), Reading("nonsense", 2), Reading("level", None), Reading("on", True)]
    streaming(forever(wrong))
    settings = settings_for(folder, STREAMING)
    with BusEnd(folder / "run") as end, Running(monkeypatch, settings, "x"):
        end.until("last sample", lambda: end.samples("x/on")[-1:] and end.samples("x/on")[-1][1] is True)
        assert [(v, q) for _, v, q in end.samples("x/level")] == [(101.0, "out_of_range"), (None, "bad")]
        assert [(v, q) for _, v, q in end.samples("x/on")] == [(None, "bad"), (True, None)]
        assert [(v, q) for _, v, q in end.samples("x/mode")] == [(None, "bad")]
        assert [(v, q) for _, v, q in end.samples("x/count")] == [(None, "bad")]
        assert end.samples("x/nonsense") == []
        told = [line.message for line in end.of(bus.LogLine) if "nonsense" in line.message]
        assert told == ["x/nonsense: property not declared, its readings are left out"]


def test_uplink_killed_and_back_nothing_is_lost_or_doubled(monkeypatch: Any, folder: Path) -> None:
    def body(io: Io) -> Iterator[Any]:
        number = 0
        while io.clock.sleep(0.002):
            yield Reading("count", number)
            number += 1

    streaming(body)
    kept: list[tuple[int, Any, str | None]] = []
    running = Running(monkeypatch, settings_for(folder, STREAMING), "x")
    first = BusEnd(folder / "run")
    with running:
        with first:
            first.until("some batches", lambda: len(first.batches) >= 2)
        kept += first.samples("x/count")
        second = BusEnd(folder / "run", kept=first.kept)
        second.committed.update(first.committed)  # what is on disk outlives the process
        with second:
            second.until("more batches", lambda: len(second.batches) >= 3)
            running.stop()
            kept += second.samples("x/count")
    values = [value for _, value, _ in kept]
    assert values == list(range(len(values))) and len(values) > 100
    assert running.code == 0


def test_batches_without_acknowledgement_are_sent_again(monkeypatch: Any, folder: Path) -> None:
    streaming(forever([Reading("count", 1)]))
    end = BusEnd(folder / "run")
    end.acks = False
    with end, Running(monkeypatch, settings_for(folder, STREAMING), "x"):
        end.until("the batch", lambda: end.of(bus.Batch))
        end.acks = True
        end.until("commit", lambda: end.batches)
        assert [batch.n for batch in end.of(bus.Batch)] == [1, 1]
        assert [v for _, v, _ in end.samples("x/count")] == [1]


def test_commands_are_carried_out_once_answered_and_become_a_reading(monkeypatch: Any, folder: Path) -> None:
    streaming(forever([]))
    settings = settings_for(folder, STREAMING)
    with BusEnd(folder / "run") as end, Running(monkeypatch, settings, "x"):
        end.until("health", lambda: end.of(bus.Health))
        soon, past = boottime_us() + 20_000_000, boottime_us() - 1
        for number, (prop, value, deadline) in enumerate([
                ("mode", "auto", soon), ("mode", "off", soon), ("mode", "turbo", soon), ("on", 1, soon),
                ("count", 5, soon), ("mode", "auto", past)]):
            end.command("x", bus.Command(f"c{number}", "x", prop, value, deadline))
        end.until("answers", lambda: len(end.of(bus.Answer)) == 6)
        end.command("x", bus.Command("c0", "x", "mode", "auto", soon))
        answers = end.until("answers", lambda: len(end.of(bus.Answer)) == 7 and end.of(bus.Answer))
        assert answers[6] == next(answer for answer in answers if answer.id == "c0")
        by_id = {answer.id: answer for answer in answers}
        assert by_id["c0"].ok and by_id["c0"].value == "auto"
        assert (by_id["c1"].ok, by_id["c1"].message) == (False, "mode off is for Sundays")
        assert "expected one of off, auto" in by_id["c2"].message
        assert "expected true or false" in by_id["c3"].message
        assert "not settable" in by_id["c4"].message
        assert "E_CMD_EXPIRED" in by_id["c5"].message
        end.until("the reading", lambda: end.samples("x/mode"))
        assert [v for _, v, _ in end.samples("x/mode")] == ["auto"]  # the repeat was answered, not carried out
        end.until("kept", lambda: end.kept is not None)
        assert json.loads(end.kept or b"")["plugin"] == {"commands": 1}


def test_row_26_counters_and_kept_state_go_on_after_a_power_cut(monkeypatch: Any, folder: Path) -> None:
    settings = settings_for(folder, STREAMING)

    def body(io: Io) -> Iterator[Any]:
        io.kept["starts"] = io.kept.get("starts", 0) + 1
        base = 100.0 if io.kept["starts"] == 1 else 30.0  # another meter the second time
        for n in range(5):
            yield Reading("energy_kwh", base + n * 0.001)
        while io.clock.sleep(60):
            pass

    streaming(body)
    with BusEnd(folder / "run") as first, Running(monkeypatch, settings, "x"):
        first.until("booked", lambda: len(first.samples("x/energy_kwh")) == 4)
        state = json.loads(first.kept or b"")
    assert state["plugin"] == {"starts": 1} and state["counters"]["x/energy_kwh"]["high"] == 100.003
    with BusEnd(folder / "run", kept=first.kept) as second, Running(monkeypatch, settings, "x"):
        second.until("event", lambda: second.samples("x/counter_event"))
        event = second.samples("x/counter_event")[0][1]
        # 30 kWh within a second of 100 are no growth from zero: it is another meter
        assert (event["kind"], event["before"], event["after"]) == ("swap", 100.003, 30.0)
        totals = [v for _, v, _ in second.samples("x/energy_kwh")]
        assert totals == [100.003, 100.004, 100.005, 100.006]
        command = bus.Command("m", "x", "energy_kwh", 250.0, boottime_us() + 20_000_000)
        second.command("x", command)
        second.until("answer", lambda: second.of(bus.Answer))
        second.until("reconciled", lambda: len(second.samples("x/counter_event")) == 2)
        assert second.samples("x/counter_event")[1][1]["total"] == 250.0
        assert second.samples("x/energy_kwh")[-1][1] == 250.0


def test_the_world_not_ready_is_health_failed_and_comes_back(monkeypatch: Any, folder: Path) -> None:
    calls: list[int] = []

    def body(io: Io) -> list[Reading]:
        calls.append(1)
        if len(calls) == 1:
            raise RetryLater("the meter is mute: check its cable")
        if len(calls) == 2:
            raise ZeroDivisionError("bug of the author")
        return [Reading("level", 1.0)]

    Polled.body = staticmethod(body)  # type: ignore[assignment]
    with BusEnd(folder / "run") as end, Running(monkeypatch, settings_for(folder, '[plugins.x]\nuse = "polled"'), "x"):
        end.until("reading", lambda: end.samples("x/level"))
        end.until("well again", lambda: end.of(bus.Health)[-1].state == "ok")
        states = [(health.state, health.reason) for health in end.of(bus.Health)]
        assert ("failed", "the meter is mute: check its cable") in states
        assert ("failed", "ZeroDivisionError: bug of the author") in states
        assert end.of(bus.Health)[-1].errors == 2


def test_degraded_and_alerts_are_told_again_to_a_new_uplink(monkeypatch: Any, folder: Path) -> None:
    def body(io: Io) -> Iterator[Any]:
        io.degraded("one frame in three is bad")
        io.alert("x-cable", "check the cable")
        yield Reading("level", 1.0)
        while io.clock.sleep(60):
            pass

    streaming(body)
    with Running(monkeypatch, settings_for(folder, STREAMING), "x"):
        for _ in range(2):
            with BusEnd(folder / "run") as end:
                end.until("alert", lambda end=end: end.of(bus.Alert))
                end.until("health", lambda end=end: [h for h in end.of(bus.Health) if h.state == "degraded"])
                assert end.of(bus.Alert)[0].text == "check the cable"


def test_an_async_plugin_runs_and_stops(monkeypatch: Any, folder: Path) -> None:
    assert Async.name == "asynchronous"
    with BusEnd(folder / "run") as end:
        running = Running(monkeypatch, settings_for(folder, '[plugins.x]\nuse = "asynchronous"'), "x")
        with running:
            end.until("samples", lambda: len(end.samples("x/level")) > 20)
            assert running.stop() == 0
        levels = [v for _, v, _ in end.samples("x/level")]
        assert levels == [float(n) for n in range(len(levels))]


def test_a_refused_configuration_is_exit_2_and_one_line(monkeypatch: Any, folder: Path, capfd: Any) -> None:
    def body(io: Io) -> Iterator[Any]:
        raise ConfigError("[plugins.x] channel: 17 is none of 1..16; set another")
        yield

    streaming(body)
    with BusEnd(folder / "run") as end:
        running = Running(monkeypatch, settings_for(folder, STREAMING), "x")
        with running:
            end.until("failed", lambda: [h for h in end.of(bus.Health) if h.state == "failed"])
            running._thread.join(10)
            assert running.code == 2
    error = capfd.readouterr().err.strip().splitlines()
    assert error == ["hutkeeper-agent: x: [plugins.x] channel: 17 is none of 1..16; set another"]


def test_two_instances_share_a_process_and_one_refused_leaves_the_other(monkeypatch: Any, folder: Path) -> None:
    def body(io: Io) -> Iterator[Any]:
        if io.instance == "bad":
            raise ConfigError("no")
        yield Reading("level", 1.0)
        while io.clock.sleep(60):
            pass

    streaming(body)
    settings = settings_for(folder, '[plugins.good]\nuse = "streaming"\n[plugins.bad]\nuse = "streaming"\n')
    with BusEnd(folder / "run") as end, Running(monkeypatch, settings, "good", "bad") as running:
        end.until("sample", lambda: end.samples("good/level"))
        end.until("failed", lambda: [h for h in end.of(bus.Health) if (h.instance, h.state) == ("bad", "failed")])
        assert running.stop() == 0


def test_a_second_process_of_an_instance_is_refused(monkeypatch: Any, folder: Path, capfd: Any) -> None:
    streaming(forever([Reading("level", 1.0)]))
    settings = settings_for(folder, STREAMING)
    with BusEnd(folder / "run") as end, Running(monkeypatch, settings, "x"):
        end.until("sample", lambda: end.samples("x/level"))
        twin = Running(monkeypatch, settings, "x")
        with twin:
            twin._thread.join(10)
        assert twin.code == 1
    assert "plugin-x.lock is held by process" in capfd.readouterr().err


def test_B54_a_port_that_is_unplugged_and_comes_back(monkeypatch: Any, folder: Path) -> None:
    device = FakePty(folder)
    settings = settings_for(folder, f'[plugins.x]\nuse = "serial_reader"\nport = "{device.port}"\n')
    with BusEnd(folder / "run") as end, Running(monkeypatch, settings, "x") as running:
        fds: list[int] = []
        for number in range(2):
            end.until("no port", lambda: end.of(bus.Health) and end.of(bus.Health)[-1].state == "failed")
            assert "E_SERIAL" in end.of(bus.Health)[-1].reason and device.port in end.of(bus.Health)[-1].reason
            device.plug()
            # written again until somebody reads: a pty keeps nothing for a port that is opened later
            wanted = f"line {number}"

            def read(wanted: str = wanted) -> bool:
                device.write(wanted.encode() + b"\n")
                return wanted in [v for _, v, _ in end.samples("x/line")]

            end.until("a line", read)
            end.until("well", lambda: end.of(bus.Health)[-1].state == "ok")
            fds.append(len(list(Path("/proc/self/fd").iterdir())))
            device.unplug()
        end.until("gone", lambda: end.of(bus.Health)[-1].state == "failed")
        reasons = {h.reason for h in end.of(bus.Health) if h.state == "failed"}
        assert any("went away" in reason for reason in reasons) and any("no such port" in reason for reason in reasons)
        assert fds[0] == fds[1], "file descriptors leak"
        assert running.stop() == 0
