"""The writer against a model that is a dict: random batches, repeats, any order, late clocks, restarts."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.wire.records import Dropped
from hub.ingest.decode import records_of
from hub.store import rollup
from hub.store.reader import Reader
from hub.store.rows import flagged
from hub.store.upkeep import Days, Upkeep, counted
from hub.store.verify import verify
from hub.store.writer import Writer
from tests.hub.store.lab import NOW, payload

LONG = bool(os.environ.get("HUTKEEPER_LONG"))
SERIES = ["cpu/temperature_c", "cpu/load", "door/open", "door/event"]
EPOCHS = ["e1", "e2"]
BOOTS = {"x" * 32: NOW - 7 * 86_400_000_000, "y" * 32: NOW - 3_600_000_000}
"""boot -> its true offset, which the device may not know yet"""

values = {
    "cpu/temperature_c": st.one_of(st.floats(-1e6, 1e6), st.none()),
    "cpu/load": st.integers(0, 100),
    "door/open": st.booleans(),
    "door/event": st.sampled_from(["opened", "closed"]),
}


@st.composite
def series(draw: st.DrawFn) -> dict[str, list[tuple[object, ...]]]:
    made: dict[str, list[tuple[object, ...]]] = {}
    for name in draw(st.lists(st.sampled_from(SERIES), unique=True, max_size=4)):
        # few different times, far apart and close together: buckets, collisions and old samples all happen
        times = draw(st.lists(st.builds(lambda far, near: far * 25_000_000 + near, st.integers(0, 140),
                                        st.integers(0, 3)), min_size=1, max_size=6, unique=True))
        made[name] = [(t, draw(values[name]), draw(st.sampled_from([None, None, None, "uncertain", "bad"])))
                      for t in sorted(times)]
    return made


class Store(RuleBasedStateMachine):
    """What must hold: every accepted sample is there once, with its value; ledger and roll-ups agree."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "samples.db"
        self.writer = Writer(self.path)
        self.seq = dict.fromkeys(EPOCHS, 0)
        self.sent: list[bytes] = []
        self.settled: dict[str, set[int]] = {epoch: set() for epoch in EPOCHS}
        self.model: list[tuple[str, str, int, object, str | None]] = []
        """(series, boot, t since boot, value, quality) of everything accepted"""
        self.stored = dict.fromkeys(EPOCHS, 0)
        self.dropped = dict.fromkeys(EPOCHS, 0)
        self.duplicates = dict.fromkeys(EPOCHS, 0)
        self.known: set[str] = set()

    def give(self, group: list[bytes]) -> None:
        items = [records_of("dev", data, NOW) for data in group]
        done = self.writer.commit(items)
        for item in items:
            header, body = item.header, item.body
            if header.seq in self.settled[header.epoch]:
                self.duplicates[header.epoch] += 1
                continue
            self.settled[header.epoch].add(header.seq)
            self.stored[header.epoch] += header.n
            if header.clock.offset_us is not None:
                self.known.add(header.boot)
            for name, columns in body.series.items():
                for at, t in enumerate(columns.t):
                    quality = columns.q[at] if columns.q else None
                    value = columns.v[at]
                    if value is None and quality is None:
                        quality = "not_finite"
                    self.model.append((name, header.boot, t, value, quality))
            for gap in body.dropped:
                fresh = set(range(gap.first, gap.last + 1)) - self.settled[header.epoch]
                self.dropped[header.epoch] += gap.n if fresh else 0
                self.settled[header.epoch] |= fresh
        for _, receipt in done.receipts:
            covered = set(range(1, receipt.upto + 1)).union(*(range(a, b + 1) for a, b in receipt.also))
            assert covered == self.settled[receipt.epoch]

    def make(self, epoch: str, boot: str, content: dict[str, list[tuple[object, ...]]], knows: bool,
             dropped: list[Dropped]) -> bytes:
        self.seq[epoch] += 1
        data = payload(self.seq[epoch], content, epoch=epoch, boot=boot, dropped=dropped,
                       offset_us=BOOTS[boot] if knows else None)
        self.sent.append(data)
        return data

    @rule(epoch=st.sampled_from(EPOCHS), boot=st.sampled_from(sorted(BOOTS)), contents=st.lists(series(), max_size=4),
          knows=st.booleans(), order=st.randoms(use_true_random=False))
    def batches(self, epoch: str, boot: str, contents: list[dict[str, list[tuple[object, ...]]]], knows: bool,
                order: object) -> None:
        group = [self.make(epoch, boot, content, knows, []) for content in contents]
        order.shuffle(group)  # type: ignore[attr-defined]
        if group:
            self.give(group)

    @rule(epoch=st.sampled_from(EPOCHS), content=series(), boot=st.sampled_from(sorted(BOOTS)))
    def lost_on_the_way(self, epoch: str, content: dict[str, list[tuple[object, ...]]], boot: str) -> None:
        self.make(epoch, boot, content, True, [])

    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        if self.sent:
            self.give(data.draw(st.lists(st.sampled_from(self.sent), min_size=1, max_size=4)))

    @rule(epoch=st.sampled_from(EPOCHS), size=st.integers(1, 5), n=st.integers(0, 50))
    def given_up(self, epoch: str, size: int, n: int) -> None:
        """Numbers that were never sent are given up."""
        first = self.seq[epoch] + 1
        self.seq[epoch] += size
        self.give([self.make(epoch, sorted(BOOTS)[0], {}, True, [Dropped(first, first + size - 1, n, "spool_full")])])

    @rule()
    def restart(self) -> None:
        """The memory is gone, the file is what it is."""
        self.writer.close()
        self.writer = Writer(self.path)

    @rule(steps=st.integers(1, 20))
    def upkeep(self, steps: int) -> None:
        upkeep = Upkeep(self.writer, lambda name: Days(0, 0, 0, 0))
        for _ in range(steps):
            if not upkeep.step(NOW):
                break

    @invariant()
    def the_ledger_is_exact(self) -> None:
        for row in Reader(self.path).ledger():
            assert row.stored == self.stored[row.epoch]
            assert sum(row.dropped.values()) == self.dropped[row.epoch]
            assert row.duplicates == self.duplicates[row.epoch]
            assert row.quarantined == 0

    def teardown(self) -> None:
        upkeep = Upkeep(self.writer, lambda name: Days(0, 0, 0, 0))
        while upkeep.step(NOW):
            pass
        reader = Reader(self.path)
        rows = {f"{row.node}/{row.property}": row for row in reader.series("dev")} if reader.devices() else {}
        for name in SERIES:
            want = [sample for sample in self.model if sample[0] == name]
            have = reader.samples(rows[name].id, 0, 1 << 62) if name in rows else []
            assert len(have) == len(want)
            expected = [(repr(value), str(quality if boot in self.known else flagged(quality)))
                        for _, boot, _, value, quality in want]
            assert sorted((repr(sample.value), str(sample.quality)) for sample in have) == sorted(expected)
            # A sample of a known boot is where its stamp says, or moved on past those that were there already.
            free = sorted(BOOTS[boot] + t for _, boot, t, _, _ in want if boot in self.known)
            placed = [sample.t_us for sample in have if "time_estimated" not in (sample.quality or "")]
            assert all(0 <= got - wanted <= 64 for got, wanted in zip(sorted(placed), free, strict=True))
            if name in rows:
                with reader.snapshot() as db:
                    t, v = counted(db, rows[name].id, 0, 1 << 62)
                    for table, width in rollup.LEVELS:
                        again = rollup.buckets(rows[name].id, t, v, width)
                        kept = db.execute(f"SELECT * FROM {table} WHERE series_id = ? ORDER BY t_us",
                                          (rows[name].id,)).fetchall()
                        assert [(row[:5], row[6:]) for row in kept] == [(row[:5], row[6:]) for row in again]
        assert verify(reader).findings == []
        self.writer.close()
        self.folder.cleanup()


Store.TestCase.settings = settings(max_examples=300 if LONG else 30, stateful_step_count=40 if LONG else 15,
                                   deadline=None, suppress_health_check=list(HealthCheck))
TestStore = Store.TestCase
