"""What follows a rule: commands, each at most once per firing, written down before they are sent."""

from __future__ import annotations

import logging
import queue
from collections.abc import Mapping

import msgspec

from agent.rules.engine import Change
from agent.rules.model import Order, Rule
from hub.notify.commander import Result
from hub.notify.part import Hall
from hub.store import rules_rows
from hub.store.rules_rows import OrderRow

log = logging.getLogger(__name__)

FRESH_US = 600_000_000
"""A firing that began longer ago (this process was away) commands nothing any more."""
STOPPED = "the hub stopped before the answer came: it is not sent again"


class Orders:
    """Used within a step; :meth:`send` when its transaction is committed."""

    def __init__(self, hall: Hall) -> None:
        self._hall = hall
        self._ready: list[OrderRow] = []
        self._answers: queue.SimpleQueue[tuple[int, Result]] = queue.SimpleQueue()
        self._settled: list[tuple[int, Result]] = []
        """Of this step: told again if it does not hold."""

    def begin(self) -> None:
        with self._hall.db.writing():
            rules_rows.settle_all_intended(self._hall.db, STOPPED)

    def step(self, now_us: int) -> None:
        self._settled = []
        while True:
            try:
                n, result = self._answers.get_nowait()
            except queue.Empty:
                return
            self._settled.append((n, result))
            rules_rows.settle(self._hall.db, n, "done" if result.ok else "failed", result.text)

    def record(self, changes: list[Change], rules: Mapping[str, Rule], now_us: int) -> None:
        """Firings into the history, and what follows them into the list of what is sent."""
        for change in changes:
            rule = rules.get(change.rule)
            if change.fires:
                n: int | None = rules_rows.begin_firing(self._hall.db, change.rule, change.subject, change.t_us,
                                                        change.text)
            else:
                n = rules_rows.end_firing(self._hall.db, change.rule, change.subject, change.t_us)
            if rule is None or n is None or now_us - change.t_us > FRESH_US:
                continue
            if rules_rows.fires_elsewhere(self._hall.db, change.rule, change.subject):
                continue  # the first of its subjects begins, the last one ends it
            phase = "then" if change.fires else "back"
            for nth, order in enumerate(rule.then if change.fires else rule.back):
                self._intend(n, change, phase, nth, order, now_us)

    def _intend(self, n: int, change: Change, phase: str, nth: int, order: Order, now_us: int) -> None:
        row = rules_rows.intend(self._hall.db, n, change.rule, change.subject, phase, nth, order.set, order.value,
                                now_us)
        if row is not None:
            self._ready.append(row)

    def undo(self) -> None:
        """The transaction did not hold."""
        self._ready.clear()
        for answer in self._settled:
            self._answers.put(answer)
        self._settled = []

    def send(self) -> None:
        ready, self._ready, self._settled = self._ready, [], []
        for row in ready:
            device, node, prop = row.target.split("/")
            self._hall.commander.order(device, node, prop, msgspec.json.decode(row.value), f"rule {row.rule}",
                                       lambda result, n=row.n: self._answers.put((n, result)))  # type: ignore[misc]
