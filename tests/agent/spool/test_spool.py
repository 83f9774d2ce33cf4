"""The spool on real SQLite: numbers, repeats, receipts, counters, kill -9."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.spool import database
from agent.spool.database import SpoolBusy, hardware_ids
from agent.spool.rows import CURRENT, FOREIGN, RETIRED
from agent.spool.spool import Limits, Spool
from agent.wire.records import Body, ClockInfo, decode_body
from tests.agent.spool.batches import BOOT, batch, check_ledger, integrity

LONG = os.environ.get("HUTKEEPER_LONG") == "1"
SYNCED = ClockInfo(1_790_000_000_000_000, "synced")


def open_spool(folder: Path, **kwargs: object) -> Spool:
    return Spool(folder / "spool.db", kwargs.pop("limits", None), boot=BOOT, **kwargs)  # type: ignore[arg-type]


def test_a_batch_is_numbered_sent_with_its_boots_clock_and_settled(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.commit([batch(1, 4), batch(2, 6)])
    (row,) = spool.take(20)
    assert (row.seq, row.n, row.epoch) == (1, 10, spool.current.epoch)
    header = spool.header(row, SYNCED)
    assert header.clock == SYNCED and header.boot == BOOT and len(header.epoch) == 16
    assert sum(len(c.t) for c in decode_body(header, row.body).series.values()) == 10
    counts = spool.ledger()
    assert (counts.produced, counts.in_flight, counts.spooled) == (10, 10, 0)
    assert spool.take(20) == [], "a row in flight is not sent twice"
    assert spool.settle(spool.current, [(1, 1)]) == [row.id]
    assert spool.ledger().receipted == 10 and spool.counts().batches == 0
    check_ledger(spool)
    spool.close()


def test_B09_a_repeated_batch_is_acknowledged_and_not_stored(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    assert spool.commit([batch(1), batch(2)]) == {("meter", "r1"): 2}
    assert spool.commit([batch(1), batch(2), batch(3), batch(3)]) == {("meter", "r1"): 3}
    spool.close()
    again = open_spool(tmp_path)
    assert again.welcome("meter", "r1") == (3, None)
    assert again.commit([batch(2), batch(3)]) == {("meter", "r1"): 3}
    assert again.ledger().produced == 30
    assert again.commit([batch(1, run="r2")]) == {("meter", "r2"): 1}, "a new run counts from 1"
    check_ledger(again)
    again.close()


def test_kept_state_is_committed_with_its_batch(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.commit([batch(1, kept=b'{"a":1}'), batch(2), batch(3, 0, kept=b'{"a":2}')])
    spool.close()
    again = open_spool(tmp_path)
    assert again.welcome("meter", "other run") == (0, b'{"a":2}')
    again.close()


def test_receipts_in_any_order_and_twice_count_once(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for n in range(1, 11):
        spool.commit([batch(n)])
    spool.take(5)
    spool.settle(spool.current, [(9, 10), (2, 2)])
    spool.settle(spool.current, [(1, 4), (9, 9)])
    counts = spool.ledger()
    assert (counts.receipted, counts.upto, counts.in_flight, counts.spooled) == (60, 4, 10, 30)
    check_ledger(spool)
    spool.close()
    again = open_spool(tmp_path)
    assert again.ledger().receipted == 60
    assert [row.seq for row in again.take(20)] == [5, 6, 7, 8]
    again.settle(again.current, [(1, 10**9)])
    assert again.ledger().upto == 10, "a hub cannot settle numbers that were never given"
    check_ledger(again)
    again.close()


def test_the_live_end_is_taken_before_a_long_backlog(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for n in range(1, 31):
        spool.commit([batch(n)])
    mark = spool.current.next_seq - 1
    assert [row.seq for row in spool.take(3)] == [1, 2, 3]
    spool.commit([batch(31)])
    assert [row.seq for row in spool.take(5, after=mark)] == [31]
    assert [row.seq for row in spool.take(2)] == [4, 5]
    spool.close()


def test_B23_one_connection_and_an_exclusive_lock(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    assert os.path.realpath(tmp_path / "spool.db") in database.connections()
    with pytest.raises(SpoolBusy, match="twice"):
        open_spool(tmp_path)
    code = f"from agent.spool.database import *; open_database({str(tmp_path / 'spool.db')!r})"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert "is a second uplink running?" in other.stderr
    assert spool.db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert spool.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    spool.close()
    assert os.path.realpath(tmp_path / "spool.db") not in database.connections()


def test_B26_a_boot_that_never_knew_its_time_is_sent_and_flagged(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.commit([batch(1)])
    spool.close()
    later = Spool(tmp_path / "spool.db", boot="d" * 32)
    (row,) = later.take(5)
    assert later.header(row, SYNCED).clock == ClockInfo(None, "unsynced"), "the new boot's clock is not the old one's"
    assert later.header(row, SYNCED).boot == BOOT
    later.close()


def test_B25_an_offset_learned_once_goes_with_rows_that_outlive_their_boot(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    spool.commit([batch(1)])
    assert spool.set_clock(ClockInfo(None, "unsynced", 1)) is False
    assert spool.set_clock(SYNCED) is True and spool.set_clock(SYNCED) is False
    spool.close()
    later = Spool(tmp_path / "spool.db", boot="d" * 32)
    assert later.header(later.take(1)[0], ClockInfo(None, "unsynced", 5)).clock == SYNCED
    later.close()


def test_B12_a_copied_card_in_another_board_gets_a_new_epoch(tmp_path: Path) -> None:
    first = open_spool(tmp_path, hardware=["serial:1", "mac:a"])
    first.commit([batch(1)])
    epoch = first.current.epoch
    first.close()
    same = open_spool(tmp_path, hardware=["mac:b", "serial:1"])
    assert same.current.epoch == epoch
    same.close()
    copy = open_spool(tmp_path, hardware=["serial:2"])
    assert copy.current.epoch != epoch and copy.epoch_named(epoch).state == FOREIGN  # type: ignore[union-attr]
    copy.commit([batch(1, run="r9")])
    assert [(row.epoch, row.seq) for row in copy.take(9)] == [(epoch, 1), (copy.current.epoch, 1)]
    copy.settle(copy.epoch_named(epoch), [(1, 1)])  # type: ignore[arg-type]
    assert copy.epoch_named(epoch).state == RETIRED and copy.current.state == CURRENT  # type: ignore[union-attr]
    check_ledger(copy)
    copy.close()


def test_hardware_ids_come_from_what_every_user_may_read(tmp_path: Path) -> None:
    (tmp_path / "proc/device-tree").mkdir(parents=True)
    (tmp_path / "proc/device-tree/serial-number").write_bytes(b"100000003d1f2a\0")
    card = tmp_path / "sys/class/net/eth0"
    (card / "device").mkdir(parents=True)
    (card / "addr_assign_type").write_text("0\n")
    (card / "address").write_text("b8:27:eb:00:00:01\n")
    assert hardware_ids(tmp_path) == ["serial:100000003d1f2a", "mac:b8:27:eb:00:00:01"]
    assert hardware_ids(tmp_path / "nothing") == []


def test_a_dropped_row_is_a_numbered_gap_that_is_sent(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for n in range(1, 101):
        spool.commit([batch(n)])
    spool.tried.clear()
    ids = spool.unsettled_ids(spool.current, 60)
    assert spool.drop(ids[:50], "spool_full") == 500
    check_ledger(spool)
    assert spool.number_gaps() == 1
    rows = spool.take(100)
    record = rows[-1]
    body = decode_body(spool.header(record, SYNCED), record.body)
    assert [(gap.first, gap.last, gap.n, gap.reason) for gap in body.dropped] == [(1, 50, 500, "spool_full")]
    assert record.n == 0 and record.seq == 101 and len(rows) == 51
    check_ledger(spool)
    spool.close()


def test_a_row_that_may_have_reached_the_hub_is_dropped_under_an_entry_of_its_own(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    for n in range(1, 6):
        spool.commit([batch(n)])
    spool.tried.clear()
    spool.tried.update(row.id for row in spool.take(1))
    spool.drop(spool.unsettled_ids(spool.current, 4), "expired")
    spool.number_gaps()
    record = spool.take(9)[-1]
    gaps = decode_body(spool.header(record, SYNCED), record.body).dropped
    assert [(gap.first, gap.last, gap.n) for gap in gaps] == [(1, 1, 10), (2, 4, 30)]
    spool.close()


def test_B17_full_drops_receipted_then_lowest_priority_and_oldest_and_counts_exactly(tmp_path: Path) -> None:
    spool = open_spool(tmp_path, limits=Limits(max_bytes=4 << 20))
    rng = random.Random(1)
    produced = 0
    for n in range(1, 900):
        wide = batch(n, 20, prio=rng.choice([0, 1, 1]), width=200)
        wide.parts[0].series["meter/power_w"].v[:] = [rng.randbytes(100).hex() for _ in range(20)]
        spool.commit([wide, batch(n, 1, prio=3, instance="alarm")])
        produced += 21
        if n == 50:
            spool.settle(spool.current, [(1, 100)])
    assert spool.used_bytes() <= 4 << 20
    spool.limits = Limits(max_bytes=2 << 20)
    spool.commit([])
    spool.commit([batch(900, 1)])
    produced += 1
    assert spool.used_bytes() <= 2 << 20
    counts = spool.ledger()
    assert counts.produced == produced and counts.dropped["spool_full"] > 0
    check_ledger(spool)
    left = [prio for (prio,) in spool.db.execute("SELECT prio FROM batches")]
    assert 0 not in left, "bulk went before anything normal"
    alarms = spool.db.execute("SELECT count(*) FROM batches WHERE prio=3").fetchone()[0]
    assert alarms == 899 - 50, "no alarm was dropped but those that had a receipt"
    spool.number_gaps()
    told = 0
    for row in spool.take(10_000):
        if row.n == 0:
            told += sum(gap.n for gap in decode_body(spool.header(row, SYNCED), row.body).dropped)
    assert told == counts.dropped["spool_full"], "reported minus true dropped is 0"
    spool.close()
    assert integrity(tmp_path / "spool.db") == "ok"


def test_rows_past_their_age_are_dropped_and_receipted_ones_kept_a_day(tmp_path: Path) -> None:
    from agent.spool.room import age_out

    now = [1_000_000]
    spool = open_spool(tmp_path, now_us=lambda: now[0], limits=Limits(max_age_s=10 * 86400, keep_receipted_s=86400))
    for n in range(1, 6):
        spool.commit([batch(n)])
    spool.settle(spool.current, [(1, 3)])
    age_out(spool)
    now[0] += 86_000 * 1_000_000
    assert age_out(spool) == 0
    assert spool.db.execute("SELECT count(*) FROM batches").fetchone() == (5,), "not a day yet"
    now[0] += 500 * 1_000_000
    age_out(spool)
    assert [row for (row,) in spool.db.execute("SELECT id & 255 FROM batches")] == [4, 5]
    now[0] += 10 * 86400 * 1_000_000
    assert age_out(spool) == 20
    assert spool.ledger().dropped == {"expired": 20}
    check_ledger(spool)
    spool.close()


def test_B34_a_row_too_large_for_the_broker_is_split_under_new_numbers(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    wide = batch(1, 64)
    wide.parts[0].series["meter/power_w"].v[:] = [os.urandom(200).hex() for _ in range(64)]
    spool.commit([wide])
    (row,) = spool.take(1)
    spool.split(row, 4096)
    spool.number_gaps()
    rows = spool.take(100)
    assert len(rows) > 3 and sum(new.n for new in rows) == 64 and all(len(new.body) <= 4096 for new in rows)
    assert spool.ledger().produced == 64 and spool.ledger().dropped == {}
    check_ledger(spool)
    gaps = decode_body(spool.header(rows[-1], SYNCED), rows[-1].body).dropped
    assert [(gap.first, gap.last, gap.n) for gap in gaps] == [(1, 1, 0)]
    spool.close()


def test_a_record_without_samples_is_numbered(tmp_path: Path) -> None:
    spool = open_spool(tmp_path)
    row = spool.record(Body(retires="f" * 16))
    (taken,) = spool.take(5)
    assert taken == row and decode_body(spool.header(row, SYNCED), row.body).retires == "f" * 16
    check_ledger(spool)
    spool.close()


WRITER = """
import random, sys
from agent.spool.spool import Spool
from tests.agent.spool.batches import batch, BOOT
spool = Spool(sys.argv[1], boot=BOOT)
rng = random.Random(int(sys.argv[2]))
n = spool.committed("meter", "r1")
while True:
    group = [batch(n + 1 + i, rng.randrange(1, 9)) for i in range(rng.randrange(1, 4))]
    n = spool.commit(group)["meter", "r1"]
    print(n, spool.ledger().produced, flush=True)
    rows = spool.take(3)
    if rng.random() < 0.7:
        spool.settle(spool.current, [(row.seq, row.seq) for row in rows])
    if rng.random() < 0.2:
        spool.drop(spool.unsettled_ids(spool.current, 2), "expired")
        spool.number_gaps()
"""


def test_B56_kill_9_at_random_moments_leaves_an_exact_ledger(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    rng = random.Random(7)
    told = (0, 0)
    for round_number in range(200 if LONG else 8):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(round_number)], stdout=subprocess.PIPE,
                              text=True, cwd=Path(__file__).parents[3]) as writer:
            assert writer.stdout
            writer.stdout.readline()
            time.sleep(rng.uniform(0.0, 0.15))
            os.kill(writer.pid, signal.SIGKILL)
            lines = [line.split() for line in writer.stdout.read().splitlines() if len(line.split()) == 2]
        if lines:
            told = int(lines[-1][0]), int(lines[-1][1])
        spool = Spool(path, boot=BOOT)
        check_ledger(spool)
        assert spool.committed("meter", "r1") >= told[0] and spool.ledger().produced >= told[1]
        spool.close()
        assert integrity(path) == "ok"
