"""Links that acknowledge without a login: a random word in the message, only its hash here, good for a while and for
the alerts of that message alone."""

from __future__ import annotations

import hashlib
import secrets

from msgspec import Struct

from hub.alerts.model import Alert
from hub.notify.ladder import unpacked
from hub.store import outbox_rows as rows
from hub.store.alerts_db import AlertsDb, Rows

BYTES = 15
MOST = 20
"""A message of more alerts has no link: nobody has read them all."""


class Link(Struct, frozen=True):
    message: rows.Message
    alerts: tuple[Alert, ...]
    """As they were told."""
    expires_us: int


def digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def issue(db: AlertsDb, message_id: int, expires_us: int) -> str:
    token = secrets.token_urlsafe(BYTES)
    rows.add_link(db, digest(token), message_id, expires_us)
    return token


def find(db: Rows, token: str, now_us: int) -> Link | None:
    """None: there is no such link, or it is too old."""
    found = rows.link(db, digest(token)) if 10 <= len(token) <= 64 else None
    if found is None or found[1] <= now_us:
        return None
    message = rows.message(db, found[0])
    if message is None:
        return None
    alerts = tuple(unpacked(data).alert for _, data in rows.alerts_of(db, message.id))
    return Link(message, alerts, found[1])
