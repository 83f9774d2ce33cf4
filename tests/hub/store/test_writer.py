"""The writer: keys, ledger, times, values; each FAULTS row by its name."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from agent.api import Property
from agent.wire import records
from agent.wire.messages import LedgerCounts, NodeDeclaration, PluginDeclaration, Reported
from agent.wire.records import Body, ClockInfo, Columns, Dropped, Header
from hub.ingest.decode import records_of
from hub.store import future
from hub.store.batch import Counts, Declared, Noticed, Poison, Samples
from hub.store.reader import Reader
from hub.store.upkeep import Days, Upkeep
from hub.store.verify import verify
from hub.store.writer import MAX_EPOCHS, Writer
from tests.hub.store.lab import BOOT_AT, EPOCH, NOW, batch, payload

TEMP = "cpu/soc_temperature_c"
FOREVER = Days(0, 0, 0, 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "samples.db"


def settle(writer: Writer, now: int = NOW) -> None:
    """All upkeep that is due."""
    upkeep = Upkeep(writer, lambda name: FOREVER)
    while upkeep.step(now):
        pass


def everything(reader: Reader, name: str = TEMP, device: str = "dev") -> list[tuple[int, object, str | None]]:
    node, prop = name.split("/")
    (row,) = [row for row in reader.series(device) if (row.node, row.property) == (node, prop)]
    return [(s.t_us, s.value, s.quality) for s in reader.samples(row.id, 0, 1 << 62)]


def holds(reader: Reader) -> None:
    assert verify(reader).findings == []


def test_a_group_is_stored_receipted_and_rolled_up(path: Path) -> None:
    with Writer(path) as writer:
        writer.new_term(41)
        done = writer.commit([batch(1, {TEMP: [(1_000, 20.5), (2_000, 21.5)]}), batch(2, {TEMP: [(3_000, 22.0)]})])
        ((device, receipt),) = done.receipts
        assert (device, receipt.epoch, receipt.upto, receipt.also, receipt.term) == ("dev", EPOCH, 2, [], 42)
        assert done.samples == 3
        (change,) = done.changes["dev"].values()
        assert change == (BOOT_AT + 3_000, 22.0, 3)
    reader = Reader(path)
    assert everything(reader) == [(BOOT_AT + 1_000, 20.5, None), (BOOT_AT + 2_000, 21.5, None),
                                  (BOOT_AT + 3_000, 22.0, None)]
    (row,) = reader.ledger()
    assert (row.stored, row.batches, row.upto, row.difference) == (3, 2, 2, None)
    holds(reader)


def test_both_sides_of_the_ledger_meet(path: Path) -> None:
    with Writer(path) as writer:
        counts = LedgerCounts(EPOCH, produced=10, receipted=2, dropped={"spool_full": 3}, spooled=4, in_flight=1,
                              upto=1, next_seq=9)
        writer.commit([batch(1, {TEMP: [(1, 1.0), (2, 2.0)]}),
                       batch(5, dropped=[Dropped(2, 4, 3, "spool_full")]), Counts("dev", NOW, counts)])
    (row,) = Reader(path).ledger()
    assert (row.produced, row.stored, row.dropped, row.spooled, row.in_flight) == (10, 2, {"spool_full": 3}, 4, 1)
    assert row.difference == 0
    assert (row.upto, row.above) == (5, [])


def test_what_is_newer_than_the_devices_counts_is_no_difference(path: Path) -> None:
    """The device counted after batch 1; batch 2 came since: both sides are brought to the same moment."""
    with Writer(path) as writer:
        counts = LedgerCounts(EPOCH, produced=2, receipted=0, dropped={}, spooled=0, in_flight=2, upto=0, next_seq=2)
        writer.commit([batch(1, {TEMP: [(1, 1.0), (2, 2.0)]}), Counts("dev", NOW, counts)])
        writer.commit([batch(2, {TEMP: [(3, 3.0), (4, 4.0), (5, 5.0)]})])
    (row,) = Reader(path).ledger()
    assert (row.produced, row.stored, row.spooled, row.in_flight, row.difference) == (5, 5, 0, 0, 0)


def test_a_dropped_range_does_not_count_what_had_come(path: Path) -> None:
    """The receipt of batch 2 was lost, then the spool ran full: its two samples are stored, not dropped."""
    with Writer(path) as writer:
        writer.commit([batch(2, {TEMP: [(1, 1.0), (2, 2.0)]})])
        writer.commit([batch(4, dropped=[Dropped(1, 3, 7, "spool_full")])])
        writer.commit([batch(5, dropped=[Dropped(1, 3, 7, "spool_full")])])  # told again under another number
    (row,) = Reader(path).ledger()
    assert (row.stored, row.dropped, row.upto) == (2, {"spool_full": 5}, 5)


def test_B09_duplicates_are_counted_and_change_nothing(path: Path) -> None:
    group = [batch(seq, {TEMP: [(seq * 10, seq / 2)]}) for seq in range(1, 51)]
    with Writer(path) as writer:
        writer.commit(group)
        before = everything(Reader(path))
        injected = 0
        rng = random.Random(9)
        for item in group:
            again = [item] * rng.randint(1, 5)
            injected += len(again)
            done = writer.commit(again)
            assert [receipt.upto for _, receipt in done.receipts] == [50]  # receipted again
            assert done.samples == 0
    reader = Reader(path)
    assert everything(reader) == before
    assert reader.ledger()[0].duplicates == injected
    holds(reader)


def test_B10_any_order_gives_the_same_store_and_the_newest_stays_newest(path: Path) -> None:
    group = [batch(seq, {TEMP: [(seq * 1_000_000, float(seq))]}) for seq in range(1, 101)]
    random.Random(10).shuffle(group)
    newest = 0
    with Writer(path) as writer:
        for item in group:
            writer.commit([item])
            newest = max(newest, item.header.seq)
            (sample,) = Reader(path).latest([1]).values()
            assert sample.value == float(newest)
    reader = Reader(path)
    assert [value for _, value, _ in everything(reader)] == [float(n) for n in range(1, 101)]
    assert (reader.ledger()[0].upto, reader.ledger()[0].above) == (100, [])
    holds(reader)


def test_receipts_name_the_ranges_above_a_gap(path: Path) -> None:
    with Writer(path) as writer:
        done = writer.commit([batch(n, {TEMP: [(n, 1.0)]}) for n in (1, 2, 5, 6, 9)])
        assert (done.receipts[0][1].upto, done.receipts[0][1].also) == (2, [(5, 6), (9, 9)])
    with Writer(path) as writer:  # and they survive a restart
        done = writer.commit([batch(n, {TEMP: [(n, 1.0)]}) for n in (3, 4)])
        assert (done.receipts[0][1].upto, done.receipts[0][1].also) == (6, [(9, 9)])


def test_B11_a_retired_epoch_is_quarantined_and_its_known_keys_are_duplicates(path: Path) -> None:
    with Writer(path) as writer:
        old = batch(1, {TEMP: [(1, 1.0)]}, epoch="0ld")
        writer.commit([old])
        writer.commit([batch(1, epoch="new", retires="0ld")])
        writer.commit([old])
        done = writer.commit([batch(2, {TEMP: [(2, 2.0), (3, 3.0)]}, epoch="0ld")])
        assert done.receipts[0][1].upto == 2  # settled, so that it does not come again
    reader = Reader(path)
    rows = {row.epoch: row for row in reader.ledger()}
    assert (rows["0ld"].stored, rows["0ld"].quarantined, rows["0ld"].duplicates) == (1, 2, 1)
    assert rows["0ld"].retired and not rows["new"].retired
    assert [event.code for event in reader.events()] == ["E_EPOCH_RETIRED"]
    assert "0ld" in reader.events()[0].text
    holds(reader)


def test_B12_two_epochs_of_one_device_keep_both_data_sets(path: Path) -> None:
    with Writer(path) as writer:
        writer.commit([batch(1, {TEMP: [(5, 1.0)]}, epoch="one"), batch(1, {TEMP: [(5, 2.0)]}, epoch="two")])
    reader = Reader(path)
    assert everything(reader) == [(BOOT_AT + 5, 1.0, None), (BOOT_AT + 6, 2.0, None)]
    assert reader.series("dev")[0].moved == 1
    holds(reader)


def test_a_sample_at_a_taken_time_is_moved_on_and_counted(path: Path) -> None:
    with Writer(path) as writer:
        writer.commit([batch(1, {TEMP: [(10, 1.0), (11, 2.0)]})])
        writer.commit([batch(2, {TEMP: [(10, 3.0), (12, 4.0)]})])
    reader = Reader(path)
    assert everything(reader) == [(BOOT_AT + 10, 1.0, None), (BOOT_AT + 11, 2.0, None), (BOOT_AT + 12, 3.0, None),
                                  (BOOT_AT + 13, 4.0, None)]
    assert reader.series("dev")[0].moved == 2
    holds(reader)


# --- time -----------------------------------------------------------------------------------------------------


def test_B25_an_unsynchronised_boot_is_flagged_and_moved_once_when_its_offset_comes(path: Path) -> None:
    samples = {TEMP: [(n * 1_000_000, float(n)) for n in range(1, 101)]}
    with Writer(path) as writer:
        writer.commit([batch(1, samples, offset_us=None, sent_us=100_500_000, received_us=NOW)])
        reader = Reader(path)
        placed = everything(reader)
        assert all(quality == "time_estimated" for _, _, quality in placed)
        assert placed[-1][0] == NOW - 500_000  # sent half a second after the newest sample
        writer.commit([batch(2, offset_us=BOOT_AT)])  # the clock is known now
        settle(writer)
        moved = everything(reader)
        assert [t for t, _, _ in moved] == [BOOT_AT + n * 1_000_000 for n in range(1, 101)]
        assert all(quality is None for _, _, quality in moved)
        holds(reader)
        # a late header of before the sync: placed by what is known by now
        writer.commit([batch(3, {TEMP: [(200_000_000, 1.5)]}, offset_us=None)])
        settle(writer)
    assert everything(reader)[-1] == (BOOT_AT + 200_000_000, 1.5, None)
    (sample,) = reader.latest([1]).values()
    assert sample.t_us == BOOT_AT + 200_000_000
    holds(reader)


def test_B25_a_move_that_is_cut_short_goes_on_after_a_restart(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.store.upkeep.STEP_ROWS", 7)
    names = [f"cpu/p{n}_w" for n in range(3)]
    with Writer(path) as writer:
        writer.commit([batch(1, {name: [(n * 1_000, n) for n in range(1, 30)] for name in names}, offset_us=None)])
        writer.commit([batch(2, {names[0]: [(40_000, 1)]}, offset_us=BOOT_AT)])
        upkeep = Upkeep(writer, lambda name: FOREVER)
        assert upkeep.step(NOW)
    with Writer(path) as writer:
        settle(writer)
        assert writer.db.execute("SELECT count(*) FROM guessed").fetchone() == (0,)
        assert writer.db.execute("SELECT moved, flagged FROM boots").fetchall() == [(87, 0)]
    reader = Reader(path)
    for name in names:
        assert [t - BOOT_AT for t, _, _ in everything(reader, name)][:29] == [n * 1_000 for n in range(1, 30)]
    holds(reader)


def test_B26_a_boot_that_never_synchronises_is_kept_flagged_between_its_bounds(path: Path) -> None:
    with Writer(path) as writer:
        writer.commit([batch(1, {TEMP: [(86_000_000_000, 1.0)]})])  # an earlier boot with a good clock
        earlier_end = BOOT_AT + 86_000_000_000
        for seq, boot_s in ((2, 10), (3, 20), (4, 30)):  # a backlog without the time of sending
            writer.commit([batch(seq, {TEMP: [(boot_s * 1_000_000 + n, float(n)) for n in range(5)]}, offset_us=None,
                                 boot="c" * 32, received_us=NOW + seq)])
    reader = Reader(path)
    placed = everything(reader)[1:]
    assert len(placed) == 15
    assert all(quality == "time_estimated" for _, _, quality in placed)
    assert all(earlier_end < t <= NOW for t, _, _ in placed)
    assert [value for _, value, _ in placed] == [0.0, 1.0, 2.0, 3.0, 4.0] * 3  # in their order
    assert placed[-1][0] - placed[0][0] == 20_000_004
    holds(reader)


@pytest.mark.parametrize("offset", [0, -(1 << 61), 1 << 61, -BOOT_AT, 20_000_000])
def test_B26_an_offset_that_cannot_be_is_no_offset(path: Path, offset: int) -> None:
    """Never 1970 in the store, whatever a header claims to know."""
    with Writer(path) as writer:
        writer.commit([batch(1, {TEMP: [(1_000, 1.0)]}, offset_us=offset)])
    ((t, _, quality),) = everything(Reader(path))
    assert (t, quality) == (NOW, "time_estimated")


def test_B27_a_clock_that_was_set_back_loses_nothing(path: Path) -> None:
    """The boot goes on, its wall clock was corrected by two weeks: every sample is kept, in both places."""
    back = 14 * 86_400_000_000
    with Writer(path) as writer:
        writer.commit([batch(1, {TEMP: [(n, float(n)) for n in range(1, 6)]})])
        writer.commit([batch(2, {TEMP: [(n, float(n)) for n in range(6, 11)]}, offset_us=BOOT_AT - back)])
    reader = Reader(path)
    assert sorted(value for _, value, _ in everything(reader)) == [float(n) for n in range(1, 11)]
    holds(reader)


def test_B28_a_year_ahead_is_stored_and_never_live(path: Path) -> None:
    year = 365 * 86_400_000_000
    with Writer(path) as writer:
        writer.commit([batch(1, {TEMP: [(1, 20.0)]})])
        writer.commit([batch(2, {TEMP: [(2, 99.0)]}, offset_us=BOOT_AT + year)])
        reader = Reader(path)
        (sample,) = reader.latest([1]).values()
        assert sample.value == 20.0
        assert [value for _, value, _ in everything(reader)] == [20.0, 99.0]
        writer.commit([batch(3, {TEMP: [(3, 21.0)]})])  # and the right clock is live at once
        (sample,) = reader.latest([1]).values()
        assert sample.value == 21.0
    (event,) = [event for event in reader.events() if event.code == "E_TS_FUTURE"]
    assert "364 days ahead" in event.text
    holds(reader)


def test_B31_times_beyond_2038_are_ordinary(path: Path) -> None:
    t2038 = 2_147_483_647_000_000
    with Writer(path) as writer:
        for seq, offset in enumerate((t2038 - 1_000_000, t2038, t2038 + 1_000_000), 1):
            writer.commit([batch(seq, {TEMP: [(1, float(seq))]}, offset_us=offset, received_us=offset)])
    reader = Reader(path)
    assert [t for t, _, _ in everything(reader)] == [t2038 - 999_999, t2038 + 1, t2038 + 1_000_001]
    assert reader.chart(1, t2038 - 10_000_000, t2038 + 10_000_000).mean == [1.0, 2.0, 3.0]
    holds(reader)


# --- data -----------------------------------------------------------------------------------------------------


def test_B33_poison_in_a_group_does_not_hold_up_its_neighbours(path: Path) -> None:
    """Unreadable bodies, and ones that only the store refuses, between good batches of one transaction."""
    rng = random.Random(33)
    group, poisoned = [], 0
    for seq in range(1, 401):
        good = payload(seq, {TEMP: [(seq * 100 + n, float(n)) for n in range(3)]})
        if rng.random() < 0.1:
            poisoned += 1
            head, _, _ = good.partition(b"\n")
            group.append(records_of("dev", head + b"\n" + rng.randbytes(50), NOW))
        else:
            group.append(records_of("dev", good, NOW))
    group.append(batch(401, {TEMP: [(1 << 62, 1.0)]}))  # readable, but no time
    group.append(batch(402, {TEMP: [(40_500, 7.0)]}))
    with Writer(path) as writer:
        done = writer.commit(group)
        assert [(receipt.upto, receipt.also) for _, receipt in done.receipts] == [(402, [])]
    reader = Reader(path)
    (row,) = reader.ledger()
    assert row.stored == (400 - poisoned) * 3 + 1
    assert row.quarantined == poisoned * 3 + 1
    assert sum(held.n for held in reader.quarantine(1000)) == row.quarantined
    held = reader.quarantine(1000)[0]
    assert held.sha256 and held.prefix and held.reason
    (event,) = reader.events()
    assert event.code == "E_BAD_PAYLOAD" and event.count == poisoned + 1
    holds(reader)


VALUES = [1.5, -0.0, 5e-324, 1.7976931348623157e308, 0, -(1 << 63), (1 << 63) - 1, True, False, "text", "", "é\u0000x",
          {"kind": "reboot", "n": [1, 2]}, [1, "a"]]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_as_they_went(path: Path, value: object) -> None:
    with Writer(path) as writer:
        writer.commit([batch(1, {"node/value": [(1, value)]})])
    ((_, got, quality),) = everything(Reader(path), "node/value")
    assert got == value and type(got) is type(value) and quality is None
    holds(Reader(path))


@pytest.mark.parametrize(("value", "quality", "expected"), [
    (None, None, (None, "not_finite")),
    (float("nan"), None, (None, "not_finite")),
    (float("inf"), None, (None, "not_finite")),
    (1 << 63, None, (float(1 << 63), "uncertain")),
    (-(10**400), None, (None, "not_finite")),
    (None, "sensor_error", (None, "sensor_error")),
    (3.5, "out_of_range", (3.5, "out_of_range")),
    (3.5, "Nonsense; DROP", (3.5, "bad")),
])
def test_B36_nothing_becomes_null_without_a_reason(path: Path, value: object, quality: str | None,
                                                   expected: tuple[object, str]) -> None:
    header = Header(EPOCH, 1, 2, 1, "b" * 32, ClockInfo(BOOT_AT, "synced"))
    body = Body({"node/value": Columns([1, 2], [value, 1.0], [quality, None])})
    with Writer(path) as writer:
        writer.commit([Samples("dev", NOW, header, body, b"")])
        bad = [row for row in writer.db.execute("SELECT quality FROM samples WHERE value IS NULL") if row[0] is None]
        assert bad == []
    reader = Reader(path)
    first, second = everything(reader, "node/value")
    assert first[1:] == expected and second[1:] == (1.0, None)
    holds(reader)


def test_B37_numbers_that_json_can_hold_and_nobody_else(path: Path) -> None:
    """1e999, huge integers, deep nesting, a zip bomb: one quarantined batch each, and the writer goes on."""
    import zlib

    head = '{"epoch":"%s","seq":%d,"n":1,"prio":1,"boot":"b","clock":{"offset_us":%d,"quality":"synced"},"enc":"%s"}\n'
    bodies = [
        (b'{"series":{"n/v":{"t":[1],"v":[1e999]}}}', "json"),
        (b'{"series":{"n/v":{"t":[1],"v":[' + b"9" * 5000 + b"]}}}", "json"),
        (b'{"series":{"n/v":{"t":[1],"v":[' + b"[" * 100_000 + b"]" * 100_000 + b"]}}}", "json"),
        (zlib.compress(b'{"series":{"n/v":{"t":[1],"v":[1' + b" " * 50_000_000 + b"]}}}", 9), "zlib"),
        (b'{"series":{"n/v":{"t":[1],"v":["\xff"]}}}', "json"),
        (b'{"series":{"n/v":{"t":[1],"v":["\\ud800"]}}}', "json"),
        (b'{"series":{"n/v":{"t":[1,2],"v":[1]}}}', "json"),
    ]
    with Writer(path) as writer:
        for seq, (body, enc) in enumerate(bodies, 1):
            item = records_of("dev", (head % (EPOCH, seq, BOOT_AT, enc)).encode() + body, NOW)
            assert isinstance(item, Poison), body[:60]
            writer.commit([item])
        writer.commit([batch(len(bodies) + 1, {"n/v": [(1, 1.0)]})])
    (row,) = Reader(path).ledger()
    assert (row.quarantined, row.stored, row.upto) == (len(bodies), 1, len(bodies) + 1)


def test_B38_a_newer_version_is_kept_whole_and_stored_after_the_upgrade(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Writer(path) as writer:
        for seq in range(1, 21):
            version = 2 if seq % 2 else 1
            done = writer.commit([batch(seq, {TEMP: [(seq * 10, seq / 2)]}, version=version)])
        assert done.receipts[0][1].upto == 20
        (row,) = Reader(path).ledger()
        assert (row.stored, row.quarantined) == (10, 10)
        assert future.replay(writer, records_of) == (0, 10)  # nothing has changed yet
    monkeypatch.setattr(records, "VERSION", 2)
    with Writer(path) as writer:
        assert future.replay(writer, records_of) == (10, 0)
        assert future.replay(writer, records_of) == (0, 0)
    reader = Reader(path)
    assert [value for _, value, _ in everything(reader)] == [seq / 2 for seq in range(1, 21)]
    (row,) = reader.ledger()
    assert (row.stored, row.quarantined, row.duplicates) == (20, 0, 0)
    holds(reader)


def test_B38_newer_batches_are_bounded_and_the_rest_stays_with_the_device(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.store.aside.MAX_FUTURE_BYTES", 1000)
    with Writer(path) as writer:
        for seq in range(1, 21):
            done = writer.commit([batch(seq, {TEMP: [(seq, 1.0)]}, version=2)])
        assert done.receipts == []
        assert writer.commit([batch(21, {TEMP: [(21, 1.0)]})]).samples == 1  # others are not held up
    (row,) = Reader(path).ledger()
    assert 0 < row.quarantined < 20 and row.upto == row.quarantined
    assert "upgrade this hub" in Reader(path).events()[0].text


def test_B40_invented_names_stop_at_the_cap(path: Path) -> None:
    with Writer(path, max_series=500) as writer:
        for seq in range(1, 101):
            names = {f"node/invented_{seq}_{n}": [(seq, 1.0)] for n in range(100)}
            writer.commit([batch(seq, names)])
        writer.commit([batch(101, {"node/invented_1_0": [(200, 2.0)], "../etc/passwd": [(1, 1.0)], "a/B": [(1, 1)]})])
        assert writer.db.execute("SELECT count(*) FROM series").fetchone() == (500,)
    reader = Reader(path)
    (row,) = reader.ledger()
    assert (row.stored, row.quarantined) == (501, 9502)
    assert reader.events()[0].code == "E_TOO_MANY_METRICS"
    assert sum(held.n for held in reader.quarantine(1000)) == 9502
    holds(reader)


def test_B40_epochs_and_gaps_are_bounded_too(path: Path) -> None:
    with Writer(path) as writer:
        for n in range(MAX_EPOCHS + 20):
            writer.commit([batch(1, {TEMP: [(n + 1, 1.0)]}, epoch=f"e{n}")])
        assert writer.db.execute("SELECT count(*) FROM epochs").fetchone() == (MAX_EPOCHS,)
        done = writer.commit([batch(seq, epoch="e0") for seq in range(3, 10_000, 2)])
        assert len(done.receipts[0][1].also) <= 4096
    assert {event.code for event in Reader(path).events()} == {"E_BAD_HEADER"}


def test_many_samples_at_the_same_time_cannot_hold_the_writer_up(path: Path) -> None:
    with Writer(path) as writer:
        writer.commit([batch(1, {TEMP: [(5, 1.0)] * 5000})])
        writer.commit([batch(2, {TEMP: [(5, 1.0)] * 100}), batch(3, {TEMP: [(100_000, 2.0)]})])
    (row,) = Reader(path).ledger()
    assert (row.stored, row.quarantined) == (5001, 100)
    holds(Reader(path))


def test_declarations_name_series_before_their_first_sample(path: Path) -> None:
    declared = Reported("Boiler room", "0.1.0", {"main-meter": PluginDeclaration(
        "main-meter", "power_meter", "Meter", 1.0, (NodeDeclaration("main-meter", "Meter", (
            Property(name="active_power_w", datatype="float", unit="W", device_class="power",
                     state_class="measurement"),
            Property(name="active_energy_wh", datatype="integer", unit="Wh", state_class="total_increasing"),
            Property(name="rare", datatype="string", optional=True),
            Property(name="on", datatype="boolean"))),))})
    with Writer(path) as writer:
        writer.commit([Declared("dev", NOW, declared)])
        writer.commit([batch(1, {"main-meter/on": [(1, 1)], "main-meter/active_power_w": [(1, 5)]})])
    reader = Reader(path)
    rows = {row.property: row for row in reader.series("dev")}
    assert set(rows) == {"active_power_w", "active_energy_wh", "on"}
    assert (rows["active_power_w"].unit, rows["active_power_w"].title) == ("W", "Active power")
    assert rows["active_energy_wh"].is_counter() and rows["active_power_w"].max_age_s == 3.0
    assert rows["on"].value is True
    (device,) = reader.devices()
    assert (device.name, device.agent_version, device.series, device.samples) == ("Boiler room", "0.1.0", 3, 2)


def test_equal_events_within_an_hour_are_one_row(path: Path) -> None:
    hour = 3_600_000_000
    with Writer(path) as writer:
        for at in (0, 1, 2, hour - 10):
            writer.commit([Noticed("dev", NOW + at, "E_BAD_HEADER", "error", f"at {at}")] * 2)
        writer.commit([Noticed("dev", NOW + 3 * hour, "E_BAD_HEADER", "error", "later")])
    events = Reader(path).events("dev")
    assert [(event.count, event.text) for event in events] == [(1, "later"), (8, f"at {hour - 10}")]


def test_receipts_are_json_that_an_agent_reads(path: Path) -> None:
    with Writer(path) as writer:
        done = writer.commit([batch(1), batch(3)])
    text = msgspec.json.encode(done.receipts[0][1])
    assert text == b'{"epoch":"00aa11bb22cc33dd","upto":1,"also":[[3,3]],"term":0}'
