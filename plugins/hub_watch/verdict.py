"""Is the hub alive? By what it does, not by what is connected: its page answers, or receipts for samples come. Pure.

Only a sign of life counts, and none for ``dead_after_s`` means dead. What is known of this device's own network and
mains does not change that (nobody else may be there to tell it), it changes what is said.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .config import HubWatchConfig
from .events import Event

US = 1_000_000
STATES = ("starting", "alive", "web_down", "not_storing", "dead")
OWN = ("ok", "no_network", "no_internet", "mains_lost")
STALLED_S = 300.0
GOOD_S = 180.0
"""What others said of network and mains is true for so long."""
EVIDENCE = {"refused": "its page refuses connections", "timeout": "its page does not answer",
            "unreachable": "there is no way to it", "reset": "its page breaks off", "no_name": "its name is not found",
            "tls": "its certificate is not believed", "not_ready": "its page says that it has no broker",
            "foreign": "something else answers in its place", "error": "its page cannot be asked"}


class Watch:
    """Feed events with their stamps (us, boot time), then look."""

    def __init__(self, config: HubWatchConfig, now_us: int) -> None:
        self._config = config
        self._began_us = now_us
        self._life_us = now_us
        """The last sign of life; at the start nothing is known, so it counts from there."""
        self._first_us: int | None = None
        """Of the signs that come without a break of ``dead_after_s``."""
        self._web_us = self._receipt_us = -1
        self._receipt: object = None
        self._others: dict[tuple[str, str], tuple[int, Any]] = {}
        self.web: str | None = None
        self.web_ms = 0.0

    def take(self, event: Event, now_us: int) -> None:
        if event.web is not None:
            self.web, self.web_ms = event.web, event.ms
            if event.web == "alive":
                self._web_us = now_us
                self._sign(now_us)
        elif event.node == "sys" and event.property == "last_receipt":
            # the first one may be of long ago: a change is what shows that receipts come
            if self._receipt is not None and event.value != self._receipt:
                self._receipt_us = now_us
                self._sign(now_us)
            self._receipt = event.value
        elif event.node is not None:
            self._others[event.node, event.property] = now_us, event.value

    def _sign(self, now_us: int) -> None:
        if self._first_us is None or now_us - self._life_us >= self._config.dead_after_s * US:
            self._first_us = now_us
        self._life_us = now_us

    def silent_s(self, now_us: int) -> float:
        return max(0.0, (now_us - self._life_us) / US)

    @property
    def life_us(self) -> int:
        return self._life_us

    def state(self, now_us: int) -> str:
        if now_us - self._life_us >= self._config.dead_after_s * US:
            return "dead"
        if self._first_us is None:
            return "starting"
        waiting = self._known("sys", "outbox_oldest_age_s", now_us)
        if isinstance(waiting, int | float) and waiting >= STALLED_S:
            return "not_storing"
        asked = bool(self._config.url)
        web_late = now_us - max(self._web_us, self._began_us) >= self._config.dead_after_s * US
        return "web_down" if asked and web_late else "alive"

    def steady_s(self, now_us: int) -> float:
        """How long signs have come by now."""
        if self._first_us is None or self.state(now_us) in ("dead", "starting"):
            return -1.0
        return (now_us - self._first_us) / US

    def own(self, now_us: int, carrier: Callable[[], bool | None]) -> str:
        """What is wrong here rather than there."""
        config = self._config
        if self._known(config.mains, "mains_present", now_us) is False:
            return "mains_lost"
        fault = self._known(config.internet, "fault", now_us)
        if self.web == "unreachable" or carrier() is False or fault in ("cable", "no_route", "gateway"):
            return "no_network"
        if self._known(config.internet, "internet_reached", now_us) is False:
            return "no_internet"
        return "ok"

    def _known(self, node: str, name: str, now_us: int) -> Any:
        at_us, value = self._others.get((node, name), (0, None))
        return value if value is not None and now_us - at_us <= GOOD_S * US else None

    def evidence(self) -> str:
        """What was seen last of it."""
        return EVIDENCE.get(self.web or "", "no receipts come") if self._config.url else "no receipts come"
