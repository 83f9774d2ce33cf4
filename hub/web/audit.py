"""Every command is written down before its answer leaves: who, from where, what, on what, and what came of it."""

from __future__ import annotations

from flask import g, has_request_context, request

from hub.logbook import handler
from hub.web.house import Hut

CHANGES = ("add user", "remove user", "change role", "set password", "first admin", "make token", "revoke token",
           "make pairing code", "remove device", "login attack")
"""What the logbook is told too."""


class Audit:
    def __init__(self, hut: Hut) -> None:
        self._hut = hut

    def note(self, action: str, target: str = "", detail: str = "", result: str = "done", who: str = "") -> None:
        """``detail``: what it was and what it is now. Never a secret."""
        address = request.remote_addr or "" if has_request_context() else "console"
        caller = who or (g.caller.name if has_request_context() and g.caller is not None else "-")
        self._hut.accounts.db.audit(self._hut.now_us(), _clean(caller), address, action, _clean(target),
                                    _clean(detail), _clean(result))
        if action in CHANGES and result == "done":
            handler.change(f"{action}: {target}" if target else action, caller, warning=action == "login attack")


def _clean(text: str) -> str:
    """Foreign text without control characters, so that it cannot forge a line (log injection)."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)[:500]
