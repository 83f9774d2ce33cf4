"""Commands by SMS: only with a code that was handed out before, each good once and for a while. Pure; state is JSON.

A sender's number is easily forged, so the allow-list alone is no key. What may be asked stops things or asks about
them; nothing here can switch a heater on, and no configuration adds it.
"""

from __future__ import annotations

import hmac
import re
import secrets
from typing import Any, NamedTuple

from .when import Now

COMMANDS = ("ack", "status", "silence", "heater off", "help")
"""All there is. ``ack`` and ``silence`` may have one word after them."""
_WITH_WORD = ("ack", "silence")
DIGITS = 6
CODES_KEPT = 20
WRONG_MOST = 5
LOCKED_S = 3600.0
_LEAD = re.compile(r"\s*(\d{6})\b[\s:,;.-]*(.*)", re.S)


class Command(NamedTuple):
    name: str
    argument: str


class NoCommand(Exception):
    """It began as a command and is none: why, in words."""

    def __init__(self, text: str, *, right_code: bool = False) -> None:
        super().__init__(text)
        self.right_code = right_code


class Codes:
    def __init__(self, state: dict[str, Any]) -> None:
        self._state = state
        state.setdefault("codes", [])
        state.setdefault("wrong", [])

    def issue(self, now: Now, minutes: float, number: str = "") -> str:
        """A new code, good for ``minutes``; with ``number`` from that sender only."""
        self._expire(now)
        codes = self._state["codes"]
        code = f"{secrets.randbelow(10**DIGITS):0{DIGITS}d}"
        codes.append({"code": code, "at": now.stamp(), "s": round(minutes * 60), "for": number})
        del codes[:-CODES_KEPT]
        return code

    def command(self, text: str, sender: str, now: Now) -> Command | None:
        """The command of a message from an allowed sender; None: it is ordinary text. Raises NoCommand.

        A code is used up by its first right use, also where the words after it are no command."""
        match = _LEAD.match(text)
        if match is None:
            return None
        self._expire(now)
        self._state["wrong"] = [stamp for stamp in self._state["wrong"] if now.age_s(stamp) < LOCKED_S]
        if len(self._state["wrong"]) >= WRONG_MOST:
            raise NoCommand(f"{WRONG_MOST} wrong codes within an hour: no command by SMS for up to an hour")
        found = None
        for one in self._state["codes"]:
            if hmac.compare_digest(one["code"], match[1]) and one["for"] in ("", sender):
                found = one
        if found is None:
            self._state["wrong"].append(now.stamp())
            raise NoCommand("its code is wrong, used or too old")
        self._state["codes"].remove(found)
        words = " ".join(match[2].lower().split()).rstrip(".!")
        for name in COMMANDS:
            if words == name:
                return Command(name, "")
            if name in _WITH_WORD and re.fullmatch(rf"{name} [a-z0-9_.-]{{1,40}}", words):
                return Command(name, words.removeprefix(name).strip())
        raise NoCommand(f"no such command; there is {', '.join(COMMANDS)}", right_code=True)

    def hidden(self, text: str, now: Now) -> str:
        """The text for the bus: a code in front that is still good (this door is shut, or it is somebody else's) is
        not shown."""
        match = _LEAD.match(text)
        self._expire(now)
        if match is None or all(one["code"] != match[1] for one in self._state["codes"]):
            return text
        return text[: match.start(1)] + "•" * DIGITS + text[match.end(1) :]

    def _expire(self, now: Now) -> None:
        """Of another boot with no wall clock: its age is not known, so it is too old."""
        self._state["codes"] = [one for one in self._state["codes"]
                                if (age := now.sure_age_s(one["at"])) is not None and age < one["s"]]
