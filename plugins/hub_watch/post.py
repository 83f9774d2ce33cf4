"""Messages that are owed to people: one per event and number, kept until the modem has taken it. Pure.

At least once: each carries an id, and the modem takes an id once.
"""

from __future__ import annotations

from typing import Any

from .config import HubWatchConfig

KEEP_US = 24 * 3600 * 1_000_000
MOST = 50
AGAIN_S = (30.0, 60.0, 120.0, 300.0)
KEY = "owed"

OWN_WORDS = {"ok": "", "no_network": " This device itself has no network, so it may be well.",
             "no_internet": " The internet is away here too.", "mains_lost": " The mains is away here."}


def lost(config: HubWatchConfig, since: str, evidence: str, own: str) -> str:
    look = "this device's network first" if own == "no_network" else "its power and network"
    return (f"{config.name} shows no life {since}: {evidence}.{OWN_WORDS[own]} Devices go on by themselves and "
            f"keep their samples. Look at {look}.")


def back(config: HubWatchConfig, minutes: float) -> str:
    return f"{config.name} is back after {minutes:.0f} min. Devices hand over what they kept. Nothing to do."


class Post:
    """``kept``: :attr:`agent.api.Io.kept`, where it survives a power cut."""

    def __init__(self, kept: dict[str, Any]) -> None:
        self._kept = kept
        self._due_s: dict[str, float] = {}
        self._tries: dict[str, int] = {}

    @property
    def owed(self) -> list[dict[str, Any]]:
        return list(self._kept.get(KEY, []))

    def owe(self, id_: str, numbers: tuple[str, ...], text: str, at_us: int | None) -> None:
        new = [{"id": f"{id_}-{n}", "to": to, "text": text, "at_us": at_us} for n, to in enumerate(numbers)]
        known = {one["id"] for one in self.owed}
        self._kept[KEY] = [*self.owed, *(one for one in new if one["id"] not in known)][-MOST:]

    def due(self, now_s: float, wall_us: int | None) -> list[dict[str, Any]]:
        """Those to try now; what is a day old is nobody's news any more."""
        fresh = [one for one in self.owed
                 if wall_us is None or one["at_us"] is None or wall_us - one["at_us"] < KEEP_US]
        if len(fresh) != len(self.owed):
            self._kept[KEY] = fresh
        return [one for one in fresh if now_s >= self._due_s.get(one["id"], 0.0)]

    def taken(self, id_: str) -> None:
        self._kept[KEY] = [one for one in self.owed if one["id"] != id_]

    def later(self, id_: str, now_s: float) -> None:
        tries = self._tries.get(id_, 0)
        self._tries[id_] = tries + 1
        self._due_s[id_] = now_s + AGAIN_S[min(tries, len(AGAIN_S) - 1)]
