from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from agent.api import CommandRefused, ConfigError, PlainRelay
from agent.testing.actuators import on_stand_in_pins
from agent.testing.at_work import at_work
from agent.testing.checks import conformance
from agent.toml_typed import Source, Sources, convert
from agent.wire import faults
from plugins.relay_heater import feeds, simulate, tell
from plugins.relay_heater.plugin import RelayHeater, RelayHeaterConfig
from plugins.relay_heater.settings import SensorConfig

PROFILES = {"work": {"comfort_c": 20.0, "eco_c": 17.0}}


def made(**settings: Any) -> RelayHeaterConfig:
    given = {"relay": {"driver": "plain", "line": "GPIO17"}, "sensors": {"main": {"source": "a/b"}}} | settings
    return convert(given, RelayHeaterConfig, Sources(Source("agent.toml", "", {})), ("plugins", "heater"))


def test_it_is_a_good_plugin() -> None:
    assert conformance(RelayHeater) == []


@pytest.mark.parametrize(("settings", "text"), [
    ({"sensors": {}}, "sensors: there is no sensor 'main'"),
    ({"main_sensor": "x"}, "sensors: there is no sensor 'x'"),
    ({"sensors": {"main": {"source": "kitchen"}}}, "is none of <node>/<property>"),
    ({"load": "a/b"}, "load_limit_w: needed"),
    ({"load_limit_w": 900.0, "load": "a/b"}, "the heater would never be on"),
    ({"presence": "people"}, "presence: 'people' is neither"),
    ({"frost_duty_min_per_h": 11.0}, "frost_duty_min_per_h"),
    ({"max_starts_per_h": 7}, "max_starts_per_h"),
    ({"sensors": {"main": {"source": "a/b", "max_age_s": 601}}}, "max_age_s"),
    ({"sensors": {"main": {"source": "a/b", "minimum_c": 60.0}}}, "minimum_c"),
])
def test_config_errors_name_the_key(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=r"plugins\.heater") as error:
        made(**settings)
    assert text in str(error.value)


def test_duty_is_what_design_says() -> None:
    duty = RelayHeater.duty(made(frost_duty_min_per_h=5))
    assert (duty.kind, duty.lease_s, duty.silence_s, duty.sample_grace_s) == ("heat", 30, 10, 120)
    assert (duty.max_on_s, duty.rest_s, duty.start_rest_s, duty.frost_s_per_h) == (14_400, 180, 180, 300)


def test_every_alert_has_its_code_and_the_same_next_step() -> None:
    for code, do in tell.DO.items():
        assert faults.FAULTS[code].do == do, code
    assert tell.alert_id("heater", "E_RELAY_STUCK") == "heater-relay-stuck"


# --- 1-Wire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "value"), [
    ("50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000\n", (85.0, None)),
    ("fe ff 4b 46 7f ff 02 10 8c : crc=8c YES\nfe ff 4b 46 7f ff 02 10 8c t=-125\n", (-0.125, None)),
    ("fe ff 4b 46 7f ff 02 10 8c : crc=8d NO\nfe ff 4b 46 7f ff 02 10 8c t=-125\n", (None, "sensor_error")),
    ("00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 00 00 00 00 00 00 00 t=0\n", (None, "sensor_error")),
    ("", (None, "sensor_error")), ("rubbish\n", (None, "sensor_error")), ("a YES\nt=x\n", (None, "sensor_error")),
])
def test_w1_slave(text: str, value: tuple[float | None, str | None]) -> None:
    assert feeds.parse_w1(text) == value


@pytest.mark.parametrize("celsius", [-55.0, -0.0625, 0.0, 20.8125, 85.0, 125.0])
def test_simulated_w1_slave_is_as_the_kernels(celsius: float) -> None:
    value, quality = feeds.parse_w1(simulate.w1_slave(celsius))
    assert value == pytest.approx(celsius, abs=0.001) and quality is None
    assert simulate.crc8(bytes.fromhex("50054b467fff0c10")) == 0x1C, "the data sheet's power-on scratchpad"


def test_a_place_is_found_by_either_spelling_of_its_name() -> None:
    from agent.api import Heard

    place = feeds.place("cellar/hall/temperature-c")
    assert place is not None and place.topic == "live/cellar/hall"
    assert place.is_of(Heard("cellar", "hall", "temperature_c", 1.0, 1, None))
    assert not place.is_of(Heard(None, "hall", "temperature_c", 1.0, 1, None))


# --- at work ----------------------------------------------------------------------------------------------------


def test_the_simulated_room_is_heated_by_the_pin(tmp_path: Path) -> None:
    """The room's own clock is moved: an hour of heat in a moment."""
    config = made(relay={"driver": "plain", "line": f"sim:{tmp_path}/line", "probe_line": f"sim:{tmp_path}/probe"})
    room = simulate.SimulatedRoom(config.relay, tmp_path, ["28-000000000001"], seed=1)
    before = room.air_c
    room.step(600)
    assert room.air_c < before and (tmp_path / "probe").read_text().endswith(" 0\n")
    (tmp_path / "line").write_text("1 0\n2 1\n")
    room.step(3600)
    assert room.air_c > before + 8 and (tmp_path / "probe").read_text().endswith(" 1\n")
    value, quality = feeds.read_w1(tmp_path, "28-000000000001")
    assert quality is None and value == pytest.approx(room.air_c, abs=0.3)


def test_it_heats_on_real_files_and_says_why() -> None:
    """Real worker, real w1_slave files, the guard's code on a simulated pin; waits as short as the config allows."""
    config = made(min_off_s=10.0, min_on_s=10.0, profiles={"work": {"comfort_c": 25.0, "eco_c": 24.0}},
                  sensors={"main": {"source": "w1:x", "interval_s": 1.0}})
    with on_stand_in_pins(RelayHeater, config) as config, RelayHeater.simulate(config) as config, \
            at_work(RelayHeater, config) as work:
        line = Path(config.relay.line.removeprefix("sim:"))
        work.wait(lambda: line.exists() and line.read_text().endswith(" 1\n"))
        work.wait(lambda: work.value("relay") is True)
        assert work.value("action") == "heating" and str(work.value("why")).startswith("on: ")
        assert work.order("mode", "off").ok
        work.wait(lambda: line.read_text().endswith(" 0\n"))
        work.wait(lambda: work.value("mode") == "off")
        assert work.value("setpoint_c") == 7.0


def test_a_missing_sensor_is_one_line_and_no_heat(tmp_path: Path) -> None:
    config = made(sensors={"main": {"source": "w1:28-00", "interval_s": 1.0}})
    with at_work(RelayHeater, config, root=tmp_path) as work:
        work.wait(lambda: any("1-Wire sensor 28-00: No such file" in text for text in work.lines.of("warning")))
        work.wait(lambda: work.value("failsafe") is True)
        assert work.value("relay") is False


def test_commands_are_refused_with_a_line() -> None:
    plugin = RelayHeater(made(profiles=PROFILES))

    class Io:
        kept: ClassVar[dict[str, Any]] = {}

        class clock:
            boottime_us = staticmethod(lambda: 10**9)
            wall_us = staticmethod(lambda: None)

    for name, value in (("setpoint_c", 99), ("mode", "party"), ("relay", True), ("schedule", {"x": 1})):
        with pytest.raises(CommandRefused):
            plugin.command(Io(), name, value)  # type: ignore[arg-type]
    assert plugin.command(Io(), "mode", "off") == "off" and Io.kept["programme"]["off"] is True  # type: ignore[arg-type]


def test_the_sensor_age_is_capped_as_design_says() -> None:
    assert SensorConfig(source="a/b", interval_s=60).good_for_s == 120
    assert SensorConfig(source="a/b", interval_s=600).good_for_s == 600
    assert made().relay == PlainRelay(line="GPIO17")


def test_a_new_reason_is_told_at_once_and_new_figures_are_none() -> None:
    from plugins.relay_heater.plugin import without_figures

    assert without_figures("on: 18.1 °C, 20.5 °C wanted until 22:30") == without_figures(
        "on: 18.4 °C, 20.5 °C wanted until 22:30")
    assert without_figures("off: the guard says nothing") != without_figures("off: 21.0 °C, 20.5 °C wanted")
