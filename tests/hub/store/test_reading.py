"""Charts, retention, export, backup and restore."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from agent.api import Property
from agent.wire.messages import NodeDeclaration, PluginDeclaration, Reported
from hub.settings import SeriesRetention
from hub.store import backup, export, outbox_rows
from hub.store.alerts_db import AlertsDb
from hub.store.batch import Declared
from hub.store.errors import StoreError
from hub.store.reader import Reader
from hub.store.rollup import DAY_US, HOUR_US, MINUTE_US
from hub.store.upkeep import Days, Upkeep, days_of
from hub.store.verify import verify
from hub.store.writer import Writer
from tests.hub.store.lab import NOW, batch

START = NOW - NOW % DAY_US - 40 * DAY_US
POWER, ENERGY = "meter/active_power_w", "meter/active_energy_wh"
DECLARED = Reported("Meter", "1", {"meter": PluginDeclaration("meter", "power_meter", "Meter", 60.0, (NodeDeclaration(
    "meter", "Meter", (
        Property(name="active_power_w", datatype="float", unit="W"),
        Property(name="active_energy_wh", datatype="integer", unit="Wh", state_class="total_increasing"),
        Property(name="tariff", datatype="string"),
        Property(name="on", datatype="boolean"))),))})


@pytest.fixture(scope="module")
def forty_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A power each minute (with one spike) and a counter that grows by 10 Wh a minute, for forty days."""
    path = tmp_path_factory.mktemp("forty") / "samples.db"
    with Writer(path) as writer:
        writer.commit([Declared("dev", NOW, DECLARED)])
        for day in range(40):
            minutes = range(day * 1440, (day + 1) * 1440)
            writer.commit([batch(day + 1, {
                POWER: [(m * MINUTE_US, 5000.0 if m == 30_000 else 100.0 + m % 60) for m in minutes],
                ENERGY: [(m * MINUTE_US, m * 10) for m in minutes],
            }, offset_us=START)])
        writer.commit([batch(41, {"meter/tariff": [(n * HOUR_US, "HC" if n % 2 else "HP") for n in range(10)],
                                  "meter/on": [(n * HOUR_US, n % 3 == 0) for n in range(10)]}, offset_us=START)])
    return path


def ids(reader: Reader) -> dict[str, int]:
    return {f"{row.node}/{row.property}": row.id for row in reader.series("dev")}


@pytest.mark.parametrize(("days", "level"), [(0.01, "raw"), (0.5, "raw"), (2, "minute"), (30, "minute"), (40, "minute"),
                                             (365, "hour"), (4000, "day")])
def test_a_chart_has_at_most_its_points_and_never_averages_a_spike_away(forty_days: Path, days: float,
                                                                        level: str) -> None:
    reader = Reader(forty_days)
    start = START + 30_000 * MINUTE_US - int(min(days, 20) * DAY_US / 2)
    chart = reader.chart(ids(reader)[POWER], start, start + int(days * DAY_US))
    assert chart.level == level
    assert 1 <= len(chart.t_us) <= 1000
    assert max(chart.max) == 5000.0 and min(chart.min) >= 100.0
    assert chart.t_us == sorted(set(chart.t_us))
    assert all(low <= mean <= high for low, mean, high in zip(chart.min, chart.mean, chart.max, strict=True))


@pytest.mark.parametrize("days", [0.5, 2, 30])
def test_every_level_counts_the_same_samples(forty_days: Path, days: float) -> None:
    reader = Reader(forty_days)
    start = START + 3 * DAY_US
    chart = reader.chart(ids(reader)[POWER], start, start + int(days * DAY_US))
    counted = sum(n for t, n in zip(chart.t_us, chart.n, strict=True) if t >= start)
    assert abs(counted - days * 1440) <= 1440 * days / len(chart.t_us) + 1  # but for the cut bucket at the start
    mean = sum(m * n for m, n in zip(chart.mean, chart.n, strict=True)) / sum(chart.n)
    assert mean == pytest.approx(129.5, abs=1.5)


@pytest.mark.parametrize(("days", "level"), [(0.25, "raw"), (10, "minute"), (300, "hour")])
def test_a_counter_shows_what_it_grew_by(forty_days: Path, days: float, level: str) -> None:
    reader = Reader(forty_days)
    start = START + DAY_US
    chart = reader.chart(ids(reader)[ENERGY], start, start + int(days * DAY_US))
    assert chart.level == level and chart.rise is not None
    # ten a minute between two neighbours that are not cut
    per_us = 10 / MINUTE_US
    for at in range(2, len(chart.t_us) - 2):
        width = chart.t_us[at] - chart.t_us[at - 1] if level == "raw" else chart.width_us
        assert chart.rise[at] == pytest.approx(width * per_us)


def test_a_series_of_words_has_samples_and_no_chart(forty_days: Path) -> None:
    reader = Reader(forty_days)
    series = ids(reader)["meter/tariff"]
    assert [sample.value for sample in reader.samples(series, 0, 1 << 62, limit=3)] == ["HP", "HC", "HP"]
    assert reader.chart(series, START, START + DAY_US).t_us == []
    booleans = reader.chart(ids(reader)["meter/on"], START, START + DAY_US)
    assert booleans.mean == [1, 0, 0] * 3 + [1]


def test_a_range_that_is_none_is_refused(forty_days: Path) -> None:
    with pytest.raises(ValueError, match="nothing to draw"):
        Reader(forty_days).chart(1, NOW, NOW)


# --- retention ------------------------------------------------------------------------------------------------


def test_retention_deletes_whole_days_in_small_steps_and_keeps_the_roll_ups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.store.upkeep.STEP_ROWS", 150)
    path = tmp_path / "samples.db"
    with Writer(path) as writer:
        for day in range(10):
            minutes = range(day * 1440, (day + 1) * 1440, 5)
            writer.commit([batch(day + 1, {name: [(m * MINUTE_US, float(m)) for m in minutes]
                                           for name in (POWER, "meter/sound_db")}, offset_us=START)])
        rules = (SeriesRetention(match="*/*/sound_*", raw_days=1),)
        upkeep = Upkeep(writer, lambda name: days_of(name, Days(3, 5, 0, 0), rules))
        now = START + 10 * DAY_US + HOUR_US
        steps = 0
        before = verify(Reader(path)).samples
        while upkeep.step(now):
            steps += 1
            if steps % 5 == 0:  # whole at every moment, small steps
                left = verify(Reader(path))
                assert left.findings == [] and before - left.samples <= 5 * 151
                before = left.samples
        assert steps > 10
        # an old batch that comes late counts in the roll-ups and goes with its day
        writer.commit([batch(11, {POWER: [(5 * HOUR_US + 1, 7.0)]}, offset_us=START)])
        while upkeep.step(now + 2 * HOUR_US):
            pass
    reader = Reader(path)
    power = ids(reader)[POWER]
    (first, *_rest) = reader.samples(power, 0, 1 << 62, 1)
    assert first.t_us == START + 7 * DAY_US
    assert reader.samples(ids(reader)["meter/sound_db"], 0, 1 << 62, 1)[0].t_us == START + 9 * DAY_US
    days = reader.chart(power, START, START + 2000 * DAY_US)
    assert days.level == "day" and sum(days.n) == 2880 + 1
    hours = reader.chart(power, START, START + 2 * DAY_US, 48)
    assert hours.level == "hour" and sum(hours.n) == 2 * 288 + 1
    (minute,) = reader.latest([power]).values()
    assert minute.value == 14395.0
    assert verify(reader).findings == []


def test_rules_are_laid_over_the_default() -> None:
    rules = (SeriesRetention(match="*/sys/*", raw_days=7), SeriesRetention(match="*", minute_days=1))
    default = Days(90, 400, 0, 0)
    assert days_of("dev/sys/uptime_s", default, rules) == Days(7, 400, 0, 0)
    assert days_of("dev/cpu/load", default, rules) == Days(90, 1, 0, 0)
    assert days_of("dev/cpu/load", default, ()) == default


# --- verify ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [
    "UPDATE rollup_hour SET max = max + 1 WHERE rowid IS NOT NULL OR series_id = 1",
    "DELETE FROM rollup_minute WHERE t_us = (SELECT min(t_us) FROM rollup_minute)",
    "DELETE FROM samples WHERE t_us = (SELECT max(t_us) FROM samples)",
    "UPDATE samples SET value = value + 1 WHERE t_us = (SELECT max(t_us) FROM samples)",
    "UPDATE epochs SET stored = stored - 1",
    "INSERT INTO guessed VALUES (1, 1, 5, 5)",
])
def test_verify_finds_what_does_not_add_up(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "samples.db"
    with Writer(path) as writer:
        writer.commit([batch(1, {POWER: [(m * MINUTE_US, float(m)) for m in range(200)]})])
        assert verify(Reader(path)).findings == []
        writer.db.execute(damage.replace("rowid IS NOT NULL OR ", ""))
        assert verify(Reader(path)).findings != []


# --- export ---------------------------------------------------------------------------------------------------


def test_export_of_one_series_has_its_unit_in_the_header_and_utc_times(
    forty_days: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "CHUNK", 100)  # several reads
    reader = Reader(forty_days)
    rows = export.choose(reader, "dev", ["meter/active_power_w"])
    lines = list(csv.reader(io.StringIO("".join(export.csv_lines(reader, rows, START, START + DAY_US)))))
    assert lines[0] == ["time_utc", "dev/meter/active_power_w (W)", "quality"]
    assert len(lines) == 1441
    assert lines[1] == [export.iso(START), "100.0", "good"]
    assert [export.from_iso(line[0]) for line in lines[1:]] == [START + m * MINUTE_US for m in range(1440)]


def test_export_of_several_series_names_each_line(forty_days: Path) -> None:
    reader = Reader(forty_days)
    rows = export.choose(reader, None, ["meter/active_*", "meter/on"])
    text = "".join(export.csv_lines(reader, rows, START, START + HOUR_US))
    lines = list(csv.DictReader(io.StringIO(text)))
    assert {(line["property"], line["unit"]) for line in lines} == {
        ("active_power_w", "W"), ("active_energy_wh", "Wh"), ("on", "")}
    assert [line["value"] for line in lines if line["property"] == "on"] == ["true"]


def test_export_as_json_is_one_document(forty_days: Path) -> None:
    reader = Reader(forty_days)
    rows = export.choose(reader, "dev", [])
    document = json.loads(b"".join(export.json_chunks(reader, rows, START, START + HOUR_US)))
    assert {part["property"]: len(part["samples"]) for part in document} == {
        "active_power_w": 60, "active_energy_wh": 60, "tariff": 1, "on": 1}
    power = next(part for part in document if part["property"] == "active_power_w")
    assert power["unit"] == "W" and power["samples"][0] == {"t": export.iso(START), "v": 100.0, "q": "good"}


def test_export_of_nothing_says_how_to_find_something(forty_days: Path) -> None:
    with pytest.raises(StoreError, match="export --list"):
        export.choose(Reader(forty_days), "nobody", [])


@pytest.mark.parametrize(("text", "t_us"), [
    ("1970-01-01", 0), ("2038-01-19T03:14:08Z", 2_147_483_648_000_000), ("2026-11-22T01:00:00+01:00",
                                                                         1_795_305_600_000_000)])
def test_times_are_utc_unless_they_say_otherwise(text: str, t_us: int) -> None:
    assert export.from_iso(text) == t_us


@pytest.mark.parametrize("text", ["23:59:60", "2016-12-31T23:59:60Z", "2026-11-22T24:00:61", "2026-13-01", "", "x"])
def test_B30_times_that_no_clock_shows_are_refused_and_nothing_crashes(text: str) -> None:
    with pytest.raises(ValueError, match=r"^\S"):
        export.from_iso(text)


# --- backup and restore ---------------------------------------------------------------------------------------


def test_a_backup_made_while_ingest_writes_is_whole_and_comes_back(tmp_path: Path) -> None:
    data, path = tmp_path / "data", tmp_path / "data/samples.db"
    with Writer(path) as writer:
        writer.new_term(6)
        old = writer.generation
        writer.commit([batch(n, {POWER: [(n * 1000 + k, float(k)) for k in range(50)]}) for n in range(1, 21)])
        (data / "ca").mkdir()
        (data / "ca/ca.key").write_text("key")
        folder, manifest = backup.backup(data, tmp_path / "backup")
        writer.commit([batch(21, {POWER: [(1 << 30, 1.0)]})])  # lost by the restore, sent again by the device
        with pytest.raises(StoreError, match="stop it first"):
            backup.restore(folder, data)
    assert manifest.stored == 1000 and manifest.upto == {"dev/00aa11bb22cc33dd": 20}
    _, generation = backup.restore(folder, data)
    assert generation != old
    assert list(data.glob("samples.db.replaced-*"))
    with Writer(path) as writer:
        assert writer.generation == generation and writer.new_term(0) == 8
        done = writer.commit([batch(22)])  # the device asks where we are
        assert (done.receipts[0][1].upto, done.receipts[0][1].also) == (20, [(22, 22)])
        writer.commit([batch(21, {POWER: [(1 << 30, 1.0)]})])
    reader = Reader(path)
    assert reader.ledger()[0].stored == 1001
    assert verify(reader).findings == []


def test_a_backup_is_never_half_and_never_over_another(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Writer(data / "samples.db") as writer:
        writer.commit([batch(1, {POWER: [(1, 1.0)]})])
    folder, _ = backup.backup(data, tmp_path / "b")
    with pytest.raises(StoreError, match="exists already"):
        backup.backup(data, folder)
    database = folder / "samples.db"
    content = bytearray(database.read_bytes())
    content[-1] ^= 1
    database.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        backup.restore(folder, data)
    with pytest.raises(StoreError, match="not a backup"):
        backup.restore(tmp_path, data)
    assert Reader(data / "samples.db").ledger()[0].stored == 1
    assert not list(tmp_path.glob(".b.part"))


def test_B81_a_damaged_hub_is_restored_and_starts(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = data / "samples.db"
    with Writer(path) as writer:
        writer.commit([batch(1, {POWER: [(1, 1.0)]})])
    folder, _ = backup.backup(data)
    path.write_bytes(b"\0" * 8192)
    with pytest.raises(StoreError):
        Writer(path)
    with pytest.raises(StoreError, match="restore"):
        Writer(path)  # not empty behind our back
    backup.restore(folder, data)
    with Writer(path) as writer:
        assert writer.commit([batch(1)]).receipts[0][1].upto == 1


def test_rules_and_logbook_come_back_and_what_waited_is_not_told(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Writer(data / "samples.db") as writer:
        writer.commit([batch(1, {POWER: [(1, 1.0)]})])
    db = AlertsDb(data / "alerts.db")
    db.set_meta("note", b"before")
    notice = outbox_rows.Notice("push", "", 1, "k", "opened", "error", NOW, NOW, "", b"{}")
    outbox_rows.add_notices(db, [notice])
    with db.writing() as open_:
        open_.execute("INSERT INTO messages (key, channel, recipient, kind, severity, n, title, text, ack, state, "
                      "made_us, next_us) VALUES ('m', 'push', '', 'alert', 'error', 1, 't', 'x', 0, 'sending', 1, 1)")
    folder, _ = backup.backup(data, tmp_path / "backup")
    db.set_meta("note", b"after")
    with pytest.raises(StoreError, match="stop it first"):
        backup.restore(folder, data)
    db.close()
    backup.restore(folder, data)
    again = AlertsDb(data / "alerts.db")
    try:
        assert again.meta("note") == b"before"
        assert outbox_rows.open_messages(again) == [] and outbox_rows.waiting_counts(again) == {}
        assert [one.error for one in outbox_rows.messages(again, 10, state="dropped")] == [
            "it waited when a backup was made"]
    finally:
        again.close()
    assert list(data.glob("alerts.db.replaced-*"))
