"""What uplink tells of itself, and when: ``reported``, the node ``sys``, the ledgers, status.json.

Only when something changed, and seldom while nothing does: an idle device looks at this for months.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import msgspec

from agent import __version__, bus
from agent.spool.rows import RETIRED, Epoch
from agent.uplink import services
from agent.uplink.report import StatusFile
from agent.wire import messages, topics
from agent.wire.messages import LedgerCounts, Reported

if TYPE_CHECKING:
    from agent.uplink.service import Uplink

SYS_S = 2.0
QUIET_S = 1.0
AT_LEAST_S = 30.0
STATUS_S = 27.0
SERVICES_S = 300.0
MINUTE_US = 60_000_000

Mark = tuple[Any, ...]


class Telling:
    """Call :meth:`tick` with every tick, and :meth:`at_rest` whenever the loop turns."""

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink
        self.status = StatusFile(uplink.settings.device.run_dir)
        self.own_epochs: set[str] = set()
        """Those that we wrote into ``reported``."""
        self._began_s = time.monotonic()
        self._reported = b""
        self._declared = b""
        self._sys: dict[str, Any] = {}
        self._ledgers: dict[str, LedgerCounts] = {}
        """What was told of each epoch."""
        self._told_s: dict[str, float] = {}
        self._sys_s = self._full_s = self._services_s = float("-inf")
        self._services_stamp = -1
        self._mark: Mark = ()
        self._sys_mark: Mark = ()
        self._status_mark: Mark = ()

    def changed(self) -> bool:
        """Whether there is something new to say since the last call; cheap."""
        up = self._uplink
        current = up.spool.current
        mark = (current.epoch, current.produced, current.receipted, current.next_seq, sum(current.dropped.values()),
                tuple((epoch.epoch, epoch.receipted, epoch.state) for epoch in up.spool.epochs.values()),
                up.link.connected, up.drain.hub, up.drain.last_receipt_us,
                up.rules.wanted, up.rules.state, up.rules.refused,
                tuple(known.health for known in up.plugins.known.values()), tuple(up.book.standing.values()),
                services.stamp(up.settings.device.run_dir))
        mark, self._mark = self._mark, mark
        return mark != self._mark

    def connected(self) -> None:
        """The broker may have lost what it kept."""
        self.reported(again=True)
        self._sys.clear()
        self._ledgers.pop(self._uplink.spool.current.epoch, None)
        self._sys_s = self._services_s = float("-inf")

    def tick(self, now_s: float, now_us: int, *, ending: bool = False) -> None:
        if self._mark != self._sys_mark or now_s - self._full_s >= AT_LEAST_S or self._next_ledger() is not None:
            self.reported()
            if now_s - self._sys_s >= SYS_S and self._uplink.link.connected:
                self._sys_mark = self._mark
                self._say_sys(now_s, now_us)
        due_s = self.status.due_s()
        if ending or (now_s >= due_s and (self._mark != self._status_mark or self._uplink.spool.current.waiting
                                          or now_s >= due_s + STATUS_S)):
            self._status_mark = self._mark
            self.status.write(self.as_status(now_us, running=not ending), now_s, force=ending,
                              steady=("uptime_s", "clock"))

    def at_rest(self, now_s: float, now_us: int) -> None:
        """Everything has its receipt, and the last ledger that was told says something else: tell it now, so that the
        hub's difference is 0 at once and not by chance at the next report."""
        up = self._uplink
        if up.drain.flights or not up.link.connected or now_s - self._sys_s < QUIET_S:
            return
        told = self._ledgers.get(up.spool.current.epoch)
        if told is not None and told.receipted != up.spool.current.receipted:
            self._say_sys(now_s, now_us)

    # --- reported --------------------------------------------------------------------------------------------

    def reported(self, again: bool = False) -> None:
        """Publish what this device has, if it changed."""
        up = self._uplink
        device = up.settings.device
        payload = messages.encode(Reported(device.name or device.id, __version__, {
            name: known.declaration for name, known in sorted(up.plugins.known.items())}, epoch=up.spool.current.epoch,
            **up.rules.reported()))
        if payload != self._declared:
            self._declared = payload
            up.rules.declared(payload)
        if up.link.connected and (again or payload != self._reported):
            self._reported = payload
            self.own_epochs.add(up.spool.current.epoch)
            up.link.publish(topics.reported(device.id), payload, qos=1, retain=True)

    # --- sys -------------------------------------------------------------------------------------------------

    def _next_ledger(self) -> Epoch | None:
        """The epoch whose counts differ from what was told of it; of several, the one told longest ago."""
        spool = self._uplink.spool
        news = [epoch for epoch in spool.epochs.values()
                if (epoch is spool.current or epoch.state != RETIRED or epoch.epoch in self._ledgers)
                and self._ledgers.get(epoch.epoch) != spool.ledger(epoch)]
        return min(news, key=lambda epoch: self._told_s.get(epoch.epoch, 0.0), default=None)

    def _say_sys(self, now_s: float, now_us: int) -> None:
        up = self._uplink
        self._sys_s = now_s
        counts = up.spool.counts()
        info = up.clock.offset()
        values: dict[str, Any] = {
            "outbox_batches": counts.batches, "outbox_samples": counts.samples,
            "outbox_oldest_age_s": float(round(counts.oldest_age_s or 0.0)),
            "clock_quality": info.quality, "version": __version__, "address": up.link.address(),
        }
        epoch = self._next_ledger()
        if epoch is not None:
            ledger = self._ledgers[epoch.epoch] = up.spool.ledger(epoch)
            self._told_s[epoch.epoch] = now_s
            values["ledger"] = msgspec.to_builtins(ledger)
        if up.drain.last_receipt_us is not None and (at := up.clock.wall_us(up.drain.last_receipt_us)):
            # to the minute while all is well: a publish per receipt would double the traffic of a quiet device
            at -= at % MINUTE_US if counts.batches == 0 else 0
            values["last_receipt"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at / 1e6))
        if info.offset_us is not None:
            values["clock_offset_ms"] = round(up.clock.skew_us() / 1000, 0)
        stamp = services.stamp(up.settings.device.run_dir)
        if stamp and (stamp != self._services_stamp or now_s - self._services_s >= SERVICES_S):
            self._services_stamp, self._services_s = stamp, now_s
            values["services"] = msgspec.to_builtins(services.gather(up.settings.device.run_dir, up.clock.wall_us))
        full = now_s - self._full_s >= AT_LEAST_S
        if full:
            self._full_s = now_s
            values["uptime_s"] = now_us // 1_000_000
        news = {key: value for key, value in values.items() if self._sys.get(key) != value}
        self._sys |= news
        if news or full:
            said = values if full else news
            now = bus.Now("sys", [("sys", key, value, now_us, None) for key, value in said.items()])
            up.state.on_now(now)
            up.plugins.fan_out("now/sys", now)

    # --- status.json -------------------------------------------------------------------------------------------

    def as_status(self, now_us: int, running: bool = True) -> dict[str, Any]:
        """For ``hutkeeper-agent status`` and the request ``self_test``."""
        up = self._uplink
        counts = up.spool.counts()
        info = up.clock.offset()
        receipt_us = up.drain.last_receipt_us
        return {
            "device": up.settings.device.id,
            "pid": os.getpid(),
            "running": running,
            "version": __version__,
            "uptime_s": round(time.monotonic() - self._began_s),
            "ledger": msgspec.to_builtins(up.spool.ledger()),
            "ledgers": [msgspec.to_builtins(up.spool.ledger(epoch)) for epoch in up.spool.epochs.values()],
            "spool": {"batches": counts.batches, "samples": counts.samples, "oldest_age_s": counts.oldest_age_s,
                      "bytes": counts.bytes, "on_disk": up.keeper.on_disk},
            "link": {"state": "connected" if up.link.connected else "down", "where": up.link.where,
                     "tries": up.link.tries, "address": up.link.address(),
                     "hub": up.drain.hub.state if up.drain.hub else "unknown",
                     "last_receipt_age_s": None if receipt_us is None else round((now_us - receipt_us) / 1e6)},
            "clock": {"quality": info.quality, "offset_us": info.offset_us, "steps": up.clock.steps},
            "plugins": {name: {"state": known.health.state if known.health else "ok",
                               "reason": known.health.reason if known.health else "",
                               "errors": known.health.errors if known.health else 0,
                               "dropped": known.health.dropped if known.health else 0}
                        for name, known in sorted(up.plugins.known.items())},
            "faults": dict(up.book.standing),
        }
