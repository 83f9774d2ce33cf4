"""FEATURES row 27: kWh by tariff register, cost, fed in and standby, from real roll-ups; page, API and command."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from agent.api import Property
from agent.testing.broker import Broker, mosquitto_path
from agent.wire.messages import NodeDeclaration, PluginDeclaration, Reported
from hub.energy.bill import Bill
from hub.energy.prices import Energy, Tariff, in_force
from hub.energy.report import BadDays, NoMeter, meters, report
from hub.settings import SettingsError, load
from hub.store.batch import Declared
from hub.store.reader import Reader
from hub.store.rollup import HOUR_US
from hub.store.upkeep import Days, days_of
from hub.store.writer import Writer
from tests.hub.store.lab import batch
from tests.hub.web.lab import Web

BIN = Path(sys.executable).parent
FIRST = date(2026, 3, 28)
"""Saturday; on Sunday, the 29th, Paris goes from 2:00 to 3:00: a day of 23 hours."""
PRICES = """
[energy]
timezone = "Europe/Paris"
[[energy.tariff]]
since = 2026-01-01
import_per_kwh = { peak = 0.30, off_peak = 0.20 }
export_per_kwh = 0.10
standing_per_day = 0.50
[[energy.tariff]]
since = 2026-03-30
import_per_kwh = { peak = 0.40, any = 0.25 }
"""


def hour(day: int, at: int) -> int:
    """UTC microseconds of a local hour in Paris (UTC+1 up to the 29th, then +2)."""
    return round(datetime(2026, 3, day, at, tzinfo=UTC).timestamp() * 1e6) - (2 if day > 29 else 1) * HOUR_US


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four days of a meter: 1 kWh each hour, off-peak from 0 to 8, 0.5 kWh fed in at noon, 80 W in the small hours. On
    the 30th it is silent from 10 to 14; on the 31st at 12 somebody sets the peak counter 1000 kWh higher."""
    folder = tmp_path_factory.mktemp("energy")
    path = folder / "data" / "samples.db"
    path.parent.mkdir()
    (folder / "hub.toml").write_text('[hub]\ndata_dir = "data"\nrun_dir = "run"\n' + PRICES)
    kwh = [Property(name=f"active_energy_{name}_kwh", datatype="float", unit="kWh", state_class="total_increasing")
           for name in ("import_peak", "import_off_peak", "export")]
    declared = Reported("Meter", "1", {"meter": PluginDeclaration("meter", "power_meter", "Meter", 60.0, (
        NodeDeclaration("meter", "Meter", (*kwh, Property(name="apparent_power_va", datatype="float", unit="VA"),
                                           Property(name="counter_event", datatype="json", event=True))),))})
    peak = off = export = 0.0
    base = hour(28, 0)
    series: dict[str, list[tuple[int, object]]] = {name: [] for name in (
        "active_energy_import_peak_kwh", "active_energy_import_off_peak_kwh", "active_energy_export_kwh",
        "apparent_power_va", "counter_event")}
    series["active_energy_import_peak_kwh"].append((-1_000_000, 0.0))
    series["active_energy_import_off_peak_kwh"].append((-1_000_000, 0.0))
    series["active_energy_export_kwh"].append((-1_000_000, 0.0))
    for day in range(28, 32):
        for at in range(24):
            if day == 29 and at == 2:
                continue  # there is no such hour
            utc = hour(day, at) - (HOUR_US if day == 29 and at > 2 else 0)
            if at < 8:
                off += 1.0
            else:
                peak += 1.0
            export += 0.5 if at == 12 else 0.0
            if day == 30 and 10 <= at < 14:
                continue
            t = utc + HOUR_US - 1_000_000 - base
            if day == 31 and at == 12:
                peak += 1000.0
                series["counter_event"].append((t - 5, {"property": "active_energy_import_peak_kwh",
                                                        "kind": "reconciled", "difference": 1000.0}))
            series["active_energy_import_peak_kwh"].append((t, peak))
            series["active_energy_import_off_peak_kwh"].append((t, off))
            series["active_energy_export_kwh"].append((t, export))
            for ago in (59 * 60, 30 * 60, 0):
                # at 12 the sun feeds in and the house seems to take less than it does; 22:00 is not seen for long
                power = 80.0 if at == 4 else 10.0 if at == 12 else 5.0 if at == 22 else 900.0
                if at != 22 or ago == 0:
                    series["apparent_power_va"].append((t - ago * 1_000_000, power))
    now = hour(31, 23) + HOUR_US
    with Writer(path) as writer:
        writer.commit([Declared("dev", now, declared)])
        writer.commit([batch(1, {f"meter/{name}": [(t + HOUR_US, value) for t, value in rows]
                                 for name, rows in series.items()}, offset_us=base - HOUR_US, received_us=now)])
    return folder


def the_bill(store: Path, start: date = FIRST, end: date = date(2026, 4, 1), per: str = "day") -> Bill:
    settings = load(store / "hub.toml")
    return report(Reader(settings.samples_db), settings.energy, "dev", "meter", start, end, per)  # type: ignore[arg-type]


def test_local_days_registers_and_prices_in_force(store: Path) -> None:
    bill = the_bill(store)
    assert [row.start.day for row in bill.rows] == [28, 29, 30, 31]
    saturday, short, silent, corrected = bill.rows
    assert saturday.by_register == pytest.approx({"peak": 16.0, "off_peak": 8.0})
    assert saturday.cost == pytest.approx(16 * 0.30 + 8 * 0.20 + 0.50 - 0.5 * 0.10)
    assert short.by_register == pytest.approx({"peak": 16.0, "off_peak": 7.0}), "a day of 23 hours"
    assert silent.import_kwh == pytest.approx(24.0) and silent.estimated and not saturday.estimated
    assert silent.cost == pytest.approx(16 * 0.40 + 8 * 0.25), "the newer tariff: no standing charge, no credit"
    assert corrected.import_kwh == pytest.approx(24.0), "what somebody typed was not consumed"
    assert bill.total.import_kwh == pytest.approx(95.0) and bill.total.export_kwh == pytest.approx(2.0)
    assert bill.total.cost == pytest.approx(sum(row.cost or 0 for row in bill.rows))
    assert (saturday.standby, bill.standby_unit) == (80.0, "VA")


def test_months_add_up_and_half_a_price_is_none(store: Path) -> None:
    bill = the_bill(store, per="month")
    assert [row.start for row in bill.rows] == [date(2026, 3, 1)]
    assert bill.rows[0].import_kwh == pytest.approx(95.0) and bill.rows[0].standby == 80.0
    settings = load(store / "hub.toml")
    only_peak = Energy(timezone="Europe/Paris", tariff=(Tariff(since=date(2026, 3, 29), import_per_kwh={"peak": 1.0}),))
    bill = report(Reader(settings.samples_db), only_peak, "dev", "meter", FIRST, date(2026, 4, 1), "month")
    assert bill.unpriced == ["off_peak"] and bill.total.cost is None and bill.total.import_kwh == pytest.approx(95.0)


def test_a_manual_reading_after_a_silence_and_old_samples_gone(store: Path, tmp_path: Path) -> None:
    """The step is taken off before the growth is spread, it may go down, and it outlives the samples themselves."""
    path = tmp_path / "samples.db"
    kwh = Property(name="active_energy_import_kwh", datatype="float", unit="kWh", state_class="total_increasing")
    event = Property(name="counter_event", datatype="json", event=True)
    declared = Reported("Meter", "1", {"meter": PluginDeclaration("meter", "power_meter", "Meter", 60.0, (
        NodeDeclaration("meter", "Meter", (kwh, event)),))})

    def reading(t: int, step: float) -> tuple[int, object]:
        return t, {"property": kwh.name, "kind": "reconciled", "difference": step}

    base = hour(1, 0)
    day = 24 * HOUR_US
    with Writer(path) as writer:
        writer.commit([Declared("dev", base + 20 * day, declared)])
        writer.commit([batch(1, {
            f"meter/{kwh.name}": [(HOUR_US, 100.0), (10 * day, 601.0), (10 * day + HOUR_US, 602.0),
                                  (10 * day + 2 * HOUR_US, 583.0)],
            "meter/counter_event": [reading(10 * day - 1, 500.0), reading(10 * day + 2 * HOUR_US - 1, -20.0)],
        }, offset_us=base, received_us=base + 20 * day)])
        keep = days_of("dev/meter/counter_event", Days(90, 400, 0, 0), [])
        assert keep.raw == 0 and days_of("dev/meter/x", Days(90, 400, 0, 0), []).raw == 90
        writer.db.execute("DELETE FROM samples WHERE series_id IN (SELECT id FROM series WHERE property = ?)",
                          (kwh.name,))
        writer.db.commit()
    bill = report(Reader(path), Energy(timezone="Europe/Paris"), "dev", "meter", date(2026, 3, 1), date(2026, 3, 20),
                  "day")
    assert bill.total.import_kwh == pytest.approx(1.0 + 1.0 + 1.0)


def test_a_contract_that_gets_tariffs_is_billed_on_both_sides(tmp_path: Path) -> None:
    path = tmp_path / "samples.db"
    names = ("active_energy_import_kwh", "active_energy_import_peak_kwh")
    declared = Reported("Meter", "1", {"meter": PluginDeclaration("meter", "power_meter", "Meter", 60.0, (
        NodeDeclaration("meter", "Meter", tuple(Property(name=name, datatype="float", unit="kWh",
                                                         state_class="total_increasing") for name in names)),))})
    base = hour(1, 0)
    hours = [at * HOUR_US + HOUR_US // 2 for at in range(48)]
    with Writer(path) as writer:
        writer.commit([Declared("dev", base + 72 * HOUR_US, declared)])
        writer.commit([batch(1, {
            f"meter/{names[0]}": [(t, float(at)) for at, t in enumerate(hours[:25])],
            f"meter/{names[1]}": [(t, float(at)) for at, t in enumerate(hours[24:])],
        }, offset_us=base, received_us=base + 72 * HOUR_US)])
    prices = Energy(timezone="Europe/Paris", tariff=(Tariff(since=date(2026, 3, 1), import_per_kwh=0.25),))
    bill = report(Reader(path), prices, "dev", "meter", date(2026, 3, 1), date(2026, 3, 3), "day")
    assert [row.import_cost for row in bill.rows] == [pytest.approx(23 * 0.25), pytest.approx(23 * 0.25)]


def test_days_before_the_first_price_are_told_and_bad_days_refused(store: Path) -> None:
    reader = Reader(load(store / "hub.toml").samples_db)
    late = Energy(timezone="Europe/Paris", tariff=(Tariff(since=date(2026, 3, 31), import_per_kwh=1.0),))
    bill = report(reader, late, "dev", "meter", FIRST, date(2026, 4, 1), "day")
    assert bill.priced_from == date(2026, 3, 31) and bill.total.cost is None and bill.rows[-1].cost is not None
    for start, end in ((date(1, 1, 1), date(1, 1, 5)), (date(9999, 12, 30), date(9999, 12, 31))):
        with pytest.raises(BadDays):
            report(reader, late, "dev", "meter", start, end, "day")


def test_a_range_in_the_middle_of_a_silence_takes_its_share(store: Path) -> None:
    settings = load(store / "hub.toml")
    row = next(one for one in Reader(settings.samples_db).series("dev") if one.property.endswith("peak_kwh")
               and "off" not in one.property)
    hours = Reader(settings.samples_db).growth(row.id, hour(30, 11), hour(30, 13))
    assert [one.estimated for one in hours] == [True, True]
    assert sum(one.value for one in hours) == pytest.approx(2.0)


def test_who_has_a_meter_and_who_has_none(store: Path) -> None:
    reader = Reader(load(store / "hub.toml").samples_db)
    assert meters(reader, None) == [("dev", "meter")]
    with pytest.raises(NoMeter, match="dev/oven has no energy counter"):
        report(reader, Energy(), "dev", "oven", FIRST, date(2026, 4, 1), "day")
    with pytest.raises(BadDays):
        the_bill(store, start=date(2026, 4, 1))


def test_tariffs_begin_and_match() -> None:
    energy = Energy(tariff=(Tariff(since=date(2026, 5, 1), import_per_kwh=2.0, match="*/main"),
                            Tariff(since=date(2026, 1, 1), import_per_kwh=1.0)))
    assert in_force(energy.tariffs_of("a", "main"), date(2025, 12, 31)) is None
    assert in_force(energy.tariffs_of("a", "main"), date(2026, 5, 1)).import_price("peak") == 2.0  # type: ignore[union-attr]
    assert in_force(energy.tariffs_of("a", "other"), date(2026, 5, 1)).import_price("peak") == 1.0  # type: ignore[union-attr]


@pytest.mark.parametrize(("text", "said"), [
    ('[energy]\ntimezone = "Paris"\n', "energy.timezone: 'Paris': no such zone; write it as Europe/Paris"),
    ('[energy]\ncurency = "EUR"\n', "energy.curency: unknown key, did you mean currency?"),
    ("[[energy.tariff]]\nsince = 2026-01-01\n", "import_per_kwh"),
    ('[[energy.tariff]]\nsince = "soon"\nimport_per_kwh = 1\n', "expected a date"),
])
def test_mistakes_in_hub_toml_are_named(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "hub.toml").write_text(text)
    with pytest.raises(SettingsError) as error:
        load(tmp_path / "hub.toml")
    assert said in str(error.value)


def command(store: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(BIN / "hutkeeper-hub"), "energy", "--config", str(store / "hub.toml"), *words],
                          capture_output=True, text=True, timeout=60)


def test_the_command_prints_a_table_csv_and_json(store: Path) -> None:
    days = "--start", "2026-03-28", "--end", "2026-04-01"
    shown = command(store, *days)
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[0].split() == ["start", "used", "kWh", "fed", "in", "kWh", "cost", "EUR",
                                                    "standby", "VA"]
    assert shown.stdout.splitlines()[-1].split()[:2] == ["total", "95.00"]
    rows = list(csv.DictReader(io.StringIO(command(store, *days, "--csv").stdout)))
    assert [row["import_off_peak_kwh"] for row in rows] == ["8.000", "7.000", "8.000", "8.000"]
    assert [row["estimated"] for row in rows] == ["no", "no", "yes", "no"]
    told = json.loads(command(store, *days, "--json", "--per", "month").stdout)
    assert told["rows"][0]["start"] == "2026-03-01" and told["currency"] == "EUR"
    wrong = command(store, "--node", "oven")
    assert wrong.returncode == 2 and "no meter has counted energy yet" in wrong.stderr


@pytest.fixture
def web(store: Path, tmp_path: Path) -> Iterator[Web]:
    if mosquitto_path() is None:
        pytest.skip("mosquitto is not installed")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "samples.db").write_bytes((store / "data" / "samples.db").read_bytes())
    with Broker(tmp_path) as broker, Web(tmp_path, broker.port, toml=PRICES) as web:
        web.people()
        web.synced()
        yield web


def test_the_page_shows_days_and_costs_and_gives_them_as_csv(web: Web) -> None:
    client = web.login("vera")
    query = "device=dev&node=meter&start=2026-03-28&end=2026-04-01"
    page = client.get(f"/energy?{query}")
    assert page.status == 200 and "Energy and cost" in page.text and "95.0" in page.text and "off peak" in page.text
    assert page.text.count("<rect") == 4
    text = client.get(f"/api/v1/energy?{query}&format=csv")
    assert "dev_meter_energy_by_day.csv" in text.headers["Content-Disposition"] and len(text.text.splitlines()) == 5
    assert client.get(f"/api/v1/energy?{query}").json["total"]["import_kwh"] == pytest.approx(95.0)
    assert client.get("/energy?device=dev&node=oven").status == 404
    assert client.get("/energy?device=dev&node=meter&start=soon").status == 400
    assert client.get("/api/v1/energy?device=dev&node=meter&per=year").status == 400
