"""The notifier's half of the canary: every ten minutes a message to nobody goes through the whole outbox.

A notifier that stands still cannot tell anybody, so this is what the outside heartbeat's ``/fail`` is for.
"""

from __future__ import annotations

from collections.abc import Iterable

from hub.alerts.model import Condition
from hub.notify.channels.null import CANARY
from hub.notify.outbox import new_key
from hub.store import outbox_rows, watch_rows
from hub.store.alerts_db import AlertsDb
from hub.store.outbox_rows import Message

EVERY_US = 600_000_000
LATE_US = 120_000_000


class OutboxCanary:
    """:meth:`step` in the transaction of each second."""

    def __init__(self, db: AlertsDb) -> None:
        self._db = db
        self._sent_us: int | None = None
        self._under_way: Message | None = None
        self.latency_us: int | None = None
        """Of the last one, as far as a second's step can tell."""

    def begin(self) -> None:
        """Those of an earlier process tell nothing of this one."""
        for one in outbox_rows.open_messages(self._db):
            if one.channel == CANARY:
                watch_rows.forget_message(self._db, one.id)

    def step(self, now_us: int) -> None:
        if self._under_way is not None:
            now = outbox_rows.message(self._db, self._under_way.id)
            if now is not None and now.state in ("ready", "sending"):
                return
            if now is not None and now.state == "sent" and now.ended_us is not None:
                self.latency_us = max(0, now.ended_us - now.made_us)
            watch_rows.forget_message(self._db, self._under_way.id)
            self._under_way = None
        if self._sent_us is None or not 0 <= now_us - self._sent_us < EVERY_US:
            self._sent_us = now_us
            self._under_way = outbox_rows.add_message(self._db, Message(
                0, new_key(), CANARY, "", "test", "info", 0, "canary", "canary", False, "ready", now_us, now_us, 0, 0,
                None, ""), [])

    def rolled_back(self) -> None:
        """The message was never committed: another one may have its number by now."""
        self._under_way = self._sent_us = None

    def conditions(self, now_us: int) -> Iterable[Condition]:
        if self._under_way is not None and now_us - self._under_way.made_us > LATE_US:
            yield Condition("hub:outbox", "hub", "critical",
                            "the notifier's outbox stands still: nobody is told of alerts", self._under_way.made_us,
                            kept="alerts and their messages are kept, and shown on the page",
                            do="look at the log of notify on the page Status report; restart the hub's notify")
