"""Two devices with one identity (a cloned card, B12): their epochs take turns. Pure."""

from __future__ import annotations

from collections import deque

WINDOW_S = 60.0
TURNS = 3
"""One device may come back with a new epoch; two take turns for as long as they live."""
MAX_DEVICES = 10_000


class Twins:
    """Tells a device whose epochs changed to and fro more than three times in a minute, once per hour."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}
        self._turns: dict[str, deque[float]] = {}
        self._told: dict[str, float] = {}
        self._addresses: dict[str, deque[str]] = {}

    def address(self, device: str, address: str) -> None:
        """``sys/address`` as the device reports it: kept to name both of the two."""
        if len(self._addresses) < MAX_DEVICES or device in self._addresses:
            known = self._addresses.setdefault(device, deque(maxlen=4))
            if address in known:
                known.remove(address)
            known.append(address)

    def saw(self, device: str, epoch: str, now_s: float) -> str | None:
        """Call with the epoch of each batch, in the order they came; the addresses when there are two devices."""
        if self._last.get(device, epoch) == epoch:
            if len(self._last) < MAX_DEVICES:
                self._last.setdefault(device, epoch)
            return None
        self._last[device] = epoch
        turns = self._turns.setdefault(device, deque(maxlen=TURNS + 1))
        turns.append(now_s)
        if len(turns) <= TURNS or now_s - turns[0] > WINDOW_S or now_s - self._told.get(device, -3600.0) < 3600.0:
            return None
        self._told[device] = now_s
        return ", ".join(self._addresses.get(device, ())) or "addresses not reported"
