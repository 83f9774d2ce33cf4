"""The ways to people: an Apprise URL, a modem, an announcer. Each sends one message on a thread of its own."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from msgspec import Struct

from hub.notify.commander import Commander, Result
from hub.store.outbox_rows import Message

ORDER_S = 12.0
WHO = "notify"


class Outcome(Struct, frozen=True):
    ok: bool
    error: str = ""
    """One line, without secrets."""
    later: bool = False
    """The other end works and holds it back (its cap)."""
    declined: bool = False
    """The other end works and does not say it (quiet hours there): this message is over."""
    unsure: bool = False
    """It may have been taken all the same: no answer came."""


class Ack(Struct, frozen=True):
    """How the reader can acknowledge."""

    link: str = ""
    code: bool = False
    """Ask the modem for a code to answer with."""


class Way(Protocol):
    about: str
    """Which service; no secret."""
    limit_s: float
    """A send that takes longer is abandoned."""
    fault: str
    """Why it cannot be used at all, one line; ''."""

    def send(self, message: Message, ack: Ack) -> Outcome:
        """May wait up to ``limit_s``; raises nothing that matters."""
        ...


def ordered(commander: Commander, node: tuple[str, str], prop: str, value: Any) -> Result:
    """A command to a device, and its answer."""
    came = threading.Event()
    answers: list[Result] = []

    def done(result: Result) -> None:
        answers.append(result)
        came.set()

    commander.order(*node, prop, value, WHO, done)
    if not came.wait(ORDER_S):
        return Result(False, f"no answer within {ORDER_S:.0f} s", sent=True)
    return answers[0]
