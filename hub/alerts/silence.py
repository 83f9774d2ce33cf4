"""Which alerts a silence fits. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

from hub.alerts.graph import House
from hub.store.alert_rows import Silence

MAX_MINUTES = 7 * 24 * 60
MAX_MATCH = 200
MAX_WHY = 300


class Silences:
    """Those that go on."""

    def __init__(self, silences: Iterable[Silence]) -> None:
        self._all = [(silence, re.compile(fnmatch.translate(silence.match))) for silence in silences]
        self.next_end_us = min((silence.until_us for silence, _ in self._all), default=None)
        """When the first of them ends."""

    def until_us(self, key: str, subject: str, house: House, now_us: int) -> int | None:
        """Until when nobody is told of it; None: it is told."""
        if not self._all:
            return None
        names = names_of(key, subject, house)
        return max((silence.until_us for silence, pattern in self._all
                    if silence.until_us > now_us and any(map(pattern.match, names))), default=None)


def names_of(key: str, subject: str, house: House) -> set[str]:
    """What a pattern may name it by: its key, its subject, its device, ``<device>/<plugin>``, and with the property."""
    names = {key, subject}
    kind, _, rest = subject.partition(":")
    if kind in ("device", "plugin", "property"):
        device, _, within = rest.partition("/")
        node = within.partition("/")[0]
        names |= {device, rest, f"device:{device}"}
        if node:
            instance = house.plugins.get(device, {}).get(node, node)
            names |= {f"{device}/{node}", f"{device}/{instance}", f"plugin:{device}/{node}",
                      f"plugin:{device}/{instance}"}
    return names
