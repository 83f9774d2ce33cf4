"""What the hub's processes tell the logbook, and how it travels: the socket ``<run_dir>/lines``."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

NAME = "lines"
LAST_WORDS = "notify-ended"
"""A file beside it: the end of notify itself cannot be told to notify."""
What = Literal["log", "start", "end", "crash", "change"]


class Said(Struct, frozen=True):
    """One message of a part of the hub."""

    part: str
    """``ingest``, ``web``, ``broker``, ``mirror``, ``notify``"""
    what: What
    level: str
    """Of ``logging``, in small letters."""
    text: str
    t_us: int
    detail: str = ""
    """A trace."""
    lost: int = 0
    """As many messages before this one did not fit into the queue."""
    who: str = ""
