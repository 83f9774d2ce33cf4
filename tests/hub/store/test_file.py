"""The file itself: migrations, one writer, damage, full disk, the log's size."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlite_utils import Database

from hub.store import connect, schema
from hub.store.errors import ReadTooLong, SchemaNewer, SecondHub, StoreCorrupt, StoreError, StoreFull
from hub.store.reader import Reader
from hub.store.upkeep import WAL_BIG_BYTES, Days, Upkeep
from hub.store.verify import verify
from hub.store.writer import Writer
from tests.hub.store.lab import NOW, batch

ROOT = Path(__file__).resolve().parents[3]
TEMP = "cpu/temperature_c"

def migrate_and_die(path: Path, at: int) -> int:
    """Migrate in a forked child that kills itself at its ``at``-th statement; the child's wait status."""
    child = os.fork()
    if child == 0:
        try:
            connection = connect.open_writer(path)
            left = at

            def statement(sql: str) -> None:
                nonlocal left
                left -= 1
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

            connection.set_trace_callback(statement)
            schema.migrate(connection, path)
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def tables(path: Path) -> tuple[int, set[str]]:
    with sqlite3.connect(path) as db:
        return schema.version(db), {row[0] for row in db.execute("SELECT name FROM sqlite_master")}


def test_B73_a_migration_killed_at_any_statement_is_old_or_new_and_never_half(tmp_path: Path) -> None:
    start = tmp_path / "start.db"
    connection = connect.open_writer(start)
    schema.migrate(connection, start, schema.MIGRATIONS[:2])  # an old hub's file
    connection.execute("INSERT INTO devices (device) VALUES ('dev')")
    connection.close()
    whole = []
    for number in range(2, len(schema.MIGRATIONS) + 1):  # what each version looks like
        path = tmp_path / f"v{number}.db"
        shutil.copy(start, path)
        db = connect.open_writer(path)
        schema.migrate(db, path, schema.MIGRATIONS[:number])
        db.close()
        whole.append(tables(path))
    path = tmp_path / "samples.db"
    at, killed, done = 0, 0, False
    while not done:
        at += 1 if os.environ.get("HUTKEEPER_LONG") else 2
        for old in tmp_path.glob("samples.db*"):
            old.unlink()
        shutil.copy(start, path)
        code = migrate_and_die(path, at)
        assert code in (0, -signal.SIGKILL)
        done = code == 0
        killed += not done
        assert tables(path) in whole, f"killed at statement {at}"
        with Writer(path) as writer:  # and the next start finishes it
            assert schema.version(writer.db) == len(schema.MIGRATIONS)
            assert writer.db.execute("SELECT device FROM devices").fetchall() == [("dev",)]
    assert killed >= 10
    assert (tmp_path / "samples.db.before-003_what_was_taken").exists()


def test_B73_a_step_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "samples.db"

    def broken(db: Database) -> None:
        db["half"].create({"id": int}, pk="id")  # type: ignore[union-attr]
        raise RuntimeError("no")

    connection = connect.open_writer(path)
    with pytest.raises(RuntimeError):
        schema.migrate(connection, path, [*schema.MIGRATIONS, ("006_broken", broken)])
    connection.close()
    version, names = tables(path)
    assert version == len(schema.MIGRATIONS) and "half" not in names


def test_B74_a_newer_file_is_left_untouched_and_named(tmp_path: Path) -> None:
    path = tmp_path / "samples.db"
    with Writer(path) as writer:
        writer.commit([batch(1, {TEMP: [(1, 1.0)]})])
        writer.db.execute("PRAGMA user_version = 99")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(SchemaNewer) as caught:
        Writer(path)
    assert str(caught.value).startswith("E_SCHEMA_NEWER the database has schema 99, this program wants 5")
    with pytest.raises(SchemaNewer):
        Reader(path).devices()
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before


def test_B13_B23_a_second_writer_is_refused_in_this_and_in_another_process(tmp_path: Path) -> None:
    path = tmp_path / "samples.db"
    with Writer(path):
        with pytest.raises(SecondHub) as caught:
            Writer(path)
        assert "E_SECOND_HUB" in str(caught.value)
        other = subprocess.run(
            [sys.executable, "-c", "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\n"
             "from hub.store.writer import Writer\nWriter(Path(sys.argv[1]))", str(path), str(ROOT)],
            capture_output=True, text=True, timeout=60)
        assert other.returncode == 1 and f"process {os.getpid()} writes" in other.stderr
    with Writer(path):
        pass  # the lock goes with its holder


def test_B23_readers_beside_the_writer_never_write_checkpoint_or_see_half_a_commit(tmp_path: Path) -> None:
    """The pattern of the WAL-reset bug, with our rule: one connection writes and checkpoints, the others only read."""
    path = tmp_path / "samples.db"
    seconds = 20 if os.environ.get("HUTKEEPER_LONG") else 2
    stop = threading.Event()
    wrong: list[str] = []

    def read() -> None:
        reader = Reader(path)
        while not stop.is_set():
            (row,) = reader.series("dev")
            with reader.snapshot() as db:
                count, newest = db.execute("SELECT count(*), max(t_us) FROM samples").fetchone()
                rolled = db.execute("SELECT sum(n), max(last_us) FROM rollup_day").fetchone()
                if (count, newest) != rolled or count % 50:
                    wrong.append(f"{count} samples, {rolled} in roll-ups")
                for forbidden in ("PRAGMA wal_checkpoint(TRUNCATE)", "DELETE FROM samples"):
                    try:
                        db.execute(forbidden).fetchall()
                        if forbidden.startswith("DELETE"):
                            wrong.append("a reader deleted")
                    except sqlite3.OperationalError:
                        pass
            assert row.id == 1

    with Writer(path) as writer:
        writer.commit([batch(1, {TEMP: [(n, float(n)) for n in range(1, 51)]})])
        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        ends = time.monotonic() + seconds
        seq = 1
        while time.monotonic() < ends:
            seq += 1
            writer.commit([batch(seq, {TEMP: [(seq * 50 + n, float(n)) for n in range(1, 51)]})])
            if seq % 7 == 0:
                writer.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        stop.set()
        for thread in threads:
            thread.join(30)
        assert [row[0] for row in writer.db.execute("PRAGMA integrity_check")] == ["ok"]
    assert wrong == []
    assert seq > 5
    assert verify(Reader(path)).findings == []


def fill(writer: Writer, batches: int, start: int = 1) -> None:
    for seq in range(start, start + batches):
        writer.commit([batch(seq, {f"n/p{k}": [(seq * 1_000_000 + n, float(n)) for n in range(100)]
                                   for k in range(10)})])


def test_B19_the_log_is_cut_and_a_long_reader_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.store.upkeep.CHECKPOINT_BYTES", 1 << 20)
    monkeypatch.setattr("hub.store.upkeep.WAL_BIG_BYTES", 4 << 20)
    path, wal = tmp_path / "samples.db", tmp_path / "samples.db-wal"
    with Writer(path) as writer:
        upkeep = Upkeep(writer, lambda name: Days(0, 0, 0, 0))
        largest = 0
        for seq in range(1, 60):
            fill(writer, 1, seq)
            upkeep.after_commit(NOW)
            largest = max(largest, wal.stat().st_size)
        assert largest < 2 << 20
        foreign = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        foreign.execute("BEGIN")
        foreign.execute("SELECT count(*) FROM samples").fetchone()
        seq = 60
        while wal.stat().st_size < 5 << 20:
            fill(writer, 1, seq)
            upkeep.after_commit(NOW)
            seq += 1
        events = Reader(path).events("hub")
        assert [event.code for event in events] == ["W_WAL_BIG"] and events[0].count == 1
        foreign.close()
        for more in range(seq, seq + 40):
            fill(writer, 1, more)
            upkeep.after_commit(NOW)
        assert wal.stat().st_size < 3 << 20
    assert WAL_BIG_BYTES == 64 << 20


def test_B19_our_own_reads_end_by_themselves(tmp_path: Path) -> None:
    path = tmp_path / "samples.db"
    with Writer(path) as writer:
        fill(writer, 20)
        reader = Reader(path, limit_s=0.05)
        with pytest.raises(ReadTooLong), reader.snapshot() as db:
            db.execute("SELECT count(*) FROM samples a, samples b, samples c").fetchone()
        assert reader.devices()[0].device == "dev"  # the next one is a new one
        busy = writer.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        assert busy == 0


def test_B20_damage_is_found_set_aside_and_never_replaced_by_an_empty_file(tmp_path: Path) -> None:
    good = tmp_path / "good.db"
    with Writer(good) as writer:
        fill(writer, 60)
    data = good.read_bytes()
    rng = random.Random(20)
    tries = 200 if os.environ.get("HUTKEEPER_LONG") else 25
    found = 0
    for number in range(tries):
        folder = tmp_path / str(number)
        folder.mkdir()
        path = folder / "samples.db"
        pages = len(data) // 4096
        damaged = bytearray(data)
        at = (0 if number == 0 else rng.randrange(pages)) * 4096
        damaged[at : at + 4096] = rng.randbytes(4096)
        path.write_bytes(damaged)
        try:
            Writer(path).close()
        except StoreCorrupt as error:
            found += 1
            assert str(error).startswith("E_DB_CORRUPT") and "restore" in str(error)
            assert not path.exists()
            (aside,) = [one for one in folder.glob("samples.db.damaged-*") if one.suffix not in (".lock",)
                        and not one.name.endswith(("-wal", "-shm"))]
            assert aside.stat().st_size >= len(data) - 4096
            for _ in range(2):  # and a restart does not begin anew without a word
                with pytest.raises(StoreCorrupt) as again:
                    Writer(path)
                assert "set aside" in str(again.value)
                assert not path.exists()
    assert found >= tries * 3 // 4  # a page that is free, or one value of a row, cannot be told


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)], capture_output=True,
                          timeout=30)
    if made.returncode:
        pytest.skip(f"no right to mount a tmpfs here: {made.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], timeout=30, check=True)


def test_B18_a_full_disk_takes_nothing_and_goes_on_when_there_is_space(small_disk: Path) -> None:
    path = small_disk / "samples.db"
    with Writer(path) as writer:
        fill(writer, 3)
        ballast = small_disk / "ballast"
        with ballast.open("wb") as file, pytest.raises(OSError, match="No space"):
            while True:
                file.write(bytes(65536))
                file.flush()
        refused = 0
        seq = 4
        for seq in range(4, 40):
            try:
                fill(writer, 1, seq)
            except StoreFull as error:
                refused += 1
                assert str(error).startswith("E_DB_FULL")
                break
        assert refused == 1
        with pytest.raises(StoreFull):
            writer.probe(1 << 20)
        ballast.unlink()
        writer.probe(1 << 20)
        fill(writer, 3, seq)  # the same batch again, as a device would send it
    reader = Reader(path)
    (row,) = reader.ledger()
    assert (row.stored, row.upto, row.duplicates) == ((seq + 2) * 1000, seq + 2, 0)
    assert verify(reader).findings == []


def test_B15_commits_survive_kill_9_at_random_moments(tmp_path: Path) -> None:
    """What was answered with a receipt is there after kill -9 of the writer, and the file is sound."""
    path = tmp_path / "samples.db"
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[3])\n"
        "from hub.store.writer import Writer\nfrom tests.hub.store.lab import batch\n"
        "writer = Writer(Path(sys.argv[1]))\n"
        "for seq in range(int(sys.argv[2]), 1 << 30):\n"
        "    done = writer.commit([batch(seq, {'n/p': [(seq * 1000 + n, float(n)) for n in range(20)]})])\n"
        "    print(done.receipts[0][1].upto, flush=True)\n")
    rng = random.Random(15)
    receipted = 0
    for _ in range(20 if os.environ.get("HUTKEEPER_LONG") else 4):
        process = subprocess.Popen([sys.executable, "-c", program, str(path), str(receipted + 1), str(ROOT)],
                                   stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(rng.randint(1, 60)):
            receipted = int(process.stdout.readline())
        time.sleep(rng.random() / 50)
        process.kill()
        for line in process.stdout:
            if line.endswith("\n"):
                receipted = int(line)
        process.wait(30)
        process.stdout.close()
    with Writer(path) as writer:
        assert [row[0] for row in writer.db.execute("PRAGMA integrity_check")] == ["ok"]
    reader = Reader(path)
    (row,) = reader.ledger()
    assert row.upto >= receipted > 0 and row.stored == row.upto * 20
    assert verify(reader).findings == []


def test_a_missing_database_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="start the hub first"):
        Reader(tmp_path / "none.db").devices()


def test_a_reader_notices_that_the_file_was_replaced(tmp_path: Path) -> None:
    path, other = tmp_path / "samples.db", tmp_path / "other.db"
    for file, device in ((path, "old"), (other, "new")):
        with Writer(file) as writer:
            writer.commit([batch(1, {TEMP: [(1, 1.0)]}, device=device)])
    reader = Reader(path)
    assert reader.devices()[0].device == "old"
    other.replace(path)
    assert reader.devices()[0].device == "new"
