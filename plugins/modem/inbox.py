"""Messages that came: each taken once, long ones put together, strangers' texts put aside. Pure; all state is JSON.

A unit may leave the SIM only once this state is on disk: then a kill at any moment loses nothing, and what comes a
second time (the network's, or ours after a restart) is known by its digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

from .numbers import normal
from .pdu_in import BadPdu, Deliver, StatusReport, read, rfc3339, text_of
from .when import Now

SEEN_KEPT = 200
PARTS_KEPT = 120
STRANGERS_KEPT = 40
INCOMPLETE_S = 24 * 3600.0


class Message(NamedTuple):
    sender: str
    text: str
    sent_at: str | None
    parts: int
    missing: tuple[int, ...]
    """Parts of a long message that did not come within a day."""
    allowed: bool


class Unreadable(NamedTuple):
    reason: str


class Full(NamedTuple):
    """It stays where it is until there is room."""


class Inbox:
    def __init__(self, state: dict[str, Any], allow: tuple[str, ...], country: str) -> None:
        self._state = state
        self._country = country
        self._allow = frozenset(normal(number, country) for number in allow)
        for name in ("seen", "parts", "strangers"):
            state.setdefault(name, [])

    @property
    def strangers(self) -> list[dict[str, Any]]:
        """Messages of strangers that nobody has read."""
        texts: list[dict[str, Any]] = self._state["strangers"]
        return texts

    def take(self, unit: bytes, now: Now) -> Message | StatusReport | Unreadable | Full | None:
        """What a unit makes: None where it was taken before, or is a part of what is not whole yet.

        After ``Unreadable`` and ``Full`` it must stay on the SIM."""
        digest = hashlib.sha256(unit[1 + unit[0] :] if unit else b"").hexdigest()[:20]
        if digest in self._state["seen"]:
            return None
        try:
            came = read(unit)
        except BadPdu as error:
            return Unreadable(str(error))
        made: Message | StatusReport | None
        if isinstance(came, StatusReport):
            made = came
        else:
            sender = normal(came.sender, self._country)
            allowed = sender in self._allow
            if (not allowed and len(self.strangers) >= STRANGERS_KEPT) or (
                    came.concatenation is not None and len(self._state["parts"]) >= PARTS_KEPT):
                return Full()
            made = self._message(came, sender, unit, now, allowed)
        self._state["seen"].append(digest)
        del self._state["seen"][:-SEEN_KEPT]
        return made

    def _message(self, came: Deliver, sender: str, unit: bytes, now: Now, allowed: bool) -> Message | None:
        if came.concatenation is None:
            return Message(sender, text_of([came.part]), rfc3339(came.sent_at), 1, (), allowed)
        reference, total, number = came.concatenation
        key = [sender, reference, total]
        self._state["parts"].append({"key": key, "number": number, "unit": unit.hex(), "at": now.stamp()})
        mine = [part for part in self._state["parts"] if part["key"] == key]
        return self._whole(key, mine, allowed) if len({part["number"] for part in mine}) == total else None

    def _whole(self, key: list[Any], mine: list[dict[str, Any]], allowed: bool) -> Message:
        self._state["parts"] = [part for part in self._state["parts"] if part["key"] != key]
        units: dict[int, Deliver] = {}
        for part in mine:
            came = read(bytes.fromhex(part["unit"]))
            if isinstance(came, Deliver):
                units.setdefault(part["number"], came)
        numbers = sorted(units)
        missing = tuple(number for number in range(1, key[2] + 1) if number not in units)
        return Message(key[0], text_of([units[number].part for number in numbers]),
                       rfc3339(units[numbers[0]].sent_at), key[2], missing, allowed)

    def overdue(self, now: Now) -> Iterator[Message]:
        """Long messages whose missing parts came in no day: what there is of them."""
        for key in [part["key"] for part in self._state["parts"] if now.age_s(part["at"]) > INCOMPLETE_S]:
            mine = [part for part in self._state["parts"] if part["key"] == key]
            if mine:
                yield self._whole(key, mine, key[0] in self._allow)

    def put_aside(self, message: Message) -> None:
        """A stranger's text, until somebody asks for it."""
        self.strangers.append({"from": message.sender, "text": message.text, "sent_at": message.sent_at})
