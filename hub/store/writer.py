"""The one writer: a group of messages becomes one transaction, and the receipts for it.

The fast way is made for batches that simply follow each other: nothing is looked up, samples of a series are joined
over the whole group, rows and roll-ups are made by C loops, and each table sees one ``executemany``. Whatever is
unusual (late, equal times, qualities, guessed times) takes the slow way of :mod:`hub.store.rows` for its series only.
A group with a batch that cannot be stored is rolled back and committed batch by batch, so that only it is set aside.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from agent.wire import faults
from agent.wire.messages import Receipt
from agent.wire.records import Header
from hub.store import aside, connect, names, rollup, settled, times, values
from hub.store.batch import (
    EPOCH,
    WORD,
    Change,
    Committed,
    Counts,
    Declared,
    Future,
    Item,
    Noticed,
    Poison,
    Samples,
    joined,
    poison,
)
from hub.store.rows import Unstorable, rows_of
from hub.store.seqs import TooManyGaps
from hub.store.state import BootState, DeviceState, EpochState, SeriesState, load
from hub.store.transaction import Transaction

MAX_EPOCHS = 200
"""Per device: each is a new spool file, so this is years of broken cards, or an attack."""
MAX_BOOTS = 2000


def now_us() -> int:
    """The hub's wall clock; a hub that starts before its clock is set must not make 1970."""
    return max(time.time_ns() // 1000, times.FLOOR_US)


class Writer:
    """Owns the file until :meth:`close`. Not thread-safe: one thread calls it.

    Raises SecondHub, SchemaNewer, StoreCorrupt (the file is then set aside), StoreError."""

    def __init__(self, path: Path, *, max_series: int = 500, future_s: float = 300.0) -> None:
        self.path = path
        self.max_series = max_series
        self.future_us = int(future_s * 1e6)
        self.db = connect.open_checked(path)
        self.devices: dict[str, DeviceState] = {}
        self.term = int(self.meta("term") or 0)
        if self.meta("generation") is None:
            self.set_meta({"generation": secrets.token_hex(8), "term": "0"})

    def close(self) -> None:
        self.db.close()

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- small state ----------------------------------------------------------------------------------------

    def meta(self, key: str) -> str | None:
        row = self.db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, values_: dict[str, str]) -> None:
        """Committed when it returns."""
        with self.transaction():
            self.db.executemany("INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)", values_.items())

    @property
    def generation(self) -> str:
        return str(self.meta("generation"))

    def probe(self, size: int) -> None:
        """Write and take back ``size`` bytes: raises StoreFull while the disk cannot take a group."""
        with self.transaction():
            self.db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('probe', zeroblob(?))", (size,))
        with self.transaction():
            self.db.execute("DELETE FROM meta WHERE key = 'probe'")

    def new_term(self, seen: int) -> int:
        """Start a term above our own last one and the one ``seen`` on the broker; kept before it is used (B13)."""
        term = max(int(self.meta("term") or 0), seen) + 1
        self.set_meta({"term": str(term)})
        self.term = term
        return term

    def transaction(self) -> Transaction:
        """``with``: one transaction, named errors of the world, and forgotten memory when it is rolled back."""
        return Transaction(self.db, self.path, self.devices)

    def give_up_future(self, id_: int, item: Poison) -> None:
        """A batch of ``future`` that cannot be read after all: to the quarantine; it is counted there already."""
        with self.transaction():
            self.db.execute("DELETE FROM future WHERE id = ?", (id_,))
            aside.quarantine(self.db, item.device, item.received_us, item.code, item.reason, item.prefix, item.sha256,
                             item.size, item.header.n)

    # --- the way of a group ---------------------------------------------------------------------------------

    def commit(self, items: Sequence[Item]) -> Committed:
        """Store the group in one transaction; what is returned is on the disk.

        Raises StoreFull, StoreCorrupt, StoreIo: then nothing of the group was stored and no receipt may be sent."""
        try:
            return self._commit(items)
        except (Unstorable, OverflowError, UnicodeEncodeError) as error:
            if len(items) > 1:
                return joined([self.commit([item]) for item in items])
            if not isinstance(items[0], Samples):
                raise
            item = items[0]
            if item.future_id is not None:
                self.give_up_future(item.future_id, poison(item.device, item.received_us, item.header,
                                                           "E_BAD_PAYLOAD", str(error), item.payload))
                return Committed([], {}, 0)
            return self._commit([poison(item.device, item.received_us, item.header, "E_BAD_PAYLOAD", str(error),
                                        item.payload)])

    def _commit(self, items: Sequence[Item]) -> Committed:
        touched: list[SeriesState] = []
        epochs: dict[int, tuple[DeviceState, EpochState]] = {}
        noticed: list[Noticed] = []
        with self.transaction():
            for item in items:
                if isinstance(item, Samples):
                    self._samples(item, touched, epochs, noticed)
                elif isinstance(item, Poison | Future):
                    self._set_aside(item, epochs, noticed)
                elif isinstance(item, Counts):
                    device = self._device(item.device, item.received_us)
                    epoch = self._epoch(device, item.counts.epoch, item.received_us)
                    if epoch is not None:
                        self.db.execute("UPDATE epochs SET agent = ?, agent_us = ? WHERE id = ?",
                                        (msgspec.json.encode(item.counts).decode(), item.received_us, epoch.id))
                elif isinstance(item, Declared):
                    names.declare(self.db, self._device(item.device, item.received_us), item.reported,
                                  self.max_series)
                else:
                    noticed.append(item)
            changes, samples = self._write_series(touched, items, noticed)
            settled.write(self.db, epochs)
            aside.notice(self.db, noticed)
        receipts = [
            (device.device, Receipt(epoch.epoch, epoch.seqs.upto, list(epoch.seqs.above), self.term))
            for device, epoch in epochs.values()
        ]
        return Committed(receipts, changes, samples)

    def _samples(self, item: Samples, touched: list[SeriesState], epochs: dict[int, tuple[DeviceState, EpochState]],
                 noticed: list[Noticed]) -> None:
        header, body = item.header, item.body
        device = self.devices.get(item.device) or self._device(item.device, item.received_us)
        device.last_us = item.received_us
        epoch = device.epochs.get(header.epoch) or self._epoch(device, header.epoch, item.received_us)
        if epoch is None:
            noticed.append(aside.refused(item.device, item.received_us,
                                    f"more than {MAX_EPOCHS} epochs, or an epoch that is no word"))
            return
        if item.future_id is not None:
            self.db.execute("DELETE FROM future WHERE id = ?", (item.future_id,))
            epoch.quarantined -= header.n
            epochs[epoch.id] = (device, epoch)
        elif not self._settle(device, epoch, header, item.received_us, epochs, noticed):
            return
        if epoch.retired and header.n:
            self._quarantine(item, epoch, header.n, "E_EPOCH_RETIRED", f"epoch {header.epoch} is retired", noticed,
                             {"device": item.device, "epoch": header.epoch})
            return
        offset, guessed_boot = self._place(device, item)
        refused = 0
        known = device.series
        for name, columns in body.series.items():
            series = known.get(name)
            if series is None:
                series = names.new_series(self.db, device, name, columns.v, self.max_series)
                if series is None:
                    refused += len(columns.t)
                    continue
            if not columns.t:
                continue
            start = len(series.t)
            if not start:
                touched.append(series)
            series.take(columns, offset)
            if guessed_boot is not None:
                series.guesses.append((start, len(series.t), guessed_boot.id, offset))
        if refused:
            self._quarantine(item, epoch, refused, "E_TOO_MANY_METRICS",
                             f"more than {self.max_series} series, or a name that is not <node>/<property>", noticed,
                             {"device": item.device, "cap": self.max_series})
        epoch.stored += header.n - refused
        if guessed_boot is not None:
            guessed_boot.flagged += header.n - refused
        if body.dropped:
            self._dropped(epoch, item)
        if body.retires is not None:
            self._retire(device, body.retires, item.received_us)

    def _settle(self, device: DeviceState, epoch: EpochState, header: Header, received_us: int,
                epochs: dict[int, tuple[DeviceState, EpochState]], noticed: list[Noticed]) -> bool:
        """Take the batch's key; False for one that we have (B09, B11) or cannot take. It is receipted again."""
        seq = header.seq
        if seq in epoch.seqs:
            epoch.duplicates += 1
            epochs[epoch.id] = (device, epoch)
            return False
        try:
            epoch.seqs.add(seq)
        except TooManyGaps as error:
            noticed.append(aside.refused(device.device, received_us, f"batch {seq}: {error}"))
            return False
        epochs[epoch.id] = (device, epoch)
        epoch.batches += 1
        epoch.last_us = received_us
        epoch.fresh.append((epoch.id, seq, header.n))
        return True

    def _place(self, device: DeviceState, item: Samples) -> tuple[int, BootState | None]:
        """The offset for this batch, and its boot when that is a guess."""
        header, clock = item.header, item.header.clock
        boot = device.boots.get(header.boot) or self._boot(device, header.boot, item.received_us)
        spans = [(columns.t[0], columns.t[-1]) for columns in item.body.series.values() if columns.t]
        oldest = min(spans)[0] if spans else 0
        newest = max([span[1] for span in spans]) if spans else 0
        if clock.offset_us is not None and boot.offset_us == clock.offset_us and times.credible(
            clock.offset_us, newest
        ):
            offset, known = clock.offset_us, True  # as in nearly every batch
        else:
            earlier = max((other.end_us for other in device.boots.values() if other is not boot), default=0)
            offset, known = times.place(clock, boot.offset_us, boot.guess_us, item.received_us, oldest, newest,
                                        earlier)
            if known and (boot.offset_us is None or abs(boot.offset_us - offset) > times.STEP_US):
                boot.offset_us, boot.quality, boot.changed = offset, clock.quality, True
            elif not known and boot.guess_us != offset and spans:
                boot.guess_us, boot.changed = offset, True
        if newest:
            boot.end_us = max(boot.end_us, offset + newest)
        boot.last_us = item.received_us
        if known:
            return offset, None
        boot.changed = True
        return offset, boot

    def _dropped(self, epoch: EpochState, item: Samples) -> None:
        """Ranges that will never come. Batches of them that had come all the same are not lost, so not counted."""
        settled.flush(self.db, epoch)
        for gap in item.body.dropped:
            if not 0 < gap.first <= gap.last < 1 << 62 or gap.n < 0:
                raise Unstorable(f"dropped range {gap.first}..{gap.last} of {gap.n} samples")
            had = self.db.execute("SELECT coalesce(sum(n), 0) FROM batches WHERE epoch_id = ? AND seq BETWEEN ? AND ?",
                                  (epoch.id, gap.first, gap.last)).fetchone()[0]
            lost = 0 if epoch.seqs.covers(gap.first, gap.last) else max(0, gap.n - had)
            try:
                epoch.seqs.add(gap.first, gap.last)
            except TooManyGaps as error:
                raise Unstorable(str(error)) from None
            if lost:
                reason = gap.reason if WORD.match(gap.reason) else "other"
                epoch.dropped[reason] = epoch.dropped.get(reason, 0) + lost

    def _retire(self, device: DeviceState, name: str, received_us: int) -> None:
        old = device.epochs.get(name) or self._epoch(device, name, received_us)
        if old is not None and not old.retired:
            old.retired = True
            self.db.execute("UPDATE epochs SET retired = 1 WHERE id = ?", (old.id,))

    def _set_aside(self, item: Poison | Future, epochs: dict[int, tuple[DeviceState, EpochState]],
                   noticed: list[Noticed]) -> None:
        device = self._device(item.device, item.received_us)
        device.last_us = item.received_us
        epoch = self._epoch(device, item.header.epoch, item.received_us)
        if isinstance(item, Future) and not aside.has_room(self.db, item):
            noticed.append(aside.refused(item.device, item.received_us,
                                         f"version {item.header.v}, and there is no more room: upgrade this hub"))
            return
        if epoch is None or not self._settle(device, epoch, item.header, item.received_us, epochs, noticed):
            return
        epoch.quarantined += item.header.n
        if isinstance(item, Future):
            aside.keep_future(self.db, item)
            return
        aside.quarantine(self.db, item.device, item.received_us, item.code, item.reason, item.prefix, item.sha256,
                         item.size, item.header.n)
        noticed.append(Noticed(item.device, item.received_us, item.code, faults.FAULTS[item.code].severity,
                               faults.line(item.code, device=item.device, reason=item.reason, n=item.header.n)))

    def _quarantine(self, item: Samples, epoch: EpochState, n: int, code: str, reason: str, noticed: list[Noticed],
                    fields: dict[str, Any]) -> None:
        """Samples of a readable batch that may not be stored."""
        kept = poison(item.device, item.received_us, item.header, code, reason, item.payload)
        epoch.quarantined += n
        aside.quarantine(self.db, kept.device, kept.received_us, code, reason, kept.prefix, kept.sha256, kept.size, n)
        noticed.append(Noticed(item.device, item.received_us, code, faults.FAULTS[code].severity,
                               faults.line(code, **fields)))

    # --- rows that a message may need ------------------------------------------------------------------------

    def _device(self, device: str, received_us: int) -> DeviceState:
        state = self.devices.get(device)
        if state is None:
            state = self.devices[device] = load(self.db, device, received_us)
        return state

    def _epoch(self, device: DeviceState, name: str, received_us: int) -> EpochState | None:
        epoch = device.epochs.get(name)
        if epoch is None:
            if len(device.epochs) >= MAX_EPOCHS or not EPOCH.match(name):
                return None
            made = self.db.execute(
                "INSERT INTO epochs (device_id, epoch, upto, above, batches, stored, quarantined, dropped, duplicates, "
                "retired, first_us, last_us) VALUES (?, ?, 0, '[]', 0, 0, 0, '{}', 0, 0, ?, ?)",
                (device.id, name, received_us, received_us))
            epoch = device.epochs[name] = EpochState(int(made.lastrowid or 0), name)
        return epoch

    def _boot(self, device: DeviceState, name: str, received_us: int) -> BootState:
        boot = device.boots.get(name)
        if boot is None:
            if len(device.boots) >= MAX_BOOTS:
                raise Unstorable(f"more than {MAX_BOOTS} boots")
            made = self.db.execute(
                "INSERT INTO boots (device_id, boot, quality, flagged, moved, first_us, last_us, end_us) "
                "VALUES (?, ?, 'unsynced', 0, 0, ?, ?, 0)", (device.id, name[:64], received_us, received_us))
            boot = device.boots[name] = BootState(int(made.lastrowid or 0), name)
            boot.first_us = received_us
        return boot

    # --- writing what was gathered ----------------------------------------------------------------------------

    def _write_series(self, touched: list[SeriesState], items: Sequence[Item],
                      noticed: list[Noticed]) -> tuple[dict[str, dict[int, Change]], int]:
        if not touched:
            return {}, 0
        touched.sort(key=lambda series: series.id)  # neighbours in the tree
        live_limit = max(item.received_us for item in items) + self.future_us
        samples: list[Any] = []
        rolled: dict[str, list[rollup.Row]] = {table: [] for table, _ in rollup.LEVELS}
        states = []
        guessed: list[tuple[int, int, int, int]] = []
        changes: dict[str, dict[int, Change]] = {}
        total = 0
        for series in touched:
            rows = rows_of(series, self.db)
            samples.append(rows.samples)
            guessed += rows.guessed
            if rows.counted_t:
                for table, width in rollup.LEVELS:
                    rolled[table] += rollup.buckets(series.id, rows.counted_t, rows.counted_v, width)
            count = len(rows.t)
            total += count
            newest = count - 1
            if rows.t[newest] > live_limit:
                noticed.append(aside.ahead(series, rows.t[newest], live_limit - self.future_us))
                while newest >= 0 and rows.t[newest] > live_limit:
                    newest -= 1
            if newest >= 0 and rows.t[newest] >= series.live_us:
                series.live_us, series.live_value = rows.t[newest], rows.v[newest]
                series.live_quality = None if rows.q is None else rows.q[newest]
            series.max_us = max(series.max_us, rows.t[-1])
            series.n += count
            states.append((series.id, series.n, series.moved, series.max_us, series.live_us, series.live_value,
                           series.live_quality))
            value = values.loaded(series.live_value, series.datatype == "boolean")
            changes.setdefault(series.device, {})[series.id] = Change(series.live_us, value, count)
        self.db.executemany("INSERT INTO samples VALUES (?, ?, ?, ?)", chain.from_iterable(samples))
        for table, buckets in rolled.items():
            self.db.executemany(rollup.INSERT[table], buckets)
        self.db.executemany("INSERT OR REPLACE INTO series_state (series_id, n, moved, max_us, live_us, live_value, "
                            "live_quality) VALUES (?, ?, ?, ?, ?, ?, ?)", states)
        if guessed:
            self.db.executemany("INSERT INTO guessed VALUES (?, ?, ?, ?)", guessed)
        for series in touched:
            series.clear()
        return changes, total
