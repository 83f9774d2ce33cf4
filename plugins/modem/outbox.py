"""Messages to send: a queue for each number, caps with an exact count, an id once only. Pure; all state is JSON.

``state`` is a part of ``io.kept``, so queue, caps and ids survive a restart and a power cut.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from .numbers import redacted
from .when import Now

RETRY_FIRST_S, RETRY_MOST_S = 30.0, 900.0
GIVE_UP_S = 24 * 3600.0
DAY_S = 24 * 3600.0
IDS_KEPT = 300
QUEUE_MOST, QUEUE_PER_NUMBER = 100, 20
REPORTS_KEPT = 100


class Limits(NamedTuple):
    """How many messages may go to one number, and to all together."""

    burst: int = 5
    burst_s: float = 600.0
    per_day: int = 20
    all_per_day: int = 60


class Held(Exception):
    """Not accepted, and counted where a cap is the reason; the text goes to the sender."""


class Outbox:
    def __init__(self, state: dict[str, Any], limits: Limits) -> None:
        self._state = state
        self._limits = limits
        for name, empty in (("queue", []), ("ids", {}), ("sent_at", {}), ("held", {}), ("reports", []), ("n", 0)):
            state.setdefault(name, empty)

    @property
    def depth(self) -> int:
        return len(self._state["queue"])

    @property
    def queue(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = self._state["queue"]
        return entries

    # --- in -----------------------------------------------------------------------------------------------------

    def known(self, id_: str) -> str | None:
        """What became of an id: queued, sent or failed; None: never seen."""
        answer: str | None = self._state["ids"].get(id_)
        return answer

    def offer(self, to: str, text: str, now: Now, *, id_: str | None = None, report: bool = False,
              free: bool = False) -> dict[str, Any]:
        """Take a message in. ``free``: outside the caps (a digest of what they held). Raises Held."""
        if not free:
            self._capped(to, now)
        if self.depth >= QUEUE_MOST or sum(entry["to"] == to for entry in self.queue) >= QUEUE_PER_NUMBER:
            raise Held(f"{self.depth} messages wait already: look at the modem's state")
        self._state["n"] += 1
        entry = {"id": id_ or f"{now.boot[:8]}-{self._state['n']}", "to": to, "text": text, "report": report,
                 "at": now.stamp(), "tries": 0, "next": [now.boot, 0.0], "done": 0, "ref": self._state["n"] % 256}
        self.queue.append(entry)
        self._remember(entry["id"], "queued")
        self._state["sent_at"].setdefault(to, []).append(now.stamp())
        return entry

    def withdraw(self, entry: dict[str, Any]) -> None:
        """As if it had never been offered."""
        self.queue.remove(entry)
        self._state["ids"].pop(entry["id"], None)
        self._state["sent_at"][entry["to"]].pop()

    def _capped(self, to: str, now: Now) -> None:
        reason, wait_s = self._full(to, now)
        if reason:
            text = f"held back: {reason}; free again in {max(1, math.ceil(wait_s / 60))} min"
            if to in self._state["sent_at"] or to in self._state["held"]:  # others will never get a digest
                held = self._state["held"].setdefault(to, {"n": 0, "since": now.stamp()})
                held["n"] += 1
                text += f", {held['n']} held back for {redacted(to)} so far"
            raise Held(text)

    def _full(self, to: str, now: Now) -> tuple[str, float]:
        """Which cap is reached, and for how long; empty: none."""
        self._forget(now)
        limits = self._limits
        ages = sorted(now.age_s(stamp) for stamp in self._state["sent_at"].get(to, ()))
        recent = [age for age in ages if age < limits.burst_s]
        if len(recent) >= limits.burst:
            return f"{limits.burst} in {limits.burst_s / 60:.0f} min to one number", limits.burst_s - recent[
                limits.burst - 1]
        if len(ages) >= limits.per_day:
            return f"{limits.per_day} a day to one number", DAY_S - ages[limits.per_day - 1]
        every = sorted(now.age_s(stamp) for stamps in self._state["sent_at"].values() for stamp in stamps)
        if len(every) >= limits.all_per_day:
            return f"{limits.all_per_day} a day to all numbers together", DAY_S - every[limits.all_per_day - 1]
        return "", 0.0

    def _forget(self, now: Now) -> None:
        sent_at = self._state["sent_at"]
        for number in list(sent_at):
            sent_at[number] = [stamp for stamp in sent_at[number] if now.age_s(stamp) < DAY_S]
            if not sent_at[number]:
                del sent_at[number]

    def digests(self, now: Now) -> Iterator[tuple[str, str]]:
        """(number, text): how many were held back, once there is room again. Each count is told once."""
        for to, held in list(self._state["held"].items()):
            if not self._full(to, now)[0]:
                del self._state["held"][to]
                minutes = max(1, round(now.age_s(held["since"]) / 60))
                yield to, (f"hutkeeper: {held['n']} messages to you were held back in the last {minutes} min "
                           f"(at most {self._limits.burst} in {self._limits.burst_s / 60:.0f} min, "
                           f"{self._limits.per_day} a day)")

    @property
    def held(self) -> int:
        return sum(one["n"] for one in self._state["held"].values())

    # --- out ----------------------------------------------------------------------------------------------------

    def due(self, now: Now) -> dict[str, Any] | None:
        """The message to try now: of each number its oldest, numbers without trouble first (B70)."""
        heads: dict[str, dict[str, Any]] = {}
        for entry in self.queue:
            heads.setdefault(entry["to"], entry)
        ready = [entry for entry in heads.values() if entry["next"][0] != now.boot or now.up_s >= entry["next"][1]]
        return min(ready, key=lambda entry: (entry["tries"], -now.age_s(entry["at"])), default=None)

    def part_sent(self, entry: dict[str, Any], reference: int | None, now: Now) -> None:
        entry["done"] += 1
        if entry["report"] and reference is not None:
            self._state["reports"].append({"id": entry["id"], "to": entry["to"], "mr": reference, "at": now.stamp()})
            del self._state["reports"][:-REPORTS_KEPT]

    def sent(self, entry: dict[str, Any]) -> None:
        self._out(entry, "sent")

    def failed(self, entry: dict[str, Any], now: Now, permanent: bool) -> bool:
        """A try that did not work; True: given up."""
        entry["tries"] += 1
        if permanent or now.age_s(entry["at"]) >= GIVE_UP_S:
            self._out(entry, "failed")
            return True
        wait_s = min(RETRY_MOST_S, RETRY_FIRST_S * 2.0 ** min(entry["tries"] - 1, 9))
        entry["next"] = [now.boot, round(now.up_s + wait_s, 1)]
        return False

    def reported(self, reference: int, recipient: str, final: bool) -> str | None:
        """Whose report it is: the newest message with this reference to that number."""
        for waiting in reversed(self._state["reports"]):
            if waiting["mr"] == reference and waiting["to"].lstrip("+0")[-8:] == recipient.lstrip("+0")[-8:]:
                if final:
                    self._state["reports"].remove(waiting)
                return str(waiting["id"])
        return None

    def _out(self, entry: dict[str, Any], state: str) -> None:
        self.queue.remove(entry)
        self._remember(entry["id"], state)

    def _remember(self, id_: str, state: str) -> None:
        ids = self._state["ids"]
        ids.pop(id_, None)
        ids[id_] = state
        for old in list(ids)[: max(0, len(ids) - IDS_KEPT)]:
            if ids[old] != "queued":
                del ids[old]
