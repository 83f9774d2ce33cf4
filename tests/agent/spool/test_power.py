"""Power cuts and failing cards, on a real file system of our own (FUSE) under real SQLite."""

from __future__ import annotations

import errno
import importlib.util
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.spool.keeper import Keeper
from agent.spool.spool import Limits, Spool
from tests.agent.spool.batches import BOOT, batch, check_ledger, integrity
from tests.agent.spool.test_salvage import Faults

LONG = os.environ.get("HUTKEEPER_LONG") == "1"
CUTS = 1000 if LONG else 30
CHECKOUT = Path(__file__).parents[3]

pytestmark = [
    pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="no access to /dev/fuse here"),
    pytest.mark.skipif(importlib.util.find_spec("mfusepy") is None, reason="mfusepy is not installed"),
]


class Card:
    """A mounted card that can lose power or fail."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hk-card-", dir="/tmp"))
        self.mount = self.folder / "m"
        self.mount.mkdir()
        self.control = self.folder / "c"
        self.process = subprocess.Popen([sys.executable, "-m", "tests.fakes.amnesia", str(self.mount),
                                         str(self.control)], cwd=CHECKOUT, stderr=subprocess.PIPE)
        ends = time.monotonic() + 15
        while not (self.control.exists() and os.path.ismount(self.mount)):
            if self.process.poll() is not None or time.monotonic() > ends:
                raise RuntimeError(f"no mount: {self.process.stderr and self.process.stderr.read()!r}")
            time.sleep(0.02)

    def say(self, *words: object) -> None:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.control))
            client.sendall(" ".join(map(str, words)).encode())
            assert client.recv(10) == b"done"

    def close(self) -> None:
        subprocess.run(["fusermount3", "-u", "-z", str(self.mount)], check=False, timeout=10)
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def card() -> Iterator[Card]:
    made = Card()
    yield made
    made.close()


def write_for_ever(path: Path, pipe: int, seed: int) -> None:
    """The child: commits groups and says what is committed."""
    rng = random.Random(seed)
    spool = Spool(path, boot=BOOT)
    n = spool.committed("meter", "r1")
    while True:
        wide = [batch(n + 1 + i, rng.randrange(1, 30)) for i in range(rng.randrange(1, 4))]
        n = spool.commit(wide)["meter", "r1"]
        os.write(pipe, b"%d %d\n" % (n, spool.ledger().produced))
        if rng.random() < 0.5:
            spool.settle(spool.current, [(row.seq, row.seq) for row in spool.take(2)])
        if rng.random() < 0.1:
            spool.drop(spool.unsettled_ids(spool.current, 2), "expired")
            spool.number_gaps()


def test_B15_power_cuts_at_random_moments_lose_nothing_that_was_committed(card: Card) -> None:
    """Unsynced writes are lost, or arrive in part: torn at 512 bytes or at 4 KiB."""
    path = card.mount / "spool.db"
    rng = random.Random(15)
    told = 0, 0
    salvaged = 0
    for cut in range(CUTS):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reader)
                write_for_ever(path, writer, cut)
            finally:
                os._exit(1)
        os.close(writer)
        with os.fdopen(reader) as lines:
            first = lines.readline()
            assert first, "the child could not write"
            time.sleep(rng.uniform(0.0, 0.05))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            said = [first, *(line for line in lines if line.endswith("\n"))]
        told = tuple(map(int, said[-1].split()))  # type: ignore[assignment]
        card.say("cut", cut, rng.choice([0, 512, 4096]))
        faults = Faults()
        keeper = Keeper(path, Limits(), hardware=[], fault=faults.fault, clear=faults.cleared.append, boot=BOOT)
        keeper.open()
        assert keeper.on_disk
        salvaged += "E_SPOOL_CORRUPT" in faults.codes()
        check_ledger(keeper.spool)
        assert keeper.spool.committed("meter", "r1") >= told[0], "a committed batch is gone"
        assert keeper.spool.ledger().produced >= told[1]
        keeper.spool.close()
        assert integrity(path) == "ok"
    print(f"{CUTS} cuts, {told[0]} batches committed, 0 lost, {salvaged} salvaged")
    assert salvaged == 0, "a power cut is not damage"


@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS, errno.ENOSPC])
def test_B16_a_card_that_fails_is_replaced_by_memory_and_comes_back(card: Card, error: int, monkeypatch: Any) -> None:
    import sqlite3

    from agent.spool import keeper as keeper_module

    monkeypatch.setattr(keeper_module, "TRY_DISK_S", 0.0)
    faults = Faults()
    keeper = Keeper(card.mount / "spool.db", Limits(), hardware=["serial:1"], fault=faults.fault,
                    clear=faults.cleared.append, boot=BOOT)
    keeper.open()
    keeper.commit([batch(1, 10, kept=b"{}")])
    disk_epoch = keeper.spool.current.epoch
    card.say("fail", error)
    with pytest.raises(sqlite3.Error) as caught:
        keeper.commit([batch(2, 10)])
    keeper.failed(caught.value)
    assert not keeper.on_disk and faults.codes() == ["E_DISK_IO"]
    assert keeper.commit([batch(1, 10), batch(2, 10), batch(3, 10)]) == {("meter", "r1"): 3}
    assert keeper.welcome("meter", "r1") == (3, b"{}"), "what was committed before is known: no repeat is stored"
    memory_epoch = keeper.spool.current.epoch
    assert memory_epoch != disk_epoch and keeper.spool.ledger().produced == 20
    (sent,) = keeper.spool.take(9)
    assert (sent.epoch, sent.n) == (memory_epoch, 20), "sent at once, under numbers of its own"
    keeper.commit([batch(4, 10)])
    keeper.spool.settle(keeper.spool.current, [(sent.seq, sent.seq)])
    check_ledger(keeper.spool)
    assert keeper.tick(time.monotonic()) is False, "the card still fails"
    card.say("heal")
    assert keeper.tick(time.monotonic()) is True
    assert keeper.on_disk and faults.cleared == ["disk-io"]
    check_ledger(keeper.spool)
    moved = keeper.spool.epoch_named(memory_epoch)
    assert moved is not None and keeper.spool.ledger(moved).receipted == 20 and moved.unsettled == 10
    assert keeper.welcome("meter", "r1") == (4, b"{}")
    rows = keeper.spool.take(9)
    assert sorted((row.epoch, row.n) for row in rows) == sorted([(disk_epoch, 10), (memory_epoch, 10)])
    keeper.spool.settle(moved, [(row.seq, row.seq) for row in rows if row.epoch == memory_epoch])
    assert keeper.spool.retire_done() == 1, "the hub is told that the epoch of that time is over"
    keeper.spool.close()


def test_B16_a_card_that_fails_from_the_start(card: Card) -> None:
    card.say("fail", errno.EROFS)
    faults = Faults()
    keeper = Keeper(card.mount / "spool.db", Limits(), hardware=[], fault=faults.fault, clear=faults.cleared.append,
                    boot=BOOT)
    keeper.open()
    assert not keeper.on_disk and faults.codes() == ["E_DISK_IO"]
    keeper.commit([batch(1, 10)])
    assert keeper.spool.ledger().produced == 10
    keeper.spool.close()
