"""The live lane: single readings for other devices, at most one a second and property, not retained, may be lost.

A control loop on another device takes its input from here and from nowhere else; ``age`` is how old the reading was
when it was sent, so the receiver needs no common clock.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Struct

from agent.bus import Now, Remote
from agent.wire import topics

log = logging.getLogger(__name__)

EVERY_US = 1_000_000


class Live(Struct, frozen=True):
    """The payload on ``hutkeeper/1/<device>/live/<node>``. ``t``: wall time in us, or null while unknown."""

    t: int | None
    age: float
    property: str
    v: Any
    q: str | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Live).decode


class LiveLane:
    """``wanted``: our own ``<node>/<property>`` that others name; ``inputs``: ``<device>/<node>/<property>``."""

    def __init__(self, device: str, wanted: Iterable[str], inputs: Iterable[str], *,
                 publish: Callable[[str, bytes], None], fan_out: Callable[[str, Remote], None],
                 wall_us: Callable[[int], int | None]) -> None:
        self.device = device
        self.wanted = frozenset(wanted)
        self.inputs = frozenset(inputs)
        self._publish = publish
        self._fan_out = fan_out
        self._wall_us = wall_us
        self._sent_us: dict[str, int] = {}

    def subscriptions(self) -> list[str]:
        return sorted({topics.live(*name.split("/")[:2]) for name in self.inputs})

    def on_now(self, now: Now, now_us: int) -> None:
        """Values of our own plugins."""
        if not self.wanted:
            return
        for node, name, value, t_us, quality in now.values:
            series = f"{node}/{name}"
            if series in self.wanted and now_us - self._sent_us.get(series, -EVERY_US) >= EVERY_US:
                self._sent_us[series] = now_us
                live = Live(self._wall_us(t_us), max(0, now_us - t_us) / 1e6, name, value, quality)
                self._publish(topics.live(self.device, node), _encode(live))

    def on_message(self, topic: str, payload: bytes, retained: bool) -> bool:
        """True when it was of the live lane. A retained one is nobody's reading: it is passed over."""
        ours = topics.parse_ours(topic)
        if ours is None or ours.kind != "live":
            return False
        try:
            live = _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            log.warning("%s: a reading that cannot be read: %s", topic, error)
            return True
        if not retained and f"{ours.device}/{ours.rest}/{live.property}" in self.inputs:
            self._fan_out(f"live/{ours.device}/{ours.rest}",
                          Remote(ours.device, ours.rest, live.property, live.v, live.age, live.q))
        return True
