"""B21: a damaged spool file. The agent starts, saved samples keep their numbers, the loss is exactly counted."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agent.spool import wal
from agent.spool.database import PAGE_BYTES
from agent.spool.keeper import Keeper
from agent.spool.rows import OLD, split_id
from agent.spool.spool import Damaged, Limits
from agent.wire.records import ClockInfo, decode_body
from tests.agent.spool.batches import BOOT, batch, check_ledger, integrity

LONG = os.environ.get("HUTKEEPER_LONG") == "1"
FILES = 1000 if LONG else 60
SYNCED = ClockInfo(1_790_000_000_000_000, "synced")


class Faults:
    """What the keeper says."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.cleared: list[str] = []

    def fault(self, code: str, alert_id: str, **fields: Any) -> None:
        self.said.append((code, fields))

    def codes(self) -> list[str]:
        return [code for code, _ in self.said]


def alter(path: Path, query: str) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute(query)


def keeper(path: Path, faults: Faults | None = None) -> Keeper:
    faults = faults or Faults()
    made = Keeper(path, Limits(), hardware=["serial:1"], fault=faults.fault, clear=faults.cleared.append, boot=BOOT)
    made.open()
    return made


def fill(path: Path, batches: int = 120, receipted: int = 30, *, close: bool = True) -> dict[str, Any]:
    """A spool with history: receipts, gaps, kept state. Returns what was true of it."""
    rng = random.Random(5)
    made = keeper(path)
    spool = made.spool
    for n in range(1, batches + 1):
        wide = batch(n, 12, kept=b'{"n":%d}' % n)
        wide.parts[0].series["meter/power_w"].v[:] = [rng.random() for _ in range(12)]
        spool.commit([wide])
    spool.settle(spool.current, [(1, receipted), (50, 55)])
    spool.tried.clear()
    spool.drop(spool.unsettled_ids(spool.current, 5), "spool_full")
    spool.number_gaps()
    rows = {split_id(row)[1]: n for row, n in spool.db.execute("SELECT id, n FROM batches")}
    truth = {"epoch": spool.current.epoch, "ledger": spool.ledger(), "rows": rows,
             "waiting": {seq: n for seq, n in rows.items() if seq not in spool.current.settled}}
    if close:
        spool.close()
    return truth


def check_saved(path: Path, truth: dict[str, Any], faults: Faults) -> tuple[int, int]:
    """Open what was damaged and check the books; returns (samples saved, samples lost)."""
    made = keeper(path, faults)
    assert made.on_disk
    try:
        while made.spool.take(50):
            pass
    except Damaged as error:
        made.failed(error)
    for row in list(made.spool.taken):
        made.spool.give_back(row)
    spool = made.spool
    assert made.on_disk
    check_ledger(spool)
    old = spool.epoch_named(truth["epoch"])
    if "E_SPOOL_CORRUPT" not in faults.codes():
        assert old is not None and spool.ledger(old).produced == truth["ledger"].produced
        spool.close()
        return sum(truth["waiting"].values()), 0
    assert spool.current.epoch != truth["epoch"], "new samples get new numbers"
    fields = next(fields for code, fields in faults.said if code == "E_SPOOL_CORRUPT")
    if old is None:
        assert "unknown" in fields["lost"]
        spool.close()
        return 0, -1
    saved: dict[int, int] = {}
    told: dict[int, int] = {}
    spool.number_gaps()
    while rows := spool.take(50):
        for row in rows:
            assert row.epoch == truth["epoch"], "saved samples keep their epoch"
            if row.seq in truth["rows"]:
                assert row.n == truth["rows"][row.seq]
                saved[row.seq] = row.n
            body = decode_body(spool.header(row, SYNCED), row.body)
            for gap in body.dropped:
                if gap.reason == "corrupt":
                    told.update(dict.fromkeys(range(gap.first, min(gap.last, 10_000) + 1), 0))
                    told[gap.first] = gap.n
    counts = spool.ledger(old)
    lost = counts.dropped.get("corrupt", 0)
    if "unknown" in fields["lost"]:
        assert sum(saved.values()) == fields["saved"], "its counters are gone: all that is readable is sent again"
    else:
        assert sum(n for seq, n in saved.items() if seq in truth["waiting"]) == fields["saved"]
        missing = {seq for seq in truth["waiting"] if seq not in saved}
        assert lost == sum(truth["waiting"][seq] for seq in missing), "the loss is exactly reported"
        assert missing <= set(told) and sum(told.values()) == lost
        assert counts.produced == truth["ledger"].produced
    spool.close()
    return fields["saved"], lost


def test_B21_bit_flips_anywhere_the_agent_starts_and_the_loss_is_exact(tmp_path: Path) -> None:
    rng = random.Random(21)
    truth = fill(tmp_path / "good.db")
    size = (tmp_path / "good.db").stat().st_size
    assert size > 20 * PAGE_BYTES
    lossy = unknown = salvaged = 0
    for number in range(FILES):
        folder = tmp_path / f"{number}"
        folder.mkdir()
        path = folder / "spool.db"
        shutil.copy(tmp_path / "good.db", path)
        shutil.copy(tmp_path / "good.db.epochs", f"{path}.epochs")
        data = bytearray(path.read_bytes())
        for _ in range(rng.choice([1, 1, 2, 8, 40])):
            data[rng.randrange(PAGE_BYTES if number % 10 == 0 else size)] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        faults = Faults()
        _, lost = check_saved(path, truth, faults)
        salvaged += "E_SPOOL_CORRUPT" in faults.codes()
        lossy += lost > 0
        unknown += lost < 0
        again = keeper(path)
        assert again.on_disk
        again.spool.close()
        assert integrity(path) == "ok"
        shutil.rmtree(folder)
    print(f"{FILES} files: {salvaged} salvaged at start, {lossy} with a loss, {unknown} without any name")
    assert lossy > FILES // 10 and unknown == 0
    assert salvaged > FILES // 4


def test_B21_a_flip_in_a_value_is_found_when_the_row_is_read(tmp_path: Path) -> None:
    """SQLite's structure check does not see it, the row's own checksum does."""
    truth = fill(tmp_path / "spool.db")
    alter(tmp_path / "spool.db",
          "UPDATE batches SET body = CAST(x'00' || substr(body, 2) AS BLOB) WHERE id & 1048575 = 80")
    faults = Faults()
    made = keeper(tmp_path / "spool.db", faults)
    assert faults.codes() == []
    with pytest.raises(Damaged, match="batch 80"):
        while made.spool.take(10):
            pass
    made.failed(Damaged("batch 80"))
    assert faults.codes() == ["E_SPOOL_CORRUPT"] and made.on_disk
    old = made.spool.epoch_named(truth["epoch"])
    assert old is not None and old.state == OLD and old.dropped["corrupt"] == 12
    check_ledger(made.spool)
    made.spool.close()


def test_B21_zeroed_and_truncated_and_foreign_files(tmp_path: Path) -> None:
    truth = fill(tmp_path / "good.db")
    good = (tmp_path / "good.db").read_bytes()
    for name, data in {"zero": bytes(len(good)), "cut": good[: len(good) * 3 // 4], "text": b"hello" * 2000,
                       "first page": bytes(PAGE_BYTES) + good[PAGE_BYTES:], "short": good[:100]}.items():
        path = tmp_path / name.replace(" ", "") / "spool.db"
        path.parent.mkdir()
        path.write_bytes(data)
        shutil.copy(tmp_path / "good.db.epochs", f"{path}.epochs")
        faults = Faults()
        saved, _ = check_saved(path, truth, faults)
        assert "E_SPOOL_CORRUPT" in faults.codes(), name
        if name == "first page":
            assert saved == sum(truth["waiting"].values()), "everything but the first page is whole, so all is saved"
        if name == "cut":
            assert 0 < saved < sum(truth["waiting"].values())


def test_B21_a_salvage_that_was_cut_short_is_done_again(tmp_path: Path) -> None:
    truth = fill(tmp_path / "spool.db")
    path = tmp_path / "spool.db"
    path.replace(tmp_path / "spool.db.bad")  # killed after the old file was set aside
    (tmp_path / "spool.db.new").write_bytes(b"half")
    faults = Faults()
    saved, lost = check_saved(path, truth, faults)
    assert faults.codes() == ["E_SPOOL_CORRUPT"]
    assert (saved, lost) == (sum(truth["waiting"].values()), 0)
    faults = Faults()
    keeper(path, faults).spool.close()
    assert faults.codes() == [], "once is enough"


def test_B21_plugin_runs_survive_so_that_a_repeat_is_still_a_repeat(tmp_path: Path) -> None:
    fill(tmp_path / "spool.db")
    alter(tmp_path / "spool.db", "UPDATE batches SET n = n + 1 WHERE id & 1048575 = 90")
    faults = Faults()
    made = keeper(tmp_path / "spool.db", faults)
    try:
        while made.spool.take(10):
            pass
    except Damaged as error:
        made.failed(error)
    assert made.spool.welcome("meter", "r1") == (120, b'{"n":120}')
    made.spool.close()


def test_B21_a_flip_in_the_log_does_not_forget_the_commits_behind_it(tmp_path: Path) -> None:
    """SQLite would silently read the log only up to the flip, and the forgotten numbers would be given again."""
    path = tmp_path / "spool.db"
    truth = fill(path, batches=20, receipted=3, close=False)
    folder = tmp_path / "killed"
    folder.mkdir()
    for suffix in ("", "-wal", ".epochs"):  # as a kill leaves it: the log is not yet in the file
        shutil.copy(f"{path}{suffix}", folder / f"spool.db{suffix}")
    log = folder / "spool.db-wal"
    data = bytearray(log.read_bytes())
    frames = (len(data) - wal.HEADER) // (wal.FRAME + PAGE_BYTES)
    assert frames > 30
    for frame in (2, frames // 2, frames - 8):
        broken = bytearray(data)
        broken[wal.HEADER + frame * (wal.FRAME + PAGE_BYTES) + wal.FRAME + 900] ^= 0x10
        place = tmp_path / f"flip{frame}"
        shutil.copytree(folder, place)
        (place / "spool.db-wal").write_bytes(broken)
        assert not wal.looks_sound(place / "spool.db-wal")
        faults = Faults()
        made = keeper(place / "spool.db", faults)
        assert faults.codes() == ["E_SPOOL_CORRUPT"]
        old = made.spool.epoch_named(truth["epoch"])
        assert old is not None and old.next_seq == truth["ledger"].next_seq, "no number is forgotten"
        assert made.spool.ledger(old).produced == truth["ledger"].produced
        assert made.spool.current.epoch != truth["epoch"]
        check_ledger(made.spool)
        made.spool.close()


def test_B15_a_torn_end_of_the_log_is_a_power_cut_and_not_damage(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    fill(path, batches=20, receipted=3, close=False)
    data = Path(f"{path}-wal").read_bytes()
    size = wal.FRAME + PAGE_BYTES
    for cut in (1, 100, 512, PAGE_BYTES, size - 1):
        torn = tmp_path / f"torn{cut}"
        torn.write_bytes(data[:-cut])
        assert wal.looks_sound(torn)
    torn = tmp_path / "lasttransaction"
    torn.write_bytes(data[: -2 * size] + bytes(size) + data[-size:])  # its commit frame arrived, another one did not
    assert wal.looks_sound(torn)
    assert wal.repair(torn) is False
