"""Everybody who advertises: how many, how fast; and the list of them, on request only. Pure."""

from __future__ import annotations

import hashlib
from typing import Any

SHOWN = 200
REMEMBERED = 5000
"""Phones change their address every quarter of an hour; on a square that is many."""
WINDOW_S = 60.0


def pseudonym(address: str, key: bytes) -> str:
    """``p-3f9a2c01d4``: the same for the same address on this device, and nothing to anybody without its key."""
    return "p-" + hashlib.blake2b(address.encode(), key=key, digest_size=5).hexdigest()


class Crowd:
    """Advertisers of the last minute, by address."""

    def __init__(self) -> None:
        self._seen: dict[str, list[Any]] = {}  # address -> [last_s, packets, strongest dBm, name, named as, companies]
        self._packets = 0
        self._since_s: float | None = None

    def saw(self, address: str, t_s: float, rssi_dbm: int | None, name: str | None, named: str | None,
            company: str) -> None:
        if self._since_s is None:
            self._since_s = t_s
        self._packets += 1
        one = self._seen.pop(address, None)  # and put in again at the end: the first one is the longest silent
        if one is None:
            if len(self._seen) >= REMEMBERED:
                del self._seen[next(iter(self._seen))]
            self._seen[address] = [t_s, 1, rssi_dbm, name, named, company]
            return
        self._seen[address] = one
        one[0] = t_s
        one[1] += 1
        if rssi_dbm is not None and (one[2] is None or rssi_dbm > one[2]):
            one[2] = rssi_dbm
        one[3] = name or one[3]
        one[4] = named or one[4]
        one[5] = company or one[5]

    def _forget(self, now_s: float) -> None:
        while self._seen and now_s - next(iter(self._seen.values()))[0] > WINDOW_S:
            del self._seen[next(iter(self._seen))]

    def rate_hz(self, now_s: float) -> float:
        """Advertisements a second since the call before."""
        since_s, packets = self._since_s, self._packets
        self._since_s, self._packets = now_s, 0
        return 0.0 if since_s is None or now_s <= since_s else round(packets / (now_s - since_s), 2)

    def count(self, now_s: float) -> tuple[int, int]:
        """All of the last minute, and those of them that nobody named."""
        self._forget(now_s)
        return len(self._seen), sum(1 for one in self._seen.values() if one[4] is None)

    def listed(self, now_s: float, key: bytes | None) -> dict[str, Any]:
        """The strongest first. ``key``: strangers by pseudonym and without their name."""
        self._forget(now_s)
        order = sorted(self._seen.items(), key=lambda item: -200 if item[1][2] is None else item[1][2], reverse=True)
        rows = []
        for address, (last_s, packets, rssi_dbm, name, named, company) in order[:SHOWN]:
            row: dict[str, Any] = {"device": named} if named else {}
            if key is None:
                row["address"] = address
            elif not named:
                row["pseudonym"] = pseudonym(address, key)
            if name and (named or key is None):
                row["name"] = name[:40]
            if company:
                row["company"] = company
            rows.append(row | {"rssi_dbm": rssi_dbm, "packets": packets, "age_s": round(now_s - last_s, 1)})
        return {"total": len(order), "advertisers": rows}
