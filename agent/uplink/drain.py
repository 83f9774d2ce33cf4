"""From the spool to the hub and back: a window of batches in flight, freed by receipts and by nothing else.

PUBACK only says that the broker took a batch. Batches go out while the hub says ``ready``, the newest first so that
the live end never waits behind a backlog, then the oldest. What is not receipted is sent again; the hub knows what it
has by its number. Everything here runs on uplink's main thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
from msgspec import Struct

from agent.clock import ClockState
from agent.spool.keeper import Keeper
from agent.spool.rows import Row, split_id
from agent.spool.spool import WINDOW, Spool
from agent.uplink.link import NOT_AUTHORIZED, TOO_LARGE, Link, Lost
from agent.wire import messages, topics
from agent.wire.messages import HubState, Receipt
from agent.wire.records import MAX_BATCH_BYTES, MAX_HEADER_BYTES, encode_batch

log = logging.getLogger(__name__)

LIVE_SLOTS = 4
"""Of the window, kept for the live end."""
LIVE_AGE_S = 10
NO_RECEIPT_S = 30.0
NO_PUBACK_S = 90.0
MAX_TRIES = 3
GAPS_EVERY_S = 5.0
PROBE_AGAIN_S = 30.0
FAST_S, SLOW_S = 1.0, 4.0
MIN_BYTES = 2048
START_BYTES = 64 * 1024
MAX_BYTES = 4 << 20
PACKET_OVERHEAD = 256
"""Fixed header, topic and properties of a PUBLISH, generously."""


class Flight(Struct):
    """A batch that was sent and has no receipt."""

    row: Row
    size: int
    sent_s: float
    order: int
    acked_s: float | None = None


class Drain:
    """``fault(code, alert_id, **fields)`` raises an alert, ``clear(alert_id)`` ends it."""

    def __init__(self, keeper: Keeper, link: Link, clock: ClockState, device: str, *,
                 fault: Callable[..., None], clear: Callable[[str], None]) -> None:
        self._keeper = keeper
        self.link = link
        self.clock = clock
        self.device = device
        self.fault = fault
        self.clear = clear
        self.hub: HubState | None = None
        self.highest_term = 0
        self.flights: dict[int, Flight] = {}
        self.listening = False
        self.last_receipt_us: int | None = None
        """CLOCK_BOOTTIME of the newest receipt."""
        self.budget = START_BYTES
        """Bytes in flight that this link carries away in a few seconds (B07)."""
        self.max_record = MAX_BATCH_BYTES
        """A larger body is split before it is sent: learned from refusals and from links that break under it (B34)."""
        self._bytes = 0
        self._order = 0
        self._tries: dict[int, int] = {}
        self._live_after = 0
        self._probe: int | None = None
        """Row id of a record whose receipt says what the hub has."""
        self._probe_s = 0.0
        self._resync = False
        self._certain = False
        """The hub has told on this connection what it has: what it lacks will not arrive by itself any more."""
        self._gaps_s = 0.0
        self._silent_since_s: float | None = None

    @property
    def spool(self) -> Spool:
        return self._keeper.spool

    def spool_changed(self, now_s: float) -> None:
        """Another spool is used from now on: what was in flight belongs to the old one."""
        self.flights.clear()
        self._bytes = 0
        self._tries.clear()
        if self.listening:
            self._begin(now_s)

    # --- the hub ------------------------------------------------------------------------------------------

    def subscriptions(self) -> list[str]:
        return [topics.HUB_STATE, topics.receipt(self.device)]

    def on_message(self, topic: str, payload: bytes, now_s: float) -> bool:
        """True when the message was for here. A payload that cannot be read is logged and passed over."""
        if topic not in self.subscriptions():
            return False
        try:
            if topic == topics.HUB_STATE:
                self._on_hub(messages.decode(payload, HubState) if payload else None, now_s)
            else:
                self._on_receipt(messages.decode(payload, Receipt), now_s)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            log.warning("%s: a message that cannot be read: %s", topic, error)
        return True

    def _on_hub(self, hub: HubState | None, now_s: float) -> None:
        if hub is not None and hub.term < self.highest_term:
            log.warning("a hub with the old term %d says %s, term %d is obeyed", hub.term, hub.state, self.highest_term)
            return
        self.hub = hub
        self.highest_term = hub.term if hub is not None else self.highest_term
        ready = hub is not None and hub.state == "ready"
        if ready:
            self._begin(now_s)
        elif self.listening:
            log.info("the hub is %s: batches wait here", hub.state if hub else "gone")
            self._end()

    def _begin(self, now_s: float) -> None:
        assert self.hub is not None
        self._end()  # what it let go unanswered before is sent again
        self.listening = True
        self._live_after = self.spool.current.next_seq - 1
        self._silent_since_s = None
        known = self.spool.meta("generation")
        if known not in (None, self.hub.generation):
            log.warning("the hub was restored: asking what it has")
            self._resync = True
            self._send_probe(now_s)
        else:
            self.spool.set_meta("generation", self.hub.generation)
        self._gaps_s = 0.0

    def _end(self) -> None:
        for row in list(self.flights):
            self._land(row)
            self.spool.give_back(row)
        self.listening = self._resync = self._certain = False
        self._probe = None

    def on_connect(self) -> None:
        for topic in self.subscriptions():
            self.link.subscribe(topic)

    def on_lost(self, lost: Lost) -> None:
        unacked = [flight.size for flight in self.flights.values() if flight.acked_s is None]
        if unacked and (lost.code == TOO_LARGE or lost.silent):
            self.max_record = max(MIN_BYTES, min(self.max_record, max(unacked)) // 2)
            self.budget = max(MIN_BYTES, self.budget // 2)
            log.warning("the link broke with %d bytes on the way: batches above %d bytes are split now",
                        sum(unacked), self.max_record)
        self.hub = None
        self._end()

    # --- receipts -------------------------------------------------------------------------------------------

    def _on_receipt(self, receipt: Receipt, now_s: float) -> None:
        if receipt.term < self.highest_term:
            return  # a hub that is no longer obeyed
        epoch = self.spool.epoch_named(receipt.epoch)
        if epoch is None:
            return
        self.last_receipt_us = self.spool.now_us()
        self._silent_since_s = None
        self.clear("no-receipt")
        probe = self._probe
        answered = probe is not None and _holds(receipt, *split_id(probe), epoch.id)
        if answered and self._resync:
            self.spool.resync(epoch, receipt.upto, receipt.also)
            for other in list(self.spool.epochs.values()):
                if other is not self.spool.epochs[epoch.id]:
                    self.spool.resync(other, 0, [])
            self._resync = False
            if self.hub is not None:
                self.spool.set_meta("generation", self.hub.generation)
            epoch = self.spool.epochs[epoch.id]
        newest = -1
        for row in self.spool.settle(epoch, [(1, receipt.upto), *receipt.also]):
            flight = self.flights.get(row)
            if flight is not None:
                newest = max(newest, flight.order)
                self._land(row)
            self._tries.pop(row, None)
        if answered:
            self._probe = None
            self._certain = True
        self._passed_over(newest)

    def _passed_over(self, newest: int) -> None:
        """What was sent long before the batch that has a receipt now, and has none: the hub could not read it."""
        for row, flight in list(self.flights.items()):
            if flight.order <= newest - 2 * WINDOW:
                self._again(row, "passed over by the hub")

    def _land(self, row: int) -> None:
        flight = self.flights.pop(row, None)
        if flight is not None:
            self._bytes -= flight.size

    def _again(self, row: int, why: str, *, counts: bool = True) -> None:
        """Back into the queue; after three tries that failed by themselves it is set aside and counted."""
        self._land(row)
        if counts:
            self._tries[row] = self._tries.get(row, 0) + 1
            if self._tries[row] >= MAX_TRIES:
                del self._tries[row]
                lost = self.spool.drop([row], "quarantined")
                log.error("E_BAD_PAYLOAD batch %d was %s %d times: %d samples set aside and counted", split_id(row)[1],
                          why, MAX_TRIES, lost)
                return
        self.spool.give_back(row)

    # --- sending --------------------------------------------------------------------------------------------

    def on_sent(self, row: int, code: int, now_s: float) -> None:
        """PUBACK: the broker took it, or says why not."""
        flight = self.flights.get(row)
        if flight is None:
            return
        flight.acked_s = now_s
        took_s = now_s - flight.sent_s
        if code == TOO_LARGE:
            self.max_record = max(MIN_BYTES, min(self.max_record, flight.size) // 2)
            self.spool.tried.discard(row)
            self._land(row)
            self.spool.give_back(row)
        elif code == NOT_AUTHORIZED:
            self.fault("E_NO_RECEIPT", "no-receipt", age_s=0.0)
            self._silent_since_s = self._silent_since_s or now_s
        elif code >= 0x80:
            self._again(row, f"refused by the broker (reason {code:#x})")
        elif took_s < FAST_S:
            self.budget = min(MAX_BYTES, self.budget + flight.size)
            self.max_record = min(MAX_BATCH_BYTES, self.max_record + flight.size)
        elif took_s > SLOW_S:
            self.budget = max(MIN_BYTES, int(self.budget * SLOW_S / took_s))

    def pump(self, now_s: float) -> None:
        """Fill the window."""
        if not self.listening or self._resync or not self.link.connected:
            return
        limit = min(self.max_record, self.link.max_packet - PACKET_OVERHEAD) - MAX_HEADER_BYTES // 2
        while len(self.flights) < WINDOW and self.link.record_slots() > 0:
            if self.flights and self._bytes >= self.budget:
                return
            rows = self.spool.take(1, after=self._live_after)
            if rows and self.spool.now_s - rows[0].created_s > LIVE_AGE_S:
                self._live_after = self.spool.current.next_seq - 1  # it was live once, and is backlog by now
            if not rows and len(self.flights) < WINDOW - LIVE_SLOTS:
                rows = self.spool.take(1)
            if not rows:
                return
            (row,) = rows
            if len(row.body) > max(limit, MIN_BYTES // 2) and (row.n > 1 or row.n == 0):
                if not self._split(row, max(limit, MIN_BYTES // 2), now_s):
                    return
            elif not self._send(row, now_s):
                self.spool.give_back(row.id)
                return

    def _split(self, row: Row, limit: int, now_s: float) -> bool:
        """Only a batch that the hub surely lacks may get new numbers: one that was sent before is asked for first."""
        if row.id in self.spool.tried and not self._certain:
            self.spool.give_back(row.id)
            self._send_probe(now_s)
            return False
        self.spool.split(row, limit)
        return True

    def _send(self, row: Row, now_s: float) -> bool:
        payload = encode_batch(self.spool.header(row, self.clock.offset()), row.body)
        if not self.link.send_record(topics.records(self.device), payload, row.id):
            return False
        self.spool.tried.add(row.id)
        self._order += 1
        self.flights[row.id] = Flight(row, len(payload), now_s, self._order)
        self._bytes += len(payload)
        return True

    def _send_probe(self, now_s: float) -> None:
        """A numbered batch without samples: its receipt says what the hub has."""
        if self._probe is not None:
            return
        row = self.spool.record()
        self._probe, self._probe_s = row.id, now_s
        self.spool.take_row(row)
        if not self._send(row, now_s):
            self.spool.give_back(row.id)
            self._probe = None

    # --- time -----------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """About once a second: what waits too long, and gaps that are to be told."""
        if not self.listening:
            return
        if now_s - self._gaps_s >= GAPS_EVERY_S:
            self._gaps_s = now_s
            self.spool.number_gaps()
            self.spool.retire_done()
        oldest = min((flight.sent_s for flight in self.flights.values()), default=now_s)
        if self._silent_since_s is None and self.flights:
            self._silent_since_s = oldest
        elif not self.flights:
            self._silent_since_s = None
        for row, flight in list(self.flights.items()):
            if flight.acked_s is not None and now_s - flight.acked_s > NO_RECEIPT_S:
                self.fault("E_NO_RECEIPT", "no-receipt", age_s=now_s - (self._silent_since_s or flight.sent_s))
                self._again(row, "left without a receipt", counts=False)
            elif flight.acked_s is None and now_s - flight.sent_s > NO_PUBACK_S:
                self.link.drop(f"the broker acknowledged nothing for {NO_PUBACK_S:.0f} s")
                return
        if self._probe is not None and now_s - self._probe_s > PROBE_AGAIN_S:
            self._probe = None
            self._send_probe(now_s)


def _holds(receipt: Receipt, epoch_id: int, seq: int, receipt_epoch_id: int) -> bool:
    """Whether the receipt covers that number."""
    return epoch_id == receipt_epoch_id and (
        seq <= receipt.upto or any(first <= seq <= last for first, last in receipt.also))
