"""Commands with a key of their sender's: a retried one is answered as the first was and not carried out again."""

from __future__ import annotations

from msgspec import Struct

from hub.store.web_db import WebDb

KEEP_US = 24 * 3600 * 1_000_000


class Earlier(Struct, frozen=True):
    """What is known of a key. ``status`` None: begun and not answered (under way, or the hub was stopped in it)."""

    asked: str
    t_us: int
    status: int | None
    answer: str | None


def begin(db: WebDb, key: str, asked: str, now_us: int) -> Earlier | None:
    """Take the key; what there is of it when it was taken before, else None. ``key`` and ``asked`` are hashes."""
    with db.writing() as connection:
        connection.execute("DELETE FROM commands WHERE t_us < ?", (now_us - KEEP_US,))
        row = connection.execute("SELECT asked, t_us, status, answer FROM commands WHERE key = ?", (key,)).fetchone()
        if row is not None:
            return Earlier(**dict(row))
        connection.execute("INSERT INTO commands (key, asked, t_us) VALUES (?, ?, ?)", (key, asked, now_us))
        return None


def end(db: WebDb, key: str, status: int, answer: str) -> None:
    with db.writing() as connection:
        connection.execute("UPDATE commands SET status = ?, answer = ? WHERE key = ?", (status, answer, key))


def forget(db: WebDb, key: str) -> None:
    """Nothing was sent: the key may be used again."""
    with db.writing() as connection:
        connection.execute("DELETE FROM commands WHERE key = ?", (key,))
