"""The plugin on the runner's worker and input pins, with simulated contacts on real sockets; and on a virtual clock."""

from __future__ import annotations

import random
import socket
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent import bus
from agent.api import CommandRefused, ConfigError
from agent.replay.engine import Replay
from agent.runner.intake import Intake
from agent.simpins import SimPins
from agent.testing import AtWork, Lines, at_work, io_over
from plugins.water_meter.plugin import WaterMeter, WaterMeterConfig

PATIENCE_S = 20.0
US = 1_000_000


def running(config: WaterMeterConfig, kept: dict[str, Any] | None = None) -> AbstractContextManager[AtWork]:
    return at_work(WaterMeter, config, kept=kept, instance="water")


def settled(plugin: AtWork) -> bool:
    """The contact's level at the start has stood for the debounce time."""
    meter = plugin.worker._plugin._meter  # type: ignore[attr-defined]
    return meter is not None and bool(list(meter.levels()))


def config_for(pins: SimPins, **changes: Any) -> WaterMeterConfig:
    base = WaterMeterConfig(line=pins.line("a"), active_low=False, interval_s=0.1)
    return msgspec.structs.replace(base, **changes)


def now_us() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def turn(pins: SimPins, t_us: int, rng: random.Random) -> None:
    """One bounced pulse with stamps of its own: closed for 100 ms."""
    for begin, level in ((t_us, 1), (t_us + 100_000, 0)):
        times = sorted(rng.sample(range(1, 5000), 2 * rng.randint(0, 4)))
        pins.set("a", level, begin)
        for n, at in enumerate(times):
            pins.set("a", level if n % 2 else 1 - level, begin + at)


def test_300_bounced_pulses_through_sockets_and_the_runner_are_300_litres() -> None:
    rng = random.Random(2)
    with SimPins("a") as pins, running(config_for(pins, index_start_l=123_456.0)) as plugin:
        plugin.wait(lambda: plugin.value("index_l") == 123_456.0 and settled(plugin))
        begin_us = now_us() - 300 * US  # the stamps tell the flow, not when they are read
        for n in range(300):
            turn(pins, begin_us + n * US, rng)
        plugin.wait(lambda: plugin.value("index_l") == 123_756.0)
        assert plugin.readings[-1].t_us is not None
    assert not plugin.lines.of("error", "warning")


def test_a_reader_that_was_held_up_does_not_take_a_bounce_for_a_pulse(tmp_path: Path) -> None:
    """Edges that waited in the queue are judged by their stamps, not by when they are read."""
    begin_us = now_us() - 60 * US
    edges = [(0, 0), (10_000, 1), (10_002, 0), (10_003, 1), (20_000, 0), (20_001, 1), (20_002, 0)]  # ms: one pulse
    said = b"".join(b"%d %d\n" % (begin_us + at_ms * 1000, level) for at_ms, level in edges)
    with socket.socket(socket.AF_UNIX) as pin:
        pin.bind(str(tmp_path / "a"))
        pin.listen()
        with running(WaterMeterConfig(line=f"sim:{tmp_path / 'a'}", active_low=False, interval_s=0.1)) as plugin:
            connection, _ = pin.accept()
            with connection:
                connection.sendall(said)
                plugin.wait(lambda: plugin.value("index_l") == 1.0 and settled(plugin))
                connection.sendall(b"%d 1\n" % now_us())
                plugin.wait(lambda: plugin.value("index_l") != 1.0)
                assert plugin.value("index_l") == 2.0


def test_the_index_survives_a_power_cut_and_a_pulse_that_was_missed_meanwhile() -> None:
    rng = random.Random(3)
    with SimPins("a") as pins:
        with running(config_for(pins)) as plugin:
            plugin.until("a settled contact", lambda: settled(plugin))
            for n in range(5):
                turn(pins, now_us() - (10 - n) * US, rng)
            plugin.wait(lambda: plugin.value("index_l") == 5.0)
            committed = plugin.committed
        pins.set("a", 1)  # the wheel went on while the board had no power
        with running(config_for(pins, index_start_l=77.0), committed) as plugin:
            plugin.wait(lambda: plugin.value("index_l") == 6.0)
    assert [reading.value for reading in plugin.readings if reading.property == "index_l"] == [5.0, 6.0]


def test_the_counter_ledger_books_every_litre() -> None:
    """What the plugin yields goes through the agent's own gate: a spike of the gate's making would show here."""
    config = WaterMeterConfig(line="GPIO17", interval_s=5.0)
    wire = ["< 0.0 GPIO17 0"]
    for n in range(120):
        wire += [f"< {10 + n * 7}.0 GPIO17 1", f"< {10 + n * 7}.5 GPIO17 0"]
    wire.append("< 2000.0")
    intake = Intake("water", "Water", WaterMeter(config).declare(), lambda *told: pytest.fail(str(told)))
    totals: list[tuple[int, Any]] = []
    with io_over("\n".join(wire).encode()) as io:
        for reading in WaterMeter(config).run(io):
            for sample, _, prop in intake.accept(reading, io.clock.boottime_us()):
                if prop.name == "index_l":
                    totals.append((sample.t_us, sample.value))
                assert prop.name != "counter_event"
    assert totals[-1][1] == 120.0
    assert sorted(totals) == totals
    late = next(t_us for t_us, total in totals if total == 120.0)
    assert late <= (10 + 119 * 7 + 20) * US  # the last litre is booked soon, not at the next use


def test_B41_absent_pins_then_there_then_gone_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.runner.worker.FIRST_DELAY_S", 0.1)
    rng = random.Random(5)
    pins = SimPins("a")
    with running(config_for(pins)) as plugin:
        plugin.wait(lambda: plugin.states and plugin.states[-1].state == "failed")
        assert "E_GPIO" in plugin.lines.of("warning")[0]
        with pins:
            plugin.wait(lambda: plugin.states[-1].state == "ok" and settled(plugin))
            turn(pins, now_us() - US, rng)
            plugin.wait(lambda: plugin.value("index_l") == 1.0)
            pins.unplug()
            plugin.wait(lambda: plugin.states[-1].state == "failed")
            pins.plug()
            plugin.wait(lambda: plugin.states[-1].state == "ok" and pins.readers("a"))
            turn(pins, now_us(), rng)
            plugin.wait(lambda: plugin.value("index_l") == 2.0)
    assert not plugin.lines.of("error")


def test_B53_nonsense_on_the_line_is_counted_and_said_once() -> None:
    wire = (b"< 0 GPIO17 0\n< 1 GPIO9 1\n< 2 GPIO17 maybe\n< 3 \\xff\\xfe\n< 4 index soon\n"
            b"< 5 GPIO17 1\n< 6 GPIO17 0\n< 400\n")
    with io_over(wire, lines := Lines()) as io:
        readings = list(WaterMeter(WaterMeterConfig()).run(io))
    last = {reading.property: reading.value for reading in readings}
    assert last["bad_inputs"] == 4
    assert last["index_l"] == 1.0
    assert lines.of("warning") == ["GPIO17: 'GPIO9' is none of GPIO17"]  # repeats are the log's to hold back
    assert not lines.of("error")


def test_vacation_and_watering_are_orders() -> None:
    rng = random.Random(6)
    with SimPins("a") as pins, running(config_for(pins, vacation_l=3.0)) as plugin:
        plugin.until("a settled contact", lambda: settled(plugin))
        assert plugin.order("vacation", True) == bus.Answer("water", "c0", True, "", True)
        plugin.wait(lambda: plugin.value("vacation") is True)
        begin_us = now_us()
        for n in range(3):
            turn(pins, begin_us + n * 700_000, rng)
        pins.set("a", 0, begin_us + 10 * US)
        plugin.wait(lambda: plugin.value("leak") == "vacation")
        assert plugin.raised[-1].alert_id == "leak"
        assert "vacation, for " in (plugin.raised[-1].text or "")
        assert plugin.committed["vacation"] is True
        assert plugin.order("vacation", False).value is False
        assert plugin.order("watering", True).value is True
        plugin.wait(lambda: plugin.value("watering") is True)
        refused = plugin.order("index_l", 5)
        assert not refused.ok
        assert "index_l cannot be set" in refused.message


def test_an_order_before_the_pins_are_open_is_refused() -> None:
    with io_over(b"< 0 GPIO17 1\n") as io, pytest.raises(CommandRefused, match="GPIO17 is not open yet"):
        WaterMeter(WaterMeterConfig()).command(io, "vacation", True)


def records(config: WaterMeterConfig, wire: list[str]) -> list[dict[str, Any]]:
    return list(Replay(WaterMeter, config, ("\n".join(wire) + "\n").encode()).records())


def test_watering_is_forgotten_after_two_hours() -> None:
    wire = ["< 0 GPIO17 0"]
    for n in range(500):
        wire += [f"< {30 + n * 30} GPIO17 1", f"< {30 + n * 30}.5 GPIO17 0"]
    plugin = WaterMeter(WaterMeterConfig(interval_s=3600.0))
    kinds = []
    with io_over("\n".join(wire).encode()) as io:
        for reading in plugin.run(io):
            if reading.property == "index_l" and reading.value == 0.0:
                plugin.command(io, "watering", True)
            if reading.property == "leak" and reading.value == "running":
                kinds.append((reading.t_us or 0) / US)
    assert 7200 <= kinds[0] <= 7300


def test_an_alert_ends_with_the_running_water_and_not_with_a_lost_contact() -> None:
    wire = ["< 0 GPIO17 0"]
    for n in range(100):
        wire += [f"< {30 + n * 30} GPIO17 1", f"< {30 + n * 30}.5 GPIO17 0"]

    def alerts(blind_at_s: float) -> list[str | None]:
        plugin, said = WaterMeter(WaterMeterConfig(interval_s=60.0)), list[str | None]()
        with io_over("\n".join([*wire, "< 3300"]).encode()) as io:
            io.alert = lambda alert_id, text: said.append(text)  # type: ignore[method-assign]
            for reading in (run := plugin.run(io)):
                if (reading.t_us or 0) >= blind_at_s * US:
                    run.close()
                    list(plugin.run(io))  # the pins were away, and the rest is seen by a new look at them
                    break
        return said

    assert [text and text.partition(" ")[0] for text in alerts(9999)] == ["E_WATER_RUNNING", None]
    assert [text and text.partition(" ")[0] for text in alerts(2990)] == ["E_WATER_RUNNING"]


def test_B42_no_pulse_for_days_doubts_the_contact() -> None:
    found = records(WaterMeterConfig(silent_h=48.0, interval_s=3600.0),
                    ["< 0 GPIO17 0", "< 10 GPIO17 1", "< 10.5 GPIO17 0", f"< {50 * 3600}"])
    assert [(record["t"] // 3600, record["message"]) for record in found if "log" in record] == [
        (48.0, "degraded: no pulse for 48 h: nobody used water, or contact or wire is broken")]


def test_B43_pulses_faster_than_any_water_are_not_counted_and_flicker_is_said() -> None:
    wire = ["< 0 GPIO17 0"]
    for n in range(8000):  # a hum of 20 Hz, slow enough for the debounce
        wire.append(f"< {1 + n / 40:.3f} GPIO17 {(n + 1) % 2}")
    wire.append("< 1000")
    found = records(WaterMeterConfig(), wire)
    last = {record["property"]: record["value"] for record in found if "property" in record}
    assert last["index_l"] <= 200 * 6000 / 3600 + 1
    assert last["rejected_edges"] > 2000
    assert any("the contact flickers without end" in record.get("message", "") for record in found)


def test_backflow_and_a_dead_second_contact_are_said() -> None:
    config = WaterMeterConfig(line="GPIO17", second_line="GPIO27", interval_s=60.0)
    wire, t = ["< 0 GPIO17 0", "< 0.1 GPIO27 0"], 1.0
    for order in (("GPIO27 1", "GPIO17 1", "GPIO27 0", "GPIO17 0"),) * 6 + (("GPIO17 1", "GPIO17 0"),) * 30:
        for edge in order:
            wire.append(f"< {t:.1f} {edge}")
            t += 1
    found = records(config, [*wire, "< 900"])
    said = [record["message"] for record in found if "log" in record]
    assert said[0].startswith("alert backflow: 5 L flowed backwards: are line and second_line swapped")
    assert said[1].startswith("degraded: GPIO27 does not change although the other contact does")
    last = {record["property"]: record["value"] for record in found if "property" in record}
    assert (last["index_l"], last["reverse_volume_l"]) == (0.0, 6.0)


@pytest.mark.parametrize("changes", [{"drip_l_h": 60.0}, {"running_l_h": 2000.0}, {"max_flow_l_h": 1000.0}])
def test_limits_in_the_wrong_order_are_a_config_error(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="drip_l_h < running_l_h < burst_l_h < max_flow_l_h must hold; they are "):
        WaterMeter(msgspec.structs.replace(WaterMeterConfig(), **changes))


def test_a_coarse_meter_gets_limits_that_it_can_tell() -> None:
    assert WaterMeter(WaterMeterConfig(litres_per_pulse=10.0))._rules.drip_l_h == 10.0
    with pytest.raises(ConfigError, match=r"drip_l_h = 1 is a pulse in 10 h, .*: at least 2.5"):
        WaterMeter(WaterMeterConfig(litres_per_pulse=10.0, drip_l_h=1.0))


def test_the_cost_is_in_the_currency_of_the_config() -> None:
    declared = {prop.name: prop for prop in WaterMeter(WaterMeterConfig(currency="CHF", price_per_m3=4.0)).declare()}
    assert declared["leak_cost"].unit == "CHF"
    assert declared["index_l"].max_rate_per_h == 6000.0


@pytest.mark.parametrize("interval_s", [10.0, 600.0])
def test_what_is_told_slowly_is_not_called_stale(interval_s: float) -> None:
    """Three quiet hours, then use: every value that an alert watches comes again before it is too old."""
    config = WaterMeterConfig(second_line="GPIO27", interval_s=interval_s, price_per_m3=4.0, pull="none")
    turns = [f"< {at + n * 0.2:.1f} {line}" for at in range(10_800, 12_000, 60)
             for n, line in enumerate(("GPIO17 1", "GPIO27 1", "GPIO17 0", "GPIO27 0"))]
    wire = ["< 0 GPIO17 0", "< 0 GPIO27 0", *turns, "< 20000 GPIO17 1"]
    plugin = WaterMeter(config)
    last: dict[str, int] = {}
    longest: dict[str, float] = {}
    with io_over("\n".join(wire).encode()) as io:
        for reading in plugin.run(io):
            t_us = reading.t_us or 0
            longest[reading.property] = max(longest.get(reading.property, 0.0),
                                            (t_us - last.get(reading.property, t_us)) / US)
            last[reading.property] = t_us
    watched = {prop.name: prop.max_age_s for prop in plugin.declare() if not prop.comes_and_goes}
    assert "reverse_volume_l" in longest
    assert "base_flow_l_h" in longest
    assert not {name: seconds for name, seconds in longest.items()
                if name in watched and seconds > (watched[name] or 3 * interval_s)}


def test_a_restart_with_a_known_clock_goes_on_with_the_watch() -> None:
    """The clock becomes known a minute after the start; the drip of before is not forgotten."""
    config = WaterMeterConfig(interval_s=60.0)
    with io_over(b"< 0 GPIO17 0\n< 3000\n") as io:
        io.kept["watch"] = {"wall_us": 10**15, "quiet_age_s": 80_000, "drip": [80_000, 22.0]}
        clock = io.clock
        clock.wall_us = lambda: None if clock.now_us < 60 * US else 10**15 + 300 * US + clock.now_us  # type: ignore[method-assign]
        kinds = [reading.value for reading in WaterMeter(config).run(io) if reading.property == "leak"]
    assert kinds[0] == "unknown"
    assert set(kinds[1:]) == {"drip"}


@pytest.mark.parametrize("two", [False, True])
def test_the_simulated_house_turns_its_meter(two: bool) -> None:
    config = WaterMeterConfig(second_line="GPIO27" if two else None, interval_s=0.1, index_start_l=50.0)
    with WaterMeter.simulate(config, 3) as simulated, running(simulated) as plugin:
        plugin.wait(lambda: (plugin.value("index_l") or 0) >= 51.0)
        assert plugin.value("leak") == "unknown"
        if two:
            assert plugin.value("reverse_volume_l") == 0.0
