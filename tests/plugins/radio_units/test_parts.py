"""The pure parts on stamps: writes that back off, a line that loses trust, sensors that freeze and lie."""

from __future__ import annotations

import random

import pytest

from agent.api import Reading, RetryLater
from agent.replay.engine import Replay
from agent.testing import Lines, io_over
from firmware_bridges.muta import Kind, Register, Unit, Update, ValueField, encode_field, to_host
from plugins.radio_units.captures import stamped
from plugins.radio_units.labels import Known, property_of, told, wanted
from plugins.radio_units.network import Network, RadioUnit
from plugins.radio_units.plugin import RadioUnits
from plugins.radio_units.settings import RadioUnitsConfig, UnitConfig
from plugins.radio_units.trust import WINDOW_FRAMES, WINDOW_S, Trust
from plugins.radio_units.watch import BatteryWatch, TemperatureWatch
from plugins.radio_units.writes import GivenUp, Writes
from tests.plugins.radio_units.damage import flipped, measure, traffic

UPF = ValueField("UpF", 5, Kind.UINT8, Unit.MINUTE, writable=True)
A = b"\x01\x20"


def test_a_write_is_sent_at_the_1st_2nd_4th_8th_and_16th_report_and_then_given_up() -> None:
    writes = Writes()
    writes.want("UpF", 9)
    sent, given_up = [], []
    for report in range(1, 40):
        assert writes.confirm([UPF]) == []
        for item in writes.reported({"UpF": UPF}):
            (given_up if isinstance(item, GivenUp) else sent).append((report, item))
    assert [report for report, _ in sent] == [1, 2, 4, 8, 16]
    assert all(item == UPF._replace(value=9) for _, item in sent)
    assert [(report, item.reason) for report, item in given_up] == [(32, "not taken in 5 tries")]  # type: ignore[union-attr]


def test_a_write_ends_when_the_unit_says_the_value_in_whatever_way() -> None:
    writes = Writes()
    writes.want("UpF", 9.0)
    writes.want("Set", 20.5)
    assert writes.confirm([UPF._replace(value=9), ValueField("Set", 20.5, Kind.FIXED16, Unit.CELSIUS, True)]) == [
        "UpF", "Set"]
    assert not writes.open


def test_a_label_that_the_unit_does_not_have_is_given_up_after_five_reports() -> None:
    writes = Writes({"Foo": 3, "bad": "x"})
    said = [list(writes.reported({"UpF": UPF})) for _ in range(6)]
    assert [len(items) for items in said] == [0, 0, 0, 0, 1, 0]
    writes.want("UpF", 3)
    [item] = writes.reported({"UpF": UPF._replace(writable=False)})
    assert isinstance(item, GivenUp)


@pytest.mark.parametrize("kept", [None, 7, [], {"key": 5}, {"key": "zz"}, {"addresses": {"xx": 1}}, {"addresses": 3},
                                  {"key": "12", "addresses": {"0120": "ffffffff"}, "writes": {"0": 1}, "sleeping": []}])
def test_damaged_kept_state_is_no_state(kept: object) -> None:
    network = Network([RadioUnit("salon", "1a2b3c4d", "Salon", {}, 2.0)], {})
    network.restore(kept)
    assert not network.addresses and not network.key and not network.units["1a2b3c4d"].writes.open


def test_the_same_unit_at_another_address_leaves_the_old_one() -> None:
    network = Network([RadioUnit("salon", "1a2b3c4d", "Salon", {}, 2.0)], {})
    unit = network.register(A, Register("1a2b3c4d", True))
    assert unit is not None and network.unit_at(A) is unit
    network.register(b"\x05\x20", Register("1a2b3c4d", False))
    assert network.unit_at(A) is None and network.address_of(unit) == b"\x05\x20" and not unit.sleeping
    assert network.register(A, Register("00000000", True)) is None


@pytest.mark.parametrize("field, name, unit", [
    (ValueField("Tmp", 1.0, Kind.FIXED16, Unit.CELSIUS, True), "temperature_c", "°C"),
    (ValueField("Hum", 50, Kind.UINT8, Unit.PERCENT), "humidity_pct", "%"),
    (ValueField("Lit", 50, Kind.UINT16, Unit.NONE), "luminosity", None),
    (ValueField("Vb1", 3.0, Kind.FIXED16, Unit.VOLT), "battery_v", "V"),
    (ValueField("UpF", 5, Kind.UINT8, Unit.MINUTE, writable=True), "update_period_min", "min"),
    (ValueField("Pwr", 5, Kind.UINT8, Unit.NONE, writable=True), "tx_power", None),
    (ValueField("Xy1", 2, Kind.UINT8, Unit.HOUR), "xy1_h", "h"),
    (ValueField("Sw1", True, Kind.BOOL, Unit.NONE, writable=True), "sw1", None),
])
def test_labels_become_the_fields_words_with_units(field: ValueField, name: str, unit: str | None) -> None:
    prop = property_of(field, set(), 900)
    assert (prop.name, prop.unit, prop.settable) == (name, unit, field.writable)
    value, quality = told(field, prop)
    assert quality is None
    if field.writable:
        assert wanted(Known(field, prop), value) == field.value
    assert property_of(field, {prop.name}, 900).name != prop.name


def test_power_above_the_table_is_out_of_range() -> None:
    field = ValueField("Pwr", 8, Kind.UINT8, Unit.NONE)
    assert told(field, property_of(field, set(), 900)) == (None, "out_of_range")


# --- FAULTS ---------------------------------------------------------------------------------------------------------


def test_B53_ten_thousand_frames_with_flips_give_no_wrong_value() -> None:
    for flips in (0.0, 0.0003, 0.002):
        found = measure(2000, flips)
        assert found.wrong == 0
        assert found.believed > 0 and (found.passed_by_format > 0) == (flips > 0)
    assert measure(300, 0.0).believed == 900, "on a clean line nothing is held back"


def test_B53_any_bytes_are_survived() -> None:
    rng = random.Random(1)
    for _ in range(30):
        data = b"".join(rng.choice((b"M", b"I", b"", b"\x04\xff")) + rng.randbytes(rng.randrange(80))
                        for _ in range(40))
        list(Replay(RadioUnits, RadioUnitsConfig(), data).records())
    _, wire, _ = traffic(40, 0.0, 1)
    for _, frame in wire:
        list(Replay(RadioUnits, RadioUnitsConfig(), flipped(frame, 0.05, rng) + frame).records())


def test_trust_comes_back_after_256_good_frames_or_an_hour() -> None:
    trust = Trust()
    trust.garbage(0)
    assert not trust.noisy(0), "the port was opened in the middle of a frame"
    trust.frame()
    trust.garbage(1)
    assert trust.noisy(1)
    assert [trust.believe("a", value, 1) for value in (1, 2, 2, 3, 2)] == [False, False, True, False, False]
    for _ in range(20):
        trust.garbage(1)
    assert not any([trust.believe("b", 1, 1) for _ in range(9)]), "more bad frames than good ones"
    for _ in range(20):
        trust.frame()
    assert [trust.believe("a", 1, 1) for _ in range(4)] == [False, False, True, True], "a bad line"
    for _ in range(WINDOW_FRAMES):
        trust.frame()
    assert not trust.noisy(2) and trust.believe("a", 3, 2)
    trust.garbage(3)
    assert trust.noisy(3 + WINDOW_S) and not trust.noisy(4 + WINDOW_S)


def thermometer(rng: random.Random, step: float, days: int, period_s: float = 300.0) -> list[tuple[float, float]]:
    """A room: a day's swing of a degree, slow weather, noise of a few hundredths, in steps of the sensor."""
    from math import pi, sin

    weather, rows = 0.0, []
    for n in range(int(days * 86_400 / period_s)):
        weather += rng.gauss(0, 0.02)
        value = 20 + sin(n * period_s / 86_400 * 2 * pi) + weather * 0.1 + rng.gauss(0, 0.03)
        rows.append((n * period_s, round(round(value / step) * step, 2)))
    return rows


@pytest.mark.parametrize("step", [0.01, 0.0625, 0.5])
def test_B42_a_frozen_thermometer_is_found_and_a_year_of_good_ones_is_not_called_frozen(step: float) -> None:
    rng = random.Random(7)
    watch = TemperatureWatch()
    rows = thermometer(rng, step, 365)
    false = 0
    for t_s, value in rows:
        before = watch.frozen
        watch.judge(value, t_s)
        false += watch.frozen and not before
    assert false <= 1
    t_s, value = rows[-1]
    while not watch.frozen:
        t_s += 300
        watch.judge(value, t_s)
        assert t_s - rows[-1][0] < 10 * 86_400
    if step == 0.01:
        assert t_s - rows[-1][0] <= 5400


def test_B43_a_spike_is_doubted_and_a_step_that_stays_is_believed() -> None:
    watch = TemperatureWatch()
    said = [watch.judge(value, 120.0 * n) for n, value in enumerate((20.0, 85.0, 0.0, 20.1, 28.0, 28.5, 28.4))]
    assert said == [None, "sensor_error", "uncertain", None, "uncertain", None, None]
    assert watch.judge(3.0, 10_000) is None, "after a long silence anything may be true"


def test_a_battery_is_low_once_and_well_with_a_margin() -> None:
    battery = BatteryWatch(2.0)
    assert [battery.judge(volt) for volt in (2.4, 1.99, 2.05, 1.98, 2.11)] == [True, True, False, False, True]


def test_B41_silence_for_15_minutes_is_an_alert_and_the_next_frame_ends_it() -> None:
    """On a moved clock."""
    frame = to_host(A, Update((ValueField("Tmp", 20.0, Kind.FIXED16, Unit.CELSIUS, True),)))
    wire = f"< 1 hex:{frame.hex()}\n< 880 hex:{frame.hex()}\n< 1700\n< 1790 hex:{frame.hex()}\n"
    lines = Lines()
    plugin = RadioUnits(RadioUnitsConfig(units={"salon": UnitConfig(uid="1a2b3c4d", address="2001")}))
    heard: list[tuple[float, object]] = []
    with io_over(wire.encode(), lines) as io:
        io.kept["network"] = {"key": "1234"}
        while not io.stopping:
            try:
                heard += [((item.t_us or 0) / 1e6, item.value) for item in plugin.run(io)
                          if isinstance(item, Reading) and item.property == "heard"]
            except RetryLater:
                continue
    assert [value for _, value in heard] == [True, False, True]
    assert 1780 < heard[1][0] < 1782, "15 minutes after the frame at 880 s"
    assert "alert stale-salon" in " ".join(lines.of("warning"))


def test_a_capture_of_strangers_can_be_looked_at() -> None:
    fields = (ValueField("Tmp", 20.0, Kind.FIXED16, Unit.CELSIUS, True),)
    wire = to_host(b"\x07\x20", Update(fields)) + to_host(A, Register("1a2b3c4d", True)) + to_host(A, Update(fields))
    for accept, nodes in ((True, {"unit-at-2007", "unit-1a2b3c4d"}), (False, set())):
        records = list(Replay(RadioUnits, RadioUnitsConfig(accept_unknown=accept), wire).records())
        assert {record["node"] for record in records if record.get("property") == "temperature_c"} == nodes


def test_a_row_of_blanks_is_no_frame_and_takes_no_time() -> None:
    assert stamped(b"1," + b" " * 100_000 + b"x\n") is None
    assert stamped(b"1" + b" " * 100_000 + b"," + b"4d " * 50_000 + b"x\n") is None
    assert stamped(b" 12.5 ;\t\"4d 00 20:03\" \r\n") == [(0.0, bytes.fromhex("4d002003").ljust(64, b"\0"))]


@pytest.mark.parametrize("kind", [Kind.UINT8, Kind.UINT16, Kind.FIXED16])
@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_a_default_that_is_no_number_is_given_up_and_not_sent(kind: Kind, value: float) -> None:
    """TOML knows ``inf`` and ``nan``."""
    with pytest.raises(ValueError, match="UpF takes no"):
        encode_field(UPF._replace(kind=kind, value=value))
